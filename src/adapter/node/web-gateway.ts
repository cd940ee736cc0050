import { fileURLToPath } from 'node:url'
import type { Config } from '../../config/config.ts'
import { problemLine } from '../../config/problem.ts'
import type { Report } from '../../relay/deps.ts'
import { createMemoryStore, type MemoryStore } from '../../state/memory.ts'
import type { Fetch } from '../../transport/fetch.ts'
import {
  consoleLog,
  createClock,
  createEdgeGateway,
  type EdgeGateway,
  type EdgePlatform,
} from '../gateway.ts'
import { openConfigFile, watchConfig, type Reloader } from './config-file.ts'
import { takeSignals } from './signals.ts'
import { keepState, type StateFile, stateFileOf } from './state-file.ts'

/** A gateway on a runtime that has files and speaks enough of Node to reach them: Bun and Deno. */
interface FileGateway {
  readonly config: Config
  fetch(request: Request, env: unknown): Promise<Response>
  /** Reads the configuration again, whether its file changed or not. */
  reload(): void
  /** A line of the log. */
  say(message: string): void
  /** Refuses new requests, waits for the open answers within `settings.drain_timeout`, and writes the state. */
  end(): Promise<void>
}

/** What the runtime brings along. */
interface FileGatewayOptions {
  readonly peerOf: EdgePlatform['peerOf']
  readonly fetch?: Fetch
}

/**
 * Opens the configuration as `aiload start` does: the same file, the same template and token at a first
 * start, the same state beside it. What is wrong with it is printed, one line for each problem, and ends
 * the process with 1.
 */
export function openFileGateway(brought: FileGatewayOptions): FileGateway {
  const directory = process.cwd()
  const given = process.env['AILOAD_CONFIG']
  const template = fileURLToPath(new URL('../../../config/config.json', import.meta.url))
  const opened = openConfigFile({
    directory,
    env: process.env,
    template,
    ...(given !== undefined && { given }),
  })
  if (!opened.ok) {
    for (const problem of opened.problems) process.stderr.write(`${problemLine(problem)}\n`)
    process.exit(1)
  }
  const { config, file, warnings, hasNewToken } = opened
  let write = consoleLog(config.server.mode)
  const log: Report = (event) => write(event)
  const place = `"auth_token" in ${file}`
  if (hasNewToken)
    log({ kind: 'notice', level: 'info', message: `a new token for your clients was made; it is ${place}` })
  for (const warning of warnings) log({ kind: 'notice', level: 'warning', message: problemLine(warning) })
  const clock = createClock()
  const store = createMemoryStore({ random: Math.random })
  const state = keepState(stateFileOf(file, directory), store, { clock, report: log })
  let reloader: Reloader | undefined
  const lastReload = () => reloader?.last()
  const gateway = createEdgeGateway(config, {
    clock,
    store,
    log,
    lastReload,
    expect: store.expect,
    ...brought,
  })
  reloader = watchConfig({
    ...opened,
    env: process.env,
    report: log,
    apply(next) {
      write = consoleLog(next.server.mode)
      gateway.apply(next)
    },
  })
  return {
    config,
    fetch: (request, env) => gateway.fetch(request, env),
    reload: reloader.reload,
    say: (message) => log({ kind: 'notice', level: 'info', message }),
    end: () => drainAndSave(gateway, { config, store, state }),
  }
}

interface ShutdownTask {
  readonly config: Config
  readonly store: MemoryStore
  readonly state: StateFile
}

/** How often to look whether all answers have ended. */
const POLL_EVERY_MS = 50

async function drainAndSave(gateway: EdgeGateway, { config, store, state }: ShutdownTask): Promise<void> {
  gateway.drain()
  const deadline = performance.now() + config.settings.drainTimeoutMs
  while (gateway.isBusy(store) && performance.now() < deadline) await pause()
  // The last bytes are still on their way to the client.
  await pause()
  await state.close()
}

const pause = (): Promise<void> => new Promise((go) => setTimeout(go, POLL_EVERY_MS))

/** Ends the process once, when a signal asks for it; a second signal ends it at once. */
export function endOnSignal({ reload, end }: Pick<FileGateway, 'reload' | 'end'>): void {
  const signals = takeSignals()
  signals.onHangUp(reload)
  void signals.toEnd.then(end).then(() => process.exit(0))
}
