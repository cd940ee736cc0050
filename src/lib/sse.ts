import { BYTE_ORDER_MARK, CR, LF } from './bytes.ts'

/** One event as an EventSource would dispatch it. */
export interface SseEvent {
  /** The type that its `event:` field names; `message` without one. */
  readonly event: string
  /** Its `data:` lines joined with LF; may be empty. */
  readonly data: string
}

export interface EventScanner {
  /** Gives the events that a chunk, which may be cut anywhere, completes; mostly none or one. */
  push(chunk: Uint8Array): readonly SseEvent[]
  /** The last event, where the stream has ended without the blank line behind it. */
  end(): readonly SseEvent[]
}

const lineEnd = /\r\n|\r|\n/
const fieldLine = /^([^:]*):? ?(.*)$/s

/**
 * Splits a server-sent-event stream from its first byte, after the WHATWG's "event stream interpretation": comments,
 * `id:`, `retry:` and unknown fields give nothing, nor does an event without data. Invalid UTF-8 becomes U+FFFD.
 *
 * As loose as the readers of the world: where the blank line between two events is missing, a line of data, or a name,
 * begins a new one when what stands before it is JSON, or `[DONE]`, as a whole.
 *
 * An event of more than `limit` characters is passed over, so that memory stays bounded on an endless one.
 */
export function createEventScanner(limit = 1_048_576): EventScanner {
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

  function readField(line: string, events: SseEvent[]): void {
    if (line.startsWith(':')) return
    const [, name, value = ''] = fieldLine.exec(line) ?? []
    if ((name === 'event' || name === 'data') && data.length > 0 && isWholeValue(data.join('\n')))
      dispatch(events)
    if (name === 'event') event = value
    if (name === 'data') data.push(value)
    length += line.length
    keepBounded()
  }

  function dispatch(events: SseEvent[]): void {
    if (data.length > 0 && !isTooLong) events.push({ event: event || 'message', data: data.join('\n') })
    event = ''
    data = []
    length = 0
    isTooLong = false
  }

  function keepBounded(): void {
    if (length + partialLine.length <= limit) return
    isTooLong = true
    data = []
    length = 0
    // What is left of an over-long line must go on being a line, but one that is not read: a comment.
    partialLine = partialLine === '' ? '' : ':'
  }

  return {
    push(chunk) {
      const text = decoder.decode(chunk, { stream: true })
      if (text === '') return []
      const events: SseEvent[] = []
      for (const line of linesOf(text)) {
        if (line === '') dispatch(events)
        else readField(line, events)
      }
      keepBounded()
      return events
    },
    end() {
      const events: SseEvent[] = []
      if (partialLine !== '') readField(partialLine, events)
      partialLine = ''
      dispatch(events)
      return events
    },
  }
}

/** Whether the data of an event is complete as it stands: an object, a list, or the last word of a stream. */
function isWholeValue(text: string): boolean {
  if (text === '[DONE]') return true
  if (!/^\s*[{[]/.test(text)) return false
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}

const COLON = 58

/**
 * Knows where the events of a stream end, without reading them: lines end with LF, CRLF or CR, and a byte order mark may
 * stand in front. Chunks may be cut anywhere, and are not kept.
 *
 * Made to run over every chunk: it looks from the chunk's end backwards for a blank line and reads only what
 * stands behind it, so a chunk that ends with its event costs two comparisons, whatever its length.
 */
export function createBoundaryTracker(): {
  push(chunk: Uint8Array): void
  atBoundary(): boolean
  /** In which line the next byte stands; `none` at the beginning of one. */
  line(): 'none' | 'comment' | 'field'
} {
  /** How many bytes of a byte order mark were seen; 4 once it is behind us or can't come any more. */
  let mark = 0
  let line: 'none' | 'comment' | 'field' = 'none'
  let isEventOpen = false
  let isAfterCr = false

  function read(byte: number): void {
    // Half a mark, followed by something else, has begun a field's line.
    if (mark < 3) mark = byte === BYTE_ORDER_MARK[mark] ? mark + 1 : 4
    const isSecondHalf = byte === LF && isAfterCr
    isAfterCr = byte === CR
    if (isSecondHalf) return
    if (byte === LF || byte === CR) {
      if (line !== 'comment') isEventOpen = line === 'field'
      line = 'none'
    } else if (line === 'none') line = byte === COLON ? 'comment' : 'field'
    if (mark === 3) {
      line = 'none'
      mark = 4
    }
  }

  return {
    push(chunk) {
      const from = endOfLastBlankLine(chunk)
      if (from > 0) {
        mark = 4
        line = 'none'
        isEventOpen = false
      }
      for (let at = from; at < chunk.length; at++) {
        const byte = chunk[at] ?? 0
        // Inside a line only its end matters; most bytes take this way.
        if (byte > CR && line !== 'none' && mark > 3) continue
        read(byte)
      }
    },
    atBoundary: () => line === 'none' && !isEventOpen,
    line: () => line,
  }
}

/**
 * The index behind the last LF that has another line end behind it, which is a blank line's; 0 when there is none.
 * A stream with bare CR, which hardly anybody sends, is read through instead.
 */
function endOfLastBlankLine(chunk: Uint8Array): number {
  for (let at = chunk.length - 1; at > 0; at--) {
    const byte = chunk[at]
    if ((byte === LF || byte === CR) && chunk[at - 1] === LF) return at + 1
  }
  return 0
}

/** So much of an event holds its type, in its `event:` line or at the beginning of its data. */
const OPENING_BYTES = 256

/**
 * Keeps a copy of the first bytes (256 at most) of the last event of a stream that has begun, however long it is. Lines
 * end with LF or CRLF; of bare CR, which hardly anybody sends, it takes all events for one.
 *
 * @param onNext called with those of an event when the next one begins
 */
export function createOpeningTracker(onNext?: (opening: Uint8Array) => void) {
  const kept = new Uint8Array(OPENING_BYTES)
  let size = 0
  /** Ends of lines at the end of what has passed; two are a blank line. */
  let lineEnds = 2
  function begin(): void {
    if (size > 0) onNext?.(kept.subarray(0, size))
    size = 0
  }
  return {
    push(chunk: Uint8Array): void {
      for (let at = 0, end = 0; at < chunk.length; at = end) {
        end = at + 1
        if (chunk[at] === LF) lineEnds += 1
        else if (chunk[at] !== CR) {
          if (lineEnds >= 2) begin()
          const lineFeed = chunk.indexOf(LF, at)
          end = lineFeed < 0 ? chunk.length : lineFeed
          lineEnds = 0
        }
        // Ends of lines begin nothing.
        if (size === 0 && lineEnds > 0) continue
        const part = chunk.subarray(at, Math.min(end, at + OPENING_BYTES - size))
        kept.set(part, size)
        size += part.length
      }
    },
    opening: (): Uint8Array => kept.slice(0, size),
  }
}
