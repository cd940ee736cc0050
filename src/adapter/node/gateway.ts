/*
 * adapter/node: what runs on Node alone, and what Bun and Deno take over, since they speak Node's API for files.
 *
 * gateway         the gateway in a process of Node; all that is impure there is made here
 * server          the clients' side: Node's HTTP server in front of the app
 * messages        a body's way in and an answer's way out, between Node's messages and the app
 * transport       the upstreams' side: undici's pools behind the contract of `transport/transport.ts`
 * transport-body  the body of an answer: decoded, gathered, or handed over to be read
 * decoder         content codings, of answers and of requests
 * connection      one connection to an upstream, and what its end means
 * sockets         how connections are opened, what they trust, and what it means that one can't be
 * tunnel          the way through a proxy
 * timers          timers for many long waits
 * web-gateway     the gateway on Bun and Deno, which have fetch and files
 * open-config     what a start serves: a file, or the keys in the environment
 * config-file     the configuration file: found, read, watched
 * config-editor   its edits while it is served
 * without-file    a configuration of the keys in the environment, and its token
 * authority-file  certificates that the configuration names
 * state-file      state across restarts
 * process-figures what the process uses, for the metrics
 * log-file        the log in a file, put aside by its size
 * kept-usage      sums of usage, as they stand in the state file
 * event-file      what happened, across restarts
 * page-file       the page at `/`, as it was built
 * replace-file    replaces a file so that no reader sees half of it
 * signals         the signals of the process
 */
import { isUtf8 } from 'node:buffer'
import { randomBytes } from 'node:crypto'
import type { Config } from '../../config/config.ts'
import { instantOf, type Clock } from '../../lib/clock.ts'
import type { Report } from '../../relay/deps.ts'
import { createMemoryStore } from '../../state/memory.ts'
import { createTraces } from '../../telemetry/traces.ts'
import { createUsage } from '../../telemetry/usage.ts'
import { createClock, createGateway, VERSION, type GatewayPlatform } from '../gateway.ts'
import { eventFileOf, keepEvents } from './event-file.ts'
import { createNodeReceive, toNodeResponse } from './messages.ts'
import { createProcessFigures, descriptorLimit } from './process-figures.ts'
import { listen } from './server.ts'
import { keepState } from './state-file.ts'
import { createTimerWheel } from './timers.ts'
import { createNodeTransport } from './transport.ts'

interface NodeGatewayOptions extends Pick<
  GatewayPlatform,
  'log' | 'configState' | 'configEditor' | 'page' | 'inChinese'
> {
  /** Where state is kept across restarts; absent = nowhere. */
  readonly stateFile?: string
}

/** Everything impure of a gateway on Node is made here, and nowhere else. */
export async function startNodeGateway(config: Config, { stateFile, ...told }: NodeGatewayOptions) {
  const timers = createTimerWheel()
  const clock = createClock((ms, task) => {
    const timer = timers.set(ms, task)
    return () => timers.clear(timer)
  })
  const usage = createUsage(clock.wall)
  let { events: eventLimits } = config.settings
  const events = keepEvents({
    file: stateFile && eventFileOf(stateFile),
    limits: () => eventLimits,
    report: told.log,
    random: Math.random,
  })
  const memory = createMemoryStore({ random: events.recorder.random })
  const store = events.recorder.recordedStore(memory, () => instantOf(clock))
  const kept =
    stateFile === undefined ? undefined : keepState(stateFile, store, { clock, report: told.log, usage })
  const configState = () => ({ warnings: [], ...told.configState?.(), stateProblem: kept?.problem() })
  const send = createNodeTransport({ timers })
  const tracing = { env: process.env, randomBytes, version: VERSION }
  const gateway = createGateway(config, {
    clock,
    store,
    send,
    receive: createNodeReceive(timers),
    toResponse: toNodeResponse,
    isUtf8,
    expect: store.expect,
    abilities: store.abilities,
    modelLists: store.modelLists,
    tokenUsage: store.tokenUsage,
    processFigures: createProcessFigures(),
    createTraces: (deps) => createTraces({ ...deps, ...tracing }),
    usage,
    recorder: events.recorder,
    requests: events.requests,
    ...told,
    configState,
  })
  await gateway.ready
  const server = await listen(gateway.app, config.server, { onRefused: createRefusalNotice(clock, told.log) })
  server.limitConnections(config.server.maxConnections ?? mostClients())
  let { drainTimeoutMs } = config.settings

  return {
    port: server.port,
    /** Those of the configuration in force, and what lists of models add to it. */
    upstreams: gateway.upstreams,
    /** Serves another configuration from the next request on; those under way finish on the old one. */
    apply(next: Config): void {
      void gateway.apply(next)
      server.limitConnections(next.server.maxConnections ?? mostClients())
      drainTimeoutMs = next.settings.drainTimeoutMs
      eventLimits = next.settings.events
    },
    /** Ends as told by a signal: open streams finish within `settings.drain_timeout`, then everything closes. */
    async close(): Promise<{ readonly cut: number }> {
      gateway.drain()
      const drained = await server.drain(drainTimeoutMs)
      await gateway.endTraces()
      await kept?.close()
      await events.close()
      await send.close()
      return drained
    },
  }
}

const NOTICE_EVERY_MS = 60_000

/** Counts refused connections, and tells of them once a minute at most. */
function createRefusalNotice({ now }: Clock, report: Report): (mostConnections: number) => void {
  let refused = 0
  let toldAt = -Infinity
  return (mostConnections) => {
    refused += 1
    if (now() - toldAt < NOTICE_EVERY_MS) return
    const message = `server.max_connections (${mostConnections}) is reached; connections refused: ${refused}`
    report({ kind: 'notice', level: 'warning', message })
    refused = 0
    toldAt = now()
  }
}

/** What the process needs for files, pipes and clients that are told to come back. */
const OWN_DESCRIPTORS = 48

/** As many clients as may all have a connection to an upstream of their own. */
function mostClients(): number {
  return Math.max(1, Math.floor((descriptorLimit() - OWN_DESCRIPTORS) / 2))
}
