/** The last bytes of something that passes. */
export interface Tail {
  /** Takes the next bytes; they are copied, so the chunk itself is not kept alive. */
  push(chunk: Uint8Array): void
  /** A copy of what is kept; the beginning may cut a character in two. */
  bytes(): Uint8Array
}

const firstSize = 2_048

/**
 * Keeps the last `limit` bytes (16 KiB) of a stream in a ring.
 *
 * Memory grows with what has passed, from 2 KiB by doubling up to `limit`; nothing is allocated before the first byte.
 */
export function createTail(limit = 16_384): Tail {
  let ring = new Uint8Array(0)
  let end = 0
  let kept = 0

  function grow(needed: number): void {
    let size = Math.max(ring.length, Math.min(firstSize, limit))
    while (size < needed && size < limit) size = Math.min(size * 2, limit)
    if (size === ring.length) return
    const grown = new Uint8Array(size)
    // It never wraps before it has its full size, so what is kept is in order.
    grown.set(ring.subarray(0, kept))
    ring = grown
  }

  return {
    push(chunk) {
      if (kept + chunk.length > ring.length) grow(kept + chunk.length)
      const bytes = chunk.length > ring.length ? chunk.subarray(chunk.length - ring.length) : chunk
      const untilWrap = ring.length - end
      if (bytes.length <= untilWrap) ring.set(bytes, end)
      else {
        ring.set(bytes.subarray(0, untilWrap), end)
        ring.set(bytes.subarray(untilWrap), 0)
      }
      end = bytes.length <= untilWrap ? end + bytes.length : bytes.length - untilWrap
      kept = Math.min(kept + bytes.length, ring.length)
    },
    bytes() {
      const ordered = new Uint8Array(kept)
      const start = end - kept
      if (start >= 0) ordered.set(ring.subarray(start, end))
      else {
        ordered.set(ring.subarray(start))
        ordered.set(ring.subarray(0, end), -start)
      }
      return ordered
    },
  }
}
