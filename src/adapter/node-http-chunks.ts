/** What a step over the bytes of a chunked body ended with. */
export type ChunkStep = 'more' | 'end' | 'junk'

/** Follows the frames of a chunked body (RFC 9112 §7.1). Extensions and trailers are read over. */
export interface ChunkFrames {
  /** A new body begins. */
  begin(): void
  /**
   * Takes bytes from `at` on up to the end of the body or of the bytes.
   *
   * @param keep called with each stretch of them that is body
   */
  push(bytes: Uint8Array, at: number, keep: (from: number, to: number) => void): ChunkStep
  /** Where the last `push` stopped. */
  readonly at: number
}

type Place =
  | 'size'
  | 'size-blank'
  | 'extension'
  | 'size-end'
  | 'data'
  | 'data-cr'
  | 'data-lf'
  | 'trailer'
  | 'trailer-end'

const CR = 0x0d
const LF = 0x0a
const TAB = 0x09
const BLANK = 0x20
const SEMICOLON = 0x3b
const COLON = 0x3a
/** Neither belongs in an extension or a trailer: who reads it as the end of a line reads another body. */
const isControl = (byte: number): boolean => (byte < BLANK && byte !== TAB) || byte === 0x7f
/** A frame of 16^12 bytes would last for years. */
const MOST_DIGITS = 12
/** Bytes of all extensions and trailers of a body together. */
const MOST_BESIDE = 65_536

export function createChunkFrames(): ChunkFrames {
  let place: Place = 'size'
  let digits = 0
  let left = 0
  let beside = 0
  /** Bytes in the present line of the trailer. */
  let inLine = 0
  let hasColon = false
  let stoppedAt = 0

  function startSize(): void {
    place = 'size'
    digits = 0
    left = 0
  }

  /** A line of the trailer begins. */
  function startLine(): void {
    inLine = 0
    hasColon = false
  }

  /** Blanks, an extension, or the end of the line. */
  function stepBehindSize(byte: number): ChunkStep {
    if (byte === CR) place = 'size-end'
    else if (byte === SEMICOLON) place = 'extension'
    else if (byte === BLANK || byte === TAB) place = 'size-blank'
    else return 'junk'
    return ++beside > MOST_BESIDE ? 'junk' : 'more'
  }

  /** One byte that is not body. */
  function step(byte: number): ChunkStep {
    switch (place) {
      case 'size': {
        const digit = hexOf(byte)
        if (digit >= 0) {
          left = left * 16 + digit
          return ++digits > MOST_DIGITS ? 'junk' : 'more'
        }
        if (digits === 0) return 'junk'
        return stepBehindSize(byte)
      }
      case 'size-blank':
        return stepBehindSize(byte)
      case 'extension':
        if (byte === CR) place = 'size-end'
        return (isControl(byte) && byte !== CR) || ++beside > MOST_BESIDE ? 'junk' : 'more'
      case 'size-end':
        place = left > 0 ? 'data' : 'trailer'
        startLine()
        return byte === LF ? 'more' : 'junk'
      case 'data-cr':
        place = 'data-lf'
        return byte === CR ? 'more' : 'junk'
      case 'data-lf':
        startSize()
        return byte === LF ? 'more' : 'junk'
      case 'trailer':
        if (byte === CR) {
          place = 'trailer-end'
          return inLine === 0 || hasColon ? 'more' : 'junk'
        }
        inLine++
        hasColon ||= byte === COLON
        return isControl(byte) || ++beside > MOST_BESIDE ? 'junk' : 'more'
      case 'trailer-end':
        if (byte !== LF) return 'junk'
        if (inLine === 0) return 'end'
        place = 'trailer'
        startLine()
        return 'more'
      case 'data':
        return 'junk'
    }
  }

  return {
    get at() {
      return stoppedAt
    },
    begin() {
      startSize()
      beside = 0
    },
    push(bytes, from, keep) {
      let at = from
      while (at < bytes.length) {
        if (place === 'data') {
          const end = Math.min(bytes.length, at + left)
          keep(at, end)
          left -= end - at
          at = end
          if (left === 0) place = 'data-cr'
          continue
        }
        const how = step(bytes[at++] ?? 0)
        stoppedAt = at
        if (how !== 'more') return how
      }
      stoppedAt = at
      return 'more'
    },
  }
}

function hexOf(byte: number): number {
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30
  const lower = byte | 0x20
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1
}
