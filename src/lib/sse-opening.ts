const LF = 10
const CR = 13

/** So much of an event holds its type, in its `event:` line or at the beginning of its data. */
const OPENING_BYTES = 256

/** Knows how the last event of a stream begins, however long it is. */
export interface OpeningTracker {
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
