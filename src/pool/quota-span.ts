import type { QuotaSignal } from './outcome.ts'

/** The span of a counted limit. */
export type Span = QuotaSignal['window']

const dayMs = 86_400_000

/** The length of each span in ms, from the shortest to the longest; a month is 30 days. */
export const spanMs: Readonly<Record<Span, number>> = {
  second: 1_000,
  minute: 60_000,
  hour: 3_600_000,
  day: dayMs,
  month: 30 * dayMs,
}

const spans = Object.keys(spanMs) as Span[]

/** No reset is believed beyond this: an hour for what reopens within minutes, 31 days for what does not. */
const longestResetMs: Readonly<Record<Span, number>> = {
  second: 3_600_000,
  minute: 3_600_000,
  hour: dayMs,
  day: 31 * dayMs,
  month: 31 * dayMs,
}

/** A reset cut to what its span can mean; 0 or more. */
function clampedReset(span: Span, ms: number): number {
  return Math.min(longestResetMs[span], Math.max(0, ms))
}

/** The span whose length is nearest by ratio: 50 s is a minute, 20 h is a day. */
export function nearestSpan(ms: number): Span {
  const distance = (span: Span): number => Math.abs(Math.log(Math.max(1, ms) / spanMs[span]))
  return spans.reduce((best, span) => (distance(span) < distance(best) ? span : best))
}

/** The shortest span, a minute or more, that has room for a wait. */
export function spanAround(ms: number): Span {
  return spans.slice(1).find((span) => ms <= spanMs[span]) ?? 'month'
}

/** A limit as it was read, before it is made plausible. */
export interface Reading {
  readonly counts: QuotaSignal['counts']
  readonly window: Span
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
export function signalsOf(read: Reading): QuotaSignal[] {
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
