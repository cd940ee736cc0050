import {
  CLOSE_BRACE,
  CLOSE_BRACKET,
  COLON,
  COMMA,
  OPEN_BRACE,
  OPEN_BRACKET,
  syntaxError,
} from './json-syntax.ts'
import { afterString } from './json-string.ts'
import { afterScalar, afterSpace } from './json-token.ts'

/** A stretch of bytes: from `start` up to, not including, `end`. */
export interface Span {
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
export function eachMember(bytes: Uint8Array, open: number, visit: (key: Span, value: Span) => void): number {
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
