/** One connection to an upstream: how it comes about, what it carries, and what its end means. */
import { closeSync, openSync } from 'node:fs'
import net from 'node:net'
import { devNull } from 'node:os'
import tls from 'node:tls'
import type { buildConnector, Dispatcher } from 'undici'
import symbols from 'undici/lib/core/symbols.js'
import Client from 'undici/lib/dispatcher/client.js'
import { systemCodeOf } from '../../errors.ts'
import { signIn, TransportError } from '../../transport/transport.ts'

const TLS_SESSION_LIMIT = 200
/** All sockets read into it, one after the other: what is read is taken at once. */
const readBuffer = Buffer.allocUnsafeSlow(64 * 1024)
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

/** A request on its way, as it and its connection see it. */
export interface Call {
  readonly connectTimeoutMs: number
  /** The upstream took some of a large body. */
  readonly taken: () => void
  /** Undefined until one is found. */
  connection: UpstreamConnection | undefined
  /** Nobody waits for anything any more; what undici still tells has no effect. */
  isOver: boolean
}

/** What undici is told of a request. */
export type CallOptions = Dispatcher.DispatchOptions & { readonly call: Call }

/** One connection to one origin, for one request at a time; connects with the first, and again where it was closed. */
export class UpstreamConnection extends Client {
  socket: net.Socket | undefined
  /** An answer has come over the socket, so the upstream may be closing it at this very moment. */
  isReused = false
  /** The socket ended with an error, such as a reset. */
  isErrored = false
  /** What has come since the last request: nothing, an alert of TLS where none is spoken, or bytes of an answer. */
  received: 'nothing' | 'alert' | 'bytes' = 'nothing'
  #call: Call | undefined
  #isHeld = false
  /** What has been read this moment, until undici takes it. */
  #arrived: Buffer | null = null

  constructor(origin: string, openSocket: OpenSocket) {
    const connect: buildConnector.connector = (address, done) => this.#open(openSocket, address, done)
    super(origin, { ...CLIENT_OPTIONS, connect })
    this.on('connect', () => skipContinue(this.socket))
  }

  /** There is no socket, and nobody waits for one. */
  get isUnused(): boolean {
    const call = this.#call
    return this.socket === undefined && (call === undefined || call.isOver || call.connection !== this)
  }

  /** True where the connection is free for another request all the same, since this one can't be written. */
  override dispatch(options: CallOptions, handler: Dispatcher.DispatchHandler): boolean {
    const { call } = options
    this.#call = call
    this.received = 'nothing'
    call.connection = this
    super.dispatch(options, handler)
    return call.isOver
  }

  /** One deadline stands over name look-up, TCP and TLS handshake. */
  #open(openSocket: OpenSocket, address: buildConnector.Options, done: buildConnector.Callback): void {
    const call = this.#call
    if (call === undefined || call.isOver) return done(aborted(), null)
    const { connectTimeoutMs } = call
    const isSecure = address.protocol === 'https:'
    const socket = openSocket(address, (bytes) => this.#received(bytes))
    this.socket = socket
    this.isErrored = false
    this.#isHeld = false
    const read = socket.read.bind(socket)
    socket.read = (size) => {
      const bytes = socket.readableLength === 0 ? this.#arrived : null
      if (bytes === null) return read(size)
      this.#arrived = null
      return bytes
    }

    let isOpening = true
    let isHandshake = false
    const opened = (error?: TransportError): void => {
      if (!isOpening) return
      isOpening = false
      clearTimeout(timer)
      if (error === undefined) return done(null, socket)
      socket.destroy()
      done(error, null)
    }
    const timer = setTimeout(() => opened(connectTimeout(connectTimeoutMs)), connectTimeoutMs)
    // Dead peers of idle and waiting connections are noticed by the operating system after a minute or so.
    socket.setNoDelay(true).setKeepAlive(true, 60_000)
    if (isSecure) socket.once('connect', () => (isHandshake = true))
    socket.once(isSecure ? 'secureConnect' : 'connect', () => opened())
    // The listener stays for the socket's life: an error without a listener would end the process.
    socket.on('error', (error) => {
      this.isErrored = true
      const { reason } = signIn(signsOf(error))
      if (isShortage(error)) return opened(new TransportError('shortage', `no connection: ${reason}`, reason))
      const isTls = !isHandshake || reason.includes('TLS')
      opened(notSent(isTls ? reason : 'TLS handshake broken off', transportCodeOf(error)))
    })
    socket.on('drain', () => this.#call?.taken())
    socket.once('close', () => {
      opened(notSent('connection closed', 'close'))
      // The next one may be opening already.
      if (this.socket !== socket) return
      this.socket = undefined
      this.isReused = false
    })
  }

  /** False where nothing more is wanted for now. */
  #received(bytes: Buffer): boolean {
    const { socket } = this
    if (this.received === 'nothing') this.received = isTlsAlert(bytes) ? 'alert' : 'bytes'
    // Before undici listens: what it finds then is no answer.
    if (socket === undefined || socket.listenerCount('readable') === 0) return socket?.push(bytes) ?? false
    this.#arrived = bytes
    socket.emit('readable')
    this.#arrived = null
    return !this.#isHeld
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

  /**
   * Nothing more is read, but for the rest of what was read last. Undici's own way, to pause its parser, ends the
   * process when a connection that serves one answer only is closed or reset meanwhile (`assert(!this.paused)`).
   */
  hold(): void {
    this.#isHeld = true
  }

  /** Reads on, after `hold`. */
  resume(): void {
    if (!this.#isHeld) return
    this.#isHeld = false
    this.socket?.resume()
  }

  /** The answer is whole. */
  release(): void {
    this.#call = undefined
    this.isReused = true
    this.resume()
  }

  /** Closes the socket at once, whatever goes on over it. */
  cut(): void {
    this.socket?.destroy(aborted())
  }
}

/** What undici reads HTTP with, as far as it is of interest here. */
interface ParsedSocket extends net.Socket {
  readonly [symbols.kParser]?: { onHeadersComplete(status: number, ...rest: unknown[]): number }
}

/**
 * RFC 9110 §15.2: a 100 that was not asked for is skipped. Undici skips all informational answers but this one, for which
 * it closes the connection; so it is told another one.
 */
function skipContinue(socket: ParsedSocket | undefined): void {
  const parser = socket?.[symbols.kParser]
  if (parser === undefined) return
  const onHeadersComplete = parser.onHeadersComplete.bind(parser)
  parser.onHeadersComplete = (status, ...rest) => onHeadersComplete(status === 100 ? 102 : status, ...rest)
}

/** Starts to connect; `received` takes the bytes of each read, and false = no more until the socket's `resume`. */
type OpenSocket = (address: buildConnector.Options, received: (bytes: Buffer) => boolean) => net.Socket

/**
 * Opens TCP and TLS connections. TLS sessions are resumed, which saves a round trip and most of the CPU of a handshake.
 *
 * @param ca trusted certificates in place of the runtime's own (which `NODE_EXTRA_CA_CERTS` extends)
 */
export function createSockets(ca: string | undefined): OpenSocket {
  const sessions = new Map<string, Buffer>()
  return ({ protocol, hostname, port }, received) => {
    // A copy of a small chunk costs less than a buffer of its own for each read.
    const callback = (length: number): boolean => received(Buffer.from(readBuffer.subarray(0, length)))
    const onread = { buffer: readBuffer, callback }
    if (protocol === 'http:') {
      // Node's types do not know that the options of a stream are options of a socket.
      const options = { host: hostname, port: Number(port || 80), writableHighWaterMark: 512 * 1024, onread }
      return net.connect(options)
    }
    const key = `${hostname}:${port}`
    const session = sessions.get(key)
    // Node's types do not know that the options of a socket are options of TLS.
    const options: tls.ConnectionOptions & { onread: net.OnReadOpts } = {
      host: hostname,
      port: Number(port || 443),
      ALPNProtocols: ['http/1.1'],
      // RFC 6066 §3: an address is no server name.
      ...(net.isIP(hostname) === 0 && { servername: hostname }),
      ...(session && { session }),
      ...(ca !== undefined && { ca }),
      onread,
    }
    return tls.connect(options).on('session', (fresh) => {
      if (sessions.size >= TLS_SESSION_LIMIT) sessions.clear()
      sessions.set(key, fresh)
    })
  }
}

/** What a request that nobody waits for ends with. */
export const aborted = (): TransportError => new TransportError('aborted', 'the caller has left')

const notSent = (reason: string, code: string): TransportError =>
  new TransportError('not-sent', `no connection: ${reason} (${code})`, reason)

function connectTimeout(ms: number): TransportError {
  const reason = `no connection within ${ms / 1000} s`
  return new TransportError('connect-timeout', reason, reason)
}

/** RFC 8446 §5.1: the record type of an alert, and the major version that all of TLS has kept. */
const isTlsAlert = (bytes: Uint8Array): boolean => bytes[0] === 0x15 && bytes[1] === 3

/** The connection that a request was sent over, if any, and whether its server may speak TLS for all that is known. */
type Sent = Pick<Call, 'connection'> & { readonly mayBeTls: boolean }

/** What ended a request, as its caller is told. */
export function transportErrorOf(error: unknown, sent?: Sent): TransportError {
  if (error instanceof TransportError) return error
  const code = transportCodeOf(error)
  if (code === 'UND_ERR_INVALID_ARG' || code === 'UND_ERR_NOT_SUPPORTED')
    return new TransportError('not-sent', 'the request cannot be written as HTTP/1.1')
  if (code === 'UND_ERR_CLOSED' || code === 'UND_ERR_DESTROYED')
    return new TransportError('not-sent', 'the transport is closed')
  const reason = breakOf(error, sent)
  return new TransportError('broken', `the connection broke: ${reason} (${code})`, reason)
}

function breakOf(error: unknown, sent: Sent | undefined): string {
  const received = sent?.connection?.received
  if (received === 'alert') return 'speaks TLS'
  const { reason } = signIn(signsOf(error))
  if (reason !== 'connection closed') return reason
  if (received === 'bytes') return 'closed in the middle of its answer'
  // Many servers of TLS say nothing to who speaks none.
  return sent?.mayBeTls ? 'closed without an answer (perhaps it speaks TLS)' : 'closed without an answer'
}

const signsOf = (error: unknown): string =>
  error instanceof Error ? `${systemCodeOf(error) ?? ''} ${error.name} ${error.message}` : ''

/** Of a host with several addresses, where that goes for each: one may have none of its kind here, such as IPv6. */
function isShortage(error: unknown): boolean {
  const causes: unknown[] = error instanceof AggregateError ? error.errors : [error]
  return causes.every(isShort) || isNameLookupShort(error)
}

/** Whether this process or machine has run out of something: descriptors, buffers, memory, ports. */
const isShort = (error: unknown): boolean => signIn(transportCodeOf(error)).failure === 'shortage'

/** A look-up needs descriptors too, and without one it tells that there is no such name. */
function isNameLookupShort(error: unknown): boolean {
  if (!['ENOTFOUND', 'EAI_AGAIN', 'EAI_FAIL'].includes(transportCodeOf(error))) return false
  try {
    closeSync(openSync(devNull, 'r'))
    return false
  } catch (shortage) {
    return isShort(shortage)
  }
}

/** The code of a system, TLS or undici error: all of it that may be shown, since messages quote addresses. */
const transportCodeOf = (error: unknown): string =>
  systemCodeOf(error) ?? (error instanceof Error ? error.name : 'unknown')
