/** One connection to an upstream: how it comes about, what it carries, and what its end means. */
import net from 'node:net'
import tls from 'node:tls'
import type { Dispatcher } from 'undici'
import Client from 'undici/lib/dispatcher/client.js'
import { TransportError } from '../../transport/transport.ts'

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
export interface CallOptions extends Dispatcher.DispatchOptions {
  readonly call: Call
}

/** One connection to one origin, for one request at a time; connects with the first, and again where it was closed. */
export class UpstreamConnection extends Client {
  socket: net.Socket | undefined
  /** An answer has come over the socket, so the upstream may be closing it at this very moment. */
  isReused = false
  /** The socket ended with an error, such as a reset. */
  isErrored = false
  #call: Call | undefined
  #isHeld = false
  /** What has been read this moment, until undici takes it. */
  #arrived: Buffer | null = null

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
    super.dispatch(options, handler)
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
      received: (bytes) => this.#received(bytes),
      connected: () => done(null, socket),
      failed: (error) => done(error, null),
    })
    this.socket = socket
    this.isErrored = false
    this.#isHeld = false
    const read = socket.read.bind(socket)
    socket.read = (size) => (socket.readableLength === 0 ? (this.#taken() ?? read(size)) : read(size))
    socket.on('error', () => (this.isErrored = true))
    socket.on('drain', () => this.#call?.taken())
    socket.once('close', () => {
      this.socket = undefined
      this.isReused = false
    })
  }

  /** False where nothing more is wanted for now. */
  #received(bytes: Buffer): boolean {
    const { socket } = this
    // Before undici listens: what it finds then is no answer.
    if (socket === undefined || socket.listenerCount('readable') === 0) return socket?.push(bytes) ?? false
    this.#arrived = bytes
    socket.emit('readable')
    this.#arrived = null
    return !this.#isHeld
  }

  #taken(): Buffer | null {
    const bytes = this.#arrived
    this.#arrived = null
    return bytes
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

/** A connection that opens with its first request. */
export function createConnection(origin: string, connect: Connect): UpstreamConnection {
  const connection: UpstreamConnection = new UpstreamConnection(origin, {
    ...CLIENT_OPTIONS,
    connect: (address, done) => connection.open(connect, address, done),
  })
  return connection
}

/** Where to connect, as undici's client says it; the port is empty where it is the scheme's own. */
export interface Address {
  readonly protocol: string
  readonly hostname: string
  readonly port: string
}

/** What a connection may take, and what comes of it: exactly one of the two callbacks is called, once. */
export interface ConnectTask {
  readonly timeoutMs: number
  /** Takes the bytes of each read; false = no more until the socket's `resume`. */
  readonly received: (bytes: Buffer) => boolean
  readonly connected: () => void
  readonly failed: (error: TransportError) => void
}

/** Starts to connect and returns the socket at once; to destroy it ends the attempt as `not-sent`. */
export type Connect = (address: Address, task: ConnectTask) => net.Socket

/**
 * TCP and TLS connections with one deadline over name look-up, TCP and TLS handshake.
 *
 * TLS sessions are resumed, which saves a round trip and most of the CPU of a handshake.
 *
 * @param ca trusted certificates in place of the runtime's own (which `NODE_EXTRA_CA_CERTS` extends)
 */
export function createConnect(ca: string | undefined): Connect {
  const sessions = new Map<string, Buffer>()

  function connectTls({ hostname, port }: Address, onread: net.OnReadOpts): net.Socket {
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

  function connectTcp({ hostname, port }: Address, onread: net.OnReadOpts): net.Socket {
    // Node's types do not know that the options of a stream are options of a socket.
    const options: net.TcpNetConnectOpts & { writableHighWaterMark: number } = {
      host: hostname,
      port: Number(port || 80),
      writableHighWaterMark: 512 * 1024,
      onread,
    }
    return net.connect(options)
  }

  return (address, { timeoutMs, received, connected, failed }) => {
    const isSecure = address.protocol === 'https:'
    const onread = {
      buffer: readBuffer,
      // A copy of a small chunk costs less than a buffer of its own for each read.
      callback: (length: number) => received(Buffer.from(readBuffer.subarray(0, length))),
    }
    const socket = isSecure ? connectTls(address, onread) : connectTcp(address, onread)
    let isOpening = true
    let isHandshake = false

    const fail = (error: TransportError): void => {
      if (!isOpening) return
      isOpening = false
      clearTimeout(timer)
      socket.destroy()
      failed(error)
    }
    const timer = setTimeout(
      () => fail(new TransportError('connect-timeout', `no connection within ${timeoutMs} ms`)),
      timeoutMs,
    )
    // Dead peers of idle and waiting connections are noticed by the operating system after a minute or so.
    socket.setNoDelay(true).setKeepAlive(true, 60_000)
    if (isSecure) socket.once('connect', () => (isHandshake = true))
    // The listener stays for the socket's life: an error without a listener would end the process.
    socket.on('error', (error) => {
      const cause = isHandshake ? `TLS failed (${transportCodeOf(error)})` : causeOf(error)
      fail(new TransportError('not-sent', `no connection: ${cause}`))
    })
    socket.once('close', () => fail(new TransportError('not-sent', 'no connection: closed')))
    socket.once(isSecure ? 'secureConnect' : 'connect', () => {
      if (!isOpening) return
      isOpening = false
      clearTimeout(timer)
      connected()
    })
    return socket
  }
}

/** What a request that nobody waits for ends with. */
export const aborted = (): TransportError => new TransportError('aborted', 'the caller has left')

/** What ended a request, as its caller is told. */
export function transportErrorOf(error: unknown): TransportError {
  if (error instanceof TransportError) return error
  switch (transportCodeOf(error)) {
    case 'UND_ERR_INVALID_ARG':
    case 'UND_ERR_NOT_SUPPORTED':
      return new TransportError('not-sent', 'the request cannot be written as HTTP/1.1')
    case 'UND_ERR_CLOSED':
    case 'UND_ERR_DESTROYED':
      return new TransportError('not-sent', 'the transport is closed')
    default:
      return new TransportError('broken', `the connection broke: ${causeOf(error)}`)
  }
}

/** System errors in words. */
const CAUSES: Readonly<Record<string, string>> = {
  ENOTFOUND: 'the name was not found',
  EAI_AGAIN: 'the name look-up failed',
  ECONNREFUSED: 'refused',
  EHOSTUNREACH: 'the host is unreachable',
  ENETUNREACH: 'the network is unreachable',
  ETIMEDOUT: 'the host does not answer',
  ECONNRESET: 'reset',
  EPIPE: 'reset',
  UND_ERR_SOCKET: 'closed',
}

function causeOf(error: unknown): string {
  const code = transportCodeOf(error)
  const cause = CAUSES[code]
  return cause === undefined ? code : `${cause} (${code})`
}

/** The code of a system, TLS or undici error: all of it that may be shown, since messages quote addresses. */
function transportCodeOf(error: unknown): string {
  if (typeof error !== 'object' || error === null) return 'unknown'
  const { code } = error as { code?: unknown }
  if (typeof code === 'string') return code
  return error instanceof Error ? error.name : 'unknown'
}
