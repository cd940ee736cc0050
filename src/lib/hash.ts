import { sha256 } from '@noble/hashes/sha2.js'
import { bytesToHex } from '@noble/hashes/utils.js'
import { utf8Of } from './short-text.ts'

/** The finaliser of 32-bit MurmurHash3 (Austin Appleby, public domain): every input bit moves every output bit. */
export function mixed(word: number): number {
  let h = word
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
  return h ^ (h >>> 16)
}

/**
 * A number in (0, 1) that is always the same for the same text: 53 bits, evenly spread, never 0 and never 1.
 *
 * Two 32-bit lanes over the UTF-16 code units, crossed at the end. Fast rather than secret: whoever picks the
 * text can pick the number. Replicas of different versions must agree on it, so its values are part of the
 * contract and pinned by a test.
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
  return bytesToHex(sha256(utf8Of(text)).subarray(0, 16))
}

function sameDigest(a: Uint8Array, b: Uint8Array): boolean {
  let difference = a.length ^ b.length
  for (let i = 0; i < a.length; i++) difference |= (a[i] ?? 0) ^ (b[i] ?? 0)
  return difference === 0
}

/**
 * Whether both are the same bytes, in a time that tells nothing of where they differ.
 *
 * What is compared are SHA-256 digests, so lengths are not told either. Two empty ones are the same.
 */
export function sameSecret(a: Uint8Array, b: Uint8Array): boolean {
  return sameDigest(sha256(a), sha256(b))
}

/**
 * A check of what a caller gives against one expected secret, constant in time as `sameSecret` is.
 *
 * The expected digest is computed once; a check costs one SHA-256 of the given text. An empty expected secret
 * matches nothing, so that a forgotten one never opens a door.
 */
export function secretMatcher(expected: string): (given: string) => boolean {
  const digest = sha256(utf8Of(expected))
  return (given) => sameDigest(sha256(utf8Of(given)), digest) && expected !== ''
}
