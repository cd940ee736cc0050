import { BACKSLASH, JsonSyntaxError, QUOTE, syntaxError } from './json-syntax.ts'

/** Keys and words are mostly shorter; a view costs as much as reading this many bytes. */
const HAND_BYTES = 16
/** Where quotes lie further apart, the native search is as quick, and much quicker when `bytes` is a Node Buffer. */
const WORD_BYTES = 256
const QUOTES = 0x22222222
const ONES = 0x01010101
const HIGH_BITS = 0x80808080

/**
 * The offset just behind the string that opens at `open`; escapes and control characters in it are not judged.
 *
 * Linear in the length, whatever the string holds: only quotes are searched, then the backslashes right before
 * the one found are counted.
 * @throws JsonSyntaxError when no string opens there or it never ends
 */
export function afterString(bytes: Uint8Array, open: number): number {
  if (bytes[open] !== QUOTE) throw syntaxError(bytes, open, 'a string in double quotes')
  let at = open + 1
  const pause = Math.min(bytes.length, at + HAND_BYTES)
  while (at < pause) {
    const byte = bytes[at]
    if (byte === QUOTE) return at + 1
    at += byte === BACKSLASH ? 2 : 1
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  for (;;) {
    const quote = nextQuote(bytes, view, at)
    if (quote < 0) throw new JsonSyntaxError('syntax', 'a string never ends', open)
    if (!isEscaped(bytes, quote)) return quote + 1
    at = quote + 1
  }
}

/** −1 when there is none; eight bytes at a time at first. */
function nextQuote(bytes: Uint8Array, view: DataView, from: number): number {
  const last = Math.min(from + WORD_BYTES, bytes.length) - 8
  let at = from
  for (; at <= last; at += 8) {
    const near = quotesIn(view.getInt32(at, true))
    if (near !== 0) return at + firstByteOf(near)
    const far = quotesIn(view.getInt32(at + 4, true))
    if (far !== 0) return at + 4 + firstByteOf(far)
  }
  return bytes.indexOf(QUOTE, at)
}

/** The lowest bit set belongs to the first quote in the four bytes; 0 when there is none ("Bit Twiddling Hacks", haszero). */
function quotesIn(word: number): number {
  const zeroed = word ^ QUOTES
  return (zeroed - ONES) & ~zeroed & HIGH_BITS
}

function firstByteOf(bits: number): number {
  return (31 - Math.clz32(bits & -bits)) >> 3
}

/** An odd number of backslashes; the string's own opening quote ends the count. */
function isEscaped(bytes: Uint8Array, quote: number): boolean {
  let at = quote
  while (bytes[at - 1] === BACKSLASH) at--
  return (quote - at) % 2 === 1
}
