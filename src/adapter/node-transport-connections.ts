import { openConnection, type Connection } from './node-http-connection.ts'
import { createHeadReader } from './node-http-head.ts'
import type { Connect, Origin } from './node-transport-connect.ts'

/** The connections of a transport: busy ones belong to their request, idle ones wait here for the next. */
export interface Connections {
  /** The idle connection that was used last (the least likely to be dead), or else a new one. */
  take(origin: Origin, connectTimeoutMs: number): Connection
  /** A new one, which connects at once. */
  open(origin: Origin, connectTimeoutMs: number): Connection
  /** Closes the idle ones now, and every busy one with the end of its answer. */
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

interface Idle {
  readonly connection: Connection
  /** On `performance.now`. */
  readonly until: number
}

/** An upstream's `keep-alive: timeout=n` counts from its own last byte: stop this many ms before. */
const KEEP_ALIVE_MARGIN_MS = 1_000
/** How often to look for connections whose time is over. */
const SWEEP_MS = 500

/** Makes, keeps and closes connections. Any number may be busy at once. */
export function createConnections(connect: Connect, limits: IdleLimits): Connections {
  const idle = new Map<string, Idle[]>()
  const readHead = createHeadReader()
  let sweeper: NodeJS.Timeout | undefined
  let isClosed = false

  function onIdle(connection: Connection, keepAlive: string | undefined): void {
    if (isClosed) return connection.destroy()
    const one = { connection, until: performance.now() + idleMsOf(keepAlive, limits) }
    const { text } = connection.origin
    const stack = idle.get(text)
    if (stack === undefined) idle.set(text, [one])
    else if (stack.push(one) > limits.idlePerOrigin) stack[0]?.connection.destroy()
    sweeper ??= setInterval(sweep, SWEEP_MS).unref()
  }

  function onClosed(connection: Connection): void {
    const stack = idle.get(connection.origin.text)
    const at = stack?.findIndex((one) => one.connection === connection) ?? -1
    if (at >= 0) stack?.splice(at, 1)
  }

  function sweep(): void {
    const now = performance.now()
    for (const [origin, stack] of idle) {
      for (const { connection, until } of stack.slice()) if (until <= now) connection.destroy()
      if (stack.length === 0) idle.delete(origin)
    }
    if (idle.size > 0) return
    clearInterval(sweeper)
    sweeper = undefined
  }

  const open = (origin: Origin, connectTimeoutMs: number): Connection =>
    openConnection({ origin, connect, connectTimeoutMs, readHead, onIdle, onClosed })

  return {
    take(origin, connectTimeoutMs) {
      const stack = idle.get(origin.text)
      for (let last = stack?.pop(); last !== undefined; last = stack?.pop()) {
        if (last.until > performance.now()) return last.connection
        last.connection.destroy()
      }
      return open(origin, connectTimeoutMs)
    },
    open,
    close() {
      isClosed = true
      for (const stack of idle.values()) for (const { connection } of stack.slice()) connection.destroy()
    },
  }
}

function idleMsOf(keepAlive: string | undefined, { idleMs, longestIdleMs }: IdleLimits): number {
  const seconds = keepAlive === undefined ? undefined : /(?:^|[,;\s])timeout=(\d+)/i.exec(keepAlive)?.[1]
  if (seconds === undefined) return idleMs
  return Math.max(0, Math.min(Number(seconds) * 1_000, longestIdleMs) - KEEP_ALIVE_MARGIN_MS)
}
