/**
 * `Send` on Node: undici's pools write, frame and parse HTTP/1.1. What is ours is around them: how to connect, the
 * clocks, what a failure means, when a dead connection is replaced. `node-transport-body.ts` has what becomes of the
 * body of an answer.
 */
import { EventEmitter } from 'node:events'
import type { IncomingHttpHeaders } from 'node:http'
import type net from 'node:net'
import type { Dispatcher } from 'undici'
import Client from 'undici/lib/dispatcher/client.js'
import { kClients } from 'undici/lib/dispatcher/pool-base.js'
import Pool from 'undici/lib/dispatcher/pool.js'
import { parseUrl } from '../../config/rules.ts'
import type { AbortSignalLike } from '../../lib/abort.ts'
import { emptyBag, type HeaderBag } from '../../lib/headers.ts'
import {
  type Send,
  TransportError,
  type UpstreamRequest,
  type UpstreamResponse,
} from '../../transport/transport.ts'
import { createAlarms, createSilence, type Alarms } from './timers.ts'
import { causeOf, codeOf, createConnect, type Address, type Connect } from './connect.ts'
import { type BodySink, receiveBody } from './transport-body.ts'

/** All have defaults that suit a gateway. */
interface NodeTransportOptions {
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

const CLIENT_OPTIONS = {
  pipelining: 1,
  // The transport has its own clocks, which know whether anybody waits.
  headersTimeout: 0,
  bodyTimeout: 0,
  // Vendors keep connections for 5 s and more; one that closes earlier costs a retry that nobody notices.
  keepAliveTimeout: 4_000,
  // The longest time that an upstream's `keep-alive: timeout=n` may name. It counts from the upstream's own last byte.
  keepAliveMaxTimeout: 30_000,
  keepAliveTimeoutThreshold: 1_000,
  // Larger than Node's 16 KB: vendors put policies, traces and cookies into their headers.
  maxHeaderSize: 64 * 1024,
}

/**
 * The transport for Node, one pool of connections for each origin.
 *
 * Any number of requests at once, each with a connection of its own. Informational answers are skipped. A pool is
 * forgotten with its last connection.
 */
export function createNodeTransport(options: NodeTransportOptions = {}): NodeTransport {
  const { ca, alarms = createAlarms() } = options
  const connect = createConnect(ca)
  const targetOf = createTargets()
  const pools = new Map<string, Pool>()

  function poolOf(origin: string): Pool {
    const known = pools.get(origin)
    if (known !== undefined) return known
    const pool = new Pool(origin, { factory: () => createConnection(origin, connect) })
    const clients = (pool as unknown as { readonly [kClients]: Connection[] })[kClients]
    const forgetUnused = (): void => {
      if (clients.every(({ isUnused }) => isUnused) && pools.get(origin) === pool) pools.delete(origin)
    }
    // Undici would keep the client, for ever and in front of those that are connected.
    pool.on('disconnect', (_origin, [, connection]) => {
      const at = clients.findIndex((one) => one === connection && one.isUnused)
      if (at >= 0) clients.splice(at, 1)
      forgetUnused()
    })
    pool.on('connectionError', forgetUnused)
    pools.set(origin, pool)
    return pool
  }

  const send: Send = (request, signal) => {
    const target = targetOf(request.url)
    if (target === undefined) return Promise.reject(new TransportError('not-sent', 'no http or https URL'))
    if (signal.aborted) return Promise.reject(aborted())
    const fresh = (): Connection => createConnection(target.origin, connect)
    return exchange({ request, path: target.path, signal, alarms, pool: poolOf(target.origin), fresh })
  }

  return Object.assign(send, {
    async close() {
      for (const pool of pools.values()) pool.close(() => {})
      pools.clear()
    },
  })
}

interface ExchangeTask {
  readonly request: UpstreamRequest
  /** With the query. */
  readonly path: string
  readonly signal: AbortSignalLike
  readonly alarms: Alarms
  readonly pool: Pool
  /** A connection beside the pool. */
  readonly fresh: () => Connection
}

/** A request on its way, as it and its connection see it. */
interface Call {
  readonly connectTimeoutMs: number
  /** The upstream took some of a large body. */
  readonly taken: () => void
  /** Undefined until one is found. */
  connection: Connection | undefined
  /** Nobody waits for anything any more; what undici still tells has no effect. */
  isOver: boolean
}

interface CallOptions extends Dispatcher.DispatchOptions {
  readonly call: Call
}

/** Sends a request and settles as `Send` says. */
function exchange({ request, path, signal, alarms, pool, fresh }: ExchangeTask): Promise<UpstreamResponse> {
  return new Promise((resolve, reject) => {
    const { timeoutMs } = request
    let sink: BodySink | undefined
    /** How it was when the request went out over a socket that had served before. */
    let reuse: { readonly socket: net.Socket; readonly bytesRead: number; readonly at: number } | undefined
    const silence = createSilence({
      alarms,
      limitMs: timeoutMs,
      onSilent: () => fail(new TransportError('timeout', `silence for ${timeoutMs} ms`)),
    })
    const call: Call = {
      connectTimeoutMs: request.connectTimeoutMs,
      taken: silence.heard,
      connection: undefined,
      isOver: false,
    }

    const finish = (): void => {
      call.isOver = true
      silence.stop()
      signal.removeEventListener('abort', onAbort)
    }
    const cut = (): void => {
      if (call.isOver) return
      finish()
      call.connection?.cut()
    }
    const fail = (error: TransportError): void => {
      cut()
      if (sink === undefined) reject(error)
      else sink.fail(error)
    }
    const onAbort = (): void => {
      cut()
      if (sink === undefined) reject(aborted())
      else sink.abort(aborted())
    }
    const isStale = (): boolean =>
      reuse !== undefined &&
      request.mayResend !== false &&
      reuse.socket.bytesRead === reuse.bytesRead &&
      performance.now() - reuse.at < STALE_WITHIN_MS

    const options = outgoing(request, path, call)
    const handler: Dispatcher.DispatchHandler = {
      onRequestStart() {
        const { connection } = call
        silence.wait()
        const socket = connection?.isReused ? connection.socket : undefined
        reuse = socket && { socket, bytesRead: socket.bytesRead, at: performance.now() }
        if (Array.isArray(options.body)) connection?.writeTogether()
      },
      onResponseStart(controller, status, parsed) {
        if (call.isOver || status < 200) return
        const headers = bagOf(parsed)
        if (isBodiless(request.method, status) || headers['content-length'] === '0') {
          // Undici takes the length that a 304 announces for one that it has to keep.
          finish()
          return resolve({ status, headers, body: new Uint8Array(0) })
        }
        const source = { pause: () => controller.pause(), resume: () => controller.resume(), cut }
        try {
          sink = receiveBody({ request, status, headers, source, silence, resolve, reject })
        } catch (error) {
          fail(failureOf(error))
        }
      },
      onResponseData(_controller, chunk) {
        if (call.isOver) return
        silence.heard()
        sink?.data(chunk)
      },
      onResponseEnd() {
        const { connection } = call
        // A body without a length ends with its connection, and undici takes a reset for that too.
        if (connection?.isErrored) return fail(new TransportError('broken', 'the connection was reset'))
        connection?.release()
        if (call.isOver) return
        finish()
        sink?.end()
      },
      onResponseError(_controller, error) {
        if (call.isOver) return
        if (!isStale()) return fail(failureOf(error))
        const connection = fresh()
        connection.dispatch(options, handler)
        connection.close(() => {})
      },
    }
    signal.addEventListener('abort', onAbort)
    pool.dispatch(options, handler)
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
  // Undici knows the length of a single array of bytes only.
  const sized = { ...headers, 'content-length': String(bytes) }
  return { method, path, headers: sized, body: body.flatMap(slicesOf) as never, call }
}

function slicesOf(part: Uint8Array): Uint8Array[] {
  if (part.byteLength <= SLICE_BYTES) return part.byteLength === 0 ? [] : [part]
  return Array.from({ length: Math.ceil(part.byteLength / SLICE_BYTES) }, (_, index) =>
    part.subarray(index * SLICE_BYTES, (index + 1) * SLICE_BYTES),
  )
}

/** RFC 9110 §6.4.1: these have no body, whatever their headers announce. */
const isBodiless = (method: string, status: number): boolean =>
  method === 'HEAD' || status === 204 || status === 304

function bagOf(headers: IncomingHttpHeaders): HeaderBag {
  const bag = emptyBag()
  for (const name of Object.keys(headers)) {
    const value = headers[name]
    if (value !== undefined) bag[name] = typeof value === 'string' ? value : value.join(', ')
  }
  return bag
}

/** One connection to one origin, for one request at a time; connects with the first, and again where it was closed. */
class Connection extends Client {
  socket: net.Socket | undefined
  /** An answer has come over the socket, so the upstream may be closing it at this very moment. */
  isReused = false
  /** The socket ended with an error, such as a reset. */
  isErrored = false
  #call: Call | undefined

  /** There is no socket, and nobody waits for one. */
  get isUnused(): boolean {
    const call = this.#call
    return this.socket === undefined && (call === undefined || call.isOver || call.connection !== this)
  }

  /** True where the connection is free for another request all the same, since this one can't be written. */
  override dispatch(options: CallOptions, handler: Dispatcher.DispatchHandler): boolean {
    const { call } = options
    this.#call = call
    call.connection = this
    if (!this.isReused) super.dispatch(options, handler)
    // What has come over an idle connection is no answer to this request (GHSA-35p6-xmwp-9g52), and undici looks for
    // it in the next check phase. That comes before the next poll phase where a request came out of a poll phase.
    else setImmediate(() => call.isOver || super.dispatch(options, handler))
    return call.isOver
  }

  open(
    connect: Connect,
    address: Address,
    done: (...result: [null, net.Socket] | [Error, null]) => void,
  ): void {
    const call = this.#call
    if (call === undefined || call.isOver) return done(aborted(), null)
    const socket = connect(address, {
      timeoutMs: call.connectTimeoutMs,
      connected: () => done(null, socket),
      failed: (error) => done(error, null),
    })
    this.socket = socket
    this.isErrored = false
    socket.on('error', () => (this.isErrored = true))
    socket.on('drain', () => this.#call?.taken())
    socket.once('close', () => {
      this.socket = undefined
      this.isReused = false
    })
  }

  /**
   * All that is written before the next turn of the event loop goes out in one system call: undici writes each part
   * of a body by itself, one microtask after the other, and a tick comes after all microtasks.
   */
  writeTogether(): void {
    const { socket } = this
    socket?.cork()
    queueMicrotask(() => process.nextTick(() => socket?.uncork()))
  }

  /** Undici's own word that the connection is free comes late: until then it may have been given away again. */
  override emit(event: string, ...args: unknown[]): boolean {
    if (event === 'drain' && this.#call !== undefined) return false
    return EventEmitter.prototype.emit.call(this, event, ...args)
  }

  /** The answer is whole. Undici tells its pool a turn of the loop later, and a request until then would connect. */
  release(): void {
    this.#call = undefined
    this.isReused = true
    this.emit('drain', undefined, [this])
  }

  /** Closes the socket at once, whatever goes on over it. */
  cut(): void {
    this.socket?.destroy(aborted())
  }
}

function createConnection(origin: string, connect: Connect): Connection {
  const connection: Connection = new Connection(origin, {
    ...CLIENT_OPTIONS,
    connect: (address, done) => connection.open(connect, address, done),
  })
  return connection
}

/** Where a request goes. */
interface Target {
  readonly origin: string
  /** With the query. */
  readonly path: string
}

/**
 * Splits URLs and remembers the last thousand or so, since a gateway calls the same few again and again.
 * Undefined for what is no http(s) URL.
 */
function createTargets(): (url: string) => Target | undefined {
  const known = new Map<string, Target>()
  return (url) => {
    const before = known.get(url)
    if (before !== undefined) return before
    const parsed = parseUrl(url)
    if (parsed === undefined) return undefined
    const { protocol, origin, pathname, search } = parsed
    if (protocol !== 'http:' && protocol !== 'https:') return undefined
    const target = { origin, path: pathname + search }
    if (known.size >= TARGET_LIMIT) known.clear()
    known.set(url, target)
    return target
  }
}

const aborted = (): TransportError => new TransportError('aborted', 'the caller has left')

/** What ended a request, as its caller is told. */
function failureOf(error: unknown): TransportError {
  if (error instanceof TransportError) return error
  switch (codeOf(error)) {
    case 'UND_ERR_INVALID_ARG':
    case 'UND_ERR_NOT_SUPPORTED':
      return new TransportError('not-sent', 'the request can not be written as HTTP/1.1')
    case 'UND_ERR_CLOSED':
    case 'UND_ERR_DESTROYED':
      return new TransportError('not-sent', 'the transport is closed')
    default:
      return new TransportError('broken', `the connection broke: ${causeOf(error)}`)
  }
}
