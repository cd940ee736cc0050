import { afterSpace, COLON, eachMember, isSpelt, numberValue, oneSpelt } from '../lib/json/walk.ts'
import { OPEN_BRACE, QUOTE, type ByteSpan } from '../lib/json/walk.ts'

/** OpenAI's rule of thumb for English text; other languages use more tokens, `usage` corrects it afterwards. */
export const BYTES_PER_TOKEN = 4

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

const usageKey = '"usage"'
const figures = [
  'prompt_tokens',
  'completion_tokens',
  'total_tokens',
  'input_tokens',
  'output_tokens',
] as const

/**
 * What the last readable `"usage"` object in some bytes says, wherever they begin and end: the tail of a stream of
 * chat chunks (OpenAI, also below `x_groq`) or Responses events, or a JSON answer, of which the last 16 KiB are
 * searched and then the first. Most vendors write `usage` at the end, some before the choices.
 *
 * A figure that is no whole number from 0 to 1e9 is as absent. At most 16 objects of 4 KiB are read, the last first. A
 * prompt or an answer can't fake one: inside a JSON string its quotes are escaped.
 */
export function usageOf(bytes: Uint8Array): Usage | undefined {
  const { length } = bytes
  const last = usageWithin(bytes, Math.max(0, length - endBytes), length)
  return last !== undefined || length <= endBytes ? last : usageWithin(bytes, 0, endBytes)
}

function usageWithin(bytes: Uint8Array, start: number, end: number): Usage | undefined {
  let tries = 0
  for (let at = end - 1; at >= start && tries < mostTries; at--) {
    if (bytes[at] !== QUOTE || !isSpelt(bytes, at, usageKey)) continue
    tries += 1
    const usage = usageBehind(bytes, at + usageKey.length, end)
    if (usage !== undefined) return usage
  }
  return undefined
}

/** Of the object behind a key that ends at `at`; undefined for any other value, and where it is cut or broken. */
function usageBehind(bytes: Uint8Array, at: number, end: number): Usage | undefined {
  const colon = afterSpace(bytes, at)
  const open = afterSpace(bytes, colon + 1)
  if (bytes[colon] !== COLON || bytes[open] !== OPEN_BRACE) return undefined
  const object = bytes.subarray(open, Math.min(end, open + longestObject))
  const said: Partial<Record<(typeof figures)[number], number | undefined>> = {}
  try {
    eachMember(object, 0, (key, value) => {
      const figure = oneSpelt(object, key, figures)
      if (figure !== undefined) said[figure] = tokensAt(object, value)
    })
  } catch {
    return undefined
  }
  const input = said.prompt_tokens ?? said.input_tokens
  const output = said.completion_tokens ?? said.output_tokens
  const total = said.total_tokens
  return [input, output, total].every((figure) => figure === undefined) ? undefined : { input, output, total }
}

function tokensAt(bytes: Uint8Array, value: ByteSpan): number | undefined {
  const count = numberValue(bytes, value)
  const isCount = count !== undefined && Number.isInteger(count) && count >= 0 && count <= mostTokens
  return isCount ? count : undefined
}
