/*
 * adapter: one runtime each. What is impure (transport, store, clock, dice, ids) is made here and handed to the app, and
 * each runtime adds what it alone knows: how to listen, where the configuration is, who the client is.
 *
 * gateway      the gateway as a fetch handler, the clock, the log on the console: for every runtime
 * node/        Node: server, transport, files
 * bun          the entry for `bun run`
 * deno         the entry for `deno serve`
 * cloudflare/  the Worker and its Durable Object
 * edge/        edge functions such as those of Vercel
 */
import { createApp } from '../app.ts'
import type { Config } from '../config/config.ts'
import { createDiscovery } from '../relay/discovery.ts'
import type { Recorder } from '../events/recorder.ts'
import type { RequestLog } from '../events/requests.ts'
import { createRuntimeConfig, type AppDeps } from '../http/deps.ts'
import { createBufferedBytes, createWebReceive } from '../http/incoming.ts'
import { toWebResponse, type ToResponse } from '../http/response.ts'
import { instantOf, type Clock } from '../lib/clock.ts'
import type { Report } from '../relay/deps.ts'
import { createQueue } from '../relay/queue.ts'
import { createRetryBudget } from '../relay/retry-budget.ts'
import { createAbilities, type Abilities } from '../state/abilities.ts'
import { createModelLists, type ModelLists } from '../state/model-lists.ts'
import { createTokenUsage, type TokenUsage } from '../state/token-usage.ts'
import type { MemoryStore } from '../state/memory.ts'
import type { MaybePromise, StateStore } from '../state/store.ts'
import { createJsonLines } from '../telemetry/log-json.ts'
import { createLog, fanOut, type LogLevel } from '../telemetry/log.ts'
import { createLive } from '../telemetry/live.ts'
import { createMetrics, type ProcessFigures } from '../telemetry/metrics.ts'
import { createNotices } from '../telemetry/notices.ts'
import { createRecent } from '../telemetry/recent.ts'
import { knownStates, statusOf, type ConfigState, type GatewayStatus } from '../telemetry/status.ts'
import { tokenStatusesOf, usageWithTokens } from '../telemetry/token-status.ts'
import type { Traces, TracesDeps } from '../telemetry/traces.ts'
import { createUsage, isOfClient, type UsageHistory } from '../telemetry/usage.ts'
import { createFetchTransport, type Fetch } from '../transport/fetch.ts'

/** As in package.json; an edge has no file to read it from. */
export const VERSION = '0.1.0'

type CommonDeps = Pick<
  AppDeps,
  'clock' | 'store' | 'send' | 'receive' | 'toResponse' | 'isUtf8' | 'configEditor' | 'page' | 'inChinese'
>

/** What a runtime brings along. */
export interface GatewayPlatform extends CommonDeps {
  readonly log: Report
  /** What the metrics and the status page show, where the store's own snapshots are not the whole truth. */
  readonly look?: StateStore['snapshot']
  /** What upstreams can do, where that is kept; forgotten with the process unless given. */
  readonly abilities?: Abilities
  /** Which models they have listed; the same. */
  readonly modelLists?: ModelLists
  /** What client tokens have used; the same. */
  readonly tokenUsage?: TokenUsage
  /** Sums of usage, where they are kept; the same. */
  readonly usage?: UsageHistory
  /** Whether capacity is released that nobody here tells of. */
  readonly isStoreShared?: boolean
  /** Writes down what choices depend on; the store has to be the one that it records. Nothing is written unless given. */
  readonly recorder?: Recorder
  /** The requests that it remembers. */
  readonly requests?: RequestLog
  /** Told of whom each configuration is: its upstreams and client tokens. */
  readonly expect?: MemoryStore['expect']
  /** Ids of requests; random ones unless given. */
  readonly newId?: () => string
  /** `VERSION` unless given. */
  readonly version?: string
  /** What became of the configuration; nothing unless given. */
  readonly configState?: () => ConfigState
  /** Makes traces, where the runtime can send them by itself; nothing is traced unless given. */
  readonly createTraces?: (deps: Pick<TracesDeps, 'send' | 'clock' | 'report'>) => Traces
  /** For the metrics: of the process, as its runtime tells. */
  readonly processFigures?: () => MaybePromise<ProcessFigures>
}

/** Everything of a gateway that is the same on every runtime, wired to what this one brings along. */
export function createGateway(config: Config, platform: GatewayPlatform) {
  const { clock, store, look = store.snapshot, version = VERSION, isStoreShared } = platform
  const { abilities = createAbilities(), modelLists = createModelLists(), recorder } = platform
  const { tokenUsage = createTokenUsage() } = platform
  const { usage = createUsage(clock.wall) } = platform
  const metrics = createMetrics()
  const recent = createRecent(clock.wall)
  const notices = createNotices(platform.log, clock)
  const shownUsage = usageWithTokens(usage, tokenStatuses)
  const live = createLive({ status, usage: shownUsage, clock })
  const record: Report = (event) => {
    if (event.kind === 'request' && isOfClient(event)) recorder?.ended(event)
  }
  const sums = [metrics.report, recent.report, usage.report, live.report]
  const report = fanOut([platform.log, notices.report, ...sums, record, endTrace])
  const discovery = createDiscovery({ send: platform.send, clock, report, abilities, modelLists }, () => {
    // One that waits for its lists takes their changes along: those of the present one may be gone already.
    if (runtimeConfig.config === latest) serve(latest)
  })
  const traces = platform.createTraces?.({ send: platform.send, clock, report })
  let runtimeConfig = createRuntimeConfig(config)
  /** Upstreams of earlier configurations too: their answers may still be under way. */
  const known = new Set<string>()
  const queue = createQueue(clock, {
    size: () => runtimeConfig.config.settings.queueSize,
    onSize: (waiting) => report({ kind: 'queue', waiting }),
    isShared: isStoreShared,
  })
  const credits = new Map<string, number>()
  const startedAt = clock.wall()
  let isDraining = false
  let latest = config

  /** With what is known of lists of models by now. */
  function serve(next: Config): void {
    runtimeConfig = createRuntimeConfig(next, discovery.listedBy)
    live.review()
    const { upstreams } = runtimeConfig.pools
    const { tokens } = runtimeConfig
    for (const upstream of upstreams) abilities.presume(upstream, clock.now())
    platform.expect?.([...upstreams, ...tokens.map(({ claim }) => ({ claims: { chat: claim } }))])
    traces?.configure(next.settings)
    const ids = upstreams.map(({ id }) => id)
    for (const id of ids) known.add(id)
    if (discovery.isComplete()) abilities.prune(ids)
    recent.prune(ids)
    notices.prune(ids)
    // Behind all that changes what is known: the state is taken down with it.
    recorder?.configured({ settings: next.settings, pools: runtimeConfig.pools, credits })
  }

  /**
   * Serves another configuration from the next request on; those under way finish on the old one. Where lists of models
   * are asked for, it takes effect with their first answers, or after 5 s; then the promise ends.
   */
  function apply(next: Config): Promise<void> | undefined {
    latest = next
    const asking = discovery.expect(next)
    const take = (): void => {
      if (latest === next) announce(next)
    }
    if (asking !== undefined) return asking.then(take)
    take()
    return undefined
  }

  function announce(next: Config): void {
    serve(next)
    const { passthroughUpstream } = runtimeConfig
    for (const { name, expiresAt = Infinity } of next.tokens) {
      if (expiresAt > clock.wall()) continue
      report({ kind: 'notice', level: 'warning', message: `the client token "${name}" has expired` })
    }
    if (passthroughUpstream === undefined || next.settings.passthroughPaths !== 'all') return
    const message = `with settings.passthrough_paths "all" clients reach every path of the account of "${passthroughUpstream.name}" with its key`
    report({ kind: 'notice', level: 'warning', message })
  }
  const ready = apply(config)

  async function status(): Promise<GatewayStatus> {
    const stateOf = await knownStates(runtimeConfig.pools.upstreams, look)
    const configState = platform.configState?.() ?? { warnings: [] }
    const moment = { at: instantOf(clock), waiting: queue.size, isDraining }
    const told = { recent, usage, abilities }
    return statusOf({ runtimeConfig, version, startedAt, configState, stateOf, ...told, ...moment })
  }

  async function tokenStatuses() {
    const { tokens } = runtimeConfig
    const states = await look(tokens.map(({ claim }) => claim.id))
    const known = new Map(tokens.map(({ claim }, index) => [claim.id, states[index]]))
    const stateOf = (scope: string) => known.get(scope)
    return tokenStatusesOf({ tokens, stateOf, usage: tokenUsage, at: instantOf(clock) })
  }

  const app = createApp({
    ...platform,
    abilities,
    tokenUsage,
    tokenStatuses,
    recorder: recorder?.choices,
    random: Math.random,
    report,
    runtimeConfig: () => runtimeConfig,
    traffic: { credits, budget: createRetryBudget(), queue, emptyRuns: new Map() },
    memory: createBufferedBytes(() => runtimeConfig.config.server.maxBufferedBytes),
    newId: platform.newId ?? (() => crypto.randomUUID()),
    trace: traces?.begin,
    isDraining: () => isDraining,
    usage: shownUsage,
    live,
    metricsText: async () =>
      metrics.text({
        ...(await status()),
        ...(await tokenStatuses()),
        processFigures: await platform.processFigures?.(),
        spans: traces?.counts(),
      }),
    status,
  })
  return {
    app,
    apply,
    upstreams: () => runtimeConfig.pools.upstreams,
    /** Lists of models that no timer has asked for; undefined where there are none, which is nearly always. */
    askOverdue: () => discovery.askOverdue(latest.settings.connectTimeoutMs),
    /** Ends when the lists of models were asked for once, after 5 s at most; undefined where there are none. */
    ready,
    /** New requests are refused from now on; those under way go on. */
    drain(): void {
      isDraining = true
      discovery.close()
      live.end()
    },
    /** Sends the spans that wait, for 2 s at most. */
    endTraces: async () => traces?.close(),
    /** Whether `own` knows of answers that are under way. */
    isBusy: (own: Pick<MemoryStore, 'snapshot'>) =>
      own.snapshot([...known]).some((state) => (state?.inFlight ?? 0) > 0),
  }
}

/** The spans of a request that is traced. */
const endTrace: Report = (event) => {
  if (event.kind === 'request') event.trace?.end(event)
}

/** What a fetch runtime brings along. */
export interface EdgePlatform extends Omit<GatewayPlatform, 'send' | 'receive' | 'toResponse'> {
  /** The client's address as the runtime knows it; `env` is what it passed beside the request. */
  readonly peerOf: (request: Request, env: unknown) => string
  /** The runtime's own unless given. */
  readonly fetch?: Fetch
  /** `toWebResponse` unless given. */
  readonly toResponse?: ToResponse
}

/** A gateway on a fetch runtime, whose own fetch asks the upstreams. */
export function createEdgeGateway(config: Config, platform: EdgePlatform) {
  const { clock, peerOf, fetch, toResponse = toWebResponse } = platform
  const send = createFetchTransport(clock.after, fetch)
  const nextTurn = () => new Promise<void>((resolve) => void clock.after(0, resolve))
  const receive = createWebReceive(clock, peerOf, nextTurn)
  const { app, ready, ...gateway } = createGateway(config, { ...platform, send, receive, toResponse })
  return {
    ...gateway,
    async fetch(request: Request, env?: unknown) {
      if (ready !== undefined) {
        await ready
        await gateway.askOverdue()
      }
      return app.fetch(request, env as object | undefined)
    },
  }
}

/** The longest delay that a timer keeps; a longer one would fire at once. */
const LONGEST_MS = 2 ** 31 - 1

/**
 * The clock of any runtime: its start as epoch ms and the monotonic time since, so that setting the wall clock moves
 * nothing. On workerd to be made inside the first request: before that its clocks stand at 0.
 */
export function createClock(after: Clock['after'] = afterTimer): Clock {
  const origin = Date.now() - performance.now()
  return { now: () => origin + performance.now(), wall: () => Date.now(), after }
}

/** For runtimes that have no better way than a timer each. */
function afterTimer(ms: number, task: () => void): () => void {
  const timer = setTimeout(task, Math.max(0, Math.min(ms, LONGEST_MS)))
  return () => clearTimeout(timer)
}

/** A log on the console, one JSON object a line: platforms gather it from there. */
export function consoleLog(level: LogLevel): Report {
  // oxlint-disable-next-line no-console
  return createLog((line) => console.log(line), createJsonLines(Date.now), level)
}
