/*
 * vendors: what vendors say and what they mean by it. Every dialect of an error, of a rate limit and of a time to come
 * back is read here and nowhere else; what comes out is a `Failure` and readings of limits in the words of `pool/outcome.ts`.
 *
 * classify     what an answer, an event of a stream, or a failed connection means
 * judge        what JSON is: content, an error, or nothing yet
 * rules        the table: which status, code or words lead to which verdict
 * lesson       what a refusal says that an upstream can't do
 * error-body   reads the error out of a body, whatever its form
 * rate-limit-headers  what is left of counted limits, in every vendor's headers
 * rate-limit-text     counted limits in the words of an error
 * retry-after  how long to wait, in headers and in prose
 *
 * Nothing here throws, and nothing that comes out quotes what went in, but for the `words` of an upstream.
 */
import type { HeaderBag } from '../lib/headers.ts'
import { outlineOf } from '../lib/json/walk.ts'
import { midnightAfter } from '../lib/time.ts'
import { type Failure, type MeterReading, SPAN_MS, type ToldLimit } from '../pool/outcome.ts'
import type { Endpoint } from '../pool/upstream.ts'
import type { TransportFailure } from '../transport/transport.ts'
import { errorTextOf, readErrorText, type UpstreamErrorText } from './error-body.ts'
import { judgeWhole } from './judge.ts'
import { lessonIn } from './lesson.ts'
import { meterReadings, vendorClock } from './rate-limit-headers.ts'
import { isOfModel, limitsInText, maxTokensIn, type NamedLimit } from './rate-limit-text.ts'
import { longestWait, resetMs, retryAfterMs } from './retry-after.ts'
import {
  failureRules,
  speltOut,
  statusOfCode,
  statusOfWords,
  statusPhrase,
  verdictByRange,
  verdicts,
} from './rules.ts'
import type { Fact, Signs, Verdict, VerdictName } from './rules.ts'

/** An answer as far as it has been read. */
interface ReceivedAnswer {
  readonly status: number
  readonly headers: HeaderBag
  /** Of an error its first bytes, 64 KiB are enough; undefined = none came. */
  readonly body: Uint8Array | undefined
  /** Epoch ms. */
  readonly wallNow: number
}

/** How an answer failed whose status is no success. */
export function classifyStatus({ status, headers, body, wallNow }: ReceivedAnswer): Failure {
  if (status === 400 && body !== undefined && asksForTls(body))
    return { ...bareFailure('not-sent'), status, reason: 'speaks TLS' }
  const text = readErrorText(body, vendorClock(headers, { wallNow }))
  return failureOf({ status, headers, text, wallNow })
}

/** What servers of TLS say to who speaks plain HTTP: Go and those built with it a line, nginx and Apache a page. */
function asksForTls(body: Uint8Array): boolean {
  const text = new TextDecoder().decode(body.subarray(0, 2_000)).trimStart()
  const page = /plain HTTP request was sent to HTTPS port|speaking plain HTTP to an SSL-enabled server/
  return (
    text.startsWith('Client sent an HTTP request to an HTTPS server') ||
    (text.startsWith('<') && page.test(text))
  )
}

/**
 * How a whole answer with a success status failed, for an endpoint that answers in JSON; undefined = it is one. Its bytes
 * decide, whatever its labels say: an error in it is the HTTP error that it would have been, one without content is
 * `empty`, a page or junk is no answer, and JSON that is cut may have been one.
 */
export function classifyWhole(answer: ReceivedAnswer & { body: Uint8Array }, endpoint: Endpoint) {
  const outline = outlineOf(answer.body)
  if (outline.kind === 'truncated') return bareFailure('brokenAnswer', answer.status, 'JSON that is cut')
  if (outline.kind !== 'value') return bareFailure('badAnswer', answer.status, formIn(answer.body))
  const judgement = judgeWhole(outline.value, endpoint)
  if (judgement === 'content') return undefined
  if (judgement === 'error')
    return classifyError(readErrorText(answer.body, vendorClock(answer.headers, answer)), answer)
  const name = judgement === 'nothing' ? 'empty' : 'badAnswer'
  return bareFailure(name, answer.status, 'JSON without an answer')
}

/** What came instead of JSON, in words that anybody may read. */
function formIn(body: Uint8Array): string {
  const { form } = readErrorText(body.subarray(0, 1_000), 0)
  return form === 'html' ? 'a page (HTML)' : form === 'empty' ? 'an empty body' : 'no JSON'
}

/** How a stream failed with an error as an event of it. @param data JSON, or the text that came instead */
export function classifyEvent(
  data: unknown,
  { headers, wallNow }: Pick<ReceivedAnswer, 'headers' | 'wallNow'>,
): Failure {
  return classifyError(errorTextOf(data, wallNow), { headers, wallNow })
}

/** Why a success is no answer, where who found out says no more. */
const reasons: Partial<Record<VerdictName, string>> = {
  badAnswer: 'a page or words instead of JSON',
  brokenAnswer: 'a stream that ended early',
  empty: 'no content',
  otherForm: 'a stream instead of JSON, or JSON instead of a stream',
}

/** A success that is no answer, for which no word of the vendor's is needed. A status that is no 200 tells why. */
export function bareFailure(
  name: VerdictName,
  status?: number,
  reason = status === 200 ? reasons[name] : undefined,
): Failure {
  return {
    kind: 'failed',
    ...verdicts[name],
    readings: [],
    ...(status !== undefined && { status }),
    ...(reason !== undefined && { reason }),
  }
}

/** How an attempt failed that never got a whole answer. An abort is no failure, and a shortage is ours. */
export function classifyTransport(
  failure: Exclude<TransportFailure, 'aborted' | 'shortage'>,
  reason?: string,
): Failure {
  return bareFailure(failure, undefined, reason)
}

/** Everything that a rule may look at. */
interface ErrorAnswer extends Omit<ReceivedAnswer, 'body'> {
  readonly text: UpstreamErrorText
}

function failureOf(answer: ErrorAnswer): Failure {
  const { headers, text, status } = answer
  const wallNow = vendorClock(headers, answer)
  const fromHeaders = meterReadings(headers, answer)
  const quoted = meterReadings(text.headers, { wallNow }, 'quota')
  const named = limitsInText(text, wallNow)
  const spent: SpentLimit[] = [
    ...[...fromHeaders, ...quoted].filter(isSpentWindow),
    ...named.filter(({ isSpent }) => isSpent),
  ]
  const maxTokens = maxTokensIn(text.message)
  const facts = {
    'names-largest-request': maxTokens !== undefined,
    'long-window-spent': spent.length > 0 && spent.every(isLong),
    'bare-problem': text.form === 'json' && text.status === status && text.code === '' && text.type === '',
    'no-words':
      text.form === 'empty' ||
      text.form === 'html' ||
      (text.form === 'text' && statusPhrase.test(text.message)),
  }
  const rule = failureRules.find((rule) => rule.status.includes(status) && fits(rule.signs, answer, facts))
  const name = rule?.verdict ?? verdictByRange(status)
  const { hint, ...verdict }: Verdict = verdicts[name]
  const rest = restAskedFor(hint, spent, { headers, text, wallNow, hasReadings: fromHeaders.length > 0 })
  const lesson = verdict.scope === 'none' ? lessonIn(text, name, status) : undefined
  return {
    kind: 'failed',
    ...verdict,
    ...(verdict.scope === 'quota' && isOfModel(text) && { scope: 'upstream' }),
    status,
    ...(lesson && { lesson }),
    // A refusal for another reason may quote the client, who could otherwise talk limits into the pool.
    readings: verdict.cause === 'failure' ? fromHeaders : [...fromHeaders, ...quoted],
    ...(verdict.cause === 'rate-limited' && { told: named.flatMap(toldLimits) }),
    ...(text.message !== '' && { words: text.message }),
    ...rest,
    ...(maxTokens !== undefined && name === 'tooLarge' && { maxTokensPerRequest: maxTokens }),
  }
}

/**
 * Judges an error that came under a success by the status that it should have had: that is the `status` of the failure.
 */
function classifyError(
  text: UpstreamErrorText,
  { headers, wallNow }: Pick<ReceivedAnswer, 'headers' | 'wallNow'>,
) {
  const statusBy = (rows: typeof statusOfCode, word: string): number | undefined =>
    word === ''
      ? undefined
      : rows.find(([pattern]) => pattern.test(word) || pattern.test(speltOut(word)))?.[1]
  const status =
    text.status ??
    statusBy(statusOfCode, text.code) ??
    statusBy(statusOfCode, text.type) ??
    statusBy(statusOfWords, text.message) ??
    // Azure's response.failed can come without an error; that it was a limit is told by the headers alone.
    (retryAfterMs(headers, wallNow) === undefined ? 500 : 429)
  return failureOf({ status, headers, text, wallNow })
}

function fits(signs: Signs, { headers, text }: ErrorAnswer, facts: Record<Fact, boolean>): boolean {
  const named = [
    signs.code && (signs.code.test(text.code) || signs.code.test(text.type)),
    signs.spelt && (signs.spelt.test(speltOut(text.code)) || signs.spelt.test(speltOut(text.type))),
    signs.says?.test(text.message),
    signs.fact && facts[signs.fact],
    signs.spent && text.spent.some(({ id }) => signs.spent?.test(id)),
    signs.limitType?.test(headers['x-ratelimit-type'] ?? ''),
  ].filter((isTrue) => isTrue !== undefined)
  return named.length === 0 || named.includes(true)
}

const longestHintMs = { minutes: SPAN_MS.hour, days: 31 * SPAN_MS.day }

/** A limit of which nothing is left; those of headers have a length where their names say so. */
type SpentLimit = Pick<MeterReading, 'spanMs'> & Pick<NamedLimit, 'resetMs' | 'isInferred'>

/** A Go duration is that of a bucket, which has room long before it is whole: only its meter knows when. */
const isSpentWindow = ({ remaining, isDuration }: MeterReading): boolean => remaining === 0 && !isDuration
/** What no name gives a length is by the day where its reset is hours away. */
const isLong = ({ spanMs, resetMs = 0 }: SpentLimit): boolean =>
  spanMs === undefined ? resetMs > 2 * SPAN_MS.hour : spanMs >= SPAN_MS.day
/** What is told of a day rests as long as was said; what is told of less is a soft wall. */
const toldLimits = ({ counts, scope, limit, spanMs }: NamedLimit): ToldLimit[] =>
  limit === undefined || spanMs > SPAN_MS.hour ? [] : [{ counts, scope, limit, spanMs }]

interface HintPlaces extends Pick<ErrorAnswer, 'headers' | 'text' | 'wallNow'> {
  /** The headers tell what is left: then they tell also when there will be more. */
  readonly hasReadings: boolean
}

/**
 * How long to stay away: what was asked for counts before the reset of a spent day, and this before a reset of nothing in
 * particular. A midnight is our own knowledge of the vendor.
 */
function restAskedFor(
  hint: Verdict['hint'],
  spent: readonly SpentLimit[],
  { headers, text, wallNow, hasReadings }: HintPlaces,
): Pick<Failure, 'hintMs' | 'isInferred'> {
  if (hint === undefined) return {}
  if (hint !== 'minutes' && hint !== 'days')
    return { hintMs: midnightAfter(hint, wallNow) - wallNow, isInferred: true }
  // That it is a day was told already: a limit without a length is one also where it is nearly over.
  const days = hint === 'days' ? spent.filter((limit) => limit.spanMs === undefined || isLong(limit)) : []
  const dayMs = longestWait(days.map((limit) => limit.resetMs))
  const isGuess = days.some((limit) => limit.isInferred === true && limit.resetMs === dayMs)
  // Gemini's retryDelay is that of a minute even where the day is spent.
  const asked = longestWait([retryAfterMs(headers, wallNow), isGuess ? undefined : text.retryMs])
  const bareReset = hasReadings ? undefined : (headers['x-ratelimit-reset'] ?? headers['ratelimit-reset'])
  const ms = asked ?? dayMs ?? resetMs(bareReset, wallNow)
  if (ms === undefined) return {}
  return {
    hintMs: Math.min(longestHintMs[hint], Math.max(SPAN_MS.second, ms)),
    ...(asked === undefined && isGuess && { isInferred: true }),
  }
}
