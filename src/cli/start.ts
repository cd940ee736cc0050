import { join } from 'node:path'
import type { NodeGateway } from '../adapter/node.ts'
import { openConfigFile, type OpenedConfig } from '../adapter/node-config-file.ts'
import { watchConfig, type Reloader } from '../adapter/node-reload.ts'
import { problemLine } from '../config/problem.ts'
import type { ListenOptions, Located } from './arguments.ts'
import { countText } from './count-text.ts'
import { dropRoot } from './drop-root.ts'
import { installLastWords } from './last-words.ts'
import { listenAt, listenFailure, listeningAt, type ListenAt } from './listen-at.ts'
import { createLogOutput, formatFor, type LogOutput } from './log-output.ts'
import { packageVersion, templateFile } from './package-files.ts'
import { searchOf } from './search.ts'
import { takeSignals, type Signals } from './signals.ts'
import { startLines } from './start-lines.ts'
import { stateFileOf } from './state-file.ts'

type Opened = Extract<OpenedConfig, { ok: true }>

/**
 * Serves until a signal ends it, then exits with 0. Before it serves: 2 for a wrong option, 1 for whatever
 * else is in the way, with one line on stderr for each problem.
 */
export async function start(options: Located & ListenOptions): Promise<number> {
  const signals = takeSignals()
  const at = listenAt(options)
  if ('misuse' in at) return refuse([`aiload: ${at.misuse}`], 2)
  const log = createLogOutput(formatFor(process.stdout.isTTY))
  installLastWords({
    tell: (message) => log.report({ kind: 'notice', level: 'error', message }),
    flush: log.flush,
  })

  const search = searchOf(options)
  const dropped = dropRoot(process.env.AILOAD_DROP_ROOT, join(search.directory, 'data'))
  if (!dropped.ok) return refuse([dropped.problem])
  const opened = openConfigFile({ ...search, env: process.env, template: templateFile() })
  if (!opened.ok) {
    return refuse([
      ...opened.problems.map(problemLine),
      ...opened.warnings.map((warning) => `warning: ${problemLine(warning)}`),
    ])
  }

  log.setLevel(opened.config.server.mode)
  const served = await serve(opened, { at, log, stateFile: stateFileOf(opened.file, search.directory) })
  if ('failure' in served) return refuse([served.failure])
  if (dropped.warning !== undefined)
    log.report({ kind: 'notice', level: 'warning', message: dropped.warning })
  return end(served, { signals, log })
}

interface Serve {
  readonly at: ListenAt
  readonly log: LogOutput
  readonly stateFile: string
}

interface Served {
  readonly gateway: NodeGateway
  readonly reloader: Reloader
}

async function serve(
  opened: Opened,
  { at, log, stateFile }: Serve,
): Promise<Served | { readonly failure: string }> {
  // Loaded only now: a broken configuration should be told at once.
  const { startNodeGateway } = await import('../adapter/node.ts')
  const config = listeningAt(opened.config, at)
  const version = packageVersion()
  let reloader: Reloader | undefined
  let gateway: NodeGateway
  try {
    gateway = await startNodeGateway({
      config,
      report: log.report,
      version,
      stateFile,
      lastReload: () => reloader?.last(),
    })
  } catch (error) {
    return { failure: listenFailure(error, config.server) }
  }
  log.say(startLines({ ...opened, version, config, port: gateway.port }))
  for (const warning of opened.warnings)
    log.report({ kind: 'notice', level: 'warning', message: problemLine(warning) })
  log.flush()
  reloader = watchConfig({
    ...opened,
    env: process.env,
    report: log.report,
    apply(next) {
      log.setLevel(next.server.mode)
      gateway.apply(listeningAt(next, at))
    },
  })
  return { gateway, reloader }
}

interface Ending {
  readonly signals: Signals
  readonly log: LogOutput
}

/** Waits for a signal, lets open streams finish, and ends the process. */
async function end({ gateway, reloader }: Served, { signals, log }: Ending): Promise<never> {
  signals.onHangUp(reloader.reload)
  const signal = await signals.toEnd
  const tell = (message: string): void => log.report({ kind: 'notice', level: 'info', message })
  reloader.stop()
  tell(`stopping after ${signal}: open answers may finish, a second signal ends at once`)
  log.flush()
  const { cut } = await gateway.close()
  tell(cut === 0 ? 'stopped' : `stopped; ${countText(cut, 'open answer')} had to be cut`)
  log.flush()
  // Kept-alive connections of a library must not hold the process.
  process.exit(0)
}

function refuse(lines: readonly string[], code = 1): number {
  for (const line of lines) process.stderr.write(`${line}\n`)
  return code
}
