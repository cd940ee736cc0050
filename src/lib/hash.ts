import { sha256 } from '@noble/hashes/sha2.js'
import { bytesToHex } from '@noble/hashes/utils.js'
import { utf8Bytes } from './bytes.ts'

/** The finaliser of 32-bit MurmurHash3 (Austin Appleby, public domain): every input bit moves every output bit. */
function mixed(word: number): number {
  let h = word
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
  return h ^ (h >>> 16)
}

/**
 * A number in (0, 1) that is always the same for the same text: 53 bits, evenly spread, never 0 and never 1.
 *
 * Fast rather than secret: whoever picks the text can pick the number. Replicas of different versions must agree on
 * it, so a test pins its values.
 */
export function hash01(text: string): number {
  let a = 0x9e3779b9 ^ text.length
  let b = 0x7f4a7c15
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i)
    a = Math.imul(a ^ unit, 0x2c1b3c6d)
    a = (a << 13) | (a >>> 19)
    b = Math.imul(b ^ unit, 0x297a2d39)
    b = (b << 17) | (b >>> 15)
  }
  const low = mixed(a ^ mixed(b))
  const high = mixed(b + low)
  const bits = (high >>> 11) * 2 ** 32 + (low >>> 0)
  return Math.max(bits, 1) / 2 ** 53
}

/** 32 hex digits that stand for the text without telling it: the first 16 bytes of the SHA-256 of its UTF-8. */
export function fingerprint(text: string): string {
  return bytesToHex(sha256(utf8Bytes(text)).subarray(0, 16))
}

/** The SHA-256 of the text's UTF-8, as 64 hex digits in lower case. */
export const sha256Hex = (text: string): string => bytesToHex(sha256(utf8Bytes(text)))

/**
 * Finds which of the expected secrets a text is; undefined = none of them. Its time tells how long the given text was and
 * how many are expected, and nothing of them. An empty one matches nothing, so that a forgotten one never opens a door.
 */
export function secretMatcher(expected: readonly string[]): (given: string) => string | undefined {
  const most = expected.reduce((longest, { length }) => Math.max(longest, length), USUAL_SECRET_LENGTH)
  const candidates = expected.map((secret) => ({ secret, isSecret: matcherOf(secret, most) }))
  return (given) => {
    let found: string | undefined
    // With all of them, also behind the right one.
    for (const { secret, isSecret } of candidates) if (isSecret(given)) found = secret
    return found
  }
}

/** Of what is longer no more is looked at, which would tell nothing and cost with each of the secrets. */
const USUAL_SECRET_LENGTH = 256

/** @param most the length of the longest of all secrets, or more */
function matcherOf(expected: string, most: number): (given: string) => boolean {
  const { length } = expected
  return (given) => {
    let difference = given.length ^ length
    const end = Math.min(given.length, most)
    for (let at = 0; at < end; at++) difference |= given.charCodeAt(at) ^ expected.charCodeAt(at % length)
    return difference === 0 && length > 0
  }
}

const WORD = 2 ** 32

/**
 * As `hash01`, of two numbers in [0, 1) that it gave: a few nanoseconds for one text with each of many others, however
 * long they are.
 */
export function pairedHash01(a: number, b: number): number {
  const [highA, highB] = [Math.floor(a * WORD), Math.floor(b * WORD)]
  const [lowA, lowB] = [(a * WORD - highA) * WORD, (b * WORD - highB) * WORD]
  const high = mixed(highA ^ mixed(highB ^ 0x9e3779b9))
  const low = mixed(lowA ^ mixed(lowB + high))
  return Math.max((high >>> 11) * WORD + (low >>> 0), 1) / 2 ** 53
}

/**
 * A short text that is always the same for the same bytes and, but for one chance in 2^64, another for others. For
 * telling things apart, not for secrecy: whoever picks the bytes can pick the digest.
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
