import { isSpelt } from './json-shape.ts'
import { BACKSLASH, CLOSE_BRACE, OPEN_BRACE, QUOTE } from './json-syntax.ts'

/** Tokens that an answer says it has cost. What it does not say is undefined. */
export interface Usage {
  readonly input: number | undefined
  readonly output: number | undefined
  readonly total: number | undefined
}

/** No request costs more; above it a figure is a bug of the vendor's. */
const mostTokens = 1e9
/** Real usage objects, details included, have under 1,000 characters. */
const longestObject = 4_096
const mostTries = 16
const endBytes = 16_384

type JsonObject = Readonly<Record<string, unknown>>

const usageKey = '"usage"'
const decoder = new TextDecoder()
const objectBehindKey = /\s{0,16}:\s{0,16}\{/y

/**
 * What the last readable `"usage"` object in a text says, wherever the text begins and ends: the tail of a stream of
 * chat chunks (OpenAI, also below `x_groq`) or Responses events, or a JSON answer.
 *
 * `prompt_tokens`, `completion_tokens` and `total_tokens` count, and the Responses names `input_tokens` and
 * `output_tokens`. A figure that is no whole number from 0 to 1e9 is as absent. Undefined when nothing is found.
 * Never throws; only the object itself is parsed (up to 4 KiB), at most 16 of them, the last first. A prompt or an
 * answer can't fake one: inside a JSON string its quotes are escaped.
 */
export function usageOf(text: string): Usage | undefined {
  let at = text.length
  for (let tries = 0; tries < mostTries && at > 0; tries++) {
    at = text.lastIndexOf(usageKey, at - 1)
    if (at < 0) return undefined
    const usage = usageIn(objectAt(text, at + usageKey.length))
    if (usage !== undefined) return usage
  }
  return undefined
}

/**
 * What a complete JSON answer says: as `usageOf`, looked for in its last 16 KiB, then in its first.
 *
 * Most vendors write `usage` at the end, some before the choices; what stands between is not decoded.
 */
export function usageOfBytes(bytes: Uint8Array): Usage | undefined {
  const { length } = bytes
  const last = usageWithin(bytes, Math.max(0, length - endBytes), length)
  return last !== undefined || length <= endBytes ? last : usageWithin(bytes, 0, endBytes)
}

/** Searched in the bytes: there is mostly one, near the end, and what stands before it needs no text. */
function usageWithin(bytes: Uint8Array, start: number, end: number): Usage | undefined {
  let at = end
  for (let tries = 0; tries < mostTries; tries++) {
    at = lastKeyBefore(bytes, start, at)
    if (at < 0) return undefined
    const from = at + usageKey.length
    const text = decoder.decode(bytes.subarray(from, Math.min(end, from + longestObject)))
    const usage = usageIn(objectAt(text, 0))
    if (usage !== undefined) return usage
  }
  return undefined
}

/** The last place from `start` on, and below `before`, where the key begins; -1 = nowhere. */
function lastKeyBefore(bytes: Uint8Array, start: number, before: number): number {
  for (let at = before - 1; at >= start; at--) if (isSpelt(bytes, at, usageKey)) return at
  return -1
}

/** The JSON object that is the value of the key that ends at `start`; undefined for any other value. */
function objectAt(text: string, start: number): JsonObject | undefined {
  objectBehindKey.lastIndex = start
  const open = objectBehindKey.exec(text)
  if (open === null) return undefined
  const from = start + open[0].length - 1
  const source = balanced(text.slice(from, from + longestObject))
  try {
    return source === undefined ? undefined : JSON.parse(source)
  } catch {
    return undefined
  }
}

/** The text up to the brace that closes the first one. */
function balanced(text: string): string | undefined {
  let depth = 0
  let isInString = false
  for (let at = 0; at < text.length; at++) {
    const char = text.charCodeAt(at)
    if (char === BACKSLASH) at++
    else if (char === QUOTE) isInString = !isInString
    else if (isInString) continue
    else if (char === OPEN_BRACE) depth++
    else if (char === CLOSE_BRACE && --depth === 0) return text.slice(0, at + 1)
  }
  return undefined
}

function usageIn(fields: JsonObject | undefined): Usage | undefined {
  if (fields === undefined) return undefined
  const input = tokens(fields['prompt_tokens']) ?? tokens(fields['input_tokens'])
  const output = tokens(fields['completion_tokens']) ?? tokens(fields['output_tokens'])
  const total = tokens(fields['total_tokens'])
  if (input === undefined && output === undefined && total === undefined) return undefined
  return { input, output, total }
}

function tokens(value: unknown): number | undefined {
  return typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= mostTokens
    ? value
    : undefined
}
