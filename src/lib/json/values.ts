import { bytesBetween, utf8Text } from '../bytes.ts'
import type { JsonScan } from './scan.ts'
import type { ByteSpan } from './walk.ts'

/** The text of a field that a scan has found; undefined where it is absent or no string. The last occurrence counts. */
export function stringField({ fields, pieces }: JsonScan, name: string): string | undefined {
  const span = fields.get(name)?.at(-1)
  if (span?.kind !== 'string') return undefined
  const bytes = bytesBetween(pieces, span.start, span.end)
  return stringValue(bytes, { start: 0, end: bytes.length })
}

/** The same for a number. */
export function numberField({ fields, pieces }: JsonScan, name: string): number | undefined {
  const span = fields.get(name)?.at(-1)
  if (span?.kind !== 'number') return undefined
  const bytes = bytesBetween(pieces, span.start, span.end)
  return numberValue(bytes, { start: 0, end: bytes.length })
}

const ESCAPE = /\\(?:u([0-9a-fA-F]{4})|([^]))/g
const CONTROL: Record<string, string> = { b: '\b', f: '\f', n: '\n', r: '\r', t: '\t' }

/**
 * The text of the JSON string at `span`, quotes not included, escapes resolved.
 *
 * Escapes that JSON does not know stand for the character behind the backslash (`\m` is `m`), as the
 * most lenient readers have it. Half a surrogate pair stays half.
 */
export function stringValue(bytes: Uint8Array, span: ByteSpan): string {
  const raw = utf8Text(bytes, span.start + 1, span.end - 1)
  return raw.includes('\\') ? raw.replace(ESCAPE, unescape) : raw
}

/** The JSON number at `span`; undefined for anything else and for what no double can hold (1e400). */
export function numberValue(bytes: Uint8Array, span: ByteSpan): number | undefined {
  const whole = digitsValue(bytes, span)
  if (whole !== undefined) return whole
  const text = utf8Text(bytes, span.start, span.end)
  if (!/^-?\d/.test(text)) return undefined
  const value = Number(text)
  return Number.isFinite(value) ? value : undefined
}

/** Most numbers are a few digits, and need no text to be read. */
function digitsValue(bytes: Uint8Array, { start, end }: ByteSpan): number | undefined {
  if (end === start || end - start > SAFE_DIGITS) return undefined
  let value = 0
  for (let at = start; at < end; at++) {
    const digit = (bytes[at] ?? 0) - 0x30
    if (digit < 0 || digit > 9) return undefined
    value = value * 10 + digit
  }
  return value
}

const SAFE_DIGITS = 15

function unescape(_escape: string, hex: string | undefined, char: string): string {
  return hex === undefined ? (CONTROL[char] ?? char) : String.fromCharCode(Number.parseInt(hex, 16))
}
