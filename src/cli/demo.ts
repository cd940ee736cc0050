import { startNodeGateway, type NodeGateway } from '../adapter/node.ts'
import type { ListenOptions } from './arguments.ts'
import { demoConfig } from './demo-config.ts'
import { demoText } from './demo-lines.ts'
import { natures } from './demo-natures.ts'
import { startPretendUpstream, type PretendUpstream } from './demo-upstream.ts'
import { installLastWords } from './last-words.ts'
import { listenAt, listenFailure } from './listen-at.ts'
import { createLogOutput, type LogOutput } from './log-output.ts'
import { packageVersion } from './package-files.ts'
import { takeSignals } from './signals.ts'

/** Ports tried after the one that is taken. */
const MORE_PORTS = 20
const USUAL_PORT = 2081
const LAST_PORT = 65_535

/**
 * Serves the gateway in front of three pretend upstreams of this process until a signal ends it. Needs no
 * key and no file, and writes none. A taken port is no obstacle: the next free one is said.
 */
export async function demo(options: ListenOptions): Promise<number> {
  const signals = takeSignals()
  const at = listenAt(options)
  if ('misuse' in at) return refuse(`aiload: ${at.misuse}`, 2)
  const wanted = at.port ?? USUAL_PORT
  const log = createLogOutput('pretty')
  installLastWords({
    tell: (message) => log.report({ kind: 'notice', level: 'error', message }),
    flush: log.flush,
  })

  const upstreams = await Promise.all(natures.map(startPretendUpstream))
  const gateway = await startOnFreePort(wanted, { upstreams, log })
  if ('failure' in gateway) {
    await Promise.all(upstreams.map((upstream) => upstream.close()))
    return refuse(gateway.failure, 1)
  }
  const { port } = gateway
  const isElsewhere = wanted !== 0 && wanted !== port
  log.say(demoText({ port, upstreams, ...(isElsewhere ? { insteadOf: wanted } : {}) }).split('\n'))
  log.flush()

  // A terminal that was closed ends the demo, which has nothing to reload.
  const hungUp = new Promise<void>((resolve) => signals.onHangUp(resolve))
  await Promise.race([signals.toEnd, hungUp])
  await gateway.close()
  log.flush()
  process.exit(0)
}

interface Parts {
  readonly upstreams: readonly PretendUpstream[]
  readonly log: LogOutput
}

async function startOnFreePort(
  wanted: number,
  { upstreams, log }: Parts,
): Promise<NodeGateway | { readonly failure: string }> {
  const last = wanted === 0 ? 0 : Math.min(wanted + MORE_PORTS, LAST_PORT)
  for (let port = wanted; ; port += 1) {
    const config = demoConfig(upstreams, port)
    try {
      return await startNodeGateway({ config, report: log.report, version: packageVersion() })
    } catch (error) {
      if (!isTaken(error) || port === last) return { failure: listenFailure(error, config.server) }
    }
  }
}

const isTaken = (error: unknown): boolean =>
  error instanceof Error && 'code' in error && error.code === 'EADDRINUSE'

function refuse(line: string, code: number): number {
  process.stderr.write(`${line}\n`)
  return code
}
