import { once } from 'node:events'
import { createServer, IncomingMessage, ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { setImmediate } from 'node:timers/promises'
import { getRequestListener, type HttpBindings } from '@hono/node-server'
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response'
import type { App } from '../../app.ts'
import { errorBody, GatewayError } from '../../errors.ts'
import { COME_BACK } from '../../http/incoming.ts'
import { errorResponse } from '../../http/response.ts'
import { isWhole, type ServerMessages } from './messages.ts'

/*
 * The side of the clients on Node: `node:http` reads and writes HTTP, `@hono/node-server` makes its messages the
 * requests of the Hono app, and what stands here is what neither of them does for a gateway: the limits, one request of
 * a connection after the other, errors in the API's own words, the last answer of a connection arriving, the drain.
 */

/** A server that listens. */
export type NodeServer = Awaited<ReturnType<typeof listen>>

/** What one connection may take, in ms but for the last. Nothing limits a body that makes progress, or an answer. */
export type ServerLimits = typeof defaultServerLimits

const defaultServerLimits = {
  /** A whole head, from the connection's beginning or the head's first byte on; looked at every second. */
  headMs: 10_000,
  /** Until the next request of a connection that is kept. Longer than the 60 s of usual proxies in front. */
  idleMs: 65_000,
  /** An answer of which the client takes nothing. */
  stalledWriteMs: 60_000,
  /** The same in a stream. */
  stalledStreamMs: 120_000,
  /** The silence of a client that is still sending though it has its last answer, and all of that time. */
  lingerMs: 2_000,
  longestLingerMs: 30_000,
  /** With so many requests that wait for the answers before them a connection is not read. */
  mostWaiting: 16,
}
/** Connections above the most that are taken all the same, to be told so; more are closed unheard. */
const MOST_REFUSED = 16
const MOST_HEAD_BYTES = 32_768
const MOST_HEADERS = 1_000

/** What is known of a client's connection. */
class ClientConnection {
  readonly socket: Socket
  /** The request that is being answered. */
  active: ServerMessages | undefined
  /** Those that were sent ahead, in order. */
  readonly waiting: ServerMessages[] = []
  /** What came behind them and is no HTTP: it is answered when they are. */
  fault: GatewayError | undefined
  /** It is not read: enough requests wait. */
  isHeld = false
  /** The time for a head ran out meanwhile, which is not the client's doing: from then on it has as much again. */
  isHeadLate = false
  lateHead: NodeJS.Timeout | undefined
  /** Bytes that had been written when an answer was last found to stand still, when that was, and since when. */
  stalledAt = -1
  lookedAt = 0
  stalledSince = 0
  /** It came above the most: it is told so and has no place. */
  isRefused = false
  /** The last answer is on its way, or the connection was cut: nothing that still comes counts. */
  isOver = false

  constructor(socket: Socket) {
    this.socket = socket
  }
}

/**
 * Serves the app over HTTP/1.1.
 *
 * @throws Error with a `code` such as EADDRINUSE when the address can't be had
 */
export async function listen(
  app: App,
  at: { host: string; port: number },
  given: Partial<ServerLimits> & { readonly onRefused?: (mostConnections: number) => void } = {},
) {
  const { onRefused = () => {} } = given
  const limits = { ...defaultServerLimits, ...given }
  const connections = new Map<Socket, ClientConnection>()
  let open = 0
  /** Of the connections those that have no place. */
  let refused = 0
  let mostConnections = Infinity
  let isDraining = false
  /** Called when no answer is under way. */
  let onEmpty = (): void => {}

  const listener = getRequestListener(
    async (request, env) => {
      const { incoming, outgoing } = env as HttpBindings
      const response = await app.fetch(request, env)
      // Hono makes a response of its own of every answer to HEAD.
      if (outgoing.headersSent) return RESPONSE_ALREADY_SENT
      // A body that came with its head is whole a moment later, though nobody read it.
      if (!isWhole(incoming)) await setImmediate()
      outgoing.shouldKeepAlive &&= isWhole(incoming)
      return response
    },
    {
      autoCleanupIncoming: false,
      // HTTP/1.0 need not name one.
      hostname: 'localhost',
      errorHandler: () => errorResponse(malformed('the target and the Host header do not form a URL'), {}),
    },
  )

  /** Requests of one connection are served one after the other, since Node hands them all out at once. */
  function serveInTurn(incoming: IncomingMessage, outgoing: ServerResponse): void {
    const connection = connections.get(incoming.socket)
    if (connection === undefined) return
    const { active, isOver, waiting } = connection
    clearTimeout(connection.lateHead)
    connection.lateHead = undefined
    if (active === undefined && !isOver) return serve(connection, { incoming, outgoing })
    waiting.push({ incoming, outgoing })
    if (waiting.length < limits.mostWaiting) return
    // Behind the last answer nothing is served any more, and Node keeps all that comes.
    if (isOver) cut(connection)
    else hold(connection)
  }

  /** What was read already still comes: requests within 64 KB. */
  function hold(connection: ClientConnection): void {
    connection.isHeld = true
    connection.socket.pause()
  }

  function release(connection: ClientConnection): void {
    if (!connection.isHeld) return
    connection.isHeld = false
    connection.socket.resume()
    if (connection.isHeadLate) connection.lateHead = setTimeout(onLateHead, limits.headMs, connection)
    connection.isHeadLate = false
  }

  function onLateHead(connection: ClientConnection): void {
    const { socket } = connection
    connection.lateHead = undefined
    onFault(Object.assign(new Error(), { code: HEAD_TIMEOUT }), socket)
  }

  function serve(connection: ClientConnection, messages: ServerMessages): void {
    const { incoming, outgoing } = messages
    connection.active = messages
    open += 1
    outgoing.on('close', () => finished(connection))
    // Node's parser drops what is read together with a request that asks for another protocol, though it is answered.
    if (isDraining || incoming.headers.upgrade !== undefined) outgoing.shouldKeepAlive = false
    const fault = requestFault(incoming)
    if (fault !== undefined) return answerFault(outgoing, fault)
    if (incoming.url === '*') incoming.url = '/'
    void listener(incoming, outgoing)
  }

  /** The answer has left, or its client has. */
  function finished(connection: ClientConnection): void {
    connection.active = undefined
    open -= 1
    if (open === 0) onEmpty()
    if (connection.isOver || connection.socket.destroyed) return
    const next = isDraining ? undefined : connection.waiting.shift()
    if (next !== undefined) {
      serve(connection, next)
      if (connection.waiting.length === 0) release(connection)
    } else if (connection.fault !== undefined) answerAndClose(connection, connection.fault)
    else if (isDraining) end(connection)
  }

  /** What came is no request, or no longer one. */
  function onFault(error: ParserError, socket: Socket): void {
    const connection = connections.get(socket)
    if (connection === undefined || connection.isOver || connection.fault !== undefined) return
    if (error.code === HEAD_TIMEOUT) {
      // Node says it again and again.
      if (connection.lateHead !== undefined) return
      if (connection.isHeld) return void (connection.isHeadLate = true)
    }
    const fault = parserFault(error)
    if (fault === undefined || socket.bytesRead === 0) return cut(connection)
    connection.fault = fault
    const { active } = connection
    if (active === undefined) answerAndClose(connection, fault)
    // The body of a request that is being answered: its handler has the word, if it reads.
    else if (!active.incoming.complete && active.incoming.listenerCount('error') > 0)
      active.incoming.emit('error', fault)
  }

  function answerAndClose(connection: ClientConnection, fault: GatewayError): void {
    const { socket } = connection
    if (!socket.writable) return cut(connection)
    connection.isOver = true
    const outgoing = new ServerResponse(new IncomingMessage(socket))
    outgoing.assignSocket(socket)
    outgoing.on('finish', () => end(connection))
    answerFault(outgoing, fault)
  }

  /**
   * The last answer arrives although the client may still be sending: closed at once, the system would answer the
   * unread bytes with a reset that overtakes it (RFC 9112 §9.6). What still comes is thrown away.
   */
  function end(connection: ClientConnection): void {
    const { socket } = connection
    connection.isOver = true
    connection.waiting.length = 0
    socket.end()
    release(connection)
    socket.resume()
    socket.setTimeout(limits.lingerMs)
    const longestMs = connection.isRefused ? limits.lingerMs : limits.longestLingerMs
    const longest = setTimeout(() => socket.destroy(), longestMs).unref()
    socket.once('close', () => clearTimeout(longest))
  }

  function cut(connection: ClientConnection): void {
    connection.isOver = true
    connection.socket.destroy()
  }

  /** Nothing has moved over a connection for as long as was asked for. */
  function onStalled(socket: Socket): void {
    const connection = connections.get(socket)
    if (connection?.active === undefined) return void socket.destroy()
    socket.setTimeout(checkMs)
    // It is the upstream that is waited for.
    if (socket.writableLength === 0) return
    const now = performance.now()
    const hasMoved = connection.stalledAt !== socket.bytesWritten || now - connection.lookedAt > 2 * checkMs
    if (hasMoved) connection.stalledSince = now - checkMs
    connection.stalledAt = socket.bytesWritten
    connection.lookedAt = now
    const isStream = connection.active.outgoing.chunkedEncoding
    const longestMs = isStream ? limits.stalledStreamMs : limits.stalledWriteMs
    if (now - connection.stalledSince >= longestMs) socket.destroy()
  }
  /** Often, since Node passes over one time that is up while a part of what was written has left. */
  const checkMs = limits.stalledWriteMs / 4

  const server = createServer({
    headersTimeout: limits.headMs,
    keepAliveTimeout: limits.idleMs,
    connectionsCheckingInterval: Math.min(1_000, limits.headMs),
    requestTimeout: 0,
    maxHeaderSize: MOST_HEAD_BYTES,
    // Those without are told so in the words of the API, below.
    requireHostHeader: false,
    noDelay: true,
    keepAlive: true,
    keepAliveInitialDelay: 60_000,
  })
  // Above it Node would drop headers in silence.
  server.maxHeadersCount = 0
  server.timeout = checkMs
  server.on('connection', (socket: Socket) => {
    const connection = new ClientConnection(socket)
    connections.set(socket, connection)
    // What Node's requests do, who know nothing of others behind them.
    const resume = socket.resume.bind(socket)
    socket.resume = () => (connection.isHeld ? socket : resume())
    // One that was asked for before.
    socket.on('resume', () => connection.isHeld && socket.emit('pause'))
    // This is how Node's server ends a connection behind its last answer.
    socket.destroySoon = () => end(connection)
    socket.on('error', () => {})
    // Whoever closes its side has left: a connection that is closed looks the same.
    socket.on('end', () => {
      if (connection.active !== undefined) socket.destroy()
    })
    socket.on('close', () => {
      connections.delete(socket)
      if (connection.isRefused) refused -= 1
      clearTimeout(connection.lateHead)
    })
    if (connections.size - refused <= mostConnections) return
    connection.isRefused = true
    refused += 1
    onRefused(mostConnections)
    answerAndClose(connection, tooManyConnections())
  })
  server.on('drop', () => onRefused(mostConnections))
  // A client that waits to be asked for its body is asked when somebody reads it (RFC 9110 §10.1.1).
  for (const event of ['request', 'checkContinue', 'checkExpectation']) server.on(event, serveInTurn)
  server.on('connect', (_incoming: IncomingMessage, socket: Socket) => {
    const connection = connections.get(socket)
    if (connection === undefined) return
    // Node lets go of the socket: its timer is not looked at any more, and an answer under way would not go on.
    socket.on('timeout', () => onStalled(socket))
    if (connection.active !== undefined || connection.isOver) cut(connection)
    else answerAndClose(connection, malformed('CONNECT is not supported'))
  })
  server.on('clientError', onFault)
  server.on('timeout', onStalled)
  server.listen(at.port, at.host)
  await once(server, 'listening')

  return {
    /** The port that was really taken. */
    port: (server.address() as AddressInfo).port,
    /** From now on at most so many clients are served at once; those that are connected stay. */
    limitConnections(most: number): void {
      mostConnections = most
      server.maxConnections = most + MOST_REFUSED
    },
    /** Stops listening, lets what is under way finish for so long, then cuts it. Resolves when all is closed. */
    async drain(atMostMs: number): Promise<{ readonly cut: number }> {
      isDraining = true
      const closed = new Promise<void>((resolve) => void server.close(() => resolve()))
      for (const { socket, active } of connections.values()) {
        if (socket.bytesRead === 0) socket.destroy()
        if (active !== undefined) active.outgoing.shouldKeepAlive = false
      }
      await new Promise<void>((resolve) => {
        const late = setTimeout(resolve, atMostMs)
        onEmpty = () => {
          clearTimeout(late)
          resolve()
        }
        if (open === 0) onEmpty()
      })
      const left = { cut: open }
      server.closeAllConnections()
      for (const connection of connections.values()) cut(connection)
      await closed
      return left
    },
  }
}

/** What Node lets pass and another server could take for another request. */
function requestFault(incoming: IncomingMessage): GatewayError | undefined {
  const { rawHeaders, headers, httpVersionMajor, httpVersionMinor } = incoming
  if (rawHeaders.length > 2 * MOST_HEADERS) return tooManyHeaders()
  if (httpVersionMajor !== 1) return malformed('the version is not HTTP/1.1 or 1.0')
  const coding = headers['transfer-encoding']
  if (coding !== undefined && (httpVersionMinor === 0 || coding.toLowerCase() !== 'chunked'))
    return malformed('the only Transfer-Encoding supported is "chunked", in HTTP/1.1')
  if (headers.host === undefined && httpVersionMinor === 1) return malformed('the Host header is missing')
  if (headers.host !== undefined && !IS_HOST.test(headers.host))
    return malformed('the Host header is not a name or an address with an optional port')
  if (hostsIn(rawHeaders) > 1) return malformed('the Host header is repeated')
  const isMisaddressed = incoming.url === '*' && incoming.method !== 'OPTIONS'
  return isMisaddressed ? malformed('the target "*" is for OPTIONS only') : undefined
}

/** RFC 3986 §3.2.2 and §3.2.3. */
const IS_HOST = /^(?:[A-Za-z0-9\-._~%!$&'()*+;=]*|\[[0-9A-Fa-f:.]+\])(?::\d*)?$/

/** @param rawHeaders names and values in turn */
function hostsIn(rawHeaders: readonly string[]): number {
  let count = 0
  for (let at = 0; at < rawHeaders.length; at += 2)
    if (rawHeaders[at]?.length === 4 && rawHeaders[at]?.toLowerCase() === 'host') count += 1
  return count
}

/** What Node's parser says, or its connection. */
type ParserError = NodeJS.ErrnoException & { readonly reason?: string }

const HEAD_TIMEOUT = 'ERR_HTTP_REQUEST_TIMEOUT'

/** Undefined where it is the connection that broke. */
function parserFault({ code, reason }: ParserError): GatewayError | undefined {
  if (code === 'HPE_HEADER_OVERFLOW') return tooManyHeaders()
  if (code === HEAD_TIMEOUT)
    return new GatewayError('request_timeout', 'The headers did not arrive in time.', CLOSING)
  // The connection ended in the middle of a request: there is nobody to tell.
  if (code === 'HPE_INVALID_EOF_STATE') return undefined
  return code?.startsWith('HPE_') === true ? malformed(reason ?? 'this is not HTTP/1.1') : undefined
}

const CLOSING = { headers: { connection: 'close' } }

/** The error for a request that breaks the rules of HTTP; `what` ends the sentence. */
const malformed = (what: string): GatewayError =>
  new GatewayError('bad_request', `The request is malformed: ${what}.`, CLOSING)

function tooManyConnections(): GatewayError {
  const message = 'Too many clients are connected (server.max_connections); try again in a second.'
  return new GatewayError('overloaded', message, COME_BACK)
}

/** RFC 6585 §5. */
function tooManyHeaders(): GatewayError {
  const most = `${MOST_HEAD_BYTES} bytes or ${MOST_HEADERS} headers`
  return new GatewayError('headers_too_large', `The request headers exceed ${most}.`, CLOSING)
}

function answerFault(outgoing: ServerResponse, { status, code, message, headers }: GatewayError): void {
  const body = JSON.stringify(errorBody(code, message))
  outgoing.writeHead(status, {
    ...headers,
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(body),
    connection: 'close',
  })
  outgoing.end(body)
}
