#!/usr/bin/env node
/*
 * cli: what somebody types. Only here a process is taken over: its signals, its arguments, its output, its end.
 *
 * main           the entry: runs a command and ends with its exit code
 * arguments      the command line, and what follows from it: where to listen, where to look
 * start          `aiload start`
 * check          `aiload check` and `aiload token`
 * demo/          `aiload demo`, with upstreams that pretend
 * process        dropping root, and mistakes that nobody caught
 * log-output     the log, on the standard output in batches
 * package-files  the version and the template of the configuration
 */
import { setFlagsFromString } from 'node:v8'
import { parseArguments, type Command } from './arguments.ts'
import { packageVersion } from './package-files.ts'

/** What `--help` prints. */
const usage = `AILoad puts one OpenAI-compatible endpoint in front of many.

Usage: aiload [command] [options]

  start    serve (the default)         --config FILE  --port N  --host H  --log FORMAT
  check    check the configuration     --config FILE
  demo     try it without any key      --port N
  token    say where the token stands  --config FILE  --show (print it)

  -c, --config FILE   the configuration; default: AILOAD_CONFIG, else data/config/config.json
  -p, --port N        listen on this port instead of server.port (2081)
      --host H        listen on this address instead of server.host (0.0.0.0)
      --log FORMAT    pretty or json; default: pretty on a terminal, else json
  -h, --help          this text
  -v, --version       the version

Signals while it serves: SIGHUP reads the configuration again; SIGTERM and SIGINT let open
streams finish, a second one ends at once.
`

/** Runs a command and gives its exit code. Each is loaded when it is asked for: `--help` should not wait for a gateway. */
async function run(command: Command): Promise<number> {
  switch (command.name) {
    case 'help':
      process.stdout.write(usage)
      return 0
    case 'version':
      process.stdout.write(`${packageVersion()}\n`)
      return 0
    case 'check':
      return (await import('./check.ts')).checkFile(command)
    case 'token':
      return (await import('./check.ts')).tellToken(command)
    case 'demo':
      return (await import('./demo/demo.ts')).runDemo(command)
    case 'start':
      return (await import('./start.ts')).runStart(command)
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
