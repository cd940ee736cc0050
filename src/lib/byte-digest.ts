/**
 * A short text that is always the same for the same bytes and, but for one chance in 2^64, another for others.
 *
 * For telling things apart, not for secrecy: whoever picks the bytes can pick the digest. Takes four bytes a step.
 */
export function digestOf(bytes: Uint8Array): string {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  const whole = bytes.length & ~3
  let a = 0x9e3779b9 ^ bytes.length
  let b = 0x7f4a7c15
  for (let at = 0; at < whole; at += 4) {
    const word = view.getInt32(at, true)
    a = Math.imul(a ^ word, 0x2c1b3c6d)
    a = (a << 13) | (a >>> 19)
    b = Math.imul(b + word, 0x297a2d39)
    b = (b << 17) | (b >>> 15)
  }
  let rest = 0
  for (let at = whole; at < bytes.length; at++) rest = (rest << 8) | view.getUint8(at)
  a = mixed(a ^ rest)
  b = mixed(b + rest)
  const high = mixed(a ^ b)
  return `${high}.${mixed(b + high)}`
}

/** The finaliser of MurmurHash3 (Austin Appleby, public domain): every input bit moves every output bit. */
function mixed(word: number): number {
  let h = word
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
  return h ^ (h >>> 16)
}
