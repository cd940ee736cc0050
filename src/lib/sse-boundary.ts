const LF = 10
const CR = 13
const COLON = 58
const BYTE_ORDER_MARK = [0xef, 0xbb, 0xbf]

/** Knows where the events of a stream end, without reading them. */
export interface BoundaryTracker {
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
