/*
 * vendors: what vendors say and what they mean by it. Every dialect of an error, of a rate limit and of a time to come
 * back is read here and nowhere else; what comes out is a `Failure` and quota signals in the words of `pool/outcome.ts`.
 *
 * classify            what an answer, the first event of a stream, or a failed connection means
 * rules               the table: which status, code or words lead to which verdict
 * error-body          reads the error out of a body, whatever its form
 * rate-limit-headers  counted limits in headers, vendor by vendor
 * rate-limit-text     counted limits in the words of an error
 * retry-after         how long to wait, in headers and in prose
 *
 * Nothing here throws, and nothing that comes out quotes what went in.
 */
import type { HeaderBag } from '../lib/headers.ts'
import { isSpelt, jsonShape } from '../lib/json/shape.ts'
import { midnightAfter } from '../lib/time.ts'
import type { Failure, QuotaSignal } from '../pool/outcome.ts'
import {
  errorTextOf,
  type JsonObject,
  jsonObjectOf,
  parsedJson,
  readErrorText,
  type UpstreamErrorText,
} from './error-body.ts'
import { quotaSignals, tightest } from './rate-limit-headers.ts'
import { maxTokensIn, signalsInText } from './rate-limit-text.ts'
import { resetMs, retryAfterMs } from './retry-after.ts'
import {
  failureRules,
  statusOfCode,
  verdictByRange,
  verdicts,
  type FailureRule,
  type Verdict,
} from './rules.ts'

/** An answer as far as it has been read. */
interface ReceivedAnswer {
  readonly status: number
  readonly headers: HeaderBag
  /**
   * Of an error: its first bytes, 64 KiB are enough. Of a success: the whole body, or undefined where it is
   * streamed and only the head can be judged.
   */
  readonly body: Uint8Array | undefined
  /** Epoch ms. */
  readonly wallNow: number
}

/** The first event of a stream that is no comment. */
interface FirstEvent {
  /** Its `event:` field; empty when it has none. */
  readonly event: string
  /** Its `data:` lines, joined. */
  readonly data: string
  /** Those of the answer: Azure says there when to come back. */
  readonly headers: HeaderBag
  readonly wallNow: number
}

/**
 * How an answer failed; undefined when it is a success, as far as its status, its type and its body tell.
 *
 * Never throws, whatever the vendor sent. Nothing in the result quotes the answer.
 */
export function classifyAnswer({ status, headers, body, wallNow }: ReceivedAnswer): Failure | undefined {
  if (status < 200 || status > 299 || status === 204 || status === 205) {
    return failureOf({ status, headers, text: readErrorText(body, wallNow), wallNow })
  }
  const flaw = implausible(headers, body)
  if (flaw === undefined) return undefined
  if (flaw !== 'error')
    return failureOfVerdict(flaw === 'cut' ? verdicts.brokenAnswer : verdicts.badAnswer, status)
  return failureInsideSuccess({ status, headers, text: readErrorText(body, wallNow), wallNow })
}

/**
 * How a stream failed with its first event, although its status was a success; undefined when it is a real
 * event. A stream that begins with `[DONE]` has no content and counts as failed.
 *
 * The classes are those of the same error under its own status, but that nothing was begun: what would have been
 * ambiguous counts as refused, and what would have been the client's goes to the next upstream, with nobody to
 * rest.
 */
export function classifyStreamError({ event, data, headers, wallNow }: FirstEvent): Failure | undefined {
  if (data.trim() === '[DONE]') return failureOfVerdict(verdicts.badAnswer, 200)
  const error = errorIn(event, data)
  return error === undefined
    ? undefined
    : failureInsideSuccess({ status: 200, headers, text: errorTextOf(error, wallNow), wallNow })
}

/** How a request failed below HTTP. */
type TransportTrouble = 'not-sent' | 'connect-timeout' | 'timeout' | 'broken' | 'undecodable'

const transportVerdicts = {
  'not-sent': verdicts.unreachable,
  'connect-timeout': verdicts.unreachableInTime,
  timeout: verdicts.silent,
  broken: verdicts.disconnected,
  undecodable: verdicts.brokenAnswer,
} as const satisfies Record<TransportTrouble, Verdict>

/** How an attempt failed that never got a whole answer. An abort is no failure and has no row here. */
export function classifyTransport(trouble: TransportTrouble): Failure {
  return failureOfVerdict(transportVerdicts[trouble])
}

/** Everything that a rule may look at. */
interface ErrorAnswer {
  readonly status: number
  readonly headers: HeaderBag
  readonly text: UpstreamErrorText
  readonly wallNow: number
}

function failureOf(
  answer: ErrorAnswer,
  adjust: (verdict: Verdict) => Verdict = (verdict) => verdict,
): Failure {
  const { headers, text, wallNow, status } = answer
  const signals = allSignals(answer)
  const maxTokens = maxTokensIn(text.message)
  const facts = {
    'names-largest-request': maxTokens !== undefined,
    'long-window-spent': isLongSpent(signals),
    'bare-problem': text.form === 'json' && text.status === status && text.code === '' && text.type === '',
  }
  const rule = failureRules.find((rule) => fits(rule, answer, facts))
  const found: Verdict = verdicts[rule?.verdict ?? verdictByRange(status)]
  const { hint, ...verdict } = adjust(found)
  const askedMs = Math.max(retryAfterMs(headers, wallNow) ?? -1, text.retryMs ?? -1)
  const hintMs = retryHintMs(hint, { askedMs, signals, headers, wallNow })
  return {
    kind: 'failed',
    ...verdict,
    status,
    // A refusal for another reason may quote the client, who could otherwise talk limits into the pool.
    signals: verdict.cause === 'failure' ? quotaSignals(headers, wallNow) : signals,
    ...(hintMs !== undefined && { hintMs }),
    ...(maxTokens !== undefined && found === verdicts.tooLarge && { maxTokensPerRequest: maxTokens }),
  }
}

/** Judges an error that came under a success by the status that it should have had. */
function failureInsideSuccess(answer: ErrorAnswer): Failure {
  const { code, type, status } = answer.text
  const byCode =
    statusOfCode.find(([pattern]) => pattern.test(code)) ??
    statusOfCode.find(([pattern]) => pattern.test(type))
  // Azure's response.failed can come without an error; that it was a limit is told by the headers alone.
  const unsaid = retryAfterMs(answer.headers, answer.wallNow) === undefined ? 500 : 429
  const failure = failureOf({ ...answer, status: status ?? byCode?.[1] ?? unsaid }, nothingBegun)
  return { ...failure, status: answer.status }
}

function nothingBegun(verdict: Verdict): Verdict {
  if (verdict.class === 'other-model') return verdict
  return verdict.cause === 'failure'
    ? { ...verdict, class: 'refused', code: 'upstream_bad_response' }
    : { ...verdict, class: 'refused' }
}

function fits(
  rule: FailureRule,
  answer: ErrorAnswer,
  facts: Readonly<Record<NonNullable<FailureRule['fact']>, boolean>>,
): boolean {
  const { code, type, message, spent } = answer.text
  return (
    (rule.status?.includes(answer.status) ?? true) &&
    (rule.fact === undefined || facts[rule.fact]) &&
    (rule.code === undefined || rule.code.test(code) || rule.code.test(type)) &&
    (rule.says === undefined || rule.says.test(message)) &&
    (rule.spent === undefined || spent.some(({ id }) => rule.spent?.test(id))) &&
    (rule.limitType === undefined || rule.limitType.test(answer.headers['x-ratelimit-type'] ?? ''))
  )
}

function allSignals({ headers, text, wallNow }: ErrorAnswer): QuotaSignal[] {
  const quoted = quotaSignals(text.headers, wallNow).map((signal) => ({ ...signal, scope: 'quota' as const }))
  return tightest([...quotaSignals(headers, wallNow), ...quoted, ...signalsInText(text, wallNow)])
}

const secondMs = 1_000
const hourMs = 3_600_000
const longestMs = { minutes: hourMs, days: 31 * 24 * hourMs }

const isLong = ({ window }: QuotaSignal): boolean => window === 'day' || window === 'month'
const isSpent = ({ remaining }: QuotaSignal): boolean => remaining === 0

function isLongSpent(signals: readonly QuotaSignal[]): boolean {
  const spent = signals.filter(isSpent)
  return spent.length > 0 && spent.every(isLong)
}

interface Times {
  /** What the answer asked for, ms; negative = nothing. */
  readonly askedMs: number
  readonly signals: readonly QuotaSignal[]
  readonly headers: HeaderBag
  readonly wallNow: number
}

/** What was asked for counts before the resets of spent windows, and these before a reset of nothing in particular. */
function retryHintMs(
  hint: Verdict['hint'],
  { askedMs, signals, headers, wallNow }: Times,
): number | undefined {
  if (hint === undefined) return undefined
  if (hint !== 'minutes' && hint !== 'days') return midnightAfter(hint, wallNow) - wallNow
  const resets = signals.filter((signal) => isSpent(signal) && isLong(signal) === (hint === 'days'))
  const reset = Math.max(-1, ...resets.map(({ resetMs = -1 }) => resetMs))
  const loose = resetMs(headers['x-ratelimit-reset'] ?? headers['ratelimit-reset'] ?? '', wallNow) ?? -1
  const ms = [askedMs, reset, loose].find((wait) => wait >= 0) ?? -1
  return ms < 0 ? undefined : Math.min(longestMs[hint], Math.max(secondMs, ms))
}

function failureOfVerdict({ class: kind, scope, cause, code }: Verdict, status?: number): Failure {
  return {
    kind: 'failed',
    class: kind,
    scope,
    cause,
    code,
    signals: [],
    ...(status !== undefined && { status }),
  }
}

/**
 * Why a success is none: `nothing` at all, a `page` of a proxy, `junk` that is not JSON where JSON is due, an
 * `error` and nothing beside it, or an answer that is `cut`.
 */
type Flaw = 'nothing' | 'page' | 'junk' | 'error' | 'cut'

/** With one of these beside it, an `error` is a remark and not the answer. */
const contents = ['choices', 'data', 'output', 'text', 'results']
const judgedFields = ['error', 'success', 'object', ...contents]

/**
 * Looks at a success: undefined when it is plausible.
 *
 * JSON, also without a type, has to be one whole object that is not only an error. Of a stream and of any other
 * type (audio, images, plain text) it is enough that there is something.
 *
 * @param body the whole body; undefined = not read, so that only the type is judged
 */
function implausible(headers: HeaderBag, body: Uint8Array | undefined): Flaw | undefined {
  const type = headers['content-type']?.toLowerCase() ?? ''
  if (type.includes('html')) return 'page'
  if (body === undefined) return undefined
  const isJson = type === '' || /[/+]json\b/.test(type)
  if (!isJson) return isBlank(body) ? 'nothing' : undefined
  const shape = jsonShape(body, judgedFields)
  if (shape.kind === 'empty') return 'nothing'
  if (shape.kind === 'truncated') return 'cut'
  if (shape.kind === 'other') return otherFlaw(body)
  const [error = -1, success = -1, object = -1, ...content] = shape.places
  if (content.some((place) => place >= 0)) return undefined
  const hasError = error >= 0 && !isSpelt(body, error, 'null')
  const isError = hasError || isSpelt(body, success, 'false') || isSpelt(body, object, '"error"')
  return isError ? 'error' : undefined
}

/** Something else than an object where JSON is due: a page, a stream under the wrong name, a list of errors. */
function otherFlaw(body: Uint8Array): Flaw | undefined {
  const start = new TextDecoder().decode(body.subarray(0, 200)).trimStart()
  if (start.startsWith('<')) return 'page'
  if (/^(data|event|id|retry)?:/.test(start)) return undefined
  return /^\[\s*\{\s*"error"/.test(start) ? 'error' : 'junk'
}

function isBlank(body: Uint8Array): boolean {
  return body.length < 4_096 && new TextDecoder().decode(body).trim() === ''
}

/** An event with one of these holds content, whatever else it says. */
const eventContents = ['choices', 'data', 'output', 'text', 'results', 'delta', 'response', 'item', 'part']

/**
 * The error that an event of a stream is, as JSON or as the text that came instead; undefined for a real event.
 *
 * Errors are: `event: error`; `response.failed` (also without an error in it, as Azure sends it); an `error` that
 * is not null, alone or in a chunk that ends for it (OpenRouter's `finish_reason: "error"`); vLLM's
 * `{"object":"error"}`; Cloudflare's `success: false`; and flat objects of a message with a code and no content.
 *
 * @param event the `event:` field, empty when there is none
 */
function errorIn(event: string, data: string): unknown {
  const value = parsedJson(data)
  if (event === 'error') return value ?? data
  const fields = jsonObjectOf(Array.isArray(value) ? value[0] : value)
  if (fields === undefined) return undefined
  return isError(event, fields) ? fields : undefined
}

function isError(event: string, fields: JsonObject): boolean {
  const { type, object, error, success } = fields
  if (event === 'response.failed' || type === 'response.failed' || type === 'error' || object === 'error')
    return true
  if (endsInError(fields['choices'])) return true
  if (eventContents.some((name) => fields[name] !== undefined && !isEmptyList(fields[name]))) return false
  if (isSaying(error) || success === false) return true
  return (
    typeof fields['message'] === 'string' && ['code', 'status', 'status_code'].some((name) => name in fields)
  )
}

function endsInError(choices: unknown): boolean {
  return (
    Array.isArray(choices) && choices.some((choice) => jsonObjectOf(choice)?.['finish_reason'] === 'error')
  )
}

const isEmptyList = (value: unknown): boolean => Array.isArray(value) && value.length === 0

const isSaying = (error: unknown): boolean =>
  (typeof error === 'string' && error !== '') || jsonObjectOf(error) !== undefined
