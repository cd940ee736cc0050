import type { Span } from './json-skip.ts'
import { BACKSLASH } from './json-syntax.ts'

/**
 * The one of `words` (ASCII letters, digits, underscores) that the JSON string at `span` reads as; undefined when it is none.
 *
 * Escapes are resolved as `stringValue` does it, but nothing is decoded: a key that is none of them costs a few
 * nanoseconds a word.
 */
export function oneSpelt<Word extends string>(
  bytes: Uint8Array,
  span: Span,
  words: readonly Word[],
): Word | undefined {
  const length = span.end - span.start - 2
  for (const word of words) {
    const fits = length >= word.length && length <= LONGEST_ESCAPE * word.length
    if (fits && spells(bytes, span, word)) return word
  }
  return undefined
}

/** Bytes of `\u006d`, which stands for one character. */
const LONGEST_ESCAPE = 6

function spells(bytes: Uint8Array, span: Span, word: string): boolean {
  const end = span.end - 1
  let at = span.start + 1
  for (let index = 0; index < word.length; index++) {
    const isEscape = bytes[at] === BACKSLASH
    const hex = isEscape ? hexEscapeAt(bytes, at) : undefined
    const code = hex ?? (isEscape ? plainEscapeAt(bytes, at) : bytes[at])
    if (code !== word.charCodeAt(index)) return false
    at += hex === undefined ? (isEscape ? 2 : 1) : LONGEST_ESCAPE
  }
  return at === end
}

/** Of an escape that is not in hexadecimal: the character itself, but undefined for those that mean a control character. */
function plainEscapeAt(bytes: Uint8Array, at: number): number | undefined {
  const byte = bytes[at + 1]
  return byte === undefined || 'bfnrt'.includes(String.fromCharCode(byte)) ? undefined : byte
}

function hexEscapeAt(bytes: Uint8Array, at: number): number | undefined {
  if (bytes[at + 1] !== 0x75) return undefined
  let code = 0
  for (let index = at + 2; index < at + LONGEST_ESCAPE; index++) {
    const digit = hexDigit(bytes[index] ?? 0)
    if (digit === undefined) return undefined
    code = code * 16 + digit
  }
  return code
}

function hexDigit(byte: number): number | undefined {
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30
  const lower = byte | 0x20
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : undefined
}
