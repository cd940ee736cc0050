/*
 * lib/json: JSON as the bytes that it came in. Bodies of many megabytes are checked and have a field replaced
 * without being parsed, copied or converted, and without recursion.
 *
 * scan    checks a document, finds fields of its top-level object and replaces them
 * values  the text or the number at a place that a scan has found
 * shape   what bytes look like from above, also where they are cut: for answers and their usage
 * utf8    where bytes stop being UTF-8
 */
import type { NativeBytes } from '../bytes.ts'
import { invalidUtf8At } from './utf8.ts'

/** What one scan of a JSON object found. */
export interface JsonScan {
  readonly bytes: Uint8Array
  /** That of the runtime, where it has some. */
  readonly native: NativeBytes | undefined
  /** Every occurrence of each wanted field that is there, in order; most readers go by the last. */
  readonly fields: ReadonlyMap<string, readonly FieldSpan[]>
  /** Offset of the opening brace. */
  readonly objectStart: number
  readonly isEmptyObject: boolean
}

/** The bytes of a field's value, without the white space around it. */
export interface FieldSpan extends ByteSpan {
  readonly kind: 'string' | 'number' | 'object' | 'array' | 'true' | 'false' | 'null'
}

/** So many occurrences of one field are no mistake, and each costs memory that the client does not pay. */
const MAX_OCCURRENCES = 1000

/**
 * Checks a JSON document and finds the wanted fields of its top-level object.
 *
 * Keys are compared as they read with escapes resolved; `wanted` are ASCII names. Checked are UTF-8, quotes,
 * brackets, commas, colons, words, the grammar of numbers, and that nothing but white space follows. Not
 * checked are escapes and control characters inside strings: the reader of the document judges them. A byte
 * order mark in front is passed over, as RFC 8259 §8.1 allows and most servers do. Nothing is copied or converted,
 * nesting is not recursion, the time is linear.
 * @throws JsonSyntaxError; kind `not-an-object` for well-formed JSON of another kind
 */
export function scanTopLevel(bytes: Uint8Array, wanted: readonly string[], native?: NativeBytes): JsonScan {
  const broken = native?.isUtf8(bytes) === true ? -1 : invalidUtf8At(bytes)
  if (broken >= 0) throw new JsonSyntaxError('utf8', 'not valid UTF-8', broken)
  const objectStart = afterSpace(bytes, startsWithMark(bytes) ? 3 : 0)
  if (bytes[objectStart] !== OPEN_BRACE) {
    expectEnd(bytes, afterValue(bytes, objectStart))
    throw new JsonSyntaxError('not-an-object', 'not a JSON object', objectStart)
  }
  const fields = new Map<string, FieldSpan[]>()
  const end = eachMember(bytes, objectStart, (key, { start, end }) => {
    const name = oneSpelt(bytes, key, wanted)
    if (name === undefined) return
    const spans = fields.get(name) ?? []
    if (spans.length === MAX_OCCURRENCES) {
      throw new JsonSyntaxError('too-many-duplicates', `a key more than ${MAX_OCCURRENCES} times`, key.start)
    }
    fields.set(name, spans)
    spans.push({ start, end, kind: valueKindOf(bytes[start]) })
  })
  expectEnd(bytes, end)
  const isEmptyObject = bytes[afterSpace(bytes, objectStart + 1)] === CLOSE_BRACE
  return { bytes, native, fields, objectStart, isEmptyObject }
}

/**
 * The document with `jsonValue` as the value of every top-level `name`, in parts to be sent one after the other.
 *
 * Parts are views of the scanned bytes and of `jsonValue`, which has to be a JSON value itself; nothing is copied.
 * An absent field becomes the first key. `name` is one of those that the scan was asked for.
 */
export function replaceField(scan: JsonScan, name: string, jsonValue: Uint8Array): Uint8Array[] {
  const { bytes, fields, objectStart, isEmptyObject } = scan
  const spans = fields.get(name)
  if (spans === undefined) {
    const key = encoder.encode(`${JSON.stringify(name)}:`)
    const rest = bytes.subarray(objectStart + 1)
    const inserted = isEmptyObject ? [key, jsonValue] : [key, jsonValue, encoder.encode(',')]
    return [bytes.subarray(0, objectStart + 1), ...inserted, rest]
  }
  const parts: Uint8Array[] = []
  let at = 0
  for (const { start, end } of spans) {
    parts.push(bytes.subarray(at, start), jsonValue)
    at = end
  }
  parts.push(bytes.subarray(at))
  return parts
}

const encoder = new TextEncoder()

function expectEnd(bytes: Uint8Array, at: number): void {
  const end = afterSpace(bytes, at)
  if (end < bytes.length) throw syntaxError(bytes, end, 'nothing more')
}

function startsWithMark(bytes: Uint8Array): boolean {
  return bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf
}

/** Of a well-formed value by its first byte. */
function valueKindOf(first: number | undefined): FieldSpan['kind'] {
  if (first === 0x22) return 'string'
  if (first === 0x7b) return 'object'
  if (first === 0x5b) return 'array'
  if (first === 0x74) return 'true'
  if (first === 0x66) return 'false'
  return first === 0x6e ? 'null' : 'number'
}

/** A stretch of bytes: from `start` up to, not including, `end`. */
export interface ByteSpan {
  readonly start: number
  readonly end: number
}

/**
 * The offset just behind the value that begins at `at`, checked but for what strings hold.
 *
 * No recursion: a level of nesting costs one bit. Numbers are checked as written, never converted.
 * @throws JsonSyntaxError at the first byte that can't stand where it stands
 */
export function afterValue(bytes: Uint8Array, at: number): number {
  const first = bytes[at]
  return first === OPEN_BRACE || first === OPEN_BRACKET ? afterContainer(bytes, at) : afterScalar(bytes, at)
}

/**
 * Calls `visit` with each key (quotes included) and value of the object that opens at `open`; gives the offset behind it.
 *
 * Each value is checked before `visit` sees it.
 * @throws JsonSyntaxError when the object is not well-formed
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

/**
 * `kinds` holds the open containers as bits, the innermost lowest, 1 for an object, above them a marker bit;
 * when it is full it goes to `outer`. It is 1, the bare marker, only when nothing is open.
 */
function afterContainer(bytes: Uint8Array, open: number): number {
  const outer: number[] = []
  let kinds = 1
  let at = open
  for (;;) {
    const byte = bytes[at]
    if (byte === OPEN_BRACE || byte === OPEN_BRACKET) {
      if (kinds >= FULL) {
        outer.push(kinds)
        kinds = 1
      }
      kinds = (kinds << 1) | (byte === OPEN_BRACE ? 1 : 0)
      at = afterSpace(bytes, at + 1)
      if (bytes[at] !== closerOf(kinds)) {
        at = itemAt(bytes, at, kinds)
        continue
      }
    } else at = afterSpace(bytes, afterScalar(bytes, at))
    while (bytes[at] === closerOf(kinds)) {
      kinds >>= 1
      if (kinds === 1 && outer.length === 0) return at + 1
      if (kinds === 1) kinds = outer.pop() ?? 1
      at = afterSpace(bytes, at + 1)
    }
    if (bytes[at] !== COMMA) throw syntaxError(bytes, at, kinds & 1 ? 'a comma or }' : 'a comma or ]')
    at = itemAt(bytes, afterSpace(bytes, at + 1), kinds)
  }
}

const FULL = 2 ** 29

function closerOf(kinds: number): number {
  return kinds & 1 ? CLOSE_BRACE : CLOSE_BRACKET
}

/** The offset of the next value: in an object its key and colon come first. */
function itemAt(bytes: Uint8Array, at: number, kinds: number): number {
  return kinds & 1 ? afterColon(bytes, afterString(bytes, at)) : at
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

/**
 * The offset just behind the string, number or word (true, false, null) that begins at `at`.
 * @throws JsonSyntaxError when none begins there or it is misspelt
 */
function afterScalar(bytes: Uint8Array, at: number): number {
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

/** The bytes that give a JSON text its shape (RFC 8259 §2, §7). */
export const QUOTE = 0x22
export const BACKSLASH = 0x5c
export const COMMA = 0x2c
export const COLON = 0x3a
const MINUS = 0x2d
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
export function syntaxError(bytes: Uint8Array, at: number, wanted: string): JsonSyntaxError {
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
