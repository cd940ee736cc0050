import { isIPv6 } from 'node:net'
import { join } from 'node:path'
import { openConfigFile, watchConfig, type OpenedConfig, type Reloader } from '../adapter/node/config-file.ts'
import { takeSignals } from '../adapter/node/signals.ts'
import { stateFileOf } from '../adapter/node/state-file.ts'
import { problemLine } from '../config/problem.ts'
import { upstreamsOf, type Config } from '../config/config.ts'
import type { AffinityRule, Upstream } from '../pool/upstream.ts'
import { countText, listenFailure, searchOf, type Command } from './arguments.ts'
import { levelOfMode, logLevelIn } from '../telemetry/log.ts'
import { createLogOutput, usualFormat } from './log-output.ts'
import { packageVersion, templateFile } from './package-files.ts'
import { dropRoot, installCrashHandlers, printFailure } from './process.ts'

/** Serves until a signal ends it, then exits with 0. Gives 1 for what is in the way before, with a line on stderr for each problem. */
export async function runStart({ config: given, port, host, log: format }: Command): Promise<number> {
  const { level, problem } = logLevelIn(process.env)
  if (problem !== undefined) {
    process.stderr.write(`aiload: ${problem}\n`)
    return 2
  }
  const signals = takeSignals()
  const log = createLogOutput(format ?? usualFormat())
  installCrashHandlers(log)

  const search = searchOf(given)
  const dropped = dropRoot(process.env.AILOAD_DROP_ROOT, join(search.directory, 'data'))
  if (dropped.problem !== undefined) return printFailure(dropped.problem)
  const opened = openConfigFile({ ...search, env: process.env, template: templateFile() })
  const warnings = opened.warnings.map(problemLine)
  if (!opened.ok)
    return printFailure(...opened.problems.map(problemLine), ...warnings.map((line) => `warning: ${line}`))

  const listeningAt = ({ server, ...config }: Config): Config => ({
    ...config,
    server: { ...server, port: port ?? server.port, host: host ?? server.host },
  })
  const config = listeningAt(opened.config)
  log.setLevel(level ?? levelOfMode(config.server.mode))
  // Loaded only now: a broken configuration should be told at once.
  const { startNodeGateway } = await import('../adapter/node/gateway.ts')
  const stateFile = stateFileOf(opened.file, search.directory)
  let reloader: Reloader | undefined
  const configState = () => reloader?.state() ?? { warnings }
  const gateway = await startNodeGateway(config, { log: log.report, stateFile, configState }).catch(
    (error: unknown) => listenFailure(error, config.server),
  )
  if (typeof gateway === 'string') return printFailure(gateway)
  log.say(startLines({ ...opened, config, version: packageVersion(), port: gateway.port }))
  for (const warning of warnings) log.notice('warning', warning)
  log.flush()
  reloader = watchConfig({
    ...opened,
    env: process.env,
    report: log.report,
    apply(next) {
      log.setLevel(level ?? levelOfMode(next.server.mode))
      gateway.apply(listeningAt(next))
    },
  })
  if (dropped.warning !== undefined) log.notice('warning', dropped.warning)

  signals.onHangUp(reloader.reload)
  const signal = await signals.toEnd
  reloader.stop()
  log.notice('info', `stopping after ${signal}: open answers may finish, a second signal ends at once`)
  log.flush()
  const { cut } = await gateway.close()
  log.notice('info', cut === 0 ? 'stopped' : `stopped; ${countText(cut, 'open answer')} had to be cut`)
  log.flush()
  // Kept-alive connections of a library must not hold the process.
  process.exit(0)
}

/** What a start has to tell; `port` is the one that was really taken. */
type StartSummary = Pick<Extract<OpenedConfig, { ok: true }>, 'config' | 'file' | 'isNew' | 'hasNewToken'> & {
  readonly version: string
  readonly port: number
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
    ...hosts.map(([host, models]) => `  ${models.length} at ${host}: ${modelsText(models)}`),
    ...(left > 0 ? [`  and ${countText(left, 'more host')}`] : []),
  ]
}

const upstreamText = ({ name, model, root, enabled }: Upstream): string =>
  `  ${name}: model ${model} at ${new URL(root).host}${enabled ? '' : ' (not enabled)'}`

/** Models named for a host. */
const MOST_MODELS = 4

function modelsText(all: readonly string[]): string {
  const models = [...new Set(all)]
  const left = models.length - MOST_MODELS
  return models.slice(0, MOST_MODELS).join(', ') + (left > 0 ? ` and ${left} more` : '')
}

function affinityText(affinity: AffinityRule): string {
  if (affinity.kind === 'header') return `header:${affinity.name}`
  if (affinity.kind !== 'ip') return affinity.kind
  return 'ip: one client address means one upstream at a time; with settings.affinity "conversation" each conversation has its own'
}
