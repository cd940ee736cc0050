/** Walks in JSON that lies in one piece. */

/** A stretch of bytes: from `start` up to, not including, `end`. */
export interface ByteSpan {
  readonly start: number
  readonly end: number
}

/**
 * The offset just behind the value that begins at `at`. Strings and brackets have to close, and nothing else is checked:
 * what clients send has been, by a `JsonScanner`, and of answers only what is read counts.
 *
 * No recursion.
 * @throws JsonSyntaxError where no value begins, or it does not end
 */
export function afterValue(bytes: Uint8Array, at: number): number {
  const first = bytes[at]
  if (first === QUOTE) return afterString(bytes, at)
  return first === OPEN_BRACE || first === OPEN_BRACKET ? afterContainer(bytes, at) : afterScalar(bytes, at)
}

function afterContainer(bytes: Uint8Array, open: number): number {
  let depth = 0
  for (let at = open; at < bytes.length; at++) {
    const byte = bytes[at]
    if (byte === QUOTE) at = afterString(bytes, at) - 1
    else if (byte === OPEN_BRACE || byte === OPEN_BRACKET) depth++
    else if ((byte === CLOSE_BRACE || byte === CLOSE_BRACKET) && --depth === 0) return at + 1
  }
  throw syntaxError(bytes, bytes.length, 'a closing bracket')
}

/** A number or a word. */
function afterScalar(bytes: Uint8Array, from: number): number {
  let at = from
  while (at < bytes.length && isScalar(bytes[at] ?? 0)) at++
  if (at === from) throw syntaxError(bytes, at, 'a value')
  return at
}

/** Letters, digits, signs and points. */
const isScalar = (byte: number): boolean =>
  byte > 0x2c
    ? byte !== COLON && byte !== OPEN_BRACKET && byte !== CLOSE_BRACKET && byte < OPEN_BRACE
    : byte === 0x2b

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
    const start = afterColon(bytes, key.end)
    const end = afterValue(bytes, start)
    visit(key, { start, end })
    at = afterSpace(bytes, end)
    if (bytes[at] === CLOSE_BRACE) return at + 1
    if (bytes[at] !== COMMA) throw syntaxError(bytes, at, 'a comma or }')
    at = afterSpace(bytes, at + 1)
  }
}

function afterColon(bytes: Uint8Array, at: number): number {
  const colon = afterSpace(bytes, at)
  if (bytes[colon] !== COLON) throw syntaxError(bytes, colon, 'a colon')
  return afterSpace(bytes, colon + 1)
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
export const BACKSLASH = 0x5c
export const COMMA = 0x2c
export const COLON = 0x3a
export const OPEN_BRACE = 0x7b
export const CLOSE_BRACE = 0x7d
export const OPEN_BRACKET = 0x5b
export const CLOSE_BRACKET = 0x5d

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

/** The error for something else, or nothing, at `at` where `wanted` ("a colon") has to be. */
function syntaxError(bytes: Uint8Array, at: number, wanted: string): JsonSyntaxError {
  const found = at < bytes.length ? 'something else' : 'the end'
  return new JsonSyntaxError('syntax', `expected ${wanted}, found ${found}`, Math.min(at, bytes.length))
}

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
  const quote = closingQuote(bytes, open + 1)
  if (quote < 0) throw new JsonSyntaxError('syntax', 'a string never ends', open)
  return quote + 1
}

/** The offset of the quote that ends a string whose text begins or goes on at `from`; −1 when it goes on behind the bytes. */
export function closingQuote(bytes: Uint8Array, from: number): number {
  let at = from
  const pause = Math.min(bytes.length, at + HAND_BYTES)
  while (at < pause) {
    const byte = bytes[at]
    if (byte === QUOTE) return at
    at += byte === BACKSLASH ? 2 : 1
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  for (;;) {
    const quote = nextQuote(bytes, view, at)
    if (quote < 0 || !isEscaped(bytes, from, quote)) return quote
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

/** Whether an odd number of backslashes stands before `at`, none of them before `from`, where the string's text begins. */
export function isEscaped(bytes: Uint8Array, from: number, at: number): boolean {
  let first = at
  while (first > from && bytes[first - 1] === BACKSLASH) first--
  return (at - first) % 2 === 1
}

/**
 * The one of `words` (ASCII letters, digits, underscores) that the JSON string at `span` reads as; undefined when it is none.
 *
 * Escapes are resolved as `stringValue` does it, but nothing is decoded: a key that is none of them costs a few
 * nanoseconds a word.
 */
export function oneSpelt<Word extends string>(
  bytes: Uint8Array,
  span: ByteSpan,
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

function spells(bytes: Uint8Array, span: ByteSpan, word: string): boolean {
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
