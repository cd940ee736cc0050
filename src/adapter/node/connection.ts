/** One connection to an upstream: how it comes about, what it carries, and what its end means. */
import type net from 'node:net'
import type { buildConnector, Dispatcher } from 'undici'
import symbols from 'undici/lib/core/symbols.js'
import Client from 'undici/lib/dispatcher/client.js'
import type { Proxy } from '../../pool/route.ts'
import { signIn, TransportError } from '../../transport/transport.ts'
import { aborted, codeOf, connectTimeout, openingError, signsOf, type Sockets } from './sockets.ts'
import { openTunnel } from './tunnel.ts'

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
  /** For whom it has connected last. */
  #connectedFor: Call | undefined
  #isHeld = false
  /** What has been read this moment, until undici takes it. */
  #arrived: Buffer | null = null

  constructor(origin: string, sockets: Sockets) {
    const connect: buildConnector.connector = (address, done) => {
      // Undici would try for ever where bytes that come before the request end the connection.
      const isAgain = this.#call !== undefined && this.#call === this.#connectedFor
      this.#connectedFor = this.#call
      if (isAgain) done(openingError(undefined), null)
      else if (sockets.proxy === undefined) this.#open(sockets, address, done)
      else this.#openThrough({ ...sockets, proxy: sockets.proxy }, address, done)
    }
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
  #open(sockets: Sockets, address: buildConnector.Options, done: buildConnector.Callback): void {
    const call = this.#call
    if (call === undefined || call.isOver) return done(aborted(), null)
    const { connectTimeoutMs } = call
    const isSecure = address.protocol === 'https:'
    const socket = sockets.open(address, (bytes) => this.#received(bytes))
    this.#take(socket)
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
    if (isSecure) socket.once('connect', () => (isHandshake = true))
    socket.once(isSecure ? 'secureConnect' : 'connect', () => opened())
    socket.on('error', (error) => opened(openingError(error, isHandshake)))
    socket.once('close', () => opened(openingError(undefined)))
  }

  /** The same through a proxy, which is asked under the same deadline. */
  #openThrough(
    sockets: Sockets & { readonly proxy: Proxy },
    address: buildConnector.Options,
    opened: buildConnector.Callback,
  ): void {
    const call = this.#call
    if (call === undefined || call.isOver) return opened(aborted(), null)
    const take = (socket: net.Socket): void => this.#take(socket)
    openTunnel(sockets, address, { timeoutMs: call.connectTimeoutMs, take }).then(
      (socket) => {
        // Since the last step, by who waited for it.
        if (socket.destroyed) return opened(openingError(undefined), null)
        // Its bytes come by the stream: Node fills no buffer of ours through another socket.
        const read = socket.read.bind(socket)
        socket.read = (size) => {
          const bytes: Buffer | null = this.#isHeld ? null : read(size)
          if (bytes !== null) this.#see(bytes)
          return bytes
        }
        opened(null, socket)
      },
      (error: TransportError) => {
        this.socket?.destroy()
        opened(error, null)
      },
    )
  }

  /** From now on this is the connection's socket. */
  #take(socket: net.Socket): void {
    this.socket = socket
    this.isErrored = false
    this.#isHeld = false
    // Dead peers of idle and waiting connections are noticed by the operating system after a minute or so.
    socket.setNoDelay(true).setKeepAlive(true, 60_000)
    // The listener stays for the socket's life: an error without a listener would end the process.
    socket.on('error', () => (this.isErrored ||= this.socket === socket))
    socket.on('drain', () => this.#call?.taken())
    socket.once('close', () => {
      // The next one may be opening already.
      if (this.socket !== socket) return
      this.socket = undefined
      this.isReused = false
    })
  }

  #see(bytes: Buffer): void {
    if (this.received === 'nothing') this.received = isTlsAlert(bytes) ? 'alert' : 'bytes'
  }

  /** False where nothing more is wanted for now. */
  #received(bytes: Buffer): boolean {
    const { socket } = this
    this.#see(bytes)
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
    // What a stream has kept meanwhile.
    if (this.socket?.readableLength) this.socket.emit('readable')
  }

  /** The answer is whole. */
  release(): void {
    this.#call = undefined
    this.#connectedFor = undefined
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

/** RFC 8446 §5.1: the record type of an alert, and the major version that all of TLS has kept. */
const isTlsAlert = (bytes: Uint8Array): boolean => bytes[0] === 0x15 && bytes[1] === 3

/** The connection that a request was sent over, if any, and whether its server may speak TLS for all that is known. */
type Sent = Pick<Call, 'connection'> & { readonly mayBeTls: boolean }

/** What ended a request, as its caller is told. */
export function transportErrorOf(error: unknown, sent?: Sent): TransportError {
  if (error instanceof TransportError) return error
  const code = codeOf(error)
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
