/*
 * lib/json: JSON as the bytes that it came in. Bodies of many megabytes are checked and have a field replaced
 * without being parsed, joined, copied or converted, and without recursion.
 *
 * scan           checks a document piece by piece, finds fields of its top-level object, reads them
 * edit           changes its fields where they stand
 * string-sample  what of strings is no text: base64 and escapes
 * number         the grammar of numbers, as a table
 * walk           from value to value in JSON that lies in one piece, whole or cut; its outline; what is wrong with a text
 * utf8           where bytes stop being UTF-8
 * parse          a text as a value, or nothing
 */
import { BYTE_ORDER_MARK, bytesBetween } from '../bytes.ts'
import { FIRST_PART, isCompleteNumber, nextPart } from './number.ts'
import { type IsUtf8, Utf8Check } from './utf8.ts'
import { CLOSE_BRACE, CLOSE_BRACKET, COLON, COMMA, OPEN_BRACE, OPEN_BRACKET, QUOTE } from './walk.ts'
import {
  BACKSLASH,
  closingQuote,
  isEscaped,
  isSpelt,
  JsonSyntaxError,
  numberValue,
  oneSpelt,
  stringValue,
} from './walk.ts'
import type { ByteSpan } from './walk.ts'
import { LEAST_FILE_BYTES, StringSample } from './string-sample.ts'

/** What one scan of a JSON object found; every offset counts from the first byte of the first piece. */
export interface JsonScan {
  readonly pieces: readonly Uint8Array[]
  /** Bytes in all pieces. */
  readonly length: number
  /** Every occurrence of each wanted field that is there, in order; most readers go by the last. */
  readonly fields: ReadonlyMap<string, readonly FieldSpan[]>
  /** Wanted fields of which there is a key in another case: some readers take it for the field. */
  readonly lookalikes: ReadonlySet<string>
  /** Offset of the opening brace. */
  readonly objectStart: number
  readonly isEmptyObject: boolean
  /**
   * The strings that hold files, wherever they stand: `data:` URLs (RFC 2397), and those with much base64 (RFC 4648) in
   * them. The bytes of both together; of base64 they are estimated from samples.
   */
  readonly files: { readonly count: number; readonly bytes: number }
  /** By how many bytes the values would be shorter with `\\uXXXX` written as UTF-8; estimated in long strings. */
  readonly escapedBytes: number
  /** Those of the wanted words that stand somewhere as the whole text of a value. */
  readonly words: ReadonlySet<string>
}

/** The bytes of a field's value, without the white space around it, and of its key with the quotes. */
export interface FieldSpan extends ByteSpan {
  readonly keyStart: number
  readonly keyEnd: number
  readonly kind: 'string' | 'number' | 'object' | 'array' | 'true' | 'false' | 'null'
}

/** So many occurrences of one field are no mistake, and each costs memory that the client does not pay. */
const MAX_OCCURRENCES = 1000
/** Bytes that are kept of a key that goes on in the next piece; a wanted one is shorter, escapes and all. */
const LONGEST_KEY = 512
/** 1 for the bytes of keys that are the same in lower case. */
const IS_LOWER = Uint8Array.from({ length: 256 }, (_, byte) =>
  byte >= 0x80 || byte === BACKSLASH || (byte >= 0x41 && byte <= 0x5a) ? 0 : 1,
)
/** Bytes of a wanted word among the values, with its quotes. */
const SHORTEST_WORD = 7
const LONGEST_WORD = 14
const DATA = [0x64, 0x61, 0x74, 0x61, 0x3a]
const NO_DATA = -1
/** When so many containers are open as bits, the next ones begin a number of their own. */
const FULL = 2 ** 29

/** What has to come next, or what a scanner is in the middle of; by number, since they are compared for each byte. */
const START = 0
const VALUE = 1
const ITEM_OR_END = 2
const KEY = 3
const KEY_OR_END = 4
const KEY_COLON = 5
const COMMA_OR_END = 6
const STRING = 7
const NUMBER = 8
const WORD = 9
const END = 10
/** What is missing in the other states is a value, a word, or depends on the container. */
const EXPECTED: Readonly<Record<number, string>> = {
  [KEY]: 'a string in double quotes',
  [KEY_OR_END]: 'a string in double quotes',
  [KEY_COLON]: 'a colon',
  [NUMBER]: 'a digit',
  [END]: 'nothing more',
}
/** The values that are words, and all kinds but numbers, by their first byte. */
const WORDS: Readonly<Record<number, FieldSpan['kind']>> = { 0x74: 'true', 0x66: 'false', 0x6e: 'null' }
const KINDS: Readonly<Record<number, FieldSpan['kind']>> = {
  ...WORDS,
  [QUOTE]: 'string',
  [OPEN_BRACE]: 'object',
  [OPEN_BRACKET]: 'array',
}

/**
 * Checks a JSON document that comes in pieces, cut anywhere, and finds the wanted fields of its top-level object.
 *
 * Keys are compared as they read with escapes resolved; `wanted` are ASCII names of up to 64 characters. Checked are
 * UTF-8, quotes, brackets, commas, colons, words, the grammar of numbers, and that nothing but white space follows. Not
 * checked are escapes and control characters inside strings: the reader of the document judges them. A byte
 * order mark in front is passed over, as RFC 8259 §8.1 allows and most servers do. Nothing is converted, of bytes only
 * cut keys and characters are copied, nesting is not recursion, the time is linear.
 *
 * A class, since one is made for each request, and a closure makes a function of each of its parts.
 */
export class JsonScanner {
  private readonly wanted: readonly string[]
  private readonly wantedWords: readonly string[]
  private readonly words = new Set<string>()
  private readonly utf8: Utf8Check
  private readonly fields = new Map<string, FieldSpan[]>()
  private readonly lookalikes = new Set<string>()
  private readonly files = { count: 0, bytes: 0 }
  private readonly strings = new StringSample()
  /** Offset in the piece of a backslash, none of them before it that has not been passed. */
  private backslashAt = -1
  private failure: unknown
  private state = START
  /** Offset of the piece that is looked at. */
  private base = 0
  private depth = 0
  /** The open containers as bits below a marker bit, the innermost lowest, 1 for an object; those outside in `outer`. */
  private kinds = 1
  private outer: number[] | undefined
  private markBytes = 0
  private objectStart = 0
  private isObject = false
  private isEmptyObject = false
  /** The occurrences of the wanted field that is being read, and where this one begins. */
  private spans: FieldSpan[] | undefined
  private keyStart = 0
  private keyEnd = 0
  private valueStart = 0
  private valueByte = 0
  /** Offset of the opening quote of a string, whether it is a key, and what of a key was in earlier pieces. */
  private openedAt = 0
  private isKey = false
  private earlier: Uint8Array[] | undefined
  /** The last piece ended in the middle of an escape. */
  private isInEscape = false
  /** How much of `data:` the string has begun with. */
  private dataPrefix = NO_DATA
  private part = 0
  private word = ''
  private wordAt = 0

  /** @param words ASCII words of 5 to 12 characters that are looked for among the values */
  constructor(wanted: readonly string[], isUtf8?: IsUtf8, words: readonly string[] = []) {
    this.wanted = wanted
    this.wantedWords = words
    this.utf8 = new Utf8Check(isUtf8)
  }

  /** Looks at the next piece. Throws nothing: what is wrong is told at the end. */
  push(bytes: Uint8Array): void {
    this.utf8.push(bytes)
    try {
      if (this.failure === undefined) this.scan(bytes)
    } catch (error) {
      this.failure = error
    }
    this.base += bytes.length
  }

  /**
   * @param pieces the same bytes again, in pieces of any size; the result has views of them
   * @throws JsonSyntaxError; kind `not-an-object` for well-formed JSON of another kind
   */
  end(pieces: readonly Uint8Array[]): JsonScan {
    const brokenAt = this.utf8.end()
    if (brokenAt >= 0) throw new JsonSyntaxError('utf8', 'not valid UTF-8', brokenAt)
    if (this.failure !== undefined) throw this.failure
    const { base, fields, objectStart, isEmptyObject, files, strings } = this
    if (this.state === NUMBER) this.endNumber(base, 'the end')
    if (this.state === STRING) throw new JsonSyntaxError('syntax', 'a string never ends', this.openedAt)
    if (this.state !== END) this.fail(base, 'the end')
    if (!this.isObject) throw new JsonSyntaxError('not-an-object', 'not a JSON object', objectStart)
    return {
      pieces,
      length: base,
      fields,
      lookalikes: this.lookalikes,
      objectStart,
      isEmptyObject,
      files,
      escapedBytes: strings.escapedBytes,
      words: this.words,
    }
  }

  private scan(bytes: Uint8Array): void {
    this.backslashAt = -1
    for (let at = 0; at < bytes.length;) {
      if (this.state === STRING) at = this.stringFrom(bytes, at)
      else if (this.state === NUMBER) at = this.numberFrom(bytes, at)
      else if (this.state === WORD) at = this.wordFrom(bytes, at)
      else {
        const byte = bytes[at] ?? 0
        if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) this.step(this.base + at, byte)
        at += 1
      }
    }
    if (this.state !== STRING || (this.isKey && this.depth !== 1)) return
    const longest = this.isKey ? LONGEST_KEY : LONGEST_WORD
    if (this.base + bytes.length - this.openedAt > longest) return void (this.earlier = undefined)
    this.earlier ??= []
    this.earlier.push(bytes.slice(Math.max(0, this.openedAt - this.base)))
  }

  /** One byte that is neither white space nor inside a string, a number or a word. */
  private step(offset: number, byte: number): void {
    switch (this.state) {
      case COMMA_OR_END: {
        const isObject = (this.kinds & 1) === 1
        if (byte === COMMA) this.state = isObject ? KEY : VALUE
        else if (byte === (isObject ? CLOSE_BRACE : CLOSE_BRACKET)) this.closeContainer(offset + 1)
        else this.fail(offset)
        return
      }
      case KEY:
        return byte === QUOTE ? this.beginString(offset, true) : this.fail(offset)
      case KEY_COLON:
        if (byte !== COLON) this.fail(offset)
        this.state = VALUE
        return
      case VALUE:
        return this.beginValue(offset, byte)
      case ITEM_OR_END:
        return byte === CLOSE_BRACKET ? this.closeContainer(offset + 1) : this.beginValue(offset, byte)
      case KEY_OR_END:
        if (byte === QUOTE) return this.beginString(offset, true)
        if (byte !== CLOSE_BRACE) this.fail(offset)
        if (this.depth === 1) this.isEmptyObject = true
        return this.closeContainer(offset + 1)
      case START:
        if (offset === this.markBytes && byte === BYTE_ORDER_MARK[offset]) return void (this.markBytes += 1)
        if (this.markBytes % BYTE_ORDER_MARK.length !== 0) this.fail(0)
        this.objectStart = offset
        this.isObject = byte === OPEN_BRACE
        return this.beginValue(offset, byte)
      default:
        this.fail(offset)
    }
  }

  private fail(offset: number, found = 'something else'): never {
    let expected = EXPECTED[this.state] ?? 'a value'
    if (this.state === WORD) expected = `the word ${this.word}`
    if (this.state === COMMA_OR_END) expected = (this.kinds & 1) === 1 ? 'a comma or }' : 'a comma or ]'
    throw new JsonSyntaxError('syntax', `expected ${expected}, found ${found}`, offset)
  }

  /** @param byte its first */
  private beginValue(offset: number, byte: number): void {
    if (this.spans !== undefined && this.depth === 1) {
      this.valueStart = offset
      this.valueByte = byte
    }
    if (byte === QUOTE) this.beginString(offset, false)
    else if (byte === OPEN_BRACE || byte === OPEN_BRACKET) this.openContainer(byte === OPEN_BRACE)
    else {
      const word = WORDS[byte]
      const part = nextPart(FIRST_PART, byte)
      if (word !== undefined) {
        this.state = WORD
        this.word = word
        this.wordAt = 1
      } else if (part === 0) this.fail(offset)
      else {
        this.state = NUMBER
        this.part = part
      }
    }
  }

  private endValue(end: number): void {
    if (this.spans !== undefined && this.depth === 1) {
      const { keyStart, keyEnd, valueStart: start } = this
      this.spans.push({ start, end, kind: KINDS[this.valueByte] ?? 'number', keyStart, keyEnd })
      this.spans = undefined
    }
    this.state = this.depth === 0 ? END : COMMA_OR_END
  }

  private openContainer(isObject: boolean): void {
    if (this.kinds >= FULL) {
      ;(this.outer ??= []).push(this.kinds)
      this.kinds = 1
    }
    this.kinds = (this.kinds << 1) | (isObject ? 1 : 0)
    this.depth += 1
    this.state = isObject ? KEY_OR_END : ITEM_OR_END
  }

  private closeContainer(end: number): void {
    this.kinds >>= 1
    this.depth -= 1
    if (this.kinds === 1) this.kinds = this.outer?.pop() ?? 1
    this.endValue(end)
  }

  private beginString(offset: number, isKey: boolean): void {
    this.state = STRING
    this.openedAt = offset
    this.isKey = isKey
    this.earlier = undefined
    this.dataPrefix = isKey ? NO_DATA : 0
    this.strings.begin()
  }

  /** The offset in the piece from which on something else is to be read. */
  private stringFrom(bytes: Uint8Array, at: number): number {
    if (this.dataPrefix >= 0 && this.dataPrefix < DATA.length) this.matchData(bytes, at)
    const from = this.isInEscape ? at + 1 : at
    const quote = closingQuote(bytes, from)
    if (!this.isKey && this.dataPrefix !== DATA.length)
      this.sample(bytes, at, quote < 0 ? bytes.length : quote)
    if (quote < 0) {
      this.isInEscape = isEscaped(bytes, from, bytes.length)
      return bytes.length
    }
    this.isInEscape = false
    if (this.isKey) {
      if (this.depth === 1) this.findField(bytes, quote + 1)
      this.state = KEY_COLON
    } else {
      const end = this.base + quote + 1
      const length = end - this.openedAt
      if (length >= SHORTEST_WORD && length <= LONGEST_WORD) this.findWord(bytes, quote + 1)
      const isData = this.dataPrefix === DATA.length
      const { base64Bytes } = this.strings
      if (isData || base64Bytes >= LEAST_FILE_BYTES) {
        this.files.count += 1
        this.files.bytes += isData ? end - this.openedAt : base64Bytes
      }
      this.endValue(end)
    }
    return quote + 1
  }

  /** Looks at a piece of a string where it may not be just text. Most are passed over with two comparisons. */
  private sample(bytes: Uint8Array, start: number, end: number): void {
    if (this.backslashAt < start) {
      const found = bytes.indexOf(BACKSLASH, start)
      this.backslashAt = found < 0 ? bytes.length : found
    }
    const isLong = end === bytes.length || this.base + end - this.openedAt >= LEAST_FILE_BYTES
    if (this.backslashAt < end || isLong || this.strings.isInEscape) this.strings.push(bytes, start, end)
  }

  private matchData(bytes: Uint8Array, from: number): void {
    for (let at = from; at < bytes.length && this.dataPrefix < DATA.length; at++) {
      if (bytes[at] !== DATA[this.dataPrefix]) return void (this.dataPrefix = NO_DATA)
      this.dataPrefix += 1
    }
  }

  /** @param end behind the key's closing quote */
  private findField(bytes: Uint8Array, end: number): void {
    let key = bytes
    let span = { start: this.openedAt - this.base, end }
    if (span.start < 0) {
      const { earlier = [] } = this
      this.earlier = undefined
      if (end - span.start > LONGEST_KEY) return
      key = bytesBetween([...earlier, bytes], 0, end - span.start)
      span = { start: 0, end: key.length }
    }
    const name = oneSpelt(key, span, this.wanted)
    if (name === undefined) return this.findLookalike(key, span)
    const spans = this.fields.get(name) ?? []
    this.fields.set(name, spans)
    if (spans.length === MAX_OCCURRENCES) {
      const message = `a key more than ${MAX_OCCURRENCES} times`
      throw new JsonSyntaxError('too-many-duplicates', message, this.openedAt)
    }
    this.spans = spans
    this.keyStart = this.openedAt
    this.keyEnd = this.base + end
  }

  private findLookalike(key: Uint8Array, span: ByteSpan): void {
    const { start, end } = span
    if (end - start > LONGEST_KEY) return
    let at = start
    while (at < end && IS_LOWER[key[at] ?? 0] === 1) at += 1
    if (at === end) return
    // Up first: `ſ` has another letter's upper case, and no lower case of its own.
    const name = stringValue(key, span).toUpperCase().toLowerCase()
    if (this.wanted.includes(name)) this.lookalikes.add(name)
  }

  /** @param end behind the value's closing quote */
  private findWord(bytes: Uint8Array, end: number): void {
    const start = this.openedAt - this.base
    const text =
      start < 0 ? bytesBetween([...(this.earlier ?? []), bytes], 0, end - start) : bytes.subarray(start, end)
    this.earlier = undefined
    for (const word of this.wantedWords)
      if (text.length === word.length + 2 && isSpelt(text, 1, word)) this.words.add(word)
  }

  private numberFrom(bytes: Uint8Array, from: number): number {
    for (let at = from; at < bytes.length; at++) {
      const next = nextPart(this.part, bytes[at] ?? 0)
      if (next === 0) {
        this.endNumber(this.base + at)
        return at
      }
      this.part = next
    }
    return bytes.length
  }

  private endNumber(offset: number, found?: string): void {
    if (!isCompleteNumber(this.part)) this.fail(offset, found)
    this.endValue(offset)
  }

  private wordFrom(bytes: Uint8Array, from: number): number {
    let at = from
    for (; this.wordAt < this.word.length && at < bytes.length; at++, this.wordAt++)
      if (bytes[at] !== this.word.charCodeAt(this.wordAt)) this.fail(this.base + at)
    if (this.wordAt === this.word.length) this.endValue(this.base + at)
    return at
  }
}

/** The same for a document that is there in one piece. @throws JsonSyntaxError */
export function scanTopLevel(bytes: Uint8Array, wanted: readonly string[], isUtf8?: IsUtf8): JsonScan {
  const scanner = new JsonScanner(wanted, isUtf8)
  scanner.push(bytes)
  return scanner.end([bytes])
}

/**
 * The text of a field that a scan has found; undefined where it is absent or no string. The last occurrence counts.
 * Who calls it has looked how long it is: it is as long as the client made it.
 */
export function stringField(scan: JsonScan, name: string): string | undefined {
  const bytes = fieldBytes(scan, name, 'string')
  return bytes && stringValue(bytes, { start: 0, end: bytes.length })
}

/** More digits than any number has that somebody means. */
const MOST_NUMBER_BYTES = 512

/** The same for a number; one that is spelt with very many digits counts as none. */
export function numberField(scan: JsonScan, name: string): number | undefined {
  const { start = 0, end = 0 } = scan.fields.get(name)?.at(-1) ?? {}
  const bytes = end - start > MOST_NUMBER_BYTES ? undefined : fieldBytes(scan, name, 'number')
  return bytes && numberValue(bytes, { start: 0, end: bytes.length })
}

function fieldBytes({ fields, pieces }: JsonScan, name: string, kind: FieldSpan['kind']) {
  const span = fields.get(name)?.at(-1)
  return span?.kind === kind ? bytesBetween(pieces, span.start, span.end) : undefined
}
