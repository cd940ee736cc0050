import type { HeaderBag } from '../lib/headers.ts'
import { durationMs } from '../lib/time.ts'
import { proseWaitMs, resetMs, retryAfterMs } from './retry-after.ts'

/** A quota that Gemini names as spent, such as `GenerateRequestsPerDayPerProjectPerModel-FreeTier`. */
export interface SpentQuota {
  readonly id: string
  readonly limit?: number
}

/** What a vendor's error says, whatever envelope it came in. Absent texts are empty. */
export interface UpstreamErrorText {
  /** What the body was. The words of an HTML page are a proxy's and not read. */
  readonly form: 'json' | 'text' | 'html' | 'empty'
  /** At most 4,000 characters; what a vendor behind the vendor said follows on its own line. */
  readonly message: string
  readonly type: string
  /** Numbers are spelt out: `4006`. */
  readonly code: string
  readonly param: string
  /** An HTTP status that the body claims, 400…599. */
  readonly status?: number
  /** The longest wait that the body asks for, in ms from now. */
  readonly retryMs?: number
  readonly spent: readonly SpentQuota[]
  /** Headers that the body quotes (OpenRouter), lower-case. */
  readonly headers: HeaderBag
}

export type JsonObject = Readonly<Record<string, unknown>>

const longestBody = 65_536
const longestMessage = 2_000
const emptyErrorText: UpstreamErrorText = {
  form: 'empty',
  message: '',
  type: '',
  code: '',
  param: '',
  spent: [],
  headers: {},
}

/**
 * Reads an error body: OpenAI's envelope, flat objects, Gemini's arrays, Cloudflare's lists, problem details,
 * a bare string, plain text, HTML, or nothing. Only the first 64 KiB are looked at; JSON that is cut there or
 * broken is searched for the fields that matter.
 *
 * Never throws, whatever the bytes are.
 *
 * @param wallNow epoch ms, for dates in the body
 */
export function readErrorText(body: Uint8Array | undefined, wallNow: number): UpstreamErrorText {
  const text = new TextDecoder().decode(body?.subarray(0, longestBody)).trim()
  if (text === '') return emptyErrorText
  if (text.startsWith('<')) return { ...emptyErrorText, form: 'html' }
  if (!/^[{["]/.test(text)) return plainErrorText(text, wallNow)
  return errorTextOf(parsedJson(text) ?? salvaged(text), wallNow)
}

/** The same from JSON that is parsed already, such as an event of a stream. */
export function errorTextOf(value: unknown, wallNow: number): UpstreamErrorText {
  const outer = firstJsonObject(value)
  if (outer === undefined)
    return typeof value === 'string' ? plainErrorText(value, wallNow) : { ...emptyErrorText, form: 'json' }
  const inner = innerOf(outer)
  const details = jsonObjectsIn(inner['details'])
  const metadata = jsonObjectOf(inner['metadata']) ?? {}
  const problem =
    firstJsonObject(inner['detail']) ?? firstJsonObject(jsonObjectOf(inner['message'])?.['detail']) ?? {}
  const message = [
    sayingOf(inner) || stringOf(problem['msg']) || sayingOf(outer),
    quotedError(metadata['raw']),
  ]
  const code = stringOf(details.find((detail) => 'reason' in detail)?.['reason']) || wordOf(inner['code'])
  const read = {
    form: 'json' as const,
    message: message.filter(Boolean).join('\n'),
    type: stringOf(inner['type']) || stringOf(problem['type']) || statusName(inner['status']),
    code: code || wordOf(outer['code']),
    param: stringOf(inner['param']),
    spent: details.flatMap(spentIn),
    headers: quotedHeaders(metadata['headers']),
  }
  const status = [
    inner['code'],
    inner['status'],
    inner['status_code'],
    outer['status'],
    outer['status_code'],
    outer['code'],
  ]
    .map((value) => Number(wordOf(value)))
    .find((number) => Number.isInteger(number) && number >= 400 && number <= 599)
  const waits = [
    ...details.map((detail) => durationMs(stringOf(detail['retryDelay']))),
    ...[inner, metadata, outer]
      .flatMap((part) => [part['retry_after'], part['retry_after_seconds']])
      .map(secondsMs),
    retryAfterMs(read.headers, wallNow),
    saidWaitMs(read, wallNow),
  ]
  return { ...read, ...(status !== undefined && { status }), ...longestWait(waits) }
}

function plainErrorText(text: string, wallNow: number): UpstreamErrorText {
  const message = text.slice(0, longestMessage)
  return { ...emptyErrorText, form: 'text', message, ...longestWait([proseWaitMs(message, wallNow)]) }
}

/** Zhipu and Z.ai name their resets in Beijing time, without saying so. */
function saidWaitMs(
  { code, message }: { code: string; message: string },
  wallNow: number,
): number | undefined {
  const stamp = /(\d{4}-\d\d-\d\d) (\d\d:\d\d(?::\d\d)?)/.exec(message)
  if (stamp === null || !/^13\d\d$/.test(code)) return proseWaitMs(message, wallNow)
  return resetMs(`${stamp[1]}T${stamp[2]}+08:00`, wallNow)
}

function longestWait(waits: readonly (number | undefined)[]): { retryMs?: number } {
  const known = waits.filter((wait) => wait !== undefined)
  return known.length === 0 ? {} : { retryMs: Math.max(...known) }
}

function innerOf(outer: JsonObject): JsonObject {
  const response = jsonObjectOf(outer['response'])
  const nested =
    jsonObjectOf(outer['error']) ?? firstJsonObject(outer['errors']) ?? jsonObjectOf(response?.['error'])
  if (nested !== undefined) return nested
  const bare = stringOf(outer['error'])
  return bare === ''
    ? outer
    : { ...outer, message: [bare, stringOf(outer['message'])].filter(Boolean).join(': ') }
}

function sayingOf(fields: JsonObject): string {
  const said = ['message', 'msg', 'detail', 'title', 'error']
    .map((name) => stringOf(fields[name]))
    .find(Boolean)
  return said ?? ''
}

function spentIn(detail: JsonObject): SpentQuota[] {
  return jsonObjectsIn(detail['violations']).map((violation) => {
    const limit = Number(violation['quotaValue'])
    const id = stringOf(violation['quotaId']) || stringOf(violation['quotaMetric'])
    return limit > 0 && limit < 1e12 ? { id, limit } : { id }
  })
}

const secondsMs = (value: unknown): number | undefined => durationMs(wordOf(value))

function quotedHeaders(value: unknown): HeaderBag {
  const entries = Object.entries(jsonObjectOf(value) ?? {}).slice(0, 50)
  return Object.fromEntries(entries.map(([name, text]) => [name.toLowerCase(), wordOf(text)]))
}

function quotedError(raw: unknown): string {
  return typeof raw === 'object' && raw !== null
    ? JSON.stringify(raw).slice(0, longestMessage)
    : stringOf(raw)
}

const statusName = (value: unknown): string => (/^\d*$/.test(stringOf(value)) ? '' : stringOf(value))
const stringOf = (value: unknown): string => (typeof value === 'string' ? value.slice(0, longestMessage) : '')
const wordOf = (value: unknown): string =>
  typeof value === 'number' ? String(value) : stringOf(value).slice(0, 100)

export function jsonObjectOf(value: unknown): JsonObject | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as JsonObject)
    : undefined
}

function firstJsonObject(value: unknown): JsonObject | undefined {
  return Array.isArray(value) ? jsonObjectsIn(value)[0] : jsonObjectOf(value)
}

function jsonObjectsIn(value: unknown): JsonObject[] {
  if (!Array.isArray(value)) return []
  return value
    .slice(0, 50)
    .map(jsonObjectOf)
    .filter((fields) => fields !== undefined)
}

/** The value of a JSON text; undefined where it is none. */
export function parsedJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

const salvagedFields = [
  'message',
  'type',
  'code',
  'param',
  'status',
  'detail',
  'title',
  'retryDelay',
  'raw',
] as const
const salvagedPatterns = salvagedFields.map(
  (word) => [word, new RegExp(`"${word}"\\s*:\\s*(?:"((?:[^"\\\\]|\\\\.)*)|(\\d+))`)] as const,
)

/**
 * What can still be told from JSON that is cut or broken: the first value of each field that matters, in the
 * shape of an error. Texts may end early; an empty object when there is nothing.
 *
 * Linear in the length of the text; never throws.
 */
function salvaged(text: string): Readonly<Record<string, unknown>> {
  const found = salvagedPatterns.flatMap(([word, pattern]) => {
    const match = pattern.exec(text)
    return match === null
      ? []
      : [[word, match[1] === undefined ? Number(match[2]) : jsonUnescaped(match[1])] as const]
  })
  const violations = [...text.matchAll(/"quotaId"\s*:\s*"([^"\\]*)"/g)]
    .slice(0, 50)
    .map(([, quotaId]) => ({ quotaId }))
  const { raw, retryDelay, ...fields } = Object.fromEntries(found)
  return { ...fields, metadata: { raw }, details: [{ retryDelay }, { violations }] }
}

function jsonUnescaped(text: string): string {
  try {
    return String(JSON.parse(`"${text}"`))
  } catch {
    return text
  }
}
