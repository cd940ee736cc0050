import type { Instant } from '../lib/clock.ts'
import { midnightAfter } from '../lib/time.ts'
import { type QuotaSignal, SPAN_MS } from '../pool/outcome.ts'
import type { Limits } from '../pool/upstream.ts'

type Counts = QuotaSignal['counts']
type Span = QuotaSignal['window']

/** A counted limit: what it counts, over which span. */
export type WindowName = `${Counts}:${Span}`

/** An amount that an upstream has counted and forgets at `until` (ms, monotonic clock). */
export interface Bucket {
  readonly until: number
  readonly amount: number
}

/** What one window has seen. Plain data; every field is always there, so that all windows have one shape. */
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
  /** The limit that the upstream named; it tightens a configured one and never loosens it. */
  readonly learnedLimit: number | undefined
  /** When that is forgotten, unless it is named again: plans change. */
  readonly learnedUntil: number | undefined
  /** What the upstream said is left, less all that was sent since; holds until `leftUntil`. */
  readonly left: number | undefined
  readonly leftUntil: number | undefined
  /** When the request was sent whose answer said so: of two answers the later question counts. */
  readonly leftAsOf: number | undefined
  /** The upstream said that nothing is left before then. The latest such word holds, whatever else is said. */
  readonly closedUntil: number | undefined
}

/** A copy that nobody else holds yet, and whose fields may therefore be set. */
export type Mutable<T> = { -readonly [Key in keyof T]: T[Key] }

/** A copy to be changed. Field by field: spreading takes engines ten times as long, and a request makes some twenty. */
const mutableWindow = (window: Partial<WindowState>): Mutable<WindowState> => ({
  pending: window.pending ?? 0,
  counted: window.counted ?? 0,
  buckets: window.buckets ?? [],
  newest: window.newest,
  learnedLimit: window.learnedLimit,
  learnedUntil: window.learnedUntil,
  left: window.left,
  leftUntil: window.leftUntil,
  leftAsOf: window.leftAsOf,
  closedUntil: window.closedUntil,
})

/** A window that has seen nothing. */
export const EMPTY_WINDOW: WindowState = mutableWindow({})

const spans = Object.keys(SPAN_MS) as Span[]
const namesOf = (counts: Counts): Record<Span, WindowName> =>
  Object.fromEntries(spans.map((span) => [span, `${counts}:${span}`])) as Record<Span, WindowName>

/** Names and spans are looked up: a name that is put together or taken apart each time costs ten times as much. */
const WINDOW_NAMES = { requests: namesOf('requests'), tokens: namesOf('tokens') }
export const SPAN_OF = Object.fromEntries(
  Object.values(WINDOW_NAMES).flatMap((names) => spans.map((span) => [names[span], span])),
) as Readonly<Record<WindowName, Span>>

/** The name of the window that a signal speaks of. */
export const windowNameOf = ({ counts, window }: QuotaSignal): WindowName => WINDOW_NAMES[counts][window]

/** Whether a window counts requests; else it counts tokens. */
export const countsRequests = (name: WindowName): boolean => name[0] === 'r'

/** What one request takes from a window. */
export const amountOf = (name: WindowName, tokens: number): number => (countsRequests(name) ? 1 : tokens)

/** What the configuration says of a window; undefined = nothing. */
export function configuredLimit(limits: Limits | undefined, name: WindowName): number | undefined {
  if (name === 'requests:minute') return limits?.rpm
  if (name === 'requests:day') return limits?.rpd
  if (name === 'tokens:minute') return limits?.tpm
  return name === 'tokens:day' ? limits?.tpd : undefined
}

const CONFIGURABLE: readonly WindowName[] = ['requests:minute', 'requests:day', 'tokens:minute', 'tokens:day']

/** The windows of a scope: configured ones, then those that only the upstream spoke of. */
export function windowNamesIn(
  limits: Limits | undefined,
  windows: Readonly<Partial<Record<WindowName, WindowState>>>,
): WindowName[] {
  const names: WindowName[] = []
  for (const name of CONFIGURABLE) if (configuredLimit(limits, name) !== undefined) names.push(name)
  for (const name of Object.keys(windows) as WindowName[])
    if (configuredLimit(limits, name) === undefined) names.push(name)
  return names
}

/** What counts against the limit now: pending and not yet forgotten. */
export const usedOf = (window: WindowState, now: number): number => window.pending + countedOf(window, now)

/** What the upstream has counted and not yet forgotten. */
function countedOf(window: WindowState, now: number): number {
  if (emptyFrom(window) <= now) return 0
  return window.counted - forgottenOf(window.buckets, now).amount
}

/** When everything counted is forgotten; 0 = nothing is counted. */
export const emptyFrom = ({ newest }: WindowState): number => newest?.until ?? 0

/** The tighter of the configured and the learned limit. */
export function limitOf(window: WindowState, configured: number | undefined, now: number) {
  const { learnedLimit, learnedUntil = Infinity } = window
  if (learnedLimit === undefined || learnedUntil <= now) return configured
  return Math.min(configured ?? Infinity, learnedLimit)
}

/** What the upstream said is left, while its word holds. */
export const budgetOf = ({ left, leftUntil = 0 }: WindowState, now: number): number | undefined =>
  leftUntil > now ? left : undefined

/** Buckets in a span: what a window forgets too late costs at most this share of it (0.4 %). */
const GRAIN = 240

/** Reserves an amount before it is sent. */
export function reserve(window: WindowState, amount: number): WindowState {
  const next = mutableWindow(window)
  next.pending += amount
  if (next.left !== undefined) next.left -= amount
  return next
}

/** When days end, as far as a window is concerned. */
interface DayRule {
  readonly at: Instant
  /** Of the configuration; undefined where it says nothing of this scope. */
  readonly dayResets: string | undefined
  readonly dayEndsAt: DayEnd
}

/**
 * Moves a reserved amount from pending to counted; `actual` is what the upstream counts in truth, 0 = nothing. What is
 * left by the upstream's word is corrected by the difference, unless that word came after the request: then it may
 * know of it already.
 */
export function countReserved(
  window: WindowState,
  name: WindowName,
  amounts: DayRule & { reserved: number; actual: number; sentAt: number },
): WindowState {
  const { reserved, actual, sentAt, at } = amounts
  const next = mutableWindow(window)
  next.pending = Math.max(0, window.pending - reserved)
  if (actual > 0) addBucket(next, { amount: actual, until: forgottenAt(window, name, amounts) }, at.now)
  const wasTaken = (window.leftAsOf ?? Infinity) < sentAt
  if (next.left !== undefined && wasTaken && reserved > 0) next.left += reserved - actual
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
 * When the upstream forgets what it counts now. Rounded up: to the grain of the span, or to the second where a
 * calendar day ends, so that the jitter between the two clocks does not make a bucket for every request.
 */
function forgottenAt(window: WindowState, name: WindowName, { at, dayResets, dayEndsAt }: DayRule): number {
  const span = SPAN_OF[name]
  if (span === 'day' && dayResets !== undefined && dayResets !== 'rolling') {
    return Math.ceil(dayEndsAt(dayResets, at) / 1000) * 1000
  }
  const grain = SPAN_MS[span] / GRAIN
  const observedReset = span === 'day' && dayResets === undefined ? (window.leftUntil ?? 0) : 0
  const end = observedReset > at.now ? observedReset : at.now + SPAN_MS[span]
  return Math.ceil(end / grain) * grain
}

/**
 * When the present day ends, on the monotonic clock.
 * @param zone `UTC`, an IANA zone (daylight saving included), or `rolling`, which is 24 hours from now
 */
export type DayEnd = (zone: string, at: Instant) => number

/** A calendar that remembers the ends it has found: finding one costs tens of µs, and it is asked for every request. */
export function createCalendar(): DayEnd {
  const days = new Map<string, { from: number; end: number }>()
  return (zone, { now, wall }) => {
    if (zone === 'rolling') return now + SPAN_MS.day
    let day = days.get(zone)
    if (day === undefined || wall < day.from || wall >= day.end) {
      day = { from: wall, end: midnightAfter(zone, wall) }
      days.set(zone, day)
    }
    return now + (day.end - wall)
  }
}

/**
 * What may be sent now: the rest of the limit, or of what the upstream said is left, whichever is less.
 * Infinity without either; negative where more is used than that. Asked for every window at each choice.
 */
export function freeIn(window: WindowState, limit: number | undefined, now: number): number {
  const byCount = limit === undefined ? Infinity : limit - usedOf(window, now)
  return Math.min(byCount, budgetOf(window, now) ?? Infinity)
}

/** What a request asks of a window, and the limit in force; Infinity = none. */
type Demand = { name: WindowName; amount: number; limit: number; now: number }

/**
 * When an amount that does not fit now will: ms on the monotonic clock, Infinity = never, since it is larger than the
 * limit. `onRelease`: the end of another request may open the window earlier, since it may have used fewer tokens than
 * it reserved; a request under way will be counted.
 */
export function windowOpensAt(window: WindowState, demand: Demand) {
  const { name, amount, limit, now } = demand
  const budget = budgetOf(window, now)
  const byBudget = budget !== undefined && budget < amount ? (window.leftUntil ?? now) : now
  const isClosed = (window.closedUntil ?? 0) > now
  const isFull = countedOf(window, now) + amount > limit
  return {
    until: Math.max(fitsFrom(window, demand), byBudget),
    onRelease: !countsRequests(name) && window.pending > 0 && !isClosed && !isFull,
  }
}

function fitsFrom(window: WindowState, { name, amount, limit, now }: Demand): number {
  if (amount > limit) return Infinity
  let excess = usedOf(window, now) + amount - limit
  if (excess <= 0) return now
  for (const bucket of window.buckets) {
    if (bucket.until <= now) continue
    excess -= bucket.amount
    if (excess <= 0) return bucket.until
  }
  if (window.newest !== undefined && excess <= window.newest.amount) return window.newest.until
  // What is under way will be counted, and is forgotten a span after that.
  return now + SPAN_MS[SPAN_OF[name]]
}

/** A word of the upstream about a window, and what it can't have known. */
interface ObservedSignal extends DayRule {
  readonly signal: QuotaSignal
  /** When the request was sent that this answers. */
  readonly askedAt: number
  /** The part of `pending` that is this request's own: the answer knows of it. */
  readonly own: number
}

/** How long a limit is believed that is not named again. */
const LEARNED_MS = SPAN_MS.day

/**
 * Takes in what the upstream said. Nothing left: closed until the reset, and of several such words the latest deadline
 * holds. Something left: a budget, less what others have under way, since the answer may not hold their cost yet. An
 * answer to an earlier question than the one already heard tells nothing new.
 */
export function applyQuotaSignal(window: WindowState, observed: ObservedSignal): WindowState {
  const { signal, at, askedAt, dayResets = 'UTC' } = observed
  const next = mutableWindow(window)
  if (signal.limit !== undefined) {
    next.learnedLimit = signal.limit
    next.learnedUntil = at.now + LEARNED_MS
  }
  if (signal.remaining === undefined) return next
  // Where no reset was named, a calendar day ends at midnight, anything else a span from now.
  const isByDay = signal.window === 'day' || signal.window === 'month'
  const spanEnd = isByDay ? observed.dayEndsAt(dayResets, at) : at.now + SPAN_MS[signal.window]
  const resetAt = signal.resetMs === undefined ? spanEnd : at.now + signal.resetMs
  const closedUntil = window.closedUntil ?? 0
  if (signal.remaining === 0) {
    next.left = 0
    next.closedUntil = next.leftUntil = Math.max(closedUntil, resetAt)
    next.leftAsOf = Math.max(window.leftAsOf ?? 0, askedAt)
    return next
  }
  const isOlder = budgetOf(window, at.now) !== undefined && (window.leftAsOf ?? 0) > askedAt
  if (isOlder || closedUntil > at.now) return next
  const others = Math.max(0, window.pending - observed.own)
  next.left = signal.remaining - others
  next.leftUntil = resetAt
  next.leftAsOf = askedAt
  return next
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
