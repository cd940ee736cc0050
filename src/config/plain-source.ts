import {
  afterSpace,
  afterValue,
  CLOSE_BRACKET,
  COMMA,
  eachMember,
  JsonSyntaxError,
  OPEN_BRACE,
  OPEN_BRACKET,
} from '../lib/json/walk.ts'
import { scanTopLevel } from '../lib/json/scan.ts'
import { stringValue } from '../lib/json/values.ts'
import { positionsIn, withoutByteOrderMark, type Path } from './problem.ts'
import type { Source } from './source.ts'

/**
 * What `readSource` does, for runtimes that load the whole program anew in each isolate: made of the scanner that
 * requests are read with, it brings no parser along. Of mistakes in the syntax the first is told, and keys that stand
 * twice are not told.
 */
export function readPlainSource(text: string): Source {
  const plain = withoutTrailingCommas(withoutComments(withoutByteOrderMark(text)))
  const bytes = new TextEncoder().encode(plain)
  const positionAt = positionsIn(plain)
  const positionOf = (offset: number) =>
    positionAt(new TextDecoder().decode(bytes.subarray(0, offset)).length)
  const read = parseValue(plain, bytes)
  const isValue = 'value' in read
  return {
    value: isValue ? read.value : undefined,
    positionOf: (path) => positionOf(isValue ? offsetOf(path, bytes) : 0),
    duplicates: [],
    syntaxErrors: isValue ? [] : [{ position: positionOf(read.offset), message: read.message }],
  }
}

const COMMENTS = /"[^"\\]*(?:\\.[^"\\]*)*"|\/\/[^\r\n]*|\/\*[^]*?\*\//g
const TRAILING_COMMAS = /"[^"\\]*(?:\\.[^"\\]*)*"|(?<![[{,:]\s*),(?=\s*[\]}])/g
const BRACKETS = /"[^"\\]*(?:\\.[^"\\]*)*"|[[{]|[\]}]/g

/** Blanks in the place of what is taken out: everything else stays where it is. */
const blanked = (text: string, pattern: RegExp): string =>
  text.replace(pattern, (found) => (found.startsWith('"') ? found : found.replace(/[^\r\n]/g, ' ')))

const withoutComments = (text: string): string => blanked(text, COMMENTS)
const withoutTrailingCommas = (text: string): string => blanked(text, TRAILING_COMMAS)

type ParsedValue = { readonly value: unknown } | { readonly offset: number; readonly message: string }

function parseValue(plain: string, bytes: Uint8Array): ParsedValue {
  try {
    checkSyntax(bytes)
    return isDeep(plain)
      ? { offset: 0, message: 'brackets in brackets without end' }
      : { value: JSON.parse(plain) }
  } catch (error) {
    if (error instanceof JsonSyntaxError)
      return { offset: error.offset, message: error.message.replace(/ \(byte \d+\)$/, '') }
    // The runtime's own message quotes the text, and that holds keys.
    return { offset: 0, message: 'a text in it has an escape or a character that JSON does not know' }
  }
}

/** @throws JsonSyntaxError */
function checkSyntax(bytes: Uint8Array): void {
  try {
    scanTopLevel(bytes, [])
  } catch (error) {
    if (!(error instanceof JsonSyntaxError) || error.kind !== 'not-an-object') throw error
  }
}

/** A configuration is five levels deep; some thousand would end the stack of those who walk through it. */
const DEEPEST = 100

function isDeep(plain: string): boolean {
  let depth = 0
  for (const [found] of plain.matchAll(BRACKETS)) {
    if (found === '[' || found === '{') depth += 1
    else if (!found.startsWith('"')) depth -= 1
    if (depth > DEEPEST) return true
  }
  return false
}

/** Where the value at `path` begins, or the nearest part above it that is there. */
function offsetOf(path: Path, bytes: Uint8Array): number {
  let at = afterSpace(bytes, 0)
  for (const step of path) {
    const next = typeof step === 'number' ? itemOf(bytes, at, step) : memberOf(bytes, at, step)
    if (next === undefined) return at
    at = next
  }
  return at
}

/** The last one where a key stands twice. */
function memberOf(bytes: Uint8Array, open: number, name: string): number | undefined {
  if (bytes[open] !== OPEN_BRACE) return undefined
  let found: number | undefined
  eachMember(bytes, open, (key, value) => {
    if (stringValue(bytes, key) === name) found = value.start
  })
  return found
}

function itemOf(bytes: Uint8Array, open: number, index: number): number | undefined {
  if (bytes[open] !== OPEN_BRACKET) return undefined
  let at = afterSpace(bytes, open + 1)
  for (let left = index; left > 0 && bytes[at] !== CLOSE_BRACKET; left--) {
    at = afterSpace(bytes, afterValue(bytes, at))
    if (bytes[at] === COMMA) at = afterSpace(bytes, at + 1)
  }
  return bytes[at] === CLOSE_BRACKET ? undefined : at
}
