import { join } from 'node:path'
import { findConfigFile, watchConfig, type Reloader } from '../adapter/node/config-file.ts'
import { createPageFile } from '../adapter/node/page-file.ts'
import { logFileOf } from '../adapter/node/log-file.ts'
import { openConfig, type OpenedConfig } from '../adapter/node/open-config.ts'
import { takeSignals } from '../adapter/node/signals.ts'
import { stateFileOf } from '../adapter/node/state-file.ts'
import { keyVariables, type VendorKeys } from '../config/environment.ts'
import { problemLine } from '../config/problem.ts'
import type { Config } from '../config/config.ts'
import { routeLines } from '../pool/route.ts'
import type { AffinityRule, Upstream } from '../pool/upstream.ts'
import { listenFailure, searchOf, type Command } from './arguments.ts'
import { levelOfMode, logLevelIn } from '../telemetry/log.ts'
import { createLogOutput, usualFormat } from './log-output.ts'
import { packageVersion, pageFile } from './package-files.ts'
import { dropRoot, installCrashHandlers, printFailure } from './process.ts'
import { isEveryAddress, originOf } from './running-gateway.ts'
import { countText, firstOf } from './terminal-text.ts'

/** Serves until a signal ends it, then exits with 0. Gives 1 for what is in the way before, with a line on stderr for each problem. */
export async function runStart({ config: given, port, host, log: format }: Command): Promise<number> {
  const { level, problem } = logLevelIn(process.env)
  if (problem !== undefined) {
    printFailure(`aiload: ${problem}`)
    return 2
  }
  const signals = takeSignals()
  const log = createLogOutput(format ?? usualFormat())
  installCrashHandlers(log)

  const search = searchOf(given)
  const dropped = dropRoot(process.env.AILOAD_DROP_ROOT, join(search.directory, 'data'))
  if (dropped.problem !== undefined) return printFailure(dropped.problem)
  const opened = openConfig(search)
  const warnings = opened.warnings.map(problemLine)
  if (!opened.ok)
    return printFailure(...opened.problems.map(problemLine), ...warnings.map((line) => `warning: ${line}`))

  const listeningAt = ({ server, ...config }: Config): Config => ({
    ...config,
    server: { ...server, port: port ?? server.port, host: host ?? server.host },
  })
  const config = listeningAt(opened.config)
  const configureLog = (next: Config): void => {
    // Without a file of a configuration nothing names another one.
    const logFile = opened.file === undefined ? undefined : logFileOf(next, opened.file)
    log.configure(level ?? levelOfMode(next.server.mode), logFile)
  }
  configureLog(config)
  // Loaded only now: a broken configuration should be told at once.
  const { startNodeGateway } = await import('../adapter/node/gateway.ts')
  const stateFile = stateFileOf(opened.file ?? findConfigFile(search), search.directory)
  let reloader: Reloader | undefined
  const configState = () => reloader?.state() ?? { warnings }
  const configEditor = () => reloader?.editor
  const gateway = await startNodeGateway(config, {
    log: log.report,
    stateFile,
    configState,
    configEditor,
    page: createPageFile(pageFile()),
    inChinese: async () => (await import('./chinese.ts')).inChinese,
  }).catch((error: unknown) => listenFailure(error, config.server))
  if (typeof gateway === 'string') return printFailure(gateway)
  const { port: taken, upstreams, apply: serve } = gateway
  // A token is for somebody who sits there, not for a log that machines read.
  const isTerminal = process.stdout.isTTY && format !== 'json'
  log.say(
    startLines({
      ...opened,
      config,
      version: packageVersion(),
      port: taken,
      upstreams: upstreams(),
      isTerminal,
      command: ownCommand(process.env),
    }),
  )
  for (const warning of warnings) log.notice('warning', warning)
  log.flush()
  function apply(next: Config): void {
    configureLog(next)
    serve(listeningAt(next))
  }
  if (opened.file !== undefined)
    reloader = watchConfig({ ...opened, env: process.env, report: log.report, apply })
  if (dropped.warning !== undefined) log.notice('warning', dropped.warning)

  signals.onHangUp(() => {
    log.reopen()
    if (reloader === undefined) log.notice('info', NO_FILE)
    else reloader.reload()
  })
  const signal = await signals.toEnd
  reloader?.stop()
  log.notice('info', `stopping after ${signal}: open answers may finish, a second signal ends at once`)
  log.flush()
  const { cut } = await gateway.close()
  log.notice('info', cut === 0 ? 'stopped' : `stopped; ${countText(cut, 'open answer')} had to be cut`)
  log.flush()
  // Kept-alive connections of a library must not hold the process.
  process.exit(0)
}

const NO_FILE = 'there is no configuration file to be read again; what is in the environment needs a restart'

/** What a start has to tell; `port` is the one that was really taken. */
type StartSummary = Pick<
  Extract<OpenedConfig, { ok: true }>,
  'config' | 'file' | 'isNew' | 'hasNewToken' | 'tokenPlace' | 'taken'
> & {
  readonly version: string
  readonly port: number
  readonly upstreams: readonly Upstream[]
  /** Whoever reads it may see the token. */
  readonly isTerminal: boolean
  /** What this command line is called by whoever copies a line. */
  readonly command: string
}

/** From the sources npm starts it, and `aiload` is no command there. */
function ownCommand(env: Readonly<Record<string, string | undefined>>): string {
  return env['npm_package_name'] === 'aiload' ? 'npm run --silent aiload --' : 'aiload'
}

/** Up to so many upstreams have a line each; more are told by host. */
const MOST_LINES = 8

/**
 * The few lines of a start: where it listens, the upstreams, how it chooses, where the token is. Holds no secret but the
 * token, in the line to try where somebody sits at a terminal.
 */
export function startLines(summary: StartSummary): string[] {
  const { version, config, port, file, isNew, hasNewToken, tokenPlace, taken, upstreams } = summary
  return [
    `AILoad ${version} listens on ${addressText(config.server.host, port)}`,
    ...(taken ? takenLines(taken) : []),
    ...upstreamLines(upstreams),
    ...routeLines(upstreams),
    `strategy ${config.settings.strategy}, affinity ${affinityText(config.settings.affinity)}`,
    ...(isNew
      ? [
          `a first configuration was made: write your keys into ${file}; it is read again when it changes`,
          `or leave that file alone, set the key of a vendor and start again: ${keyVariables.join(', ')}`,
        ]
      : []),
    hasNewToken
      ? `a new token for your clients was made; it is ${tokenPlace}`
      : `the token for your clients is ${tokenPlace}`,
    ...(taken ? tryLines(summary) : []),
  ]
}

function takenLines(taken: readonly VendorKeys[]): string[] {
  const keys = taken.map(({ title, variables }) =>
    variables.length === 0 ? title : `${variables.join(', ')} (${title})`,
  )
  return [
    `no configuration of your own; taken from the environment: ${keys.join(', ')}`,
    ...(taken.length > 1 ? [`AILOAD_VENDORS=${taken[0]?.vendor} would leave the others out`] : []),
  ]
}

/** The page, and a request to copy; a log is no place for the token. */
function tryLines({ config, port, isTerminal, command }: StartSummary): string[] {
  const token = isTerminal ? config.authTokens[0] : `$(${command} token --show)`
  const host = isEveryAddress(config.server.host) ? 'localhost' : config.server.host
  const body = '{"model":"auto","messages":[{"role":"user","content":"Hello"}]}'
  return [
    `watch it in a browser: ${originOf({ host, port })}/`,
    'try it:',
    `  curl ${originOf({ host, port })}/v1/chat/completions -H "Authorization: Bearer ${token}" -H "Content-Type: application/json" -d '${body}'`,
  ]
}

/** As a client on this machine writes it. */
function addressText(host: string, port: number): string {
  if (isEveryAddress(host)) return `http://localhost:${port}/v1 (every address of this machine)`
  return `${originOf({ host, port })}/v1`
}

function upstreamLines(upstreams: readonly Upstream[]): string[] {
  const head = `${countText(upstreams.length, 'upstream')}:`
  if (upstreams.length <= MOST_LINES) return [head, ...upstreams.map(upstreamText)]
  const modelsAt = new Map<string, string[]>()
  for (const { model, root } of upstreams) {
    const { host } = new URL(root)
    modelsAt.set(host, [...(modelsAt.get(host) ?? []), model])
  }
  const hosts = [...modelsAt].slice(0, MOST_LINES)
  const left = modelsAt.size - hosts.length
  return [
    head,
    ...hosts.map(
      ([host, models]) =>
        `  ${countText(models.length, 'model')} at ${host}: ${firstOf([...new Set(models)], MOST_MODELS)}`,
    ),
    ...(left > 0 ? [`  and ${countText(left, 'more host')}`] : []),
  ]
}

const upstreamText = ({ name, model, root, enabled }: Upstream): string =>
  `  ${name}: model ${model} at ${new URL(root).host}${enabled ? '' : ' (not enabled)'}`

/** Models named for a host. */
const MOST_MODELS = 4

function affinityText(affinity: AffinityRule): string {
  if (affinity.kind === 'header') return `header:${affinity.name}`
  if (affinity.kind !== 'ip') return affinity.kind
  return 'ip: one client address means one upstream at a time; with settings.affinity "conversation" each conversation has its own'
}
