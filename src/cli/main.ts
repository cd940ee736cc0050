#!/usr/bin/env node
import { setFlagsFromString } from 'node:v8'
import { parseArguments, type Command } from './arguments.ts'

/** Runs a command and gives its exit code. Each is loaded when it is asked for: `--help` should not wait for a gateway. */
async function run(command: Command): Promise<number> {
  switch (command.name) {
    case 'help': {
      const { usage } = await import('./usage.ts')
      process.stdout.write(usage)
      return 0
    }
    case 'version': {
      const { packageVersion } = await import('./package-files.ts')
      process.stdout.write(`${packageVersion()}\n`)
      return 0
    }
    case 'check': {
      const { check } = await import('./check.ts')
      return check(command)
    }
    case 'token': {
      const { token } = await import('./token.ts')
      return token(command)
    }
    case 'demo': {
      const { demo } = await import('./demo.ts')
      return demo(command)
    }
    case 'start': {
      const { start } = await import('./start.ts')
      return start(command)
    }
  }
}

// While streams are open, what belongs to a request lives long, and V8 concludes that all of it should be made where
// the long-lived things are. Every later request then drags its young objects along: collections take ten times as
// long, and one in fifty requests waits for one.
setFlagsFromString('--no-allocation-site-pretenuring')

// A reader that went away (`aiload | head`) is no reason to stop serving.
for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {})

const command = parseArguments(process.argv.slice(2))
if ('misuse' in command) {
  process.stderr.write(`aiload: ${command.misuse}\n`)
  process.exitCode = 2
} else {
  process.exitCode = await run(command)
}
