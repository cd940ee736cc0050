import { eachMember, afterValue } from './json-skip.ts'
import type { Span } from './json-skip.ts'
import { CLOSE_BRACE, JsonSyntaxError, OPEN_BRACE, syntaxError } from './json-syntax.ts'
import { afterSpace } from './json-token.ts'
import { oneSpelt } from './json-spelling.ts'
import { invalidUtf8At } from './utf8.ts'

/** What one scan of a JSON object found. */
export interface JsonScan {
  readonly bytes: Uint8Array
  /** Every occurrence of each wanted field that is there, in order; most readers go by the last. */
  readonly fields: ReadonlyMap<string, readonly FieldSpan[]>
  /** Offset of the opening brace. */
  readonly objectStart: number
  readonly isEmptyObject: boolean
}

/** The bytes of a field's value, without the white space around it. */
export interface FieldSpan extends Span {
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
export function scanTopLevel(bytes: Uint8Array, wanted: readonly string[]): JsonScan {
  const broken = invalidUtf8At(bytes)
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
    spans.push({ start, end, kind: kindOf(bytes[start]) })
  })
  expectEnd(bytes, end)
  const isEmptyObject = bytes[afterSpace(bytes, objectStart + 1)] === CLOSE_BRACE
  return { bytes, fields, objectStart, isEmptyObject }
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
function kindOf(first: number | undefined): FieldSpan['kind'] {
  if (first === 0x22) return 'string'
  if (first === 0x7b) return 'object'
  if (first === 0x5b) return 'array'
  if (first === 0x74) return 'true'
  if (first === 0x66) return 'false'
  return first === 0x6e ? 'null' : 'number'
}
