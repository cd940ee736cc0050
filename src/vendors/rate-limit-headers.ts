import type { HeaderBag } from '../lib/headers.ts'
import { type QuotaSignal, SPAN_MS } from '../pool/outcome.ts'
import { resetMs } from './retry-after.ts'

const decimalNumber = /^-?\d{1,15}(?:\.\d{1,9})?$/
const goDuration = /^\d[\d.]*(?:ns|us|µs|ms|s|m|h)/

/**
 * What the headers of an answer say about counted limits, in every vendor's dialect; empty when they say
 * nothing. At most one signal for each amount, window and scope.
 *
 * Values that can't be read are ignored, absurd ones too, resets are cut to what their window can mean. Never
 * throws. Costs about 10 µs where a vendor speaks, under 1 µs where not.
 *
 * @param wallNow epoch ms, for resets that are points in time
 */
export function quotaSignals(headers: HeaderBag, wallNow: number): QuotaSignal[] {
  let present: Meter[] | undefined
  for (const name in headers) {
    for (const meter of metersByName.get(name) ?? NONE) {
      if (present === undefined) present = [meter]
      else if (!present.includes(meter)) present.push(meter)
    }
  }
  const signals: QuotaSignal[] = []
  if (present !== undefined) {
    for (const meter of inTurn(present)) {
      for (const signal of signalsAt(meter, headers, wallNow)) signals.push(signal)
    }
  }
  if (headers['x-ratelimit-type'] !== undefined) signals.push(...refusedBy(headers, wallNow))
  return signals.length > 1 ? tightest(signals) : signals
}

const NONE: readonly Meter[] = []

/** Most answers carry few of the names, or none: so the headers look for meters, and not the other way round. */
const metersByName = new Map<string, Meter[]>()

/** The span of a counted limit. */
export type WindowSpan = QuotaSignal['window']

/** The headers that carry one counted limit, by lower-case name. */
interface Meter {
  readonly counts: QuotaSignal['counts']
  /** `unsaid`: the names do not tell; see `spanFor` for how it is found out. */
  readonly window: WindowSpan | 'unsaid'
  readonly scope: QuotaSignal['scope']
  readonly limit?: string
  readonly remaining?: string
  readonly reset?: string
  /** Names the length of the window in seconds. */
  readonly period?: string
  /** Without a reset of its own it ends with the minute of the clock on the wall. */
  readonly endsWith?: 'wall-minute'
  /** A limit of 0 means that the model is not in the plan, for good. */
  readonly zero?: 'not-in-plan'
  /** It counts so only where this header is there as well. */
  readonly beside?: string
  /** It counts something else where this header is there. */
  readonly unless?: string
}

const amounts = ['requests', 'tokens'] as const

const meterHeaders = (counts: Meter['counts'], tail: string): Omit<Meter, 'window'> => ({
  counts,
  scope: 'upstream',
  limit: `x-ratelimit-limit-${tail}`,
  remaining: `x-ratelimit-remaining-${tail}`,
  reset: `x-ratelimit-reset-${tail}`,
})

const spans = ['second', 'minute', 'hour', 'day', 'month'] as const

/**
 * Every dialect in which vendors count in their headers. Where two meters count the same over the same window,
 * the tighter one holds.
 */
export const meters: readonly Meter[] = [
  // OpenAI, Azure, GitHub Models, SambaNova: a minute. Groq, and OpenAI's smallest plans: requests are per day.
  ...amounts.map((counts) => ({
    ...meterHeaders(counts, counts),
    window: 'unsaid' as const,
    period: `x-ratelimit-renewalperiod-${counts}`,
  })),
  // Cerebras; SambaNova's day. Mistral's tokens have the same names and never a reset.
  ...amounts.flatMap((counts) =>
    spans.map((window): Meter => ({
      ...meterHeaders(counts, `${counts}-${window}`),
      window,
      endsWith: 'wall-minute',
    })),
  ),
  // Mistral's requests.
  ...spans.map((window): Meter => ({
    ...meterHeaders('requests', `req-${window}`),
    window,
    endsWith: 'wall-minute',
    zero: 'not-in-plan',
  })),
  // Anthropic. Its plain tokens are the tightest of its token limits.
  ...(['requests', 'tokens', 'input-tokens', 'output-tokens'] as const).map((what): Meter => ({
    counts: what === 'requests' ? 'requests' : 'tokens',
    window: 'minute',
    scope: 'upstream',
    limit: `anthropic-ratelimit-${what}-limit`,
    remaining: `anthropic-ratelimit-${what}-remaining`,
    reset: `anthropic-ratelimit-${what}-reset`,
  })),
  // Together counts each second.
  ...(['', '-dynamic'] as const).flatMap((tail): Meter[] => [
    {
      counts: 'requests',
      window: 'second',
      scope: 'upstream',
      limit: `x-ratelimit-limit${tail}`,
      remaining: `x-ratelimit-remaining${tail}`,
      reset: 'x-ratelimit-reset',
      beside: 'x-tokenlimit-limit',
    },
    {
      counts: 'tokens',
      window: 'second',
      scope: 'upstream',
      limit: `x-tokenlimit-limit${tail}`,
      remaining: `x-tokenlimit-remaining${tail}`,
      reset: 'x-tokenlimit-reset',
    },
  ]),
  // OpenRouter (inside its bodies), DigitalOcean (epoch seconds), and whoever names no amount.
  ...(['x-ratelimit', 'ratelimit'] as const).map((prefix): Meter => ({
    counts: 'requests',
    window: 'unsaid',
    scope: 'upstream',
    limit: `${prefix}-limit`,
    remaining: `${prefix}-remaining`,
    reset: `${prefix}-reset`,
    unless: 'x-tokenlimit-limit',
  })),
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

for (const meter of meters) {
  for (const name of [meter.limit, meter.remaining]) {
    if (name !== undefined) metersByName.set(name, [...(metersByName.get(name) ?? []), meter])
  }
}

/** Meters in the order of their list, whichever header came first. */
const inTurn = (present: readonly Meter[]): readonly Meter[] =>
  present.length === 1 ? present : meters.filter((meter) => present.includes(meter))

function signalsAt(meter: Meter, headers: HeaderBag, wallNow: number): QuotaSignal[] {
  const limit = numberAt(headers, meter.limit)
  const remaining = numberAt(headers, meter.remaining)
  if (limit === undefined && remaining === undefined) return []
  if (meter.beside !== undefined && headers[meter.beside] === undefined) return []
  if (meter.unless !== undefined && headers[meter.unless] !== undefined) return []
  const { counts, scope } = meter
  if (limit === 0 && meter.zero === 'not-in-plan') {
    return [{ counts, window: 'day', scope, remaining: 0, resetMs: SPAN_MS.day }]
  }
  const reset = textAt(headers, meter.reset)
  const until = reset === undefined ? impliedResetMs(meter, wallNow) : resetMs(reset, wallNow)
  const isSteady = reset !== undefined && goDuration.test(reset)
  const period = numberAt(headers, meter.period)
  const window =
    meter.window === 'unsaid' ? spanFor({ period, limit, remaining, until, isSteady }) : meter.window
  return signalsOf({ counts, window, scope, limit, remaining, resetMs: until })
}

interface Numbers {
  /** Seconds. */
  readonly period: number | undefined
  readonly limit: number | undefined
  readonly remaining: number | undefined
  /** Ms to the reset. */
  readonly until: number | undefined
  /** Whether the reset is the time until a bucket is full. */
  readonly isSteady: boolean
}

/**
 * The window of a meter whose names do not tell.
 *
 * 1. The vendor names its length (Azure, GitHub Models).
 * 2. A reset written as a Go duration can be the time until a bucket that refills steadily is full again (OpenAI,
 *    Groq): then reset × limit / (limit − remaining) is the window, 6 s for 1 of 14,400 is a day. It can as well
 *    be the end of a minute of which little is used (60 s for 1 of 10), so a day is only believed when the numbers
 *    give just that. The reset is taken 1 ms shorter, since vendors round it.
 * 3. Any other reset is the end of a window: the shortest one that has room for it. Where this errs, the window
 *    is too short, and the limit looser than it is.
 */
function spanFor({ period, limit, remaining, until, isSteady }: Numbers): WindowSpan {
  if (period !== undefined && period > 0) return nearestSpan(period * 1_000)
  if (until === undefined) return 'minute'
  if (!isSteady || limit === undefined || remaining === undefined || remaining < 0) return spanAround(until)
  const days = ((until - 1) * limit) / Math.max(1, limit - remaining) / SPAN_MS.day
  return days > 0.97 && days < 1.01 ? 'day' : spanAround(until)
}

function impliedResetMs(meter: Meter, wallNow: number): number | undefined {
  const isMinute = meter.endsWith === 'wall-minute' && meter.window === 'minute'
  return isMinute ? SPAN_MS.minute - (wallNow % SPAN_MS.minute) : undefined
}

/** GitHub Models names the limit that refused: `UserByModelByDay` with the seconds that are left of it. */
function refusedBy(headers: HeaderBag, wallNow: number): QuotaSignal[] {
  const [, span] = /By(Minute|Hour|Day)/.exec(headers['x-ratelimit-type'] ?? '') ?? []
  const left = textAt(headers, 'x-ratelimit-timeremaining')
  if (span === undefined || left === undefined) return []
  const type = headers['x-ratelimit-type'] ?? ''
  return signalsOf({
    counts: type.includes('Token') ? 'tokens' : 'requests',
    window: span.toLowerCase() as WindowSpan,
    scope: type.includes('ByModel') ? 'upstream' : 'key',
    remaining: 0,
    resetMs: resetMs(left, wallNow),
  })
}

/** One signal for each amount, window and scope: the tighter one, completed by what only the other says. */
export function tightest(signals: readonly QuotaSignal[]): QuotaSignal[] {
  const kept: QuotaSignal[] = []
  for (const signal of signals) {
    const at = kept.findIndex((other) => isOfSame(other, signal))
    const before = kept[at]
    if (before === undefined) kept.push(signal)
    else kept[at] = leftOf(signal) < leftOf(before) ? { ...before, ...signal } : { ...signal, ...before }
  }
  return kept
}

const isOfSame = (a: QuotaSignal, b: QuotaSignal): boolean =>
  a.counts === b.counts && a.window === b.window && a.scope === b.scope

const leftOf = ({ remaining = Infinity }: QuotaSignal): number => remaining

function textAt(headers: HeaderBag, name: string | undefined): string | undefined {
  return name === undefined ? undefined : headers[name]?.trim()
}

function numberAt(headers: HeaderBag, name: string | undefined): number | undefined {
  const text = textAt(headers, name)
  return text !== undefined && decimalNumber.test(text) ? Number(text) : undefined
}

const spansByLength = Object.keys(SPAN_MS) as WindowSpan[]

/** No reset is believed beyond this: an hour for what reopens within minutes, 31 days for what does not. */
const longestResetMs: Readonly<Record<WindowSpan, number>> = {
  second: 3_600_000,
  minute: 3_600_000,
  hour: SPAN_MS.day,
  day: 31 * SPAN_MS.day,
  month: 31 * SPAN_MS.day,
}

/** A reset cut to what its span can mean; 0 or more. */
function clampedReset(span: WindowSpan, ms: number): number {
  return Math.min(longestResetMs[span], Math.max(0, ms))
}

/** The span whose length is nearest by ratio: 50 s is a minute, 20 h is a day. */
export function nearestSpan(ms: number): WindowSpan {
  const distance = (span: WindowSpan): number => Math.abs(Math.log(Math.max(1, ms) / SPAN_MS[span]))
  return spansByLength.reduce((best, span) => (distance(span) < distance(best) ? span : best))
}

/** The shortest span, a minute or more, that has room for a wait. */
function spanAround(ms: number): WindowSpan {
  return spansByLength.slice(1).find((span) => ms <= SPAN_MS[span]) ?? 'month'
}

/** A limit as it was read, before it is made plausible. */
interface RawLimit {
  readonly counts: QuotaSignal['counts']
  readonly window: WindowSpan
  readonly scope: QuotaSignal['scope']
  readonly limit?: number | undefined
  readonly remaining?: number | undefined
  readonly resetMs?: number | undefined
}

/**
 * A signal without anything absurd in it; none where nothing usable is left.
 *
 * A limit below 1 or beyond 10¹² is no limit. −1 left is the sign for "unknown" (Azure); less than that is an
 * overdrawn window and counts as 0.
 */
export function signalsOf(read: RawLimit): QuotaSignal[] {
  const { counts, window, scope } = read
  const limit = isAmount(read.limit) && read.limit >= 1 ? Math.floor(read.limit) : undefined
  const left =
    read.remaining === -1 || !isAmount(read.remaining) ? undefined : Math.max(0, Math.floor(read.remaining))
  const hasNoPlace = left === undefined || (left === 0 && read.limit === 0)
  const remaining = hasNoPlace ? undefined : Math.min(left, limit ?? left)
  if (limit === undefined && remaining === undefined) return []
  const reset = read.resetMs === undefined ? undefined : clampedReset(window, read.resetMs)
  const signal: { -readonly [Key in keyof QuotaSignal]: QuotaSignal[Key] } = { counts, window, scope }
  if (limit !== undefined) signal.limit = limit
  if (remaining !== undefined) signal.remaining = remaining
  if (reset !== undefined) signal.resetMs = reset
  return [signal]
}

const isAmount = (value: number | undefined): value is number =>
  value !== undefined && Math.abs(value) <= 1e12
