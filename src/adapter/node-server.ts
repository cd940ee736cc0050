import { getRequestListener } from '@hono/node-server'
import { createServer, type Server } from 'node:http'
import type { App } from '../app.ts'
import { GatewayError } from '../errors.ts'
import { errorResponse } from '../http/error-answer.ts'
import { lingerBehind } from './node-linger.ts'

/** A server that listens. */
export interface NodeServer {
  /** The port that was really taken. */
  readonly port: number
  /** Stops listening, lets what is under way finish for so long, then cuts it. Resolves when all is closed. */
  drain(atMostMs: number): Promise<{ cut: number }>
}

/** Where and what to serve. */
export interface NodeServerOptions {
  readonly app: App
  readonly host: string
  readonly port: number
}

/**
 * Limits of the server itself. A client that takes over 10 s for its headers, or sends nothing on a new
 * connection, is closed at the next check. There is no limit on a body that makes progress.
 */
const SERVER_LIMITS = {
  headersTimeout: 10_000,
  requestTimeout: 0,
  keepAliveTimeout: 65_000,
  connectionsCheckingInterval: 5_000,
  maxHeaderSize: 32_768,
  noDelay: true,
} as const

/** @throws Error with a `code` such as EADDRINUSE when the address can't be had */
export async function listen({ app, host, port }: NodeServerOptions): Promise<NodeServer> {
  let open = 0
  let onEmpty = (): void => {}
  let isDraining = false
  const onRequest = getRequestListener((request, env) => app.fetch(request, env), {
    errorHandler: () =>
      errorResponse(
        new GatewayError('invalid_json', 'The request line or its Host header is malformed.'),
        {},
      ),
  })
  function onAnswerClosed(): void {
    open -= 1
    if (open === 0) onEmpty()
  }
  /** When no answer is under way. */
  const empty = (): Promise<void> =>
    new Promise((resolve) => {
      onEmpty = resolve
      if (open === 0) resolve()
    })
  const server = createServer(SERVER_LIMITS, (incoming, outgoing) => {
    open += 1
    outgoing.on('close', onAnswerClosed)
    if (isDraining) {
      outgoing.setHeader('connection', 'close')
      lingerBehind(incoming)
    }
    void onRequest(incoming, outgoing)
  })
  server.on('connection', (socket) => closeWhenSilent(socket))
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, host, () => {
      server.off('error', reject)
      resolve()
    })
  })
  return {
    port: portOf(server, port),
    async drain(atMostMs) {
      isDraining = true
      const closed = new Promise<void>((resolve) => void server.close(() => resolve()))
      server.closeIdleConnections()
      const sweeper = setInterval(() => server.closeIdleConnections(), 50)
      const isInTime = await inTime(empty(), atMostMs)
      clearInterval(sweeper)
      const cut = isInTime ? 0 : open
      server.closeAllConnections()
      await closed
      return { cut }
    },
  }
}

function portOf(server: Server, asked: number): number {
  const address = server.address()
  return typeof address === 'object' && address !== null ? address.port : asked
}

/** A connection that never sends a byte is not seen by Node's own check of slow headers. */
const FIRST_BYTE_MS = 15_000

function closeWhenSilent(socket: import('node:net').Socket): void {
  const timer = setTimeout(() => {
    if (socket.bytesRead === 0) socket.destroy()
  }, FIRST_BYTE_MS)
  timer.unref()
  socket.once('close', () => clearTimeout(timer))
}

async function inTime(done: Promise<void>, ms: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<boolean>((resolve) => {
    timer = setTimeout(() => resolve(false), ms)
  })
  const isInTime = await Promise.race([done.then(() => true), late])
  clearTimeout(timer)
  return isInTime
}
