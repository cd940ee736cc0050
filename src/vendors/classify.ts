/*
 * vendors: what vendors say and what they mean by it. Every dialect of an error, of a rate limit and of a time to come
 * back is read here and nowhere else; what comes out is a `Failure` and quota signals in the words of `pool/outcome.ts`.
 *
 * classify     what an answer, the first event of a stream, or a failed connection means
 * rules        the table: which status, code or words lead to which verdict
 * error-body   reads the error out of a body, whatever its form
 * rate-limits  counted limits, in headers vendor by vendor, and in the words of an error
 * retry-after  how long to wait, in headers and in prose
 *
 * Nothing here throws, and nothing that comes out quotes what went in.
 */
import type { HeaderBag } from '../lib/headers.ts'
import { isSpelt, jsonShape } from '../lib/json/walk.ts'
import type { SseEvent } from '../lib/sse.ts'
import { midnightAfter } from '../lib/time.ts'
import { type Failure, type QuotaSignal, SPAN_MS } from '../pool/outcome.ts'
import type { TransportFailure } from '../transport/transport.ts'
import { errorTextOf, jsonObjectOf, parsedJson, readErrorText, type UpstreamErrorText } from './error-body.ts'
import { maxTokensIn, quotaSignals, signalsInText, tightest } from './rate-limits.ts'
import { longestWait, resetMs, retryAfterMs } from './retry-after.ts'
import { failureRules, statusOfCode, verdictByRange, verdicts } from './rules.ts'
import type { Fact, Signs, Verdict, VerdictName } from './rules.ts'

/** An answer as far as it has been read. */
interface ReceivedAnswer {
  readonly status: number
  readonly headers: HeaderBag
  /** Of an error its first bytes, 64 KiB are enough; of a success all of it, or undefined: only the head is judged. */
  readonly body: Uint8Array | undefined
  /** Epoch ms. */
  readonly wallNow: number
}

/** How an answer failed; undefined when it is a success, as far as its status, its type and its body tell. */
export function classifyAnswer({ status, headers, body, wallNow }: ReceivedAnswer): Failure | undefined {
  const isSuccess = status >= 200 && status <= 299 && status !== 204 && status !== 205
  const flaw = isSuccess ? flawOf(headers, body) : 'error'
  if (flaw !== 'error') return flaw && { ...bareFailure(flaw), status }
  const answer = { status, headers, text: readErrorText(body, wallNow), wallNow }
  return isSuccess ? failureInsideSuccess(answer) : failureOf(answer)
}

/**
 * How a stream failed with its first event that is no comment, although its status was a success; undefined when it
 * is a real event. A stream that begins with `[DONE]` has no content and counts as failed.
 */
export function classifyStreamError(
  event: SseEvent,
  headers: HeaderBag,
  wallNow: number,
): Failure | undefined {
  if (event.data.trim() === '[DONE]') return { ...bareFailure('badAnswer'), status: 200 }
  const error = errorIn(event)
  if (error === undefined) return undefined
  return failureInsideSuccess({ status: 200, headers, text: errorTextOf(error, wallNow), wallNow })
}

/** How an attempt failed that never got a whole answer. An abort is no failure, and a shortage is ours. */
export function classifyTransport(failure: Exclude<TransportFailure, 'aborted' | 'shortage'>): Failure {
  return bareFailure(failure)
}

/** Of a verdict that needs no word of the vendor's. */
const bareFailure = (name: VerdictName): Failure => ({ kind: 'failed', ...verdicts[name], signals: [] })

/** Everything that a rule may look at. */
interface ErrorAnswer extends Omit<ReceivedAnswer, 'body'> {
  readonly text: UpstreamErrorText
}

function failureOf(answer: ErrorAnswer): Failure {
  const { headers, text, wallNow, status } = answer
  const fromHeaders = quotaSignals(headers, wallNow)
  const quoted = quotaSignals(text.headers, wallNow).map((signal) => ({ ...signal, scope: 'quota' as const }))
  const signals = tightest([...fromHeaders, ...quoted, ...signalsInText(text, wallNow)])
  const spent = signals.filter(isSpent)
  const maxTokens = maxTokensIn(text.message)
  const facts = {
    'names-largest-request': maxTokens !== undefined,
    'long-window-spent': spent.length > 0 && spent.every(isLong),
    'bare-problem': text.form === 'json' && text.status === status && text.code === '' && text.type === '',
  }
  const rule = failureRules.find((rule) => rule.status.includes(status) && fits(rule.signs, answer, facts))
  const name = rule?.verdict ?? verdictByRange(status)
  const { hint, ...verdict }: Verdict = verdicts[name]
  const hintMs = retryHintMs(hint, spent, answer)
  return {
    kind: 'failed',
    ...verdict,
    status,
    // A refusal for another reason may quote the client, who could otherwise talk limits into the pool.
    signals: verdict.cause === 'failure' ? fromHeaders : signals,
    ...(hintMs !== undefined && { hintMs }),
    ...(maxTokens !== undefined && name === 'tooLarge' && { maxTokensPerRequest: maxTokens }),
  }
}

/**
 * Judges an error that came under a success by the status that it should have had, but that nothing was begun: what
 * would have been ambiguous counts as refused, and the client's fault goes to the next upstream, with nobody to rest.
 */
function failureInsideSuccess(answer: ErrorAnswer): Failure {
  const { code, type, status } = answer.text
  const statusBy = (word: string): number | undefined =>
    statusOfCode.find(([pattern]) => pattern.test(word))?.[1]
  // Azure's response.failed can come without an error; that it was a limit is told by the headers alone.
  const unsaid = retryAfterMs(answer.headers, answer.wallNow) === undefined ? 500 : 429
  const failure = failureOf({ ...answer, status: status ?? statusBy(code) ?? statusBy(type) ?? unsaid })
  return {
    ...failure,
    status: answer.status,
    ...(failure.class !== 'other-model' && {
      class: 'refused',
      code: failure.cause === 'failure' ? 'upstream_bad_response' : failure.code,
    }),
  }
}

function fits(signs: Signs, { headers, text }: ErrorAnswer, facts: Record<Fact, boolean>): boolean {
  const named = [
    signs.code && (signs.code.test(text.code) || signs.code.test(text.type)),
    signs.says?.test(text.message),
    signs.fact && facts[signs.fact],
    signs.spent && text.spent.some(({ id }) => signs.spent?.test(id)),
    signs.limitType?.test(headers['x-ratelimit-type'] ?? ''),
  ].filter((isTrue) => isTrue !== undefined)
  return named.length === 0 || named.includes(true)
}

const longestHintMs = { minutes: SPAN_MS.hour, days: 31 * SPAN_MS.day }

const isLong = ({ window }: QuotaSignal): boolean => window === 'day' || window === 'month'
const isSpent = ({ remaining }: QuotaSignal): boolean => remaining === 0

/** What was asked for counts before the resets of spent windows, and these before a reset of nothing in particular. */
function retryHintMs(
  hint: Verdict['hint'],
  spent: readonly QuotaSignal[],
  { headers, text, wallNow }: ErrorAnswer,
): number | undefined {
  if (hint === undefined) return undefined
  if (hint !== 'minutes' && hint !== 'days') return midnightAfter(hint, wallNow) - wallNow
  const resets = spent.filter((signal) => isLong(signal) === (hint === 'days'))
  const ms =
    longestWait([retryAfterMs(headers, wallNow), text.retryMs]) ??
    longestWait(resets.map((signal) => signal.resetMs)) ??
    resetMs(headers['x-ratelimit-reset'] ?? headers['ratelimit-reset'], wallNow)
  return ms === undefined ? undefined : Math.min(longestHintMs[hint], Math.max(SPAN_MS.second, ms))
}

/** With one of these beside it, an `error` is a remark and not the answer. */
const contents = ['choices', 'data', 'output', 'text', 'results']
const judgedFields = ['error', 'success', 'object', ...contents]

/**
 * Why a success is none: an error and nothing beside it, or a bad or a cut answer; undefined when it is plausible.
 *
 * JSON, also without a type, has to be one whole object that is not only an error. Of a stream and of any other
 * type (audio, images, plain text) it is enough that there is something.
 */
function flawOf(headers: HeaderBag, body: Uint8Array | undefined): VerdictName | 'error' | undefined {
  const type = headers['content-type']?.toLowerCase() ?? ''
  if (type.includes('html')) return 'badAnswer'
  if (body === undefined) return undefined
  if (type !== '' && !/[/+]json\b/.test(type)) {
    const isBlank = body.length < 4_096 && new TextDecoder().decode(body).trim() === ''
    return isBlank ? 'badAnswer' : undefined
  }
  const shape = jsonShape(body, judgedFields)
  if (shape.kind === 'empty') return 'badAnswer'
  if (shape.kind === 'truncated') return 'brokenAnswer'
  if (shape.kind === 'other') {
    // A page, a stream under the wrong name, a list of errors, or junk.
    const start = new TextDecoder().decode(body.subarray(0, 200)).trimStart()
    if (/^(data|event|id|retry)?:/.test(start)) return undefined
    return /^\[\s*\{\s*"error"/.test(start) ? 'error' : 'badAnswer'
  }
  const [error = -1, success = -1, object = -1, ...content] = shape.places
  if (content.some((place) => place >= 0)) return undefined
  const hasError = error >= 0 && !isSpelt(body, error, 'null')
  const isError = hasError || isSpelt(body, success, 'false') || isSpelt(body, object, '"error"')
  return isError ? 'error' : undefined
}

/** An event with one of these holds content, whatever else it says. */
const eventContents = [...contents, 'delta', 'response', 'item', 'part']

/**
 * The error that an event of a stream is, as JSON or as the text that came instead; undefined for a real event.
 *
 * Errors are: `event: error`; `response.failed` (also without an error in it, as Azure sends it); an `error` that
 * is not null, alone or in a chunk that ends for it (OpenRouter's `finish_reason: "error"`); vLLM's
 * `{"object":"error"}`; Cloudflare's `success: false`; and flat objects of a message with a code and no content.
 */
function errorIn({ event, data }: SseEvent): unknown {
  const value = parsedJson(data)
  if (event === 'error') return value ?? data
  const fields = jsonObjectOf(Array.isArray(value) ? value[0] : value)
  if (fields === undefined) return undefined
  const { type, object, error, choices } = fields
  const isNamed = [event, type].includes('response.failed') || type === 'error' || object === 'error'
  if (isNamed || (Array.isArray(choices) && choices.some(endsInError))) return fields
  const isEmptyList = (content: unknown): boolean => Array.isArray(content) && content.length === 0
  if (eventContents.some((name) => fields[name] !== undefined && !isEmptyList(fields[name]))) return undefined
  const saysError = (typeof error === 'string' && error !== '') || jsonObjectOf(error) !== undefined
  const isFlat =
    typeof fields['message'] === 'string' && ['code', 'status', 'status_code'].some((name) => name in fields)
  return saysError || fields['success'] === false || isFlat ? fields : undefined
}

const endsInError = (choice: unknown): boolean => jsonObjectOf(choice)?.['finish_reason'] === 'error'
