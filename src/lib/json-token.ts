import { afterString } from './json-string.ts'
import { MINUS, QUOTE, syntaxError } from './json-syntax.ts'

/** The offset of the first byte at or after `at` that is no white space (RFC 8259 §2). */
export function afterSpace(bytes: Uint8Array, at: number): number {
  let next = at
  for (;;) {
    const byte = bytes[next]
    if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) return next
    next++
  }
}

/**
 * The offset just behind the string, number or word (true, false, null) that begins at `at`.
 * @throws JsonSyntaxError when none begins there or it is misspelt
 */
export function afterScalar(bytes: Uint8Array, at: number): number {
  const byte = bytes[at]
  if (byte === QUOTE) return afterString(bytes, at)
  if (byte === MINUS || isDigit(byte)) return afterNumber(bytes, at)
  if (byte === 0x74) return afterWord(bytes, at, 'true')
  if (byte === 0x66) return afterWord(bytes, at, 'false')
  if (byte === 0x6e) return afterWord(bytes, at, 'null')
  throw syntaxError(bytes, at, 'a value')
}

function afterWord(bytes: Uint8Array, at: number, word: string): number {
  for (let index = 0; index < word.length; index++) {
    if (bytes[at + index] !== word.charCodeAt(index)) throw syntaxError(bytes, at + index, `the word ${word}`)
  }
  return at + word.length
}

/** RFC 8259 §6: no leading zero, no bare point, no plus sign in front. */
function afterNumber(bytes: Uint8Array, from: number): number {
  let at = bytes[from] === MINUS ? from + 1 : from
  at = bytes[at] === 0x30 ? at + 1 : afterDigits(bytes, at)
  if (bytes[at] === 0x2e) at = afterDigits(bytes, at + 1)
  if (bytes[at] !== 0x65 && bytes[at] !== 0x45) return at
  const sign = bytes[at + 1]
  return afterDigits(bytes, sign === 0x2b || sign === MINUS ? at + 2 : at + 1)
}

function afterDigits(bytes: Uint8Array, from: number): number {
  let at = from
  while (isDigit(bytes[at])) at++
  if (at === from) throw syntaxError(bytes, at, 'a digit')
  return at
}

function isDigit(byte: number | undefined): boolean {
  return byte !== undefined && byte >= 0x30 && byte <= 0x39
}
