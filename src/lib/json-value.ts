import type { Span } from './json-skip.ts'
import { textOf } from './short-text.ts'

const ESCAPE = /\\(?:u([0-9a-fA-F]{4})|([^]))/g
const CONTROL: Record<string, string> = { b: '\b', f: '\f', n: '\n', r: '\r', t: '\t' }

/**
 * The text of the JSON string at `span`, quotes not included, escapes resolved.
 *
 * Escapes that JSON does not know stand for the character behind the backslash (`\m` is `m`), as the
 * most lenient readers have it. Half a surrogate pair stays half.
 */
export function stringValue(bytes: Uint8Array, span: Span): string {
  const raw = textOf(bytes, span.start + 1, span.end - 1)
  return raw.includes('\\') ? raw.replace(ESCAPE, unescape) : raw
}

/** The JSON number at `span`; undefined for anything else and for what no double can hold (1e400). */
export function numberValue(bytes: Uint8Array, span: Span): number | undefined {
  const text = textOf(bytes, span.start, span.end)
  if (!/^-?\d/.test(text)) return undefined
  const value = Number(text)
  return Number.isFinite(value) ? value : undefined
}

function unescape(_escape: string, hex: string | undefined, char: string): string {
  return hex === undefined ? (CONTROL[char] ?? char) : String.fromCharCode(Number.parseInt(hex, 16))
}
