import type { Instant } from '../lib/clock.ts'
import { type QuotaSignal, SPAN_MS } from '../pool/outcome.ts'
import type { Limits } from '../pool/upstream.ts'
import type { DayEnd } from './calendar.ts'

/** A counted limit: what it counts, over which span. */
export type WindowName = `${QuotaSignal['counts']}:${QuotaSignal['window']}`

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

/** A window that has seen nothing. */
export const EMPTY_WINDOW: WindowState = {
  pending: 0,
  counted: 0,
  buckets: [],
  newest: undefined,
  learnedLimit: undefined,
  learnedUntil: undefined,
  left: undefined,
  leftUntil: undefined,
  leftAsOf: undefined,
  closedUntil: undefined,
}

/** A copy that nobody else holds yet, and whose fields may therefore be set. */
export type Mutable<T> = { -readonly [Key in keyof T]: T[Key] }

/** A copy to be changed. Field by field: spreading takes engines ten times as long, and a request makes some twenty. */
const mutableWindow = (window: WindowState): Mutable<WindowState> => ({
  pending: window.pending,
  counted: window.counted,
  buckets: window.buckets,
  newest: window.newest,
  learnedLimit: window.learnedLimit,
  learnedUntil: window.learnedUntil,
  left: window.left,
  leftUntil: window.leftUntil,
  leftAsOf: window.leftAsOf,
  closedUntil: window.closedUntil,
})

/** Names are looked up: a key that is put together each time costs ten times as much. */
const WINDOW_NAMES = {
  requests: {
    second: 'requests:second',
    minute: 'requests:minute',
    hour: 'requests:hour',
    day: 'requests:day',
    month: 'requests:month',
  },
  tokens: {
    second: 'tokens:second',
    minute: 'tokens:minute',
    hour: 'tokens:hour',
    day: 'tokens:day',
    month: 'tokens:month',
  },
} as const satisfies Record<QuotaSignal['counts'], Record<QuotaSignal['window'], WindowName>>

/** The name of the window that a signal speaks of. */
export const windowNameOf = ({ counts, window }: Pick<QuotaSignal, 'counts' | 'window'>): WindowName =>
  WINDOW_NAMES[counts][window]

const SPAN_OF: Readonly<Record<WindowName, QuotaSignal['window']>> = {
  'requests:second': 'second',
  'requests:minute': 'minute',
  'requests:hour': 'hour',
  'requests:day': 'day',
  'requests:month': 'month',
  'tokens:second': 'second',
  'tokens:minute': 'minute',
  'tokens:hour': 'hour',
  'tokens:day': 'day',
  'tokens:month': 'month',
}

/** The span of a window's name. */
export const spanOf = (name: WindowName): QuotaSignal['window'] => SPAN_OF[name]

/** The windows that a configuration can limit, and by which key. */
export const CONFIGURABLE: readonly { readonly name: WindowName; readonly key: DayOrMinuteKey }[] = [
  { name: 'requests:minute', key: 'rpm' },
  { name: 'requests:day', key: 'rpd' },
  { name: 'tokens:minute', key: 'tpm' },
  { name: 'tokens:day', key: 'tpd' },
]
type DayOrMinuteKey = 'rpm' | 'rpd' | 'tpm' | 'tpd'

const KEY_OF = new Map<WindowName, DayOrMinuteKey>(CONFIGURABLE.map(({ name, key }) => [name, key]))

/** What the configuration says of a window; undefined = nothing. */
export function configuredLimit(limits: Limits | undefined, name: WindowName): number | undefined {
  const key = limits === undefined ? undefined : KEY_OF.get(name)
  return key === undefined ? undefined : limits?.[key]
}

/** Whether a window counts requests; else it counts tokens. */
export const countsRequests = (name: WindowName): boolean => name.charCodeAt(0) === LETTER_R
const LETTER_R = 0x72

/** What counts against the limit now: pending and not yet forgotten. */
export function usedOf(window: WindowState | undefined, now: number): number {
  return window === undefined ? 0 : window.pending + countedOf(window, now)
}

/** What the upstream has counted and not yet forgotten. */
function countedOf(window: WindowState, now: number): number {
  if (emptyFrom(window) <= now) return 0
  return window.counted - forgottenOf(window.buckets, now).amount
}

/** When everything counted is forgotten; 0 = nothing is counted. */
export const emptyFrom = ({ newest }: WindowState): number => newest?.until ?? 0

/** The tighter of the configured and the learned limit. */
export function limitOf(
  window: WindowState | undefined,
  configured: number | undefined,
  now = 0,
): number | undefined {
  const learned = window?.learnedLimit
  if (learned === undefined || (window?.learnedUntil ?? Infinity) <= now) return configured
  return configured === undefined ? learned : Math.min(configured, learned)
}

/** What the upstream said is left, while its word holds. */
export function budgetOf(window: WindowState | undefined, now: number): number | undefined {
  if (window?.left === undefined || window.leftUntil === undefined) return undefined
  return window.leftUntil > now ? window.left : undefined
}

/** Buckets in a span: what a window forgets too late costs at most this share of it (0.4 %). */
const GRAIN = 240

/** Reserves an amount before it is sent. */
export function reserve(window: WindowState | undefined, amount: number): WindowState {
  const next = mutableWindow(window ?? EMPTY_WINDOW)
  next.pending += amount
  if (next.left !== undefined) next.left -= amount
  return next
}

/** Releases what was never sent. */
export function release(window: WindowState, amount: number): WindowState {
  return reserve(window, -Math.min(amount, window.pending))
}

/** A reserved amount that turns out to be counted. */
interface ReservedAmount {
  readonly reserved: number
  /** What the upstream counts in truth; 0 = nothing. */
  readonly actual: number
  /** When the upstream forgets it. */
  readonly until: number
  readonly now: number
  /** When the request was sent. */
  readonly sentAt: number
}

/**
 * Moves a reserved amount from pending to counted.
 *
 * What is left by the upstream's word is corrected by the difference, unless that word came after the
 * request: then it may know of it already.
 */
export function countReserved(
  window: WindowState,
  { reserved, actual, until, now, sentAt }: ReservedAmount,
): WindowState {
  const next = mutableWindow(window)
  next.pending = Math.max(0, window.pending - reserved)
  if (actual > 0) addBucket(next, { amount: actual, until }, now)
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
  const live = newest === undefined ? [] : [...window.buckets, newest].filter(({ until }) => until > now)
  insert(live, bucket)
  window.counted = live.reduce((sum, { amount }) => sum + amount, 0)
  window.newest = live.pop()
  window.buckets = live
}

/** Most amounts are forgotten last, or together with the last. */
function insert(buckets: Bucket[], bucket: Bucket): void {
  let at = buckets.length
  while (at > 0 && (buckets[at - 1]?.until ?? 0) >= bucket.until) at -= 1
  const same = buckets[at]
  if (same?.until === bucket.until) buckets[at] = { until: bucket.until, amount: same.amount + bucket.amount }
  else buckets.splice(at, 0, bucket)
}

/** When days end, as far as a window is concerned. */
interface DayRule {
  readonly at: Instant
  /** Of the configuration; undefined where it says nothing of this scope. */
  readonly dayResets: string | undefined
  readonly dayEndsAt: DayEnd
}

/**
 * When the upstream forgets what it counts now.
 *
 * Rounded up: to the grain of the span, or to the second where a calendar day ends, so that the jitter
 * between the two clocks does not make a bucket for every request.
 */
export function forgottenAt(name: WindowName, window: WindowState | undefined, rule: DayRule): number {
  const { at, dayResets, dayEndsAt } = rule
  const span = spanOf(name)
  if (span === 'day' && dayResets !== undefined && dayResets !== 'rolling') {
    return Math.ceil(dayEndsAt(dayResets, at) / 1000) * 1000
  }
  const grain = SPAN_MS[span] / GRAIN
  const observedReset = span === 'day' && dayResets === undefined ? (window?.leftUntil ?? 0) : 0
  const end = observedReset > at.now ? observedReset : at.now + SPAN_MS[span]
  return Math.ceil(end / grain) * grain
}

/**
 * What may be sent now: the rest of the limit, or of what the upstream said is left, whichever is less.
 * Infinity without either; negative where more is used than that. Asked for every window at each choice.
 */
export function freeIn(window: WindowState | undefined, limit: number | undefined, now: number): number {
  if (window === undefined) return limit ?? Infinity
  const byCount = limit === undefined ? Infinity : limit - usedOf(window, now)
  const budget = budgetOf(window, now)
  return budget === undefined || byCount < budget ? byCount : budget
}

/** What a request asks of a window. */
interface Demand {
  readonly amount: number
  /** The limit in force, if any. */
  readonly limit: number | undefined
  readonly now: number
  /** The span of the window: what is under way will be counted, and is forgotten that long after. */
  readonly spanMs: number
}

/** When a window that is full opens again. */
interface WindowOpening {
  /** Ms on the monotonic clock; Infinity = never, since the amount is larger than the limit. */
  readonly until: number
  /** Whether the end of another request may open it earlier: it may have used less than it reserved. */
  readonly onRelease: boolean
}

/** When an amount that does not fit now will. */
export function windowOpensAt(window: WindowState, demand: Demand): WindowOpening {
  const { amount, limit, now } = demand
  const budget = budgetOf(window, now)
  const byBudget = budget !== undefined && budget < amount ? (window.leftUntil ?? now) : now
  const until = Math.max(fitsFrom(window, demand), byBudget)
  const isClosed = (window.closedUntil ?? 0) > now
  const isFull = limit !== undefined && countedOf(window, now) + amount > limit
  return { until, onRelease: window.pending > 0 && !isClosed && !isFull }
}

function fitsFrom(window: WindowState, { amount, limit, now, spanMs }: Demand): number {
  if (limit === undefined) return now
  if (amount > limit) return Infinity
  let excess = usedOf(window, now) + amount - limit
  if (excess <= 0) return now
  for (const bucket of window.buckets) {
    if (bucket.until <= now) continue
    excess -= bucket.amount
    if (excess <= 0) return bucket.until
  }
  if (window.newest !== undefined && excess <= window.newest.amount) return window.newest.until
  return now + spanMs
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
const LEARNED_MS = 86_400_000

/**
 * Takes in what the upstream said.
 *
 * Nothing left: closed until the reset, and of several such words the latest deadline holds. Something left:
 * a budget, less what others have under way, since the answer may not hold their cost yet. An answer to
 * an earlier question than the one already heard tells nothing new.
 */
export function applyQuotaSignal(window: WindowState | undefined, observed: ObservedSignal): WindowState {
  const { signal, at, askedAt } = observed
  const base = window ?? EMPTY_WINDOW
  const next = mutableWindow(base)
  if (signal.limit !== undefined) {
    next.learnedLimit = signal.limit
    next.learnedUntil = at.now + LEARNED_MS
  }
  if (signal.remaining === undefined) return next
  const resetAt = at.now + (signal.resetMs ?? defaultResetMs(observed))
  const closedUntil = base.closedUntil ?? 0
  if (signal.remaining === 0) {
    next.left = 0
    next.closedUntil = next.leftUntil = Math.max(closedUntil, resetAt)
    next.leftAsOf = Math.max(base.leftAsOf ?? 0, askedAt)
    return next
  }
  const isOlder = budgetOf(base, at.now) !== undefined && (base.leftAsOf ?? 0) > askedAt
  if (isOlder || closedUntil > at.now) return next
  const others = Math.max(0, base.pending - observed.own)
  next.left = signal.remaining - others
  next.leftUntil = resetAt
  next.leftAsOf = askedAt
  return next
}

/** Where no reset was named: a calendar day ends at midnight, anything else a span from now. */
function defaultResetMs({ signal, at, dayResets, dayEndsAt }: ObservedSignal): number {
  if (signal.window !== 'day' && signal.window !== 'month') return SPAN_MS[signal.window]
  return dayEndsAt(dayResets ?? 'UTC', at) - at.now
}

/** The part of a list of buckets that has run out: so many of the first ones, with so much in them. */
interface Forgotten {
  readonly places: number
  readonly amount: number
}

const NONE_FORGOTTEN: Forgotten = { places: 0, amount: 0 }
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
  const first = buckets[0]
  if (first === undefined || first.until > now) return NONE_FORGOTTEN
  const isLong = buckets.length > WORTH_KNOWING
  const before = isLong ? lastLook(buckets, now) : NONE_FORGOTTEN
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

function lastLook(buckets: readonly Bucket[], now: number): Forgotten {
  const last = forgottenCache.get(buckets)
  const newest = last && buckets[last.places - 1]
  return last === undefined || newest === undefined || newest.until > now ? NONE_FORGOTTEN : last
}
