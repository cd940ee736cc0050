/** Walks in JSON that lies in one piece. */
import { utf8Text } from '../bytes.ts'

/** A stretch of bytes: from `start` up to, not including, `end`. */
export interface ByteSpan {
  readonly start: number
  readonly end: number
}

/**
 * The offset just behind the value that begins at `at`. Strings and brackets have to close, and nothing else is checked:
 * what clients send has been, by a `JsonScanner`, and of answers only what is read counts. No recursion.
 *
 * @throws JsonSyntaxError where no value begins, or it does not end
 */
export function afterValue(bytes: Uint8Array, at: number): number {
  const first = bytes[at]
  if (first === QUOTE) return afterString(bytes, at)
  const isContainer = first === OPEN_BRACE || first === OPEN_BRACKET
  let end = isContainer ? closingBracket(bytes, at) + 1 : at
  if (!isContainer) while (isScalar(bytes[end])) end++
  if (end <= at) throw malformed(at)
  return end
}

/** Letters, digits, signs and points: numbers and words. */
const isScalar = (byte = 0): boolean =>
  byte > COMMA
    ? byte !== COLON && byte !== OPEN_BRACKET && byte !== CLOSE_BRACKET && byte < OPEN_BRACE
    : byte === 0x2b

/** The offset of the bracket that closes the one at `from`, or the one whose inside begins there; −1 when none does. */
function closingBracket(bytes: Uint8Array, from: number, isInside = false): number {
  let depth = isInside ? 1 : 0
  for (let at = from; at < bytes.length; at++) {
    const byte = bytes[at] ?? 0
    if (STRUCTURAL[byte] === 0) continue
    if (byte === QUOTE) {
      at = closingQuote(bytes, at + 1)
      if (at < 0) return -1
    } else if (byte === OPEN_BRACE || byte === OPEN_BRACKET) depth++
    else if (--depth === 0) return at
  }
  return -1
}

/**
 * Calls `visit` with each key (quotes included) and value of the object that opens at `open`; gives the offset behind it.
 *
 * @throws JsonSyntaxError where the object does not go on as one
 */
export function eachMember(
  bytes: Uint8Array,
  open: number,
  visit: (key: ByteSpan, value: ByteSpan) => void,
): number {
  let at = afterSpace(bytes, open + 1)
  if (bytes[at] === CLOSE_BRACE) return at + 1
  for (;;) {
    const key = { start: at, end: afterString(bytes, at) }
    const colon = afterSpace(bytes, key.end)
    if (bytes[colon] !== COLON) throw malformed(colon)
    const start = afterSpace(bytes, colon + 1)
    const end = afterValue(bytes, start)
    visit(key, { start, end })
    at = afterSpace(bytes, end)
    if (bytes[at] === CLOSE_BRACE) return at + 1
    if (bytes[at] !== COMMA) throw malformed(at)
    at = afterSpace(bytes, at + 1)
  }
}

/** The offset of the first byte at or after `at` that is no white space (RFC 8259 §2). */
export function afterSpace(bytes: Uint8Array, at: number): number {
  let next = at
  for (;;) {
    const byte = bytes[next]
    if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) return next
    next++
  }
}

/** The bytes that give a JSON text its shape (RFC 8259 §2, §7). */
export const QUOTE = 0x22
const BACKSLASH = 0x5c
export const COMMA = 0x2c
export const COLON = 0x3a
export const OPEN_BRACE = 0x7b
export const CLOSE_BRACE = 0x7d
export const OPEN_BRACKET = 0x5b
export const CLOSE_BRACKET = 0x5d

/** 1 for the bytes that tell where a container ends; all others are passed over at once. */
const STRUCTURAL = new Uint8Array(256)
for (const byte of [QUOTE, OPEN_BRACKET, CLOSE_BRACKET, OPEN_BRACE, CLOSE_BRACE]) STRUCTURAL[byte] = 1

/** What is wrong with a JSON text; `offset` is in bytes. The message never quotes the text. */
export class JsonSyntaxError extends Error {
  readonly kind: 'syntax' | 'utf8' | 'not-an-object' | 'too-many-duplicates'
  readonly offset: number

  constructor(kind: JsonSyntaxError['kind'], message: string, offset: number) {
    super(`${message} (byte ${offset})`)
    this.name = 'JsonSyntaxError'
    this.kind = kind
    this.offset = offset
  }
}

/** Nobody reads it: what clients send has been checked, and what answers hold is skipped then. */
const malformed = (at: number): JsonSyntaxError => new JsonSyntaxError('syntax', 'malformed', at)

/** The offset just behind the string that opens at `open`. @throws JsonSyntaxError when none does, or it never ends */
export function afterString(bytes: Uint8Array, open: number): number {
  const quote = bytes[open] === QUOTE ? closingQuote(bytes, open + 1) : -1
  if (quote < 0) throw malformed(open)
  return quote + 1
}

/**
 * The offset of the quote that ends a string whose text begins or goes on at `from`; −1 when it goes on behind the bytes.
 * Linear in the length, whatever the string holds: only quotes are searched, then the backslashes right before the one
 * found are counted. Escapes and control characters are not judged.
 */
export function closingQuote(bytes: Uint8Array, from: number): number {
  let at = from
  for (;;) {
    const pause = Math.min(bytes.length, at + HAND_BYTES)
    while (at < pause) {
      const byte = bytes[at]
      if (byte === QUOTE) return at
      at += byte === BACKSLASH ? 2 : 1
    }
    const quote = bytes.indexOf(QUOTE, at)
    if (quote < 0 || !isEscaped(bytes, from, quote)) return quote
    at = quote + 1
  }
}

/** Keys and words are mostly shorter; to call the native search costs as much as reading this many bytes. */
const HAND_BYTES = 24

/** Whether an odd number of backslashes stands before `at`, none of them before `from`, where the string's text begins. */
export function isEscaped(bytes: Uint8Array, from: number, at: number): boolean {
  let first = at
  while (first > from && bytes[first - 1] === BACKSLASH) first--
  return (at - first) % 2 === 1
}

/**
 * The one of `words` (ASCII letters and underscores) that the JSON string at `span` reads as; undefined when it is none.
 *
 * Escapes are resolved as `stringValue` does it, but nothing is decoded: a key that is none of them costs a few
 * nanoseconds a word.
 */
export function oneSpelt<Word extends string>(
  bytes: Uint8Array,
  { start, end }: ByteSpan,
  words: readonly Word[],
): Word | undefined {
  const length = end - start - 2
  for (const word of words) {
    const fits = length >= word.length && length <= LONGEST_ESCAPE * word.length
    if (fits && endOfWord(bytes, start + 1, word) === end - 1) return word
  }
  return undefined
}

/** Bytes of `\u006d`, which stands for one character. */
const LONGEST_ESCAPE = 6

/** The offset behind `word`, whose characters may be escapes, where it stands at `from`; −1 where it does not. */
function endOfWord(bytes: Uint8Array, from: number, word: string): number {
  let at = from
  for (let index = 0; index < word.length; index++) {
    const code = word.charCodeAt(index)
    if (bytes[at] === code) at += 1
    else if (bytes[at] !== BACKSLASH) return -1
    else if (bytes[at + 1] === 0x75 && isHexEscape(bytes, at, code)) at += LONGEST_ESCAPE
    else if (bytes[at + 1] === code && CONTROL[word.charAt(index)] === undefined) at += 2
    else return -1
  }
  return at
}

/** Whether the escape at `at` is the ASCII character `code` in hexadecimal. */
const isHexEscape = (bytes: Uint8Array, at: number, code: number): boolean =>
  isSpelt(bytes, at, '\\u00') && isHexDigit(bytes[at + 4], code >> 4) && isHexDigit(bytes[at + 5], code & 15)

const isHexDigit = (byte: number | undefined, digit: number): boolean =>
  byte === '0123456789abcdef'.charCodeAt(digit) || byte === '0123456789ABCDEF'.charCodeAt(digit)

/** Whether what begins at `at` is spelt so; for literals and short strings in ASCII. A negative place holds nothing. */
export function isSpelt(bytes: Uint8Array, at: number, literal: string): boolean {
  for (let i = 0; i < literal.length; i++) if (bytes[at + i] !== literal.charCodeAt(i)) return false
  return true
}

const ESCAPE = /\\(?:u([0-9a-fA-F]{4})|([^]))/g
const CONTROL: Readonly<Record<string, string>> = { b: '\b', f: '\f', n: '\n', r: '\r', t: '\t' }

/**
 * The text of the JSON string at `span`, quotes not included, escapes resolved.
 *
 * Escapes that JSON does not know stand for the character behind the backslash (`\m` is `m`), as the
 * most lenient readers have it. Half a surrogate pair stays half.
 */
export function stringValue(bytes: Uint8Array, span: ByteSpan): string {
  const raw = utf8Text(bytes, span.start + 1, span.end - 1)
  if (!raw.includes('\\')) return raw
  return raw.replace(ESCAPE, (_, hex: string | undefined, char: string) =>
    hex === undefined ? (CONTROL[char] ?? char) : String.fromCharCode(Number.parseInt(hex, 16)),
  )
}

/** The JSON number at `span`; undefined for anything else and for what no double can hold (1e400). */
export function numberValue(bytes: Uint8Array, span: ByteSpan): number | undefined {
  const text = utf8Text(bytes, span.start, span.end)
  const value = /^-?\d/.test(text) ? Number(text) : NaN
  return Number.isFinite(value) ? value : undefined
}

/** What bytes hold, as far as it was looked at. */
export type Outline =
  | { readonly kind: 'value'; readonly value: unknown }
  /** It begins as an object or a list and ends too early. */
  | { readonly kind: 'truncated' }
  /** Nothing but white space. */
  | { readonly kind: 'empty' }
  /** Text that is no JSON, or something behind the end of it. */
  | { readonly kind: 'other' }

/** An outline goes so deep: as far as the text of a message that is a list of parts. */
const OUTLINE_DEPTH = 7
/** Items of a list that are looked at; the rest is passed over. */
const OUTLINE_ITEMS = 16
/** Bytes of a text that are kept. */
const OUTLINE_TEXT = 2_048
/** Stands for a container that is not looked into, and has something in it. */
const UNSEEN: unknown = { '…': true }

/**
 * The value of a JSON answer with its long texts, long lists and deep places cut, so that it can be judged without
 * being built: about 20 ms for 8 MiB of numbers, far less for text.
 *
 * It is lenient on purpose, other than a check of what clients send: strings and brackets have to close, words and UTF-8
 * are not looked at, since `NaN` in a logprob is no reason to throw a paid answer away. A byte order mark is passed over.
 */
export function outlineOf(bytes: Uint8Array): Outline {
  const start = afterSpace(bytes, isSpelt(bytes, 0, '\xef\xbb\xbf') ? 3 : 0)
  if (start >= bytes.length) return { kind: 'empty' }
  try {
    const { value, end } = outlineAt(bytes, start, OUTLINE_DEPTH)
    return afterSpace(bytes, end) < bytes.length ? { kind: 'other' } : { kind: 'value', value }
  } catch {
    const isContainer = bytes[start] === OPEN_BRACE || bytes[start] === OPEN_BRACKET
    return { kind: isContainer && closingBracket(bytes, start) < 0 ? 'truncated' : 'other' }
  }
}

/** @throws JsonSyntaxError */
function outlineAt(bytes: Uint8Array, at: number, depth: number): { value: unknown; end: number } {
  const first = bytes[at]
  if (first === OPEN_BRACE && depth > 0) return outlineOfObject(bytes, at, depth)
  if (first === OPEN_BRACKET && depth > 0) return outlineOfList(bytes, at, depth)
  const end = afterValue(bytes, at)
  if (first === QUOTE)
    return { value: stringValue(bytes, { start: at, end: Math.min(end, at + OUTLINE_TEXT) }), end }
  if (first === OPEN_BRACE || first === OPEN_BRACKET) {
    const isEmpty = afterSpace(bytes, at + 1) === end - 1
    return { value: isEmpty ? (first === OPEN_BRACE ? {} : []) : UNSEEN, end }
  }
  return { value: scalarValue(utf8Text(bytes, at, Math.min(end, at + 64))), end }
}

function outlineOfObject(bytes: Uint8Array, open: number, depth: number) {
  const value: Record<string, unknown> = {}
  let at = afterSpace(bytes, open + 1)
  if (bytes[at] === CLOSE_BRACE) return { value, end: at + 1 }
  for (;;) {
    const keyEnd = afterString(bytes, at)
    const name = stringValue(bytes, { start: at, end: Math.min(keyEnd, at + OUTLINE_TEXT) })
    const colon = afterSpace(bytes, keyEnd)
    if (bytes[colon] !== COLON) throw malformed(colon)
    const member = outlineAt(bytes, afterSpace(bytes, colon + 1), depth - 1)
    if (name !== '__proto__') value[name] = member.value
    at = afterSpace(bytes, member.end)
    if (bytes[at] === CLOSE_BRACE) return { value, end: at + 1 }
    if (bytes[at] !== COMMA) throw malformed(at)
    at = afterSpace(bytes, at + 1)
  }
}

function outlineOfList(bytes: Uint8Array, open: number, depth: number): { value: unknown[]; end: number } {
  const value: unknown[] = []
  let at = afterSpace(bytes, open + 1)
  while (bytes[at] !== CLOSE_BRACKET) {
    if (value.length >= OUTLINE_ITEMS) {
      const close = closingBracket(bytes, at, true)
      if (close < 0) throw malformed(open)
      return { value, end: close + 1 }
    }
    const item = outlineAt(bytes, at, depth - 1)
    value.push(item.value)
    at = afterSpace(bytes, item.end)
    if (bytes[at] !== COMMA) break
    at = afterSpace(bytes, at + 1)
  }
  if (bytes[at] !== CLOSE_BRACKET) throw malformed(at)
  return { value, end: at + 1 }
}

/** A word or a number; `NaN` and what else is none stays the text that it is. @throws JsonSyntaxError */
function scalarValue(text: string): unknown {
  if (text === 'null') return null
  if (text === 'true' || text === 'false') return text === 'true'
  const number = Number(text)
  if (!Number.isNaN(number)) return number
  if (/^-?(nan|infinity)$/i.test(text)) return null
  throw malformed(0)
}
