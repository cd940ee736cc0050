import { type Send, TransportError } from '../relay/transport.ts'
import { createAlarms, type Alarms } from './node-alarms.ts'
import { createConnect } from './node-transport-connect.ts'
import { createConnections, type IdleLimits } from './node-transport-connections.ts'
import { exchange } from './node-transport-exchange.ts'
import { createTargets } from './node-transport-request.ts'

/** All have defaults that suit a gateway. */
export interface NodeTransportOptions extends Partial<IdleLimits> {
  /** Trusted certificates (PEM) in place of the runtime's own. */
  readonly ca?: string
  /** Those of the process, where it has some already. */
  readonly alarms?: Alarms
}

/** `Send` over the connections that it keeps. */
export type NodeTransport = Send & {
  /** Closes idle connections now and each busy one with the end of its answer; aborts nothing. */
  close(): Promise<void>
}

/** Vendors keep connections for 5 s and more; one that closes earlier costs a retry nobody notices. */
const defaultIdleMs = 4000
const defaultLongestIdleMs = 30_000

/** As many as a burst leaves behind, at some 20 KB each. */
const defaultIdlePerOrigin = 256

/**
 * The transport for Node: HTTP/1.1 on sockets of its own (`bench/transport.ts` sets it beside the built-in fetch).
 *
 * Any number of requests at once, each with a connection of its own; the one used last is used first.
 * Informational answers are skipped.
 */
export function createNodeTransport(options: NodeTransportOptions = {}): NodeTransport {
  const {
    idleMs = defaultIdleMs,
    longestIdleMs = defaultLongestIdleMs,
    idlePerOrigin = defaultIdlePerOrigin,
    alarms = createAlarms(),
  } = options
  const connections = createConnections(createConnect(options.ca), { idleMs, longestIdleMs, idlePerOrigin })
  const targetOf = createTargets()

  const send: Send = (request, signal) => {
    const target = targetOf(request.url)
    if (target === undefined)
      return Promise.reject(new TransportError('not-sent', 'the URL is no http or https URL'))
    return exchange({ request, target, signal, connections, alarms })
  }

  return Object.assign(send, {
    close: async () => connections.close(),
  })
}
