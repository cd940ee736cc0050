import type { HeaderBag } from '../lib/headers.ts'
import { resetMs } from '../lib/retry-after.ts'
import type { QuotaSignal } from './outcome.ts'
import { meters, type Meter } from './quota-meters.ts'
import { nearestSpan, signalsOf, spanAround, spanMs, type Span } from './quota-span.ts'

const number = /^-?\d{1,15}(?:\.\d{1,9})?$/
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
    return [{ counts, window: 'day', scope, remaining: 0, resetMs: spanMs.day }]
  }
  const reset = textAt(headers, meter.reset)
  const until = reset === undefined ? impliedReset(meter, wallNow) : resetMs(reset, wallNow)
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
function spanFor({ period, limit, remaining, until, isSteady }: Numbers): Span {
  if (period !== undefined && period > 0) return nearestSpan(period * 1_000)
  if (until === undefined) return 'minute'
  if (!isSteady || limit === undefined || remaining === undefined || remaining < 0) return spanAround(until)
  const days = ((until - 1) * limit) / Math.max(1, limit - remaining) / spanMs.day
  return days > 0.97 && days < 1.01 ? 'day' : spanAround(until)
}

function impliedReset(meter: Meter, wallNow: number): number | undefined {
  const isMinute = meter.endsWith === 'wall-minute' && meter.window === 'minute'
  return isMinute ? spanMs.minute - (wallNow % spanMs.minute) : undefined
}

/** GitHub Models names the limit that refused: `UserByModelByDay` with the seconds that are left of it. */
function refusedBy(headers: HeaderBag, wallNow: number): QuotaSignal[] {
  const [, span] = /By(Minute|Hour|Day)/.exec(headers['x-ratelimit-type'] ?? '') ?? []
  const left = textAt(headers, 'x-ratelimit-timeremaining')
  if (span === undefined || left === undefined) return []
  const type = headers['x-ratelimit-type'] ?? ''
  return signalsOf({
    counts: type.includes('Token') ? 'tokens' : 'requests',
    window: span.toLowerCase() as Span,
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
  return text !== undefined && number.test(text) ? Number(text) : undefined
}
