import { createBoundaryTracker } from './sse-boundary.ts'

/** One event as an EventSource would dispatch it. */
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
