import type { HeaderBag } from '../lib/headers.ts'
import { midnightAfter } from '../lib/time.ts'
import { type QuotaSignal, SPAN_MS } from '../pool/outcome.ts'
import type { UpstreamErrorText } from './error-body.ts'
import { resetMs } from './retry-after.ts'

const decimalNumber = /^-?\d{1,15}(?:\.\d{1,9})?$/
const goDuration = /^\d[\d.]*(?:ns|us|µs|ms|s|m|h)/

/**
 * What the headers of an answer say about counted limits, in every vendor's dialect: at most one signal for each
 * amount, window and scope. Values that can't be read are ignored, absurd ones too, and resets are cut to what their
 * window can mean. Costs some µs where a vendor speaks, 0.1 µs where not.
 *
 * @param wallNow epoch ms, for resets that are points in time
 */
export function quotaSignals(headers: HeaderBag, wallNow: number): QuotaSignal[] {
  // Most answers carry few of the names, or none: so the headers look for meters, and not the other way round.
  const present: Meter[] = []
  for (const name in headers) {
    for (const meter of metersByName.get(name) ?? NONE) if (!present.includes(meter)) present.push(meter)
  }
  // In the order of the list, whichever header came first.
  const inTurn = present.length > 1 ? meters.filter((meter) => present.includes(meter)) : present
  const signals: QuotaSignal[] = []
  for (const meter of inTurn) signals.push(...signalsAt(meter, headers, wallNow))
  if (headers['x-ratelimit-type'] !== undefined) signals.push(...refusedBy(headers, wallNow))
  return signals.length > 1 ? tightest(signals) : signals
}

type WindowSpan = QuotaSignal['window']

/** The headers that carry one counted limit, by lower-case name. */
interface Meter extends Pick<QuotaSignal, 'counts' | 'scope'> {
  /** `unsaid`: the names do not tell; see `spanFor` for how it is found out. */
  readonly window: WindowSpan | 'unsaid'
  readonly limit: string
  readonly remaining?: string
  readonly reset?: string
  /** Names the length of the window in seconds. */
  readonly period?: string
  /** Without a reset of its own it ends with the minute of the clock on the wall. */
  readonly isWallMinute?: boolean
  /** A limit of 0 means that the model is not in the plan, for good. */
  readonly zeroIsNotInPlan?: boolean
  /** It counts so only where this header is there as well. */
  readonly beside?: string
  /** It counts something else where this header is there. */
  readonly unless?: string
}

/** A meter of an upstream; `*` in its names stands for `limit`, `remaining` and `reset`. */
const meterOf = (names: string, more: Pick<Meter, 'counts' | 'window'> & Partial<Meter>): Meter => ({
  scope: 'upstream',
  limit: names.replace('*', 'limit'),
  remaining: names.replace('*', 'remaining'),
  reset: names.replace('*', 'reset'),
  isWallMinute: names.endsWith('-minute'),
  ...more,
})

const amounts = ['requests', 'tokens'] as const
const spans = Object.keys(SPAN_MS) as WindowSpan[]

/** Every dialect in which vendors count in their headers. Of two that count the same, the tighter one holds. */
export const meters: readonly Meter[] = [
  // OpenAI, Azure, GitHub Models, SambaNova: a minute. Groq, and OpenAI's smallest plans: requests are per day.
  ...amounts.map((counts) =>
    meterOf(`x-ratelimit-*-${counts}`, {
      counts,
      window: 'unsaid',
      period: `x-ratelimit-renewalperiod-${counts}`,
    }),
  ),
  // Cerebras; SambaNova's day. Mistral's tokens have the same names and never a reset.
  ...amounts.flatMap((counts) =>
    spans.map((window) => meterOf(`x-ratelimit-*-${counts}-${window}`, { counts, window })),
  ),
  // Mistral's requests.
  ...spans.map((window) =>
    meterOf(`x-ratelimit-*-req-${window}`, { counts: 'requests', window, zeroIsNotInPlan: true }),
  ),
  // Anthropic. Its plain tokens are the tightest of its token limits.
  meterOf('anthropic-ratelimit-requests-*', { counts: 'requests', window: 'minute' }),
  ...['tokens', 'input-tokens', 'output-tokens'].map((what) =>
    meterOf(`anthropic-ratelimit-${what}-*`, { counts: 'tokens', window: 'minute' }),
  ),
  // Together counts each second.
  ...['', '-dynamic'].flatMap((tail) => [
    meterOf(`x-ratelimit-*${tail}`, {
      counts: 'requests',
      window: 'second',
      reset: 'x-ratelimit-reset',
      beside: 'x-tokenlimit-limit',
    }),
    meterOf(`x-tokenlimit-*${tail}`, { counts: 'tokens', window: 'second', reset: 'x-tokenlimit-reset' }),
  ]),
  // OpenRouter (inside its bodies), DigitalOcean (epoch seconds), and whoever names no amount.
  ...['x-ratelimit-*', 'ratelimit-*'].map((names) =>
    meterOf(names, { counts: 'requests', window: 'unsaid', unless: 'x-tokenlimit-limit' }),
  ),
  // Cohere's trial keys: 20 calls in any minute for each endpoint, 1,000 a month for the key.
  {
    counts: 'requests',
    window: 'minute',
    scope: 'upstream',
    limit: 'x-trial-endpoint-call-limit',
    remaining: 'x-trial-endpoint-call-remaining',
  },
  { counts: 'requests', window: 'month', scope: 'key', limit: 'x-endpoint-monthly-call-limit' },
]

const NONE: readonly Meter[] = []
const metersByName = new Map<string, Meter[]>()
for (const meter of meters) {
  for (const name of [meter.limit, meter.remaining]) {
    if (name !== undefined) metersByName.set(name, [...(metersByName.get(name) ?? []), meter])
  }
}

function signalsAt(meter: Meter, headers: HeaderBag, wallNow: number): QuotaSignal[] {
  const { counts, scope } = meter
  const limit = numberAt(headers, meter.limit)
  const remaining = numberAt(headers, meter.remaining)
  if (limit === undefined && remaining === undefined) return []
  if (meter.beside !== undefined && headers[meter.beside] === undefined) return []
  if (meter.unless !== undefined && headers[meter.unless] !== undefined) return []
  if (limit === 0 && meter.zeroIsNotInPlan)
    return [{ counts, window: 'day', scope, remaining: 0, resetMs: SPAN_MS.day }]
  const reset = textAt(headers, meter.reset)
  const untilMinute = meter.isWallMinute ? SPAN_MS.minute - (wallNow % SPAN_MS.minute) : undefined
  const until = reset === undefined ? untilMinute : resetMs(reset, wallNow)
  const period = numberAt(headers, meter.period)
  const said = { limit, remaining, resetMs: until }
  const window = meter.window === 'unsaid' ? spanFor(said, reset, period) : meter.window
  return signalsOf({ counts, window, scope, limit, remaining, resetMs: until })
}

/**
 * The window of a meter whose names do not tell.
 *
 * 1. The vendor names its length (Azure, GitHub Models).
 * 2. A reset written as a Go duration can be the time until a bucket that refills steadily is full again (OpenAI,
 *    Groq): then reset × limit / (limit − remaining) is the window, 6 s for 1 of 14,400 is a day. It can as well
 *    be the end of a minute of which little is used (60 s for 1 of 10), so a day is only believed when the numbers
 *    give just that. The reset is taken 1 ms shorter, since vendors round it.
 * 3. Any other reset is the end of a window: the shortest one, a minute or more, that has room for it. Where this
 *    errs, the window is too short, and the limit looser than it is.
 */
function spanFor(
  { limit, remaining = -1, resetMs: until }: ReadAmounts,
  reset = '',
  periodSeconds = 0,
): WindowSpan {
  if (periodSeconds > 0) return nearestSpan(periodSeconds * SPAN_MS.second)
  if (until === undefined) return 'minute'
  const shortest = spans.find((span) => span !== 'second' && until <= SPAN_MS[span]) ?? 'month'
  if (!goDuration.test(reset) || limit === undefined || remaining < 0) return shortest
  const days = ((until - 1) * limit) / Math.max(1, limit - remaining) / SPAN_MS.day
  return days > 0.97 && days < 1.01 ? 'day' : shortest
}

/** GitHub Models names the limit that refused: `UserByModelByDay` with the seconds that are left of it. */
function refusedBy(headers: HeaderBag, wallNow: number): QuotaSignal[] {
  const type = headers['x-ratelimit-type'] ?? ''
  const [, span] = /By(Minute|Hour|Day)/.exec(type) ?? []
  const left = textAt(headers, 'x-ratelimit-timeremaining')
  if (span === undefined || left === undefined) return []
  return signalsOf({
    counts: countsOf(type),
    window: span.toLowerCase() as WindowSpan,
    scope: type.includes('ByModel') ? 'upstream' : 'key',
    remaining: 0,
    resetMs: resetMs(left, wallNow),
  })
}

/** What a vendor's name of a limit says that it counts. */
const countsOf = (name: string): QuotaSignal['counts'] => (/token/i.test(name) ? 'tokens' : 'requests')

/** One signal for each amount, window and scope: the tighter one, completed by what only the other says. */
export function tightest(signals: readonly QuotaSignal[]): QuotaSignal[] {
  const kept: QuotaSignal[] = []
  for (const signal of signals) {
    const { counts, window, scope, remaining = Infinity } = signal
    const at = kept.findIndex((a) => a.counts === counts && a.window === window && a.scope === scope)
    const before = kept[at]
    if (before === undefined) kept.push(signal)
    else if (remaining < (before.remaining ?? Infinity)) kept[at] = { ...before, ...signal }
    else kept[at] = { ...signal, ...before }
  }
  return kept
}

function textAt(headers: HeaderBag, name: string | undefined): string | undefined {
  return name === undefined ? undefined : headers[name]?.trim()
}

function numberAt(headers: HeaderBag, name: string | undefined): number | undefined {
  const text = textAt(headers, name)
  return text !== undefined && decimalNumber.test(text) ? Number(text) : undefined
}

/** The span whose length is nearest by ratio: 50 s is a minute, 20 h is a day. */
function nearestSpan(ms: number): WindowSpan {
  const distance = (span: WindowSpan): number => Math.abs(Math.log(Math.max(1, ms) / SPAN_MS[span]))
  return spans.reduce((best, span) => (distance(span) < distance(best) ? span : best))
}

/** No reset is believed beyond this: an hour for what reopens within minutes, 31 days for what does not. */
const longestResetMs: Readonly<Record<WindowSpan, number>> = {
  second: SPAN_MS.hour,
  minute: SPAN_MS.hour,
  hour: SPAN_MS.day,
  day: 31 * SPAN_MS.day,
  month: 31 * SPAN_MS.day,
}

/** The numbers of a limit as they were read, before they are made plausible. */
type ReadAmounts = { readonly [Key in 'limit' | 'remaining' | 'resetMs']?: number | undefined }
type ReadLimit = ReadAmounts & Pick<QuotaSignal, 'counts' | 'window' | 'scope'>

/**
 * A signal without anything absurd in it; none where nothing usable is left.
 *
 * A limit below 1 or beyond 10¹² is no limit. −1 left is the sign for "unknown" (Azure); less than that is an
 * overdrawn window and counts as 0.
 */
function signalsOf(read: ReadLimit): QuotaSignal[] {
  const { counts, window, scope } = read
  const limit = isAmount(read.limit) && read.limit >= 1 ? Math.floor(read.limit) : undefined
  const left =
    read.remaining === -1 || !isAmount(read.remaining) ? undefined : Math.max(0, Math.floor(read.remaining))
  const hasNoPlace = left === undefined || (left === 0 && read.limit === 0)
  const remaining = hasNoPlace ? undefined : Math.min(left, limit ?? left)
  if (limit === undefined && remaining === undefined) return []
  const signal: { -readonly [Key in keyof QuotaSignal]: QuotaSignal[Key] } = { counts, window, scope }
  if (limit !== undefined) signal.limit = limit
  if (remaining !== undefined) signal.remaining = remaining
  if (read.resetMs !== undefined) signal.resetMs = Math.min(longestResetMs[window], Math.max(0, read.resetMs))
  return [signal]
}

const isAmount = (value: number | undefined): value is number =>
  value !== undefined && Math.abs(value) <= 1e12

/** Gemini's days end at midnight in California. */
const pacific = 'America/Los_Angeles'

const metered = /\b(token|request)s? per (second|min(?:ute)?|hour|day|month)\b/i
const metersPlainly =
  /\b(\d[\d,]{0,20}) (?:API )?(token|request|call|quer)(?:s|y|ies)? ?(?:per|\/) ?(second|minute|hour|day|month)\b/i
const ofGitHub = /Rate limit of (\d+) per (\d+)s exceeded for (\w+)/
const limitSaid = /\blimit:? ([\d,]+)/i
const usedSaid = /\bused:? ([\d,]+)/i
const requestedSaid = /\brequested:? ([\d,]+)/i
const maxSaid = /max(?:imum)? size:? ([\d,]+) tokens/i

/**
 * What the text of a refusal says about counted limits. Only with a reset is a limit taken as spent: without
 * one, its size is all that is learned.
 */
export function signalsInText(text: UpstreamErrorText, wallNow: number): QuotaSignal[] {
  const said = inGitHubsWords(text) ?? inOpenAisWords(text) ?? inPlainWords(text)
  const signals = [...ofGemini(text, wallNow), ...said]
  return isOfModel(text) ? signals.map((signal) => ({ ...signal, scope: 'upstream' })) : signals
}

const modelNamed =
  /\b(?:reached|exceeded|exhausted|hit|limit|quota) for (?:the |this )?(?:model\b|(?!requests\b|tokens\b)[\w.:/-]{1,100} in (?:organization|project)\b)/i

/** Whether the limit is one model's, in its words or in the names of the quotas that it calls spent. */
export function isOfModel({ message, spent }: UpstreamErrorText): boolean {
  return modelNamed.test(message) || (spent.length > 0 && spent.every(({ id }) => /PerModel/.test(id)))
}

/**
 * The largest request that the vendor takes, in tokens, where the text says that this one was larger: "Request too
 * large … (TPM): Limit 6000, Requested 12328" (OpenAI with 429, Groq with 413), "Max size: 8000 tokens" (GitHub Models).
 */
export function maxTokensIn(message: string): number | undefined {
  const limit = amountIn(limitSaid, message)
  const requested = amountIn(requestedSaid, message)
  if (limit !== undefined && requested !== undefined) return requested > limit ? limit : undefined
  return amountIn(maxSaid, message)
}

function ofGemini({ spent, retryMs }: UpstreamErrorText, wallNow: number): QuotaSignal[] {
  return spent.flatMap(({ id, limit }) => {
    const window = id.includes('PerDay') ? 'day' : 'minute'
    if (window === 'minute' && !id.includes('PerMinute')) return []
    // Its retryDelay is that of a minute even where the day is spent.
    const resetMs = window === 'day' ? midnightAfter(pacific, wallNow) - wallNow : retryMs
    return signalsOf({ counts: countsOf(id), window, scope: 'quota', limit, remaining: 0, resetMs })
  })
}

function inGitHubsWords({ message, retryMs }: UpstreamErrorText): QuotaSignal[] | undefined {
  const [, limit, seconds, type = ''] = ofGitHub.exec(message) ?? []
  if (limit === undefined) return undefined
  if (Number(seconds) === 0) return []
  return signalsOf({
    counts: countsOf(type),
    window: nearestSpan(Number(seconds) * SPAN_MS.second),
    scope: type.includes('ByModel') ? 'upstream' : 'key',
    limit: Number(limit),
    ...(retryMs !== undefined && { remaining: 0, resetMs: retryMs }),
  })
}

function inOpenAisWords({ message }: UpstreamErrorText): QuotaSignal[] | undefined {
  const [, what = '', span] = metered.exec(message) ?? []
  const limit = amountIn(limitSaid, message)
  if (span === undefined || limit === undefined) return undefined
  const used = amountIn(usedSaid, message)
  const remaining = used && Math.max(0, limit - used)
  return signalsOf({ counts: countsOf(what), window: spanNamed(span), scope: 'quota', limit, remaining })
}

function inPlainWords({ message }: UpstreamErrorText): QuotaSignal[] {
  const [, digits = '', what = '', span] = metersPlainly.exec(message) ?? []
  if (span === undefined) return []
  const limit = parsedAmount(digits)
  return signalsOf({ counts: countsOf(what), window: spanNamed(span), scope: 'key', limit })
}

const spanNamed = (word: string): WindowSpan =>
  word.toLowerCase() === 'min' ? 'minute' : (word.toLowerCase() as WindowSpan)

const parsedAmount = (digits: string): number => Number(digits.replaceAll(',', ''))

function amountIn(pattern: RegExp, message: string): number | undefined {
  const [, digits = ''] = pattern.exec(message) ?? []
  const amount = parsedAmount(digits)
  return amount >= 1 && amount <= 1e12 ? amount : undefined
}
