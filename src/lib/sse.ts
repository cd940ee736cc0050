/** One event as an EventSource would dispatch it. */
import { CR, LF } from './bytes.ts'
export interface SseEvent {
  /** The type that its `event:` field names; `message` without one. */
  readonly event: string
  /** Its `data:` lines joined with LF; may be empty. */
  readonly data: string
}

/** Splits passing bytes into events. */
export interface EventScanner {
  /**
   * Takes the next bytes of the stream, which may be cut anywhere, and gives the events that they complete: those
   * with a `data:` field whose blank line has now come, mostly none or one.
   */
  push(chunk: Uint8Array): readonly SseEvent[]
  /** As `BoundaryTracker.atBoundary`. */
  atBoundary(): boolean
}

const lineEnd = /\r\n|\r|\n/

/**
 * A scanner for one server-sent-event stream from its first byte, after the WHATWG's "event stream
 * interpretation": comments, `id:`, `retry:` and unknown fields give nothing, an event without data gives nothing,
 * and neither does one that the end of the stream cuts off. Invalid UTF-8 becomes U+FFFD; nothing throws.
 *
 * An event of more than `limit` characters is passed over, so that memory stays bounded on an endless one. For the
 * plain question whether a stream stands between two events, `createBoundaryTracker` is several times cheaper.
 */
export function createEventScanner(limit = 1_048_576): EventScanner {
  const boundary = createBoundaryTracker()
  const decoder = new TextDecoder()
  let partialLine = ''
  let isAfterCr = false
  let event = ''
  let data: string[] = []
  let length = 0
  let isTooLong = false

  function linesOf(text: string): string[] {
    const lines = (isAfterCr && text.startsWith('\n') ? text.slice(1) : text).split(lineEnd)
    isAfterCr = text.endsWith('\r')
    lines[0] = partialLine + (lines[0] ?? '')
    const rest = lines.pop() ?? ''
    partialLine = rest.startsWith(':') ? ':' : rest
    return lines
  }

  function readField(line: string): void {
    if (line.startsWith(':')) return
    const colon = line.indexOf(':')
    const name = colon < 0 ? line : line.slice(0, colon)
    const value = colon < 0 ? '' : line.slice(line[colon + 1] === ' ' ? colon + 2 : colon + 1)
    if (name === 'event') event = value
    if (name === 'data') data.push(value)
    length += line.length
    keepBounded()
  }

  function keepBounded(): void {
    if (length + partialLine.length <= limit) return
    isTooLong = true
    data = []
    length = 0
    // What is left of an over-long line must go on being a line, but one that is not read: a comment.
    partialLine = partialLine === '' ? '' : ':'
  }

  function ended(): SseEvent | undefined {
    const whole =
      data.length === 0 || isTooLong ? undefined : { event: event || 'message', data: data.join('\n') }
    event = ''
    data = []
    length = 0
    isTooLong = false
    return whole
  }

  return {
    push(chunk) {
      boundary.push(chunk)
      const text = decoder.decode(chunk, { stream: true })
      if (text === '') return []
      const events: SseEvent[] = []
      for (const line of linesOf(text)) {
        if (line !== '') readField(line)
        const whole = line === '' ? ended() : undefined
        if (whole !== undefined) events.push(whole)
      }
      keepBounded()
      return events
    },
    atBoundary: boundary.atBoundary,
  }
}

const COLON = 58
const BYTE_ORDER_MARK = [0xef, 0xbb, 0xbf]

/** Knows where the events of a stream end, without reading them. */
interface BoundaryTracker {
  /** Takes the next bytes of the stream; they may be cut anywhere, and are neither kept nor changed. */
  push(chunk: Uint8Array): void
  /**
   * Whether the bytes so far are whole events and nothing else, so that an event may be appended.
   *
   * True before the first byte, after a blank line, and after a comment line that has its line end while no event
   * is open. False inside any line, and after the line of a field (`data:`, `event:`, an unknown one) until its
   * blank line.
   */
  atBoundary(): boolean
}

/**
 * A tracker for one server-sent-event stream from its first byte, after the grammar of the WHATWG (lines end with
 * LF, CRLF or CR; a byte order mark may stand in front).
 *
 * Made to run over every chunk: it looks from the chunk's end backwards for a blank line and reads only what
 * stands behind it, so a chunk that ends with its event costs two comparisons, whatever its length.
 */
export function createBoundaryTracker(): BoundaryTracker {
  /** How many bytes of a byte order mark were seen; 3 once it is complete or can't come any more. */
  let mark = 0
  let line: 'none' | 'comment' | 'field' = 'none'
  let isEventOpen = false
  let isAfterCr = false

  function endLine(): void {
    if (line === 'none') isEventOpen = false
    if (line === 'field') isEventOpen = true
    line = 'none'
  }

  function read(byte: number): void {
    const isSecondHalf = byte === LF && isAfterCr
    isAfterCr = byte === CR
    if (isSecondHalf) return
    if (byte === LF || byte === CR) endLine()
    else if (line === 'none') line = byte === COLON ? 'comment' : 'field'
  }

  /** Passes over a byte order mark; half of one, followed by something else, has begun a field's line. */
  function readMark(chunk: Uint8Array): number {
    let at = 0
    while (mark < 3 && at < chunk.length && chunk[at] === BYTE_ORDER_MARK[mark]) {
      mark++
      at++
    }
    if (mark < 3 && at < chunk.length) {
      if (mark > 0) line = 'field'
      mark = 3
    }
    return at
  }

  return {
    push(chunk) {
      const start = mark < 3 ? readMark(chunk) : 0
      let from = endOfLastBlankLine(chunk, start)
      if (from < 0) from = start
      else {
        line = 'none'
        isEventOpen = false
      }
      for (let at = from; at < chunk.length; at++) {
        const byte = chunk[at] ?? 0
        // Inside a line only its end matters; most bytes take this way.
        if (byte > CR && line !== 'none') continue
        read(byte)
      }
    },
    atBoundary: () => line === 'none' && !isEventOpen && (mark === 0 || mark === 3),
  }
}

/**
 * The index behind the last LF that has another line end behind it, which is a blank line's; −1 when there is none
 * from `start` on. A stream with bare CR, which hardly anybody sends, is read through instead.
 */
function endOfLastBlankLine(chunk: Uint8Array, start: number): number {
  for (let at = chunk.length - 1; at > start; at--) {
    const byte = chunk[at]
    if (byte !== LF && byte !== CR) continue
    if (chunk[at - 1] === LF) return at + 1
  }
  return -1
}

/** So much of an event holds its type, in its `event:` line or at the beginning of its data. */
const OPENING_BYTES = 256

/** Knows how the last event of a stream begins, however long it is. */
interface OpeningTracker {
  /** Takes the next bytes of the stream, cut anywhere; what is kept of them is copied. */
  push(chunk: Uint8Array): void
  /** The first bytes of the last event that has begun; at most 256. */
  opening(): Uint8Array
}

/**
 * A tracker for one server-sent-event stream from its first byte. Lines end with LF or CRLF; of bare CR, which hardly
 * anybody sends, it takes all events for one.
 */
export function createOpeningTracker(): OpeningTracker {
  const kept = new Uint8Array(OPENING_BYTES)
  let size = 0
  /** Ends of lines at the end of what has passed, up to two. */
  let lineEnds = 2

  function keep(bytes: Uint8Array): void {
    const part = bytes.subarray(0, OPENING_BYTES - size)
    kept.set(part, size)
    size += part.length
  }

  return {
    push(chunk) {
      const start = skipLineEnds(chunk, lineEnds)
      const end = contentEnd(chunk)
      if (end <= start.at) {
        if (size > 0) keep(chunk)
        lineEnds = start.lineEnds
        return
      }
      const inside = lastEventStart(chunk, start.at, end)
      const isAnother = inside > start.at || start.lineEnds >= 2
      if (isAnother) size = 0
      keep(isAnother ? chunk.subarray(inside) : chunk)
      lineEnds = skipLineEnds(chunk.subarray(end), 0).lineEnds
    },
    opening: () => kept.slice(0, size),
  }
}

/** Where something else than ends of lines begins, and how many ends stand before it. */
function skipLineEnds(chunk: Uint8Array, before: number): { at: number; lineEnds: number } {
  let at = 0
  let lineEnds = before
  for (; at < chunk.length; at++) {
    if (chunk[at] === LF) lineEnds += 1
    else if (chunk[at] !== CR) break
  }
  return { at, lineEnds }
}

/** The index behind the last byte that ends no line. */
function contentEnd(chunk: Uint8Array): number {
  let end = chunk.length
  while (end > 0 && (chunk[end - 1] === LF || chunk[end - 1] === CR)) end--
  return end
}

/** Behind the last blank line between `from` and `to`; `from` where there is none. */
function lastEventStart(chunk: Uint8Array, from: number, to: number): number {
  for (let at = to - 1; at > from; at--) {
    if (chunk[at] !== LF) continue
    const previous = chunk[at - 1] === CR ? at - 2 : at - 1
    if (previous >= from && chunk[previous] === LF) return at + 1
  }
  return from
}
