import { isIPv6 } from 'node:net'
import { join } from 'node:path'
import { openConfigFile, watchConfig, type OpenedConfig, type Reloader } from '../adapter/node/config-file.ts'
import type { NodeGateway } from '../adapter/node/gateway.ts'
import { takeSignals, type Signals } from '../adapter/node/signals.ts'
import { stateFileOf } from '../adapter/node/state-file.ts'
import type { Config } from '../config/config.ts'
import { problemLine } from '../config/problem.ts'
import { upstreamsOf } from '../config/upstreams.ts'
import type { AffinityRule, Upstream } from '../pool/upstream.ts'
import {
  countText,
  listenAt,
  listenFailure,
  listeningAt,
  searchOf,
  type ListenAt,
  type ListenOptions,
  type Located,
} from './arguments.ts'
import { createLogOutput, formatFor, type LogOutput } from './log-output.ts'
import { packageVersion, templateFile } from './package-files.ts'
import { dropRoot, installCrashHandlers, printFailure } from './process.ts'

type Opened = Extract<OpenedConfig, { ok: true }>

/**
 * Serves until a signal ends it, then exits with 0. Before it serves: 2 for a wrong option, 1 for whatever
 * else is in the way, with one line on stderr for each problem.
 */
export async function runStart(options: Located & ListenOptions): Promise<number> {
  const signals = takeSignals()
  const at = listenAt(options)
  if ('misuse' in at) return printFailure([`aiload: ${at.misuse}`], 2)
  const log = createLogOutput(formatFor(process.stdout.isTTY))
  installCrashHandlers({
    log: (message) => log.report({ kind: 'notice', level: 'error', message }),
    flush: log.flush,
  })

  const search = searchOf(options)
  const dropped = dropRoot(process.env.AILOAD_DROP_ROOT, join(search.directory, 'data'))
  if (!dropped.ok) return printFailure([dropped.problem])
  const opened = openConfigFile({ ...search, env: process.env, template: templateFile() })
  if (!opened.ok) {
    return printFailure([
      ...opened.problems.map(problemLine),
      ...opened.warnings.map((warning) => `warning: ${problemLine(warning)}`),
    ])
  }

  log.setLevel(opened.config.server.mode)
  const served = await serve(opened, { at, log, stateFile: stateFileOf(opened.file, search.directory) })
  if ('failure' in served) return printFailure([served.failure])
  if (dropped.warning !== undefined)
    log.report({ kind: 'notice', level: 'warning', message: dropped.warning })
  return serveUntilSignal(served, { signals, log })
}

interface ServeOptions {
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
  { at, log, stateFile }: ServeOptions,
): Promise<Served | { readonly failure: string }> {
  // Loaded only now: a broken configuration should be told at once.
  const { startNodeGateway } = await import('../adapter/node/gateway.ts')
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

interface ShutdownDeps {
  readonly signals: Signals
  readonly log: LogOutput
}

/** Waits for a signal, lets open streams finish, and ends the process. */
async function serveUntilSignal(
  { gateway, reloader }: Served,
  { signals, log }: ShutdownDeps,
): Promise<never> {
  signals.onHangUp(reloader.reload)
  const signal = await signals.toEnd
  const notice = (message: string): void => log.report({ kind: 'notice', level: 'info', message })
  reloader.stop()
  notice(`stopping after ${signal}: open answers may finish, a second signal ends at once`)
  log.flush()
  const { cut } = await gateway.close()
  notice(cut === 0 ? 'stopped' : `stopped; ${countText(cut, 'open answer')} had to be cut`)
  log.flush()
  // Kept-alive connections of a library must not hold the process.
  process.exit(0)
}

/** What a start has to tell. */
interface StartSummary {
  readonly version: string
  readonly config: Config
  /** The port that was really taken. */
  readonly port: number
  /** The configuration file. */
  readonly file: string
  readonly isNew: boolean
  readonly hasNewToken: boolean
}

/** Up to so many upstreams have a line each; more are told by host. */
const MOST_LINES = 8

/** The few lines of a start: where it listens, the upstreams, how it chooses, where the token is. Holds no secret. */
export function startLines({ version, config, port, file, isNew, hasNewToken }: StartSummary): string[] {
  return [
    `AILoad ${version} listens on ${addressText(config.server.host, port)}`,
    ...upstreamLines(upstreamsOf(config)),
    `strategy ${config.settings.strategy}, affinity ${affinityText(config.settings.affinity)}`,
    ...(isNew
      ? [`a first configuration was made: write your keys into ${file}; it is read again when it changes`]
      : []),
    `${hasNewToken ? 'a new token for your clients was made; it' : 'the token for your clients'} is "auth_token" in ${file}`,
  ]
}

/** As a client on this machine writes it. */
function addressText(host: string, port: number): string {
  if (host === '0.0.0.0' || host === '::')
    return `http://localhost:${port}/v1 (every address of this machine)`
  return `http://${isIPv6(host) ? `[${host}]` : host}:${port}/v1`
}

function upstreamLines(upstreams: readonly Upstream[]): string[] {
  const head = countText(upstreams.length, 'upstream')
  if (upstreams.length <= MOST_LINES)
    return [`${head}:`, ...upstreams.map((upstream) => `  ${upstreamText(upstream)}`)]
  const byHost = groupByHost(upstreams)
  const hosts = [...byHost].slice(0, MOST_LINES)
  const left = byHost.size - hosts.length
  return [
    `${head}:`,
    ...hosts.map(([host, those]) => `  ${those.length} at ${host}: ${modelsText(those)}`),
    ...(left > 0 ? [`  and ${countText(left, 'more host')}`] : []),
  ]
}

function upstreamText({ name, model, root, enabled }: Upstream): string {
  return `${name}: model ${model} at ${new URL(root).host}${enabled ? '' : ' (not enabled)'}`
}

function groupByHost(upstreams: readonly Upstream[]): Map<string, Upstream[]> {
  const byHost = new Map<string, Upstream[]>()
  for (const upstream of upstreams) {
    const { host } = new URL(upstream.root)
    byHost.set(host, [...(byHost.get(host) ?? []), upstream])
  }
  return byHost
}

/** Models named for a host. */
const MOST_MODELS = 4

function modelsText(upstreams: readonly Upstream[]): string {
  const models = [...new Set(upstreams.map(({ model }) => model))]
  const left = models.length - MOST_MODELS
  return models.slice(0, MOST_MODELS).join(', ') + (left > 0 ? ` and ${left} more` : '')
}

function affinityText(affinity: AffinityRule): string {
  if (affinity.kind === 'header') return `header:${affinity.name}`
  if (affinity.kind !== 'ip') return affinity.kind
  return 'ip: one client address means one upstream at a time; with settings.affinity "conversation" each conversation has its own'
}
