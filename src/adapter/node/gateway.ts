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
 * signals         the signals of the process
 */
import { isUtf8 } from 'node:buffer'
import type { Config } from '../../config/config.ts'
import type { Report } from '../../relay/deps.ts'
import { createMemoryStore } from '../../state/memory.ts'
import { createClock, createGateway } from '../gateway.ts'
import type { ReloadResult } from './config-file.ts'
import { createNodeReceive, toNodeResponse } from './messages.ts'
import { listen } from './server.ts'
import { keepState } from './state-file.ts'
import { createTimerWheel } from './timers.ts'
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
  const timers = createTimerWheel()
  const clock = createClock((ms, task) => {
    const timer = timers.set(ms, task)
    return () => timers.clear(timer)
  })
  const store = createMemoryStore({ random: Math.random })
  const { config, report, stateFile, version, lastReload } = options
  const kept = stateFile === undefined ? undefined : keepState({ file: stateFile, store, clock, report })
  const send = createNodeTransport({ timers })
  const gateway = createGateway(config, {
    clock,
    store,
    send,
    receive: createNodeReceive(timers),
    toResponse: toNodeResponse,
    isUtf8,
    log: report,
    expect: store.expect,
    version,
    ...(lastReload && { lastReload }),
  })
  const { host, port } = config.server
  const server = await listen({ app: gateway.app, host, port })
  let { drainTimeoutMs } = config.settings

  return {
    port: server.port,
    apply(next) {
      gateway.apply(next)
      drainTimeoutMs = next.settings.drainTimeoutMs
    },
    async close() {
      gateway.drain()
      const drained = await server.drain(drainTimeoutMs)
      kept?.stop()
      kept?.save()
      await send.close()
      return drained
    },
  }
}
