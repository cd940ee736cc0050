/*
 * adapter/node: what runs on Node alone, and what Bun and Deno take over, since they speak Node's API for files.
 *
 * gateway         the gateway in a process of Node; all that is impure there is made here
 * server          the clients' side: Node's HTTP server in front of the app
 * messages        a body's way in and an answer's way out, between Node's messages and the app
 * transport       the upstreams' side: undici's pools behind the contract of `transport/transport.ts`
 * transport-body  the body of an answer: decoded, gathered, or handed over to be read
 * connection      one connection to an upstream, and what its errors mean
 * timers          timers for many long waits
 * web-gateway     the gateway on Bun and Deno, which have fetch and files
 * config-file     the configuration file: found, opened, watched
 * state-file      state across restarts
 * replace-file    replaces a file so that no reader sees half of it
 * log-sink        the standard output in batches
 */
import { randomUUID } from 'node:crypto'
import { createApp } from '../../app.ts'
import type { Config } from '../../config/config.ts'
import { createSetup } from '../../http/deps.ts'
import { createBufferedBytes } from '../../http/incoming.ts'
import { instantOf } from '../../lib/clock.ts'
import type { GatewayEvent, Report } from '../../relay/deps.ts'
import { createQueue } from '../../relay/queue.ts'
import { createRetryBudget } from '../../relay/retry-budget.ts'
import { createMemoryStore } from '../../state/memory.ts'
import { fanOut } from '../../telemetry/log.ts'
import { createMetrics } from '../../telemetry/metrics.ts'
import { createRecent } from '../../telemetry/recent.ts'
import { createClock, metricsTextOf, statusJsonOf } from '../gateway.ts'
import type { ReloadResult } from './config-file.ts'
import { createNodeArrive, nodeRespond } from './messages.ts'
import { listen } from './server.ts'
import { keepState } from './state-file.ts'
import { createAlarms } from './timers.ts'
import { createNodeTransport } from './transport.ts'

/** A gateway in this process. */
export interface NodeGateway {
  readonly port: number
  /** Serves another configuration from the next request on; those under way finish on the old one. */
  apply(config: Config): void
  /** Ends as told by a signal: open streams finish within `settings.drain_timeout`, then everything closes. */
  close(): Promise<{ readonly cut: number }>
}

/** What a gateway is made of on Node. */
interface NodeGatewayOptions {
  readonly config: Config
  /** Takes every event; makes the log. */
  readonly report: Report
  readonly version: string
  /** Where state is kept across restarts; absent = nowhere. */
  readonly stateFile?: string
  /** What came of the last reload, for the status page. */
  readonly lastReload?: () => ReloadResult | undefined
}

/** Everything impure of a gateway on Node is made here, and nowhere else. */
export async function startNodeGateway(options: NodeGatewayOptions): Promise<NodeGateway> {
  const alarms = createAlarms()
  const clock = createClock((ms, task) => {
    const alarm = alarms.set(ms, task)
    return () => alarms.clear(alarm)
  })
  const metrics = createMetrics()
  const recent = createRecent(clock.wall)
  const report = fanOut([options.report, metrics.report, recent.report])
  const store = createMemoryStore({ draw: Math.random })
  const kept =
    options.stateFile === undefined ? undefined : keepState({ file: options.stateFile, store, clock, report })
  const send = createNodeTransport({ alarms })
  let setup = createSetup(options.config)
  store.expect(setup.pools.upstreams)
  let isDraining = false
  const onSize = (waiting: number): void => report({ kind: 'queue', waiting } satisfies GatewayEvent)
  const queue = createQueue(clock, { size: () => setup.config.settings.queueSize, onSize })
  const startedAt = clock.wall()
  const view = () => ({
    setup,
    store,
    recent,
    metrics,
    at: instantOf(clock),
    waiting: queue.size,
    isDraining,
    startedAt,
    version: options.version,
    lastReload: options.lastReload?.(),
  })

  const app = createApp({
    send,
    store,
    clock,
    draw: Math.random,
    report,
    setup: () => setup,
    traffic: { credits: new Map(), budget: createRetryBudget(), queue },
    arrive: createNodeArrive(alarms),
    respond: nodeRespond,
    memory: createBufferedBytes(() => setup.config.server.maxBufferedBytes),
    newId: randomUUID,
    isDraining: () => isDraining,
    metricsText: () => metricsTextOf(view()),
    status: () => statusJsonOf(view()),
  })
  const { host, port } = options.config.server
  const server = await listen({ app, host, port })

  return {
    port: server.port,
    apply(config) {
      setup = createSetup(config)
      store.expect(setup.pools.upstreams)
      recent.prune(setup.pools.upstreams.map(({ id }) => id))
    },
    async close() {
      isDraining = true
      const drained = await server.drain(setup.config.settings.drainTimeoutMs)
      kept?.stop()
      kept?.save()
      await send.close()
      return drained
    },
  }
}
