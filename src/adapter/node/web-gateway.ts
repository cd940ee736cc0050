import { randomBytes } from 'node:crypto'
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
import { createTraces } from '../../telemetry/traces.ts'
import { createUsage } from '../../telemetry/usage.ts'
import { levelOfMode, logLevelIn } from '../../telemetry/log.ts'
import { consoleLog, createClock, createEdgeGateway, VERSION, type EdgePlatform } from '../gateway.ts'
import { eventFileOf, keepEvents } from './event-file.ts'
import { findConfigFile, watchConfig, type Reloader } from './config-file.ts'
import { createPageFile } from './page-file.ts'
import { createLogFile, logFileOf } from './log-file.ts'
import { openConfig } from './open-config.ts'
import { createProcessFigures } from './process-figures.ts'
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
  const { config, warnings, hasNewToken, tokenPlace, file: configFile } = opened
  const { level, problem } = logLevelIn(process.env)
  if (problem !== undefined) {
    process.stderr.write(`${problem}\n`)
    process.exit(1)
  }
  let write: Report
  const logFile = createLogFile((how, message) => say(message, how))
  const log: Report = (event) => {
    write(event)
    logFile.report(event)
  }
  function configureLog(next: Config): void {
    const nextLevel = level ?? levelOfMode(next.server.mode)
    write = consoleLog(nextLevel)
    logFile.configure(configFile === undefined ? undefined : logFileOf(next, configFile), nextLevel)
  }
  configureLog(config)
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
  const usage = createUsage(clock.wall)
  const state = keepState(stateFile, store, { clock, report: log, usage })
  let reloader: Reloader | undefined
  const configState = () => ({
    ...(reloader?.state() ?? { warnings: warningLines }),
    stateProblem: state.problem(),
  })
  const { expect, abilities, modelLists, tokenUsage } = store
  const configEditor = () => reloader?.editor
  const kept = { expect, abilities, modelLists, tokenUsage, usage, recorder, requests }
  const page = createPageFile(packageFile('dist/page.html'))
  const processFigures = createProcessFigures()
  const own = { clock, store, log, configState, configEditor, processFigures, page, ...kept }
  const tracing = { env, randomBytes, version: VERSION }
  const gateway = createEdgeGateway(config, {
    ...own,
    createTraces: (deps) => createTraces({ ...deps, ...tracing }),
    ...platform,
  })
  function apply(next: Config): void {
    configureLog(next)
    eventLimits = next.settings.events
    void gateway.apply(next)
  }
  if (opened.file !== undefined) reloader = watchConfig({ ...opened, env, limits, report: log, apply })
  return {
    config,
    fetch: gateway.fetch,
    /** Reads the configuration again, whether its file changed or not. */
    reload(): void {
      logFile.reopen()
      reloader?.reload()
    },
    /** Writes a line of the log. */
    say,
    /** Refuses new requests, waits for the open answers within `settings.drain_timeout`, and writes the state. */
    async end(): Promise<void> {
      gateway.drain()
      const deadline = performance.now() + config.settings.drainTimeoutMs
      while (gateway.isBusy(store) && performance.now() < deadline) await pause()
      // The last bytes are still on their way to the client.
      await pause()
      await gateway.endTraces()
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
