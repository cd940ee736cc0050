/**
 * `Send` on Node: undici's pools write, frame and parse HTTP/1.1. What is ours is around them: the clocks, abort, what
 * a failure means, when a dead connection is replaced. `connection.ts` has how to connect, `tunnel.ts` the same through a
 * proxy, `transport-body.ts` what becomes of the body of an answer.
 */
import type { IncomingHttpHeaders } from 'node:http'
import type { Socket } from 'node:net'
import type { Dispatcher } from 'undici'
import { kClients } from 'undici/lib/dispatcher/pool-base.js'
import Pool from 'undici/lib/dispatcher/pool.js'
import { parseUrl } from '../../config/rules.ts'
import type { AbortSignalLike } from '../../lib/abort.ts'
import { emptyBag, isBodiless, type HeaderBag } from '../../lib/headers.ts'
import { type Send, TransportError, type UpstreamRequest } from '../../transport/transport.ts'
import type { UpstreamResponse } from '../../transport/transport.ts'
import type { UpstreamRoute } from '../../pool/route.ts'
import { transportErrorOf, UpstreamConnection } from './connection.ts'
import type { Call, CallOptions } from './connection.ts'
import { aborted, createSockets, type Sockets } from './sockets.ts'
import { createTimerWheel, createIdleTimeout, type TimerWheel } from './timers.ts'
import type { BodySink, BodySource } from './decoder.ts'
import { receiveBody } from './transport-body.ts'

/** `Send` over the connections that it keeps. */
export type NodeTransport = Send & {
  /** Closes idle connections now and each busy one with the end of its answer; aborts nothing. */
  close(): Promise<void>
}

/**
 * A connection that dies later than this after the request was written was not dead from the start: the upstream may
 * have worked on the request, and to send it again might be paid for twice.
 */
const STALE_WITHIN_MS = 200
/** Up to here one copy of the parts of a body costs less than to write them one by one (`bench/transport.ts`). */
const COPY_LIMIT_BYTES = 16 * 1024
/** Larger bodies are handed to the socket in slices of this size, so that its progress shows. */
const SLICE_BYTES = 256 * 1024
const TARGET_LIMIT = 1_000

/**
 * The transport for Node, one pool of connections for each origin and way to it.
 *
 * Any number of requests at once, each with a connection of its own. Informational answers are skipped. A pool is
 * forgotten with its last connection.
 *
 * @param options.ca trusted certificates (PEM) in place of the runtime's own
 * @param options.timers those of the process, where it has some already
 */
export function createNodeTransport(options: { ca?: string; timers?: TimerWheel } = {}): NodeTransport {
  const { ca, timers = createTimerWheel() } = options
  const straight = createSockets(ca)
  const routed = new Map<string, Sockets>()
  const targets = new Map<string, Target>()
  const pools = new Map<string, Pool>()

  function socketsOf(route: UpstreamRoute | undefined): Sockets {
    if (route === undefined) return straight
    let sockets = routed.get(route.key)
    if (sockets !== undefined) return sockets
    if (routed.size >= TARGET_LIMIT) routed.clear()
    routed.set(route.key, (sockets = createSockets(ca, route)))
    return sockets
  }

  /** @param key tells apart what must not share a connection */
  function poolOf(key: string, fresh: () => UpstreamConnection, origin: string): Pool {
    const known = pools.get(key)
    if (known !== undefined) return known
    const pool = new Pool(origin, { factory: fresh })
    const clients = (pool as unknown as { readonly [kClients]: UpstreamConnection[] })[kClients]
    const forgetUnused = (): void => {
      if (clients.every(({ isUnused }) => isUnused) && pools.get(key) === pool) pools.delete(key)
    }
    // Undici would keep the client, for ever and in front of those that are connected.
    pool.on('disconnect', (_origin, [, connection]) => {
      const at = clients.findIndex((one) => one === connection && one.isUnused)
      if (at >= 0) clients.splice(at, 1)
      forgetUnused()
    })
    pool.on('connectionError', forgetUnused)
    pools.set(key, pool)
    return pool
  }

  /** Splits URLs and remembers the last thousand or so, since a gateway calls the same few again and again. */
  function targetOf({ url, route }: UpstreamRequest): Target | undefined {
    const key = route === undefined ? url : `${route.key} ${url}`
    const known = targets.get(key)
    if (known !== undefined) return known
    const parsed = parseUrl(url)
    if (parsed === undefined || !/^https?:$/.test(parsed.protocol)) return undefined
    const { origin, pathname, search } = parsed
    const written = url.slice(origin.length)
    const fresh = (): UpstreamConnection => new UpstreamConnection(origin, socketsOf(route))
    const poolKey = route === undefined ? origin : `${route.key} ${origin}`
    const target: Target = {
      // As it was written, where HTTP can carry that: parsed, `'` and some others become escapes.
      path: url.startsWith(`${origin}/`) && IS_TARGET.test(written) ? written : pathname + search,
      mayBeTls: parsed.protocol === 'http:',
      pool: () => poolOf(poolKey, fresh, origin),
      fresh,
      timers,
    }
    if (targets.size >= TARGET_LIMIT) targets.clear()
    targets.set(key, target)
    return target
  }

  const send: Send = (request, signal) => {
    const target = targetOf(request)
    if (target === undefined) return Promise.reject(new TransportError('not-sent', 'no http or https URL'))
    return signal.aborted ? Promise.reject(aborted()) : exchange(request, signal, target)
  }

  return Object.assign(send, {
    async close() {
      for (const pool of pools.values()) pool.close(() => {})
      pools.clear()
    },
  })
}

const IS_TARGET = /^[\x21\x22\x24-\x7e\x80-\xff]+$/

/** Where a request goes, and what it goes with. */
interface Target {
  /** With the query. */
  readonly path: string
  /** Plain HTTP is spoken to it, and no answer has come yet. */
  mayBeTls: boolean
  readonly pool: () => Pool
  /** A connection beside the pool. */
  readonly fresh: () => UpstreamConnection
  readonly timers: TimerWheel
}

/** Sends a request and settles as `Send` says. */
function exchange(
  request: UpstreamRequest,
  signal: AbortSignalLike,
  target: Target,
): Promise<UpstreamResponse> {
  return new Promise((resolve, reject) => {
    const { connectTimeoutMs, timeoutMs } = request
    const { path, pool, fresh, timers } = target
    let sink: BodySink | undefined
    /** How it was when the request went out over a socket that had served before. */
    let reuse: { readonly socket: Socket; readonly bytesRead: number; readonly at: number } | undefined
    let isWritten = false
    const idleTimeout = createIdleTimeout(timers, timeoutMs, () =>
      fail(new TransportError('timeout', `silence for ${timeoutMs} ms`, `silent for ${timeoutMs / 1000} s`)),
    )
    const taken = (): void => {
      idleTimeout.refresh()
      request.onTaken?.()
    }
    const call: Call = { connectTimeoutMs, taken, connection: undefined, isOver: false }

    function finish(): void {
      call.isOver = true
      idleTimeout.stop()
      signal.removeEventListener('abort', onAbort)
    }
    function cut(): void {
      if (call.isOver) return
      finish()
      call.connection?.cut()
    }
    function fail(error: TransportError): void {
      cut()
      if (sink === undefined) reject(error)
      else sink.fail(error)
    }
    const onAbort = (): void => fail(aborted())
    const source: BodySource = {
      pause: () => call.isOver || call.connection?.hold(),
      resume: () => call.isOver || call.connection?.resume(),
      cut,
    }
    /** A kept connection broke before the request was written, or turns out to have been dead by then. */
    function isUnsent(): boolean {
      if (!isWritten) return call.connection?.isReused === true
      return (
        reuse !== undefined &&
        request.mayResend !== false &&
        reuse.socket.bytesRead === reuse.bytesRead &&
        performance.now() - reuse.at < STALE_WITHIN_MS
      )
    }

    const options = outgoing(request, path, call)
    const handler: Dispatcher.DispatchHandler = {
      onRequestStart() {
        const { connection } = call
        isWritten = true
        idleTimeout.arm()
        const socket = connection?.isReused ? connection.socket : undefined
        reuse = socket && { socket, bytesRead: socket.bytesRead, at: performance.now() }
        if (Array.isArray(options.body)) connection?.writeTogether()
      },
      onResponseStart(_controller, status, parsed) {
        if (call.isOver || status < 200) return
        target.mayBeTls = false
        const headers = headerBagFrom(parsed)
        if (isBodiless(request.method, status) || headers['content-length'] === '0') {
          // Undici takes the length that a 304 announces for one that it has to keep.
          finish()
          return resolve({ status, headers, body: new Uint8Array(0) })
        }
        const isEndSure = 'content-length' in headers || 'transfer-encoding' in headers
        sink = receiveBody({ request, status, headers, isEndSure, source, idleTimeout, resolve, reject })
      },
      onResponseData(_controller, chunk) {
        if (call.isOver) return
        idleTimeout.refresh()
        sink?.data(chunk)
      },
      onResponseEnd() {
        const { connection } = call
        // A body without a length ends with its connection, and undici takes a reset for that too.
        if (connection?.isErrored)
          return fail(new TransportError('broken', 'the connection was reset', 'connection reset'))
        connection?.release()
        if (call.isOver) return
        finish()
        sink?.end()
      },
      onResponseError(_controller, error) {
        if (call.isOver) return
        if (!isUnsent()) return fail(transportErrorOf(error, { ...target, ...call }))
        reuse = undefined
        const connection = fresh()
        connection.dispatch(options, handler)
        connection.close(() => {})
      },
    }
    signal.addEventListener('abort', onAbort)
    // What has come over an idle connection by now is no answer to this request (GHSA-35p6-xmwp-9g52). Undici writes in
    // the next check phase: when it is asked in one, there is a poll phase before that, in which it finds such bytes.
    setImmediate(() => call.isOver || pool().dispatch(options, handler))
  })
}

/** A request as undici takes it. A large body goes in slices and is not copied. */
function outgoing({ method, headers, body = [] }: UpstreamRequest, path: string, call: Call): CallOptions {
  let bytes = 0
  for (const part of body) bytes += part.byteLength
  const [first] = body
  if (first === undefined || bytes === 0) return { method, path, headers, body: null, call }
  if (body.length === 1 && bytes <= SLICE_BYTES) return { method, path, headers, body: first, call }
  if (bytes <= COPY_LIMIT_BYTES) return { method, path, headers, body: Buffer.concat(body, bytes), call }
  const slices: Uint8Array[] = []
  for (const part of body)
    for (let at = 0; at < part.byteLength; at += SLICE_BYTES) slices.push(part.subarray(at, at + SLICE_BYTES))
  // Undici knows the length of a single array of bytes only.
  const sized = { ...headers, 'content-length': String(bytes) }
  return { method, path, headers: sized, body: slices as never, call }
}

function headerBagFrom(headers: IncomingHttpHeaders): HeaderBag {
  const bag = emptyBag()
  for (const name of Object.keys(headers)) {
    const value = headers[name]
    if (value !== undefined) bag[name] = typeof value === 'string' ? value : value.join(', ')
  }
  return bag
}
