import { createChunkFrames, type ChunkFrames } from './node-http-chunks.ts'

/** How the end of a body is told: a number of bytes, or one of these. */
export const CHUNKED = -1
export const UNTIL_CLOSE = -2

/** Finds one body after another in the bytes of a connection. */
export interface BodyReader {
  /** A body begins: so many bytes, `CHUNKED` or `UNTIL_CLOSE`. */
  begin(length: number): void
  /** Takes bytes from `at` on and returns where it stopped: at the end of the body or of the bytes; -1 for junk. */
  push(bytes: Buffer, at: number): number
  /** All of the present body has been taken. */
  readonly isWhole: boolean
  /** The connection has ended in order. True where that is the end of the body. */
  finish(): boolean
}

/**
 * Makes a reader of bodies.
 *
 * @param data called with all of the body that came in one piece of the connection's
 * @param keep a stretch of the connection's bytes as `data` may keep it: a copy, where the memory is used again
 */
export function createBodyReader(
  data: (chunk: Uint8Array) => void,
  keep: (bytes: Buffer) => Buffer,
): BodyReader {
  /** Most connections never have any. */
  let frames: ChunkFrames | undefined
  let length = 0
  let left = 0
  let isWhole = true

  function takeLength(bytes: Buffer, at: number): number {
    const stop = Math.min(bytes.length, at + left)
    left -= stop - at
    isWhole = left === 0
    data(keep(bytes.subarray(at, stop)))
    return stop
  }

  /** All frames in these bytes as one chunk: who writes many small ones at once is not copied in that. */
  function takeChunks(inFrames: ChunkFrames, bytes: Buffer, at: number): number {
    let body: Buffer | undefined
    let size = 0
    const how = inFrames.push(bytes, at, (from, to) => {
      body ??= Buffer.allocUnsafe(bytes.length - from)
      size += bytes.copy(body, size, from, to)
    })
    isWhole = how === 'end'
    // Where the frames were most of it, what holds a little must not hold a lot.
    if (body !== undefined)
      data(2 * size < body.length ? Buffer.from(body.subarray(0, size)) : body.subarray(0, size))
    return how === 'junk' ? -1 : inFrames.at
  }

  return {
    get isWhole() {
      return isWhole
    },
    begin(next) {
      length = left = next
      isWhole = next === 0
      if (next !== CHUNKED) return
      frames ??= createChunkFrames()
      frames.begin()
    },
    push(bytes, at) {
      if (length === CHUNKED && frames !== undefined) return takeChunks(frames, bytes, at)
      if (length !== UNTIL_CLOSE) return takeLength(bytes, at)
      data(keep(bytes.subarray(at)))
      return bytes.length
    },
    finish() {
      if (isWhole || length !== UNTIL_CLOSE) return false
      isWhole = true
      return true
    },
  }
}
