/**
 * An upstream that misbehaves on command, on real sockets.
 *
 * ```ts
 * const upstream = await startScriptedUpstream(answer({ body: '{"ok":true}' }))
 * const upstream = await startScriptedUpstream(byConnection(answer(), reset()))
 * const upstream = await startScriptedUpstream(async (exchange) => {
 *   await exchange.head(200, { 'transfer-encoding': 'chunked' })
 *   await exchange.chunk('data: 1\n\n')
 *   await gate.opened               // a gate that the test opens
 *   exchange.reset()
 * })
 * …
 * await upstream.close()            // in afterEach
 * ```
 *
 * Ready-made scenes are in scripted-scenes.ts. A *scene* plays for each request, once its body has come; `whenConnected` plays for each connection,
 * before anything is read. Everything that came is in `upstream.requests`. It speaks bare sockets, so a
 * scene may send anything; it knows no pipelining.
 */
import { once } from 'node:events'
import net from 'node:net'
import tls from 'node:tls'
import { createReader, readRequest, type RequestHead } from './scripted-request.ts'
import { testCertificate } from './test-certificate.ts'

/** What came, as it came. */
export interface ReceivedRequest extends RequestHead {
  readonly body: Uint8Array
  /** The number of its connection, from 1. */
  readonly connection: number
  /** Its place on that connection, from 1: above 1 the connection was reused. */
  readonly nth: number
  /** True when the client closed the connection before the scene had ended its answer. */
  aborted: boolean
  /** Settles when the connection has closed, whoever closed it. */
  readonly closed: Promise<void>
}

/** One request and the means to answer it. Every method that sends waits until the socket takes more. */
export interface Exchange {
  readonly request: ReceivedRequest
  readonly socket: net.Socket
  /** Sends any bytes; false once the connection is gone. */
  raw(bytes: string | Uint8Array): Promise<boolean>
  /** Sends a status line and headers as given, nothing added. */
  head(status: number, headers?: Record<string, string | string[]>, version?: string): Promise<boolean>
  /** Sends a chunk of a chunked body. */
  chunk(bytes: string | Uint8Array): Promise<boolean>
  /** Ends a chunked body. */
  lastChunk(): Promise<boolean>
  /** The answer is complete: from here on a closing client has not aborted. */
  done(): void
  /** Closes with a reset (RST). */
  reset(): void
  /** Closes in order (FIN), after what was sent. */
  close(): void
  /** Settles when the connection has closed. */
  readonly closed: Promise<void>
}

/** What happens with a request. The connection stays open when it returns, unless it closed it. */
export type Scene = (exchange: Exchange) => void | Promise<void>

/** A running upstream and what it has seen. */
export interface ScriptedUpstream {
  /** `http://127.0.0.1:port`, or `https://localhost:port` with a certificate that nobody trusts. */
  readonly url: string
  readonly port: number
  readonly requests: readonly ReceivedRequest[]
  /** Connections open now. */
  readonly open: number
  /** Connections accepted since the start. */
  readonly accepted: number
  /** Bytes that the sockets have taken, over all connections. */
  readonly bytesSent: number
  /** Resolves with the nth request from now on or before (from 1), when it has come. */
  request(nth: number): Promise<ReceivedRequest>
  /** Closes the connections on which nothing goes on, in order. */
  closeIdle(): void
  /** Stops listening and cuts every connection. */
  close(): Promise<void>
}

export interface ScriptedUpstreamOptions {
  /** Speaks TLS with this certificate, or with the one that nobody trusts. */
  readonly secure?: true | { readonly key: string; readonly cert: string }
  /** Plays before anything is read; when it returns (or resolves to) 'handled', no request is read at all. */
  readonly whenConnected?: (socket: net.Socket) => void | 'handled' | Promise<void | 'handled'>
  /** Closes a connection so many ms after an answer, whether or not the next request is on its way. */
  readonly closeIdleAfterMs?: () => number
}

export async function startScriptedUpstream(
  scene: Scene,
  options: ScriptedUpstreamOptions = {},
): Promise<ScriptedUpstream> {
  const requests: ReceivedRequest[] = []
  const sockets = new Set<net.Socket>()
  const idle = new Set<net.Socket>()
  const plain = new Map<number | undefined, net.Socket>()
  const waiting: { nth: number; resolve: (request: ReceivedRequest) => void }[] = []
  let accepted = 0
  let bytesOfClosed = 0

  const record = (request: ReceivedRequest) => {
    requests.push(request)
    for (const { nth, resolve } of waiting) if (nth <= requests.length) resolve(requests[nth - 1]!)
  }

  const serve = async (socket: net.Socket) => {
    const connection = ++accepted
    const { remotePort } = socket
    let unanswered: ReceivedRequest | undefined
    sockets.add(socket)
    const closed = new Promise<void>((resolve) => {
      socket.on('close', () => {
        sockets.delete(socket)
        idle.delete(socket)
        bytesOfClosed += socket.bytesWritten
        if (unanswered) unanswered.aborted = true
        resolve()
      })
    })
    socket.on('error', () => {})
    socket.setNoDelay(true)
    if ((await options.whenConnected?.(socket)) === 'handled') return

    const reader = createReader(socket)
    for (let nth = 1; !socket.destroyed; nth++) {
      const received = await readRequest(reader)
      if (received === undefined) return
      idle.delete(socket)
      const request: ReceivedRequest = { ...received, connection, nth, aborted: false, closed }
      unanswered = request
      const exchange = createExchange(socket, request, {
        done: () => (unanswered = undefined),
        // A TLS socket can't reset, the one below it can.
        reset: () => (plain.get(remotePort) ?? socket).resetAndDestroy(),
      })
      record(request)
      await scene(exchange)
      exchange.done()
      idle.add(socket)
      const idleMs = options.closeIdleAfterMs?.()
      if (idleMs !== undefined) setTimeout(() => socket.destroy(), idleMs)
    }
  }

  const server = options.secure
    ? tls.createServer(
        options.secure === true ? testCertificate : options.secure,
        (socket) => void serve(socket),
      )
    : net.createServer((socket) => void serve(socket))
  server.on('tlsClientError', () => {})
  server.on('connection', (socket: net.Socket) => {
    const { remotePort } = socket
    plain.set(remotePort, socket)
    socket.once('close', () => plain.delete(remotePort))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as net.AddressInfo

  return {
    url: options.secure ? `https://localhost:${port}` : `http://127.0.0.1:${port}`,
    port,
    requests,
    get open() {
      return sockets.size
    },
    get accepted() {
      return accepted
    },
    get bytesSent() {
      return [...sockets].reduce(
        (sum, socket) => sum + socket.bytesWritten - socket.writableLength,
        bytesOfClosed,
      )
    },
    request: (nth) =>
      new Promise((resolve) => {
        const before = requests[nth - 1]
        if (before) resolve(before)
        else waiting.push({ nth, resolve })
      }),
    closeIdle() {
      for (const socket of idle) socket.end()
    },
    async close() {
      for (const socket of sockets) socket.destroy()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

function createExchange(
  socket: net.Socket,
  request: ReceivedRequest,
  { done, reset }: { done: () => void; reset: () => void },
): Exchange {
  const raw = async (bytes: string | Uint8Array): Promise<boolean> => {
    if (socket.destroyed || socket.writableEnded) {
      await request.closed
      return false
    }
    if (socket.write(bytes)) return true
    const drained = new Promise<void>((resolve) => socket.once('drain', resolve))
    await Promise.race([drained, request.closed])
    return !socket.destroyed
  }
  return {
    request,
    socket,
    raw,
    head: (status, headers = {}, version = 'HTTP/1.1') => {
      const lines = Object.entries(headers).flatMap(([name, value]) =>
        [value].flat().map((one) => `${name}: ${one}\r\n`),
      )
      return raw(Buffer.from(`${version} ${status} Scripted\r\n${lines.join('')}\r\n`, 'latin1'))
    },
    chunk: (bytes) => {
      const data = Buffer.from(bytes)
      return raw(Buffer.concat([Buffer.from(`${data.length.toString(16)}\r\n`), data, Buffer.from('\r\n')]))
    },
    lastChunk: () => raw('0\r\n\r\n'),
    done,
    reset() {
      done()
      reset()
    },
    close() {
      done()
      socket.end()
    },
    closed: request.closed,
  }
}
