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
import { createSetup, type Setup } from '../http/deps.ts'
import { createBufferedBytes, createWebArrive } from '../http/incoming.ts'
import { webRespond, type Respond } from '../http/response.ts'
import { instantOf, type Clock, type Instant } from '../lib/clock.ts'
import type { Report } from '../relay/deps.ts'
import { createQueue, type Lookout } from '../relay/queue.ts'
import { createRetryBudget } from '../relay/retry-budget.ts'
import type { MemoryStore } from '../state/memory.ts'
import type { StateStore } from '../state/store.ts'
import { createJsonLines } from '../telemetry/log-json.ts'
import { createLog, fanOut } from '../telemetry/log.ts'
import { createMetrics, type Metrics } from '../telemetry/metrics.ts'
import { createRecent, type Recent } from '../telemetry/recent.ts'
import {
  knownStates,
  statusOf,
  upstreamGauges,
  type GatewayStatus,
  type StatusTask,
} from '../telemetry/status.ts'
import { createFetchTransport, type Fetch } from '../transport/fetch.ts'

/** As in package.json; an edge has no file to read it from. */
export const VERSION = '0.1.0'

/** What a fetch runtime brings along. */
export interface EdgePlatform {
  readonly clock: Clock
  readonly store: StateStore
  /** What the metrics and the status page show, where the store's own snapshots are not the whole truth. */
  readonly look?: StateStore['snapshot']
  /** Given where the store is shared: places become free that no release here tells of. */
  readonly lookout?: Lookout
  /** Makes the log. */
  readonly log: Report
  /** The client's address as the runtime knows it; `env` is what it passed beside the request. */
  readonly peerOf: (request: Request, env: unknown) => string
  /** The runtime's own unless given. */
  readonly fetch?: Fetch
  /** `webRespond` unless given. */
  readonly respond?: Respond
  /** What came of the last reload, where there are any. */
  readonly lastReload?: () => StatusTask['lastReload']
}

/** A gateway as a fetch handler. */
export interface EdgeGateway {
  fetch(request: Request, env?: unknown): Promise<Response>
  /** Serves another configuration from the next request on. */
  apply(config: Config): void
  /** New requests are refused from now on; those under way go on. */
  drain(): void
  /** Whether `store` knows of answers that are under way. */
  isBusy(store: Pick<MemoryStore, 'snapshot'>): boolean
}

/** Everything impure of a gateway on a fetch runtime is made of the platform here, and nowhere else. */
export function createEdgeGateway(config: Config, platform: EdgePlatform): EdgeGateway {
  const {
    clock,
    store,
    look = store.snapshot,
    log,
    peerOf,
    fetch,
    respond = webRespond,
    lookout,
    lastReload,
  } = platform
  const metrics = createMetrics()
  const recent = createRecent(clock.wall)
  const report = fanOut([log, metrics.report, recent.report])
  let setup = createSetup(config)
  /** Upstreams of earlier configurations too: their answers may still be under way. */
  const known = new Set<string>()
  const queue = createQueue(clock, {
    size: () => setup.config.settings.queueSize,
    onSize: (waiting) => report({ kind: 'queue', waiting }),
    ...(lookout && { lookout }),
  })
  const startedAt = clock.wall()
  let isDraining = false

  function apply(next: Config): void {
    setup = createSetup(next)
    const ids = setup.pools.upstreams.map(({ id }) => id)
    for (const id of ids) known.add(id)
    recent.prune(ids)
  }
  apply(config)

  const app = createApp({
    send: createFetchTransport({ after: clock.after, ...(fetch && { fetch }) }),
    store,
    clock,
    draw: Math.random,
    report,
    setup: () => setup,
    traffic: { credits: new Map(), budget: createRetryBudget(), queue },
    arrive: createWebArrive(clock, peerOf),
    respond,
    memory: createBufferedBytes(() => setup.config.server.maxBufferedBytes),
    newId: () => crypto.randomUUID(),
    isDraining: () => isDraining,
    async metricsText() {
      const { upstreams } = setup.pools
      const stateOf = await knownStates(upstreams, { snapshot: look })
      const gauges = upstreamGauges(upstreams, stateOf, clock.now())
      return metrics.text({ version: VERSION, waiting: queue.size, upstreams: gauges })
    },
    async status() {
      const stateOf = await knownStates(setup.pools.upstreams, { snapshot: look })
      return statusOf({
        setup,
        recent,
        stateOf,
        at: instantOf(clock),
        waiting: queue.size,
        isDraining,
        startedAt,
        version: VERSION,
        lastReload: lastReload?.(),
      })
    },
  })
  return {
    fetch: async (request, env) => app.fetch(request, env as object | undefined),
    drain: () => void (isDraining = true),
    apply,
    isBusy: (own) => own.snapshot([...known]).some((state) => (state?.inFlight ?? 0) > 0),
  }
}

/** A running gateway as somebody who asks sees it, at one moment. */
interface GatewayView {
  readonly setup: Setup
  readonly store: StateStore
  readonly recent: Recent
  readonly metrics: Metrics
  readonly at: Instant
  readonly waiting: number
  readonly isDraining: boolean
  /** Wall-clock epoch ms. */
  readonly startedAt: number
  readonly version: string
  readonly lastReload: StatusTask['lastReload']
}

/** What `GET /admin/status` answers. */
export async function statusJsonOf(view: GatewayView): Promise<GatewayStatus> {
  const stateOf = await knownStates(view.setup.pools.upstreams, view.store)
  return statusOf({ ...view, stateOf })
}

/** What `GET /metrics` answers. */
export async function metricsTextOf({
  setup,
  store,
  metrics,
  at,
  waiting,
  version,
}: GatewayView): Promise<string> {
  const stateOf = await knownStates(setup.pools.upstreams, store)
  const upstreams = upstreamGauges(setup.pools.upstreams, stateOf, at.now)
  return metrics.text({ version, waiting, upstreams })
}

/** The longest delay that a timer keeps; a longer one would fire at once. */
const LONGEST_MS = 2 ** 31 - 1

/**
 * The clock of any runtime: its start as epoch ms and the monotonic time since, so that setting the wall clock
 * moves nothing. On workerd to be made inside the first request: before that its clocks stand at 0.
 *
 * @param after calls a task later, where the runtime has a better way than a timer each
 */
export function createClock(after: Clock['after'] = afterTimer): Clock {
  const origin = Date.now() - performance.now()
  return {
    now: () => origin + performance.now(),
    wall: () => Date.now(),
    after,
  }
}

function afterTimer(ms: number, task: () => void): () => void {
  const timer = setTimeout(task, Math.max(0, Math.min(ms, LONGEST_MS)))
  return () => clearTimeout(timer)
}

/** A log on the console, one JSON object a line: platforms gather it from there. */
export function consoleLog(level: 'release' | 'debug'): Report {
  // oxlint-disable-next-line no-console
  return createLog({ write: (line) => console.log(line), lines: createJsonLines(Date.now), level })
}
