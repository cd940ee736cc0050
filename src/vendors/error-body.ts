import type { HeaderBag } from '../lib/headers.ts'
import { parsedJson } from '../lib/json/parse.ts'
import { durationMs } from '../lib/time.ts'
import { longestWait, proseWaitMs, resetMs, retryAfterMs } from './retry-after.ts'
import { lead } from './rules.ts'

/** What a vendor's error says, whatever envelope it came in. Absent texts are empty. */
export interface UpstreamErrorText {
  /** What the body was. The words of an HTML page are a proxy's and not read. */
  readonly form: 'json' | 'text' | 'html' | 'empty'
  /** At most 4,000 characters; what a vendor behind the vendor said follows on its own line. */
  readonly message: string
  readonly type: string
  /** Numbers are spelt out: `4006`. */
  readonly code: string
  /** Which part of the request is meant, where the error says so: `messages[0].content`. */
  readonly param: string
  /** An HTTP status that the body claims, 400…599. */
  readonly status?: number | undefined
  /** The longest wait that the body asks for, in ms from now. */
  readonly retryMs?: number | undefined
  /** Quotas that Gemini names as spent, such as `GenerateRequestsPerDayPerProjectPerModel-FreeTier`. */
  readonly spent: readonly { readonly id: string; readonly limit: number | undefined }[]
  /** Headers that the body quotes (OpenRouter), lower-case. */
  readonly headers: HeaderBag
}

const longestBody = 65_536
const longestMessage = 2_000
/** More entries of a list or of quoted headers than this are not looked at. */
const mostEntries = 50
/** Errors that are written into errors are followed so far. */
const deepestWrap = 2
const nothing: UpstreamErrorText = {
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
 * a bare string, plain text, HTML, an event of a stream, or nothing. Only the first 64 KiB are looked at; JSON that is cut there or
 * broken is searched for the fields that matter. Never throws.
 *
 * @param wallNow epoch ms, for dates in the body
 */
export function readErrorText(body: Uint8Array | undefined, wallNow: number): UpstreamErrorText {
  const text = unframed(new TextDecoder().decode(body?.subarray(0, longestBody)).trim())
  if (text === '') return nothing
  if (text.startsWith('<')) return { ...nothing, form: 'html' }
  return errorTextOf(/^[{["]/.test(text) ? (parsedJson(text) ?? salvaged(text)) : text, wallNow)
}

/** The JSON in the first event, where a stream came instead of a body. */
function unframed(text: string): string {
  if (!/^(?:(?:event|data|id|retry) ?)?:/.test(text)) return text
  return /^data: ?([{[].*)/m.exec(text)?.[1] ?? text
}

/**
 * The same from JSON that is parsed already, such as an event of a stream, or from plain text. Where its message is
 * an error itself, in JSON or in a dictionary of Python, that one speaks, and what it leaves out is told around it.
 */
export function errorTextOf(value: unknown, wallNow: number, depth = 0): UpstreamErrorText {
  const outer = outerTextOf(value, wallNow)
  const wrapped = depth < deepestWrap ? wrappedIn(outer.message) : undefined
  if (wrapped === undefined) return outer
  const inner = errorTextOf(wrapped, wallNow, depth + 1)
  return {
    form: outer.form,
    message: inner.message || outer.message,
    type: inner.type || outer.type,
    code: inner.code || outer.code,
    param: inner.param || outer.param,
    status: inner.status ?? outer.status,
    retryMs: longestWait([inner.retryMs, outer.retryMs]),
    spent: [...inner.spent, ...outer.spent],
    headers: { ...outer.headers, ...inner.headers },
  }
}

const leadPattern = new RegExp(lead.source, 'i')

/** The object that a message is, but for a lead and a tail. Behind any other word it would be what a client sent. */
function wrappedIn(message: string): unknown {
  const said = message.slice(leadPattern.exec(message)?.[0].length ?? 0)
  if (!/^\s*[{[]/.test(said)) return undefined
  const json = said.slice(0, Math.max(said.lastIndexOf('}'), said.lastIndexOf(']')) + 1)
  const pythons = json.replaceAll("'", '"').replaceAll(/\b(?:None|True|False)\b/g, 'null')
  const isCut = message.length >= longestMessage
  return parsedJson(json) ?? parsedJson(pythons) ?? (isCut ? salvaged(said) : undefined)
}

function outerTextOf(value: unknown, wallNow: number): UpstreamErrorText {
  if (typeof value === 'string') {
    const message = value.slice(0, longestMessage)
    return { ...nothing, form: 'text', message, retryMs: proseWaitMs(message, wallNow) }
  }
  const outer = firstJsonObject(value)
  if (outer === undefined) return { ...nothing, form: 'json' }
  const inner = innerOf(outer)
  const details = jsonObjectsIn(inner.details)
  const metadata = jsonObjectOf(inner.metadata) ?? {}
  const headers = quotedHeaders(metadata.headers)
  const problem = firstJsonObject(inner.detail) ?? firstJsonObject(jsonObjectOf(inner.message)?.detail) ?? {}
  const words = [sayingOf(inner) || sayingOf(problem) || sayingOf(outer), quotedError(metadata.raw)]
  const message = words.filter(Boolean).join('\n')
  const reason = stringOf(details.find((detail) => 'reason' in detail)?.reason)
  const code = reason || codeOf(inner) || codeOf(outer)
  const statuses = [inner, outer].flatMap(
    ({ code, status, status_code, statusCode, http_code, error_code }) => [
      code,
      status,
      status_code,
      statusCode,
      http_code,
      error_code,
    ],
  )
  const seconds = [inner, metadata, outer].flatMap((part) => [part.retry_after, part.retry_after_seconds])
  return {
    form: 'json',
    message,
    type: stringOf(inner.type) || stringOf(problem.type) || statusName(inner.status),
    code,
    param: stringOf(inner.param) || partOf(problem.loc),
    status: statuses
      .map((status) => Number(wordOf(status)))
      .find((number) => Number.isInteger(number) && number >= 400 && number <= 599),
    retryMs: longestWait([
      ...details.map((detail) => durationMs(stringOf(detail.retryDelay))),
      ...seconds.map((wait) => durationMs(wordOf(wait))),
      retryAfterMs(headers, wallNow),
      saidWaitMs(code, message, wallNow),
    ]),
    spent: details.flatMap(spentIn),
    headers,
  }
}

/** Zhipu and Z.ai name their resets in Beijing time, without saying so. */
function saidWaitMs(code: string, message: string, wallNow: number): number | undefined {
  const stamp = /(\d{4}-\d\d-\d\d) (\d\d:\d\d(?::\d\d)?)/.exec(message)
  if (stamp === null || !/^13\d\d$/.test(code)) return proseWaitMs(message, wallNow)
  return resetMs(`${stamp[1]}T${stamp[2]}+08:00`, wallNow)
}

function innerOf(outer: JsonObject): JsonObject {
  const { error, errors, response, Response, choices } = outer
  const answer = jsonObjectOf(response) ?? jsonObjectOf(Response)
  const nested =
    jsonObjectOf(error) ??
    firstJsonObject(errors) ??
    jsonObjectOf(answer?.error ?? answer?.Error) ??
    jsonObjectOf(firstJsonObject(choices)?.error) ??
    firstJsonObject([outer.base_resp, outer.header].filter(Boolean))
  const word = stringOf(error) || (Array.isArray(errors) ? stringOf(errors[0]) : stringOf(errors))
  if (nested !== undefined || word === '') return nested ?? outer
  return { ...outer, message: [word, outer.message].map(stringOf).filter(Boolean).join(': ') }
}

/** Where an error has its sentence, and where its code, vendor by vendor. */
export const SENTENCES =
  'message Message msg detail title error_msg errmsg error_message errorMessage ErrorMsg status_msg reason error'.split(
    ' ',
  )
export const CODES =
  'code Code error_code errcode errorCode ErrorCode error_type status_code statusCode'.split(' ')

const sayingOf = (fields: JsonObject): string => firstOf(SENTENCES.map((name) => stringOf(fields[name])))
const codeOf = (fields: JsonObject): string => firstOf(CODES.map((name) => wordOf(fields[name])))
const firstOf = (words: readonly string[]): string => words.find(Boolean) ?? ''

function spentIn(detail: JsonObject): UpstreamErrorText['spent'] {
  return jsonObjectsIn(detail.violations).map((violation) => {
    const limit = Number(violation.quotaValue)
    const id = stringOf(violation.quotaId) || stringOf(violation.quotaMetric)
    return { id, limit: limit > 0 && limit < 1e12 ? limit : undefined }
  })
}

function quotedHeaders(value: unknown): HeaderBag {
  const entries = Object.entries(jsonObjectOf(value) ?? {}).slice(0, mostEntries)
  return Object.fromEntries(entries.map(([name, text]) => [name.toLowerCase(), wordOf(text)]))
}

/** FastAPI's way to a part: `["body", "tools", 0]`. */
const partOf = (loc: unknown): string => (Array.isArray(loc) ? loc.slice(0, 9).map(wordOf).join('.') : '')
const quotedError = (raw: unknown): string =>
  stringOf(typeof raw === 'object' && raw !== null ? JSON.stringify(raw) : raw)
const statusName = (value: unknown): string => (/^\d*$/.test(stringOf(value)) ? '' : stringOf(value))
const stringOf = (value: unknown): string => (typeof value === 'string' ? value.slice(0, longestMessage) : '')
const wordOf = (value: unknown): string =>
  typeof value === 'number' ? String(value) : stringOf(value).slice(0, 100)

type JsonObject = Readonly<Record<string, unknown>>

export function jsonObjectOf(value: unknown): JsonObject | undefined {
  const isObject = typeof value === 'object' && value !== null && !Array.isArray(value)
  return isObject ? (value as JsonObject) : undefined
}

function firstJsonObject(value: unknown): JsonObject | undefined {
  return Array.isArray(value) ? jsonObjectsIn(value)[0] : jsonObjectOf(value)
}

function jsonObjectsIn(value: unknown): JsonObject[] {
  const entries: unknown[] = Array.isArray(value) ? value.slice(0, mostEntries) : []
  return entries.map(jsonObjectOf).filter((fields) => fields !== undefined)
}

const salvagedFields = ['message', 'type', 'code', 'status', 'detail', 'title', 'retryDelay', 'raw']
const salvagedPatterns = salvagedFields.map(
  (word) => [word, new RegExp(`"${word}"\\s*:\\s*(?:"((?:[^"\\\\]|\\\\.)*)|(\\d+))`)] as const,
)

/**
 * What can still be told from JSON that is cut or broken: the first value of each field that matters, in the
 * shape of an error. Texts may end early; an empty object when there is nothing. Linear in the length of the text.
 */
function salvaged(text: string): JsonObject {
  const found: Record<string, unknown> = {}
  for (const [word, pattern] of salvagedPatterns) {
    const [, string, number] = pattern.exec(text) ?? []
    if (string !== undefined) found[word] = parsedJson(`"${string}"`) ?? string
    else if (number !== undefined) found[word] = Number(number)
  }
  const violations = [...text.matchAll(/"quotaId"\s*:\s*"([^"\\]*)"/g)].map(([, quotaId]) => ({ quotaId }))
  const { raw, retryDelay, ...fields } = found
  return { ...fields, metadata: { raw }, details: [{ retryDelay }, { violations }] }
}
