import { createApp } from '../app.ts'
import type { Config } from '../config/config.ts'
import { createBufferedBytes } from '../http/arrival.ts'
import { webRespond, type Respond } from '../http/respond.ts'
import { createSetup } from '../http/setup.ts'
import { createWebArrive } from '../http/web-arrival.ts'
import { instantOf, type Clock } from '../relay/clock.ts'
import type { Report } from '../relay/event.ts'
import { createFetchTransport, type Fetch } from '../relay/fetch-transport.ts'
import type { Lookout } from '../relay/lookout.ts'
import { createQueue } from '../relay/queue.ts'
import { createRetryBudget } from '../relay/retry-budget.ts'
import type { MemoryStore } from '../state/memory.ts'
import type { StateStore } from '../state/store.ts'
import { upstreamGauges } from '../telemetry/condition.ts'
import { fanOut } from '../telemetry/fan-out.ts'
import { knownStates } from '../telemetry/known-states.ts'
import { createMetrics } from '../telemetry/metrics.ts'
import { createRecent } from '../telemetry/recent.ts'
import { statusOf, type StatusTask } from '../telemetry/status.ts'

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
