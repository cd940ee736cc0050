import { fileURLToPath } from 'node:url'
import type { Config } from '../../config/config.ts'
import { upstreamsOf } from '../../config/upstreams.ts'
import { problemLine } from '../../config/problem.ts'
import { PROXY_VARIABLES } from '../../config/proxy.ts'
import type { RouteLimits } from '../../config/route-limits.ts'
import { routeLines } from '../../pool/route.ts'
import { instantOf } from '../../lib/clock.ts'
import type { Report } from '../../relay/deps.ts'
import { createMemoryStore } from '../../state/memory.ts'
import { levelOfMode, logLevelIn } from '../../telemetry/log.ts'
import { consoleLog, createClock, createEdgeGateway, type EdgePlatform } from '../gateway.ts'
import { eventFileOf, keepEvents } from './event-file.ts'
import { findConfigFile, watchConfig, type Reloader } from './config-file.ts'
import { createPageFile } from './page-file.ts'
import { openConfig } from './open-config.ts'
import { takeSignals } from './signals.ts'
import { keepState, stateFileOf } from './state-file.ts'

/** These two runtimes have it from its sources. */
const packageFile = (path: string): string => fileURLToPath(new URL(`../../../${path}`, import.meta.url))

/** How often to look whether all answers have ended. */
const POLL_EVERY_MS = 50
const pause = (): Promise<void> => new Promise((go) => setTimeout(go, POLL_EVERY_MS))

/**
 * A gateway on a runtime that has files and speaks enough of Node to reach them: Bun and Deno. Opens the configuration
 * as `aiload start` does: the same file, the same template and token at a first start, the same state beside it. What
 * is wrong with it is printed, one line for each problem, and ends the process with 1.
 */
export function openFileGateway(
  brought: Pick<EdgePlatform, 'peerOf' | 'fetch'> & { readonly limits: RouteLimits },
) {
  const { limits, ...platform } = brought
  const env = { ...process.env }
  // The runtime's fetch would go through them whatever the configuration says, and knows fewer forms of NO_PROXY.
  for (const name of PROXY_VARIABLES) delete process.env[name]
  const directory = process.cwd()
  const given = process.env['AILOAD_CONFIG']
  const template = packageFile('config/config.json')
  const search = { directory, env, limits, template, given }
  const opened = openConfig(search)
  if (!opened.ok) {
    for (const problem of opened.problems) process.stderr.write(`${problemLine(problem)}\n`)
    process.exit(1)
  }
  const { config, warnings, hasNewToken, tokenPlace } = opened
  const { level, problem } = logLevelIn(process.env)
  if (problem !== undefined) {
    process.stderr.write(`${problem}\n`)
    process.exit(1)
  }
  let write = consoleLog(level ?? levelOfMode(config.server.mode))
  const log: Report = (event) => write(event)
  const say = (message: string, level: 'info' | 'warning' = 'info') => log({ kind: 'notice', level, message })
  if (hasNewToken) say(`a new token for your clients was made; it is ${tokenPlace}`)
  for (const line of routeLines(upstreamsOf(config))) say(line)
  const warningLines = warnings.map(problemLine)
  for (const warning of warningLines) say(warning, 'warning')
  const clock = createClock()
  const stateFile = stateFileOf(opened.file ?? findConfigFile(search), directory)
  let { events: eventLimits } = config.settings
  const file = eventFileOf(stateFile)
  const events = keepEvents({ file, limits: () => eventLimits, report: log, random: Math.random })
  const { recorder, requests } = events
  const memory = createMemoryStore({ random: recorder.random })
  const store = recorder.recordedStore(memory, () => instantOf(clock))
  const state = keepState(stateFile, store, { clock, report: log })
  let reloader: Reloader | undefined
  const configState = () => reloader?.state() ?? { warnings: warningLines }
  const { expect, abilities, modelLists } = store
  const page = createPageFile(packageFile('dist/page.html'))
  const own = { clock, store, log, configState, expect, abilities, modelLists, recorder, requests, page }
  const gateway = createEdgeGateway(config, { ...own, ...platform })
  function apply(next: Config): void {
    write = consoleLog(level ?? levelOfMode(next.server.mode))
    eventLimits = next.settings.events
    void gateway.apply(next)
  }
  if (opened.file !== undefined) reloader = watchConfig({ ...opened, env, limits, report: log, apply })
  return {
    config,
    fetch: gateway.fetch,
    /** Reads the configuration again, whether its file changed or not. */
    reload: () => reloader?.reload(),
    /** Writes a line of the log. */
    say,
    /** Refuses new requests, waits for the open answers within `settings.drain_timeout`, and writes the state. */
    async end(): Promise<void> {
      gateway.drain()
      const deadline = performance.now() + config.settings.drainTimeoutMs
      while (gateway.isBusy(store) && performance.now() < deadline) await pause()
      // The last bytes are still on their way to the client.
      await pause()
      await state.close()
      await events.close()
    },
  }
}

/** Ends the process once, when a signal asks for it; a second signal ends it at once. */
export function endOnSignal({ reload, end }: { reload: () => void; end: () => Promise<void> }): void {
  const signals = takeSignals()
  signals.onHangUp(reload)
  void signals.toEnd.then(end).then(() => process.exit(0))
}
