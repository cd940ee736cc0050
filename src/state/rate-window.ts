import type { Instant } from '../lib/clock.ts'
import { calendarEndAfter } from '../lib/time.ts'
import type { Limits, LimitWindow } from '../pool/upstream.ts'

/** An amount that is forgotten at `until` (ms, monotonic clock). */
export interface Bucket {
  readonly until: number
  readonly amount: number
}

/** Our own count of one window. Plain data; every field is always there, so that all windows have one shape. */
export interface WindowState {
  /**
   * Sent, and not yet known to be counted. The upstream may count it at any moment up to its answer, so
   * it is in the window for as long as it is here: that is why no 60 seconds, as the upstream sees them,
   * ever hold more than the limit.
   */
  readonly pending: number
  /** What `buckets` and `newest` hold together, those included that have run out since they were last tidied. */
  readonly counted: number
  /** Ascending by `until`; at most about 240 for a span. */
  readonly buckets: readonly Bucket[]
  /** The one that is forgotten last, apart from the others: most requests add to it and leave those as they are. */
  readonly newest: Bucket | undefined
  /** Of a presumed limit the most that the upstream was seen to let through in a span; else 0. */
  readonly proven: number
}

/** A copy that nobody else holds yet, and whose fields may therefore be set. */
export type Mutable<T> = { -readonly [Key in keyof T]: T[Key] }

/** A copy to be changed. Field by field: spreading takes engines ten times as long, and a request makes some twenty. */
const mutableWindow = (window: Partial<WindowState>): Mutable<WindowState> => ({
  pending: window.pending ?? 0,
  counted: window.counted ?? 0,
  buckets: window.buckets ?? [],
  newest: window.newest,
  proven: window.proven ?? 0,
})

/** A window that has seen nothing. */
export const EMPTY_WINDOW: WindowState = mutableWindow({})

const NO_WINDOWS: readonly LimitWindow[] = []

/** The windows that the configuration counts in, and those that a preset presumes. */
export const windowsOf = (limits: Limits | undefined): readonly LimitWindow[] => limits?.windows ?? NO_WINDOWS

/** What one request takes from a limit. */
export const amountOf = (counts: LimitWindow['counts'], tokens: number): number =>
  counts === 'requests' ? 1 : tokens

/** What counts against the limit now: pending and not yet forgotten. */
export const usedOf = (window: WindowState, now: number): number => window.pending + countedOf(window, now)

/** What the upstream has counted and not yet forgotten. */
function countedOf(window: WindowState, now: number): number {
  if (emptyFrom(window) <= now) return 0
  return window.counted - forgottenOf(window.buckets, now).amount
}

/** Remembers how much was let through, where that is more than a limit. */
export function provenWindow(window: WindowState, limit: number, now: number): WindowState {
  const seen = countedOf(window, now)
  if (seen <= limit || seen <= window.proven) return window
  const next = mutableWindow(window)
  next.proven = seen
  return next
}

/** When everything counted is forgotten; 0 = nothing is counted. */
export const emptyFrom = ({ newest }: WindowState): number => newest?.until ?? 0

/** When the first of what is counted is forgotten; Infinity = nothing is counted. */
export function firstForgottenAt(window: WindowState, now: number): number {
  const { until } = window.buckets[forgottenOf(window.buckets, now).places] ?? window.newest ?? { until: 0 }
  return until > now ? until : Infinity
}

/** When an amount of what is counted at `from` will be forgotten; when all is, where it is less. */
export function forgetsBy({ buckets, newest }: WindowState, amount: number, from: number): number {
  let until = from
  let missing = amount
  for (let place = forgottenOf(buckets, from).places; missing > 0; place++) {
    const bucket = place < buckets.length ? buckets[place] : newest
    if (bucket === undefined || bucket.until <= from) break
    until = bucket.until
    missing -= bucket.amount
    if (bucket === newest) break
  }
  return until
}

/** What is forgotten soon after each other is forgotten together. */
export const roundedUp = (until: number, grainMs: number): number => Math.ceil(until / grainMs) * grainMs

/** Buckets in a span: what a window forgets too late costs at most this share of it (0.4 %). */
const GRAIN = 240

/** Reserves an amount before it is sent. */
export function reserve(window: WindowState, amount: number): WindowState {
  const next = mutableWindow(window)
  next.pending += amount
  return next
}

/** Moves a reserved amount from pending to counted; `actual` is what the upstream counts in truth, 0 = nothing. */
export function countReserved(
  window: WindowState,
  amounts: {
    readonly reserved: number
    readonly actual: number
    readonly until: number
    readonly now: number
  },
): WindowState {
  const { reserved, actual, until, now } = amounts
  const next = mutableWindow(window)
  next.pending = Math.max(0, window.pending - reserved)
  if (actual > 0 && until > now) addBucket(next, { amount: actual, until }, now)
  return next
}

function addBucket(window: Mutable<WindowState>, bucket: Bucket, now: number): void {
  const { newest } = window
  if (newest?.until === bucket.until) {
    window.counted += bucket.amount
    window.newest = { until: newest.until, amount: newest.amount + bucket.amount }
    return
  }
  window.counted = countedOf(window, now) + bucket.amount
  const live = window.buckets.slice(forgottenOf(window.buckets, now).places)
  if (newest !== undefined && newest.until > now) live.push(newest)
  // Most amounts are forgotten last.
  const at = live.findLastIndex(({ until }) => until < bucket.until) + 1
  const same = live[at]
  if (same?.until === bucket.until) live[at] = { until: bucket.until, amount: same.amount + bucket.amount }
  else live.splice(at, 0, bucket)
  window.newest = live.pop()
  window.buckets = live
}

/**
 * When what is counted now is forgotten. Rounded up: to the grain of the span, or to the second where the calendar ends
 * it, so that the jitter between the two clocks does not make a bucket for every request.
 */
export function forgottenAt(limit: LimitWindow, at: Instant, endsAt: CalendarEnd): number {
  if (limit.resets !== 'rolling') return roundedUp(endsAt(limit, at), 1000)
  return roundedUp(at.now + limit.spanMs, limit.spanMs / GRAIN)
}

/** When the present span of a limit that the calendar ends is over, on the monotonic clock. */
export type CalendarEnd = (span: Pick<LimitWindow, 'resets' | 'per' | 'spanMs'>, at: Instant) => number

/** A calendar that remembers the ends it has found: finding one costs tens of µs, and it is asked for every request. */
export function createCalendar(): CalendarEnd {
  // By zone and then by span: a key put together of both would cost more than all the rest.
  const zones = new Map<string, Map<string, { from: number; end: number }>>()
  return ({ resets, per, spanMs }, { now, wall }) => {
    if (resets === 'rolling') return now + spanMs
    let spans = zones.get(resets)
    if (spans === undefined) zones.set(resets, (spans = new Map()))
    let span = spans.get(per)
    if (span === undefined || wall < span.from || wall >= span.end) {
      span = { from: wall, end: calendarEndAfter({ zone: resets, per, spanMs }, wall) }
      spans.set(per, span)
    }
    return now + (span.end - wall)
  }
}

/** The part of a limit that may be sent now; negative where more is used than that. Asked for every window at each choice. */
export const freeIn = (window: WindowState, limit: number, now: number): number => limit - usedOf(window, now)

/**
 * When an amount that does not fit now will: ms on the monotonic clock, Infinity = never, since it is larger than the
 * limit. `onRelease`: the end of another request may open the window earlier, since it may have used fewer tokens than
 * it reserved; a request under way will be counted.
 */
export function windowOpensAt(
  window: WindowState,
  { counts, limit, spanMs }: Pick<LimitWindow, 'counts' | 'limit' | 'spanMs'>,
  { amount, now }: { readonly amount: number; readonly now: number },
) {
  const isFull = countedOf(window, now) + amount > limit
  return {
    until:
      amount > limit ? Infinity : fitsFrom(window, usedOf(window, now) + amount - limit, { spanMs, now }),
    onRelease: counts === 'tokens' && window.pending > 0 && !isFull,
  }
}

/** @param excess how much must be forgotten before it fits */
function fitsFrom(
  window: WindowState,
  excess: number,
  { spanMs, now }: { spanMs: number; now: number },
): number {
  let missing = excess
  if (missing <= 0) return now
  for (const bucket of window.buckets) {
    if (bucket.until <= now) continue
    missing -= bucket.amount
    if (missing <= 0) return bucket.until
  }
  if (window.newest !== undefined && missing <= window.newest.amount) return window.newest.until
  // What is under way will be counted, and is forgotten a span after that.
  return now + spanMs
}

/** The part of a list of buckets that has run out: so many of the first ones, with so much in them. */
type Forgotten = Readonly<typeof NONE_FORGOTTEN>
const NONE_FORGOTTEN = { places: 0, amount: 0 }
/** Shorter lists are added up faster than they are found again. */
const WORTH_KNOWING = 16

/**
 * Lists are never changed but replaced, and time moves on: each look goes on where the last one ended. Without
 * this, a choice among a hundred upstreams that have rested for some seconds would add up tens of thousands.
 */
const forgottenCache = new WeakMap<readonly Bucket[], Forgotten>()

/**
 * What of `buckets` (ascending by `until`) has run out at `now`, ms on the monotonic clock. Asked for every window
 * at each choice. A moment before that of an earlier look costs a walk from the start.
 */
export function forgottenOf(buckets: readonly Bucket[], now: number): Forgotten {
  if (!hasRunOut(buckets[0], now)) return NONE_FORGOTTEN
  const isLong = buckets.length > WORTH_KNOWING
  const last = isLong ? forgottenCache.get(buckets) : undefined
  const before = last !== undefined && hasRunOut(buckets[last.places - 1], now) ? last : NONE_FORGOTTEN
  let { places, amount } = before
  for (let bucket = buckets[places]; bucket !== undefined && bucket.until <= now; bucket = buckets[places]) {
    amount += bucket.amount
    places += 1
  }
  if (places === before.places) return before
  const forgotten = { places, amount }
  if (isLong) forgottenCache.set(buckets, forgotten)
  return forgotten
}

const hasRunOut = (bucket: Bucket | undefined, now: number): boolean =>
  bucket !== undefined && bucket.until <= now
