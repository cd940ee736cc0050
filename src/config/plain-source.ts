import {
  afterSpace,
  afterValue,
  CLOSE_BRACKET,
  COMMA,
  eachMember,
  JsonSyntaxError,
  OPEN_BRACE,
  OPEN_BRACKET,
  stringValue,
} from '../lib/json/walk.ts'
import { scanTopLevel } from '../lib/json/scan.ts'
import { DEEPEST, positionsIn, syntaxMessage, withoutByteOrderMark, type Path } from './problem.ts'
import type { Source } from './source.ts'

/**
 * What `readSource` does, for runtimes that load the whole program anew in each isolate: made of the scanner that
 * requests are read with, it brings no parser along. Of mistakes in the syntax the first is told, and keys that stand
 * twice are not told.
 */
export function readPlainSource(text: string): Source {
  const plain = blanked(blanked(withoutByteOrderMark(text), COMMENTS), TRAILING_COMMAS)
  const bytes = new TextEncoder().encode(plain)
  const positionAt = positionsIn(plain)
  const indexOf = (offset: number): number => new TextDecoder().decode(bytes.subarray(0, offset)).length
  const positionOf = (offset: number) => positionAt(indexOf(offset))
  const failure = (offset: number, told: string): Source => {
    const message = syntaxMessage(plain, indexOf(offset), told)
    return {
      value: undefined,
      positionOf: () => positionAt(0),
      duplicates: [],
      syntaxErrors: [{ position: positionOf(offset), message }],
    }
  }
  try {
    checkSyntax(bytes)
    if (isDeep(plain)) return failure(0, 'brackets in brackets without end')
    const value: unknown = JSON.parse(plain)
    return {
      value,
      positionOf: (path) => positionOf(offsetOf(path, bytes)),
      duplicates: [],
      syntaxErrors: [],
    }
  } catch (error) {
    if (error instanceof JsonSyntaxError)
      return failure(error.offset, error.message.replace(/ \(byte \d+\)$/, ''))
    // The runtime's own message quotes the text, and that holds keys.
    return failure(0, 'a text in it has an escape or a character that JSON does not know')
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

const COMMENTS = /"[^"\\]*(?:\\.[^"\\]*)*"|\/\/[^\r\n]*|\/\*[^]*?\*\//g
const TRAILING_COMMAS = /"[^"\\]*(?:\\.[^"\\]*)*"|(?<![[{,:]\s*),(?=\s*[\]}])/g
const BRACKETS = /"[^"\\]*(?:\\.[^"\\]*)*"|[[{]|[\]}]/g

/** Blanks in the place of what is taken out: everything else stays where it is. */
const blanked = (text: string, pattern: RegExp): string =>
  text.replace(pattern, (found) => (found.startsWith('"') ? found : found.replace(/[^\r\n]/g, ' ')))

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
