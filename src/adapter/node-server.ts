import { getRequestListener, type HttpBindings } from '@hono/node-server'
import { createServer, type Server } from 'node:net'
import type { App } from '../app.ts'
import { errorResponse } from '../http/error-answer.ts'
import { createRequestHeadReader, malformed } from './node-http-request-head.ts'
import {
  serveConnection,
  type ConnectionUser,
  type Exchange,
  type ServerConnection,
} from './node-server-connection.ts'

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

/** How often connections are looked at that keep us waiting. */
const LOOK_EVERY_MS = 1_000

/**
 * Serves the app over HTTP/1.1 on plain sockets. Node's own server makes two streams for each request; without them a
 * small one took about a fifth less CPU, both builds measured in turns.
 *
 * @throws Error with a `code` such as EADDRINUSE when the address can't be had
 */
export async function listen({ app, host, port }: NodeServerOptions): Promise<NodeServer> {
  const connections = new Set<ServerConnection>()
  const answer = listenerOf(app)
  const readHead = createRequestHeadReader()
  let open = 0
  let onEmpty = (): void => {}
  /** When no answer is under way. */
  const empty = (): Promise<void> =>
    new Promise((resolve) => {
      onEmpty = resolve
      if (open === 0) resolve()
    })

  // Half-open, since our side ends when it is ours to end: behind an answer, while the client may still be sending.
  const server = createServer({ noDelay: true, allowHalfOpen: true }, (socket) => {
    const user: ConnectionUser = {
      request(exchange) {
        open += 1
        answer(exchange)
      },
      over() {
        open -= 1
        if (open === 0) onEmpty()
      },
      closed: () => void connections.delete(connection),
    }
    const connection = serveConnection({ socket, readHead, user })
    connections.add(connection)
  })
  await listening(server, port, host)
  const watch = setInterval(() => {
    for (const connection of connections) connection.look()
  }, LOOK_EVERY_MS).unref()

  return {
    port: portOf(server, port),
    async drain(atMostMs) {
      const closed = new Promise<void>((resolve) => void server.close(() => resolve()))
      for (const connection of connections) connection.retire()
      const isInTime = await inTime(empty(), atMostMs)
      const cut = isInTime ? 0 : open
      for (const connection of connections) connection.destroy()
      clearInterval(watch)
      await closed
      return { cut }
    },
  }
}

/** The app as something that answers exchanges. */
function listenerOf(app: App): (exchange: Exchange) => void {
  const listener = getRequestListener((request, env) => app.fetch(request, env), {
    autoCleanupIncoming: false,
    // HTTP/1.0 need not name one.
    hostname: 'localhost',
    errorHandler: () => errorResponse(malformed('its target or its Host header makes no URL'), {}),
  })
  return (exchange) => {
    // Both are as much of Node's own as the listener asks for.
    const { incoming, outgoing } = exchange as unknown as HttpBindings
    void listener(incoming, outgoing)
  }
}

function listening(server: Server, port: number, host: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, host, () => {
      server.off('error', reject)
      resolve()
    })
  })
}

function portOf(server: Server, asked: number): number {
  const address = server.address()
  return typeof address === 'object' && address !== null ? address.port : asked
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
