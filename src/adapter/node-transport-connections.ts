import type net from 'node:net'
import Client from 'undici/lib/dispatcher/client.js'
import type { Connect } from './node-transport-connect.ts'

/** One connection to one origin, for one request at a time. */
export interface Connection {
  readonly origin: string
  readonly client: Client
  /** Undefined until the first request makes it connect. */
  socket: net.Socket | undefined
  /** An answer has already come over it, so the upstream may be closing it at this very moment. */
  reused: boolean
  /** The socket ended with an error, such as a reset. */
  errored: boolean
  /** For the request that uses it. */
  connectTimeoutMs: number
}

/** The connections of a transport: busy ones belong to their request, idle ones wait here for the next. */
export interface Connections {
  /** The idle connection that was used last (the least likely to be dead), or else a new one. */
  take(origin: string): Connection
  /** A new one, which connects with its first request. */
  open(origin: string): Connection
  /** Gives back a connection whose answer has been read to its end. */
  release(connection: Connection): void
  /** Closes a connection at once, whatever goes on over it. */
  drop(connection: Connection): void
  /** Closes the idle ones now, and every busy one when it is released. */
  close(): void
}

/** How long and how many idle connections are kept. */
export interface IdleLimits {
  /** Ms after which an idle connection is closed, unless the upstream's `keep-alive` header names a time. */
  readonly idleMs: number
  /** The longest time that such a header may name, in ms. */
  readonly longestIdleMs: number
  /** Idle connections per origin; beyond them the one that has been idle longest is closed. */
  readonly idlePerOrigin: number
}

/** Larger than Node's 16 KB: vendors put policies, traces and cookies into their headers. */
const maxHeaderSize = 64 * 1024

/** An upstream's `keep-alive: timeout=n` counts from its own last byte: stop this many ms before. */
const keepAliveMarginMs = 1000

const nothing = () => {}

/** Makes, keeps and closes connections. Any number may be busy at once. */
export function createConnections(connect: Connect, limits: IdleLimits): Connections {
  const idle = new Map<string, Connection[]>()
  let closed = false

  const drop = (connection: Connection) => {
    connection.socket?.destroy()
    connection.client.destroy(null, nothing)
  }

  const forget = (connection: Connection) => {
    const stack = idle.get(connection.origin)
    const at = stack?.indexOf(connection) ?? -1
    if (stack === undefined || at < 0) return
    stack.splice(at, 1)
    if (stack.length === 0) idle.delete(connection.origin)
  }

  const open = (origin: string): Connection => {
    const client: Client = new Client(origin, {
      pipelining: 1,
      // The transport has its own clocks, which know whether anybody waits.
      headersTimeout: 0,
      bodyTimeout: 0,
      keepAliveTimeout: limits.idleMs,
      keepAliveMaxTimeout: limits.longestIdleMs,
      keepAliveTimeoutThreshold: keepAliveMarginMs,
      maxHeaderSize,
      connect: (address, callback) => {
        connection.reused = false
        connection.errored = false
        connection.socket = connect(address, {
          timeoutMs: connection.connectTimeoutMs,
          connected: (socket) => {
            // Before undici's own listener, which takes a reset for the end of a body without a length.
            socket.prependListener('error', () => (connection.errored = true))
            callback(null, socket)
          },
          failed: (error) => callback(error, null),
        })
      },
    })
    const connection: Connection = {
      origin,
      client,
      socket: undefined,
      reused: false,
      errored: false,
      connectTimeoutMs: 0,
    }
    client.on('disconnect', () => forget(connection))
    return connection
  }

  return {
    take(origin) {
      const stack = idle.get(origin)
      for (let last = stack?.pop(); last !== undefined; last = stack?.pop()) {
        if (stack?.length === 0) idle.delete(origin)
        if (last.socket?.destroyed === false) return last
      }
      return open(origin)
    },
    open,
    release(connection) {
      if (closed) return drop(connection)
      connection.reused = true
      const stack = idle.get(connection.origin)
      if (stack === undefined) idle.set(connection.origin, [connection])
      else if (stack.push(connection) > limits.idlePerOrigin) {
        const oldest = stack.shift()
        if (oldest) drop(oldest)
      }
    },
    drop,
    close() {
      closed = true
      for (const stack of idle.values()) for (const connection of stack) drop(connection)
      idle.clear()
    },
  }
}
