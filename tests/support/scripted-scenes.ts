import type { Exchange, Scene } from './scripted-upstream.ts'

/** A piece of a body: text, bytes, a pause in ms, or something to wait for (a gate). */
export type Piece = string | Uint8Array | number | PromiseLike<unknown>

/** An answer; every part has a default, and headers are sent as they are given. */
export interface Answer {
  /** 200 */
  readonly status?: number
  /** `content-type: application/json` unless it is given. */
  readonly headers?: Record<string, string | string[]>
  /** Empty. Pieces are sent one after the other, each in a packet of its own. */
  readonly body?: Piece | readonly Piece[]
  /**
   * How the end of the body is told: `length` computes a content-length (the default for a body without
   * pauses and gates), `chunked` (the default for any other), `close` (as HTTP/1.0 does), or a number: that
   * content-length, be it true or not.
   */
  readonly framing?: 'length' | 'chunked' | 'close' | number
  /** After the body, instead of the end that the framing asks for: reset, or close in order, right there. */
  readonly ending?: 'reset' | 'close'
  /** `HTTP/1.1` */
  readonly version?: string
  /** Sent before: `[103]`, `[100, 103]`. */
  readonly informational?: readonly number[]
}

/** Answers, with an honest length unless told otherwise. */
export function answer(play: Answer = {}): Scene {
  return async (exchange) => {
    const pieces = [play.body ?? []].flat()
    const framing = play.framing ?? (pieces.every(isBytes) ? 'length' : 'chunked')
    for (const status of play.informational ?? []) await exchange.head(status, { link: '</style.css>' })
    const headers = { ...defaultType(play.headers), ...framingHeaders(framing, pieces), ...play.headers }
    await exchange.head(play.status ?? 200, headers, play.version)
    for (const piece of pieces) await perform(exchange, piece, framing)

    if (play.ending === 'reset') return exchange.reset()
    if (play.ending === 'close' || framing === 'close') return exchange.close()
    if (framing === 'chunked') await exchange.lastChunk()
  }
}

/** Bytes as they are, HTTP or not; then the connection stays open. */
export function raw(bytes: string | Uint8Array, ending?: 'reset' | 'close'): Scene {
  return async (exchange) => {
    await exchange.raw(bytes)
    if (ending === 'reset') exchange.reset()
    if (ending === 'close') exchange.close()
  }
}

/** Resets the connection when the request has been read. */
export function reset(): Scene {
  return (exchange) => exchange.reset()
}

/** Closes the connection in order when the request has been read. */
export function close(): Scene {
  return (exchange) => exchange.close()
}

/** Says nothing until the client leaves. */
export function stall(): Scene {
  return (exchange) => exchange.closed
}

/** Answers without an end, as fast as the socket takes it; ends when the client leaves. */
export function flood(headers: Record<string, string> = { 'content-type': 'text/event-stream' }): Scene {
  return async (exchange) => {
    await exchange.head(200, { ...headers, 'transfer-encoding': 'chunked' })
    const line = Buffer.alloc(64 * 1024, 'data: x\n\n')
    while (await exchange.chunk(line));
  }
}

/** The first scene on a new connection, the second on one that has already answered. */
export function byConnection(fresh: Scene, reused: Scene): Scene {
  return (exchange) => (exchange.request.nth === 1 ? fresh : reused)(exchange)
}

/** Something that a scene waits for and the test opens, or the other way round. */
export interface Gate {
  readonly opened: Promise<void>
  open(): void
}

/** A closed gate. */
export function createGate(): Gate {
  let open = () => {}
  const opened = new Promise<void>((resolve) => (open = resolve))
  return { opened, open }
}

function isBytes(piece: Piece): piece is string | Uint8Array {
  return typeof piece === 'string' || piece instanceof Uint8Array
}

async function perform(exchange: Exchange, piece: Piece, framing: Answer['framing']): Promise<void> {
  if (typeof piece === 'number') await new Promise((resolve) => setTimeout(resolve, piece))
  else if (!isBytes(piece)) await piece
  else if (piece.length > 0) await (framing === 'chunked' ? exchange.chunk(piece) : exchange.raw(piece))
}

function defaultType(headers: Answer['headers'] = {}): Record<string, string> {
  const given = Object.keys(headers).some((name) => name.toLowerCase() === 'content-type')
  return given ? {} : { 'content-type': 'application/json' }
}

function framingHeaders(framing: Answer['framing'], pieces: readonly Piece[]): Record<string, string> {
  if (framing === 'chunked') return { 'transfer-encoding': 'chunked' }
  if (framing === 'close') return { connection: 'close' }
  if (typeof framing === 'number') return { 'content-length': String(framing) }
  const bytes = pieces.filter(isBytes).reduce((sum, piece) => sum + Buffer.byteLength(piece), 0)
  return { 'content-length': String(bytes) }
}
