import type { Bucket } from './bucket.ts'
import type { DayEnd } from './calendar.ts'
import type { Draft } from './draft.ts'
import type { Instant } from './instant.ts'
import { draftOfWindow, EMPTY, SPAN_MS, spanOf, type WindowName, type WindowState } from './window.ts'

/** Buckets in a span: what a window forgets too late costs at most this share of it (0.4 %). */
const GRAIN = 240

/** Takes an amount before it is sent. */
export function take(window: WindowState | undefined, amount: number): WindowState {
  const next = draftOfWindow(window ?? EMPTY)
  next.pending += amount
  if (next.left !== undefined) next.left -= amount
  return next
}

/** Gives back what was never sent. */
export function giveBack(window: WindowState, amount: number): WindowState {
  return take(window, -Math.min(amount, window.pending))
}

/** A taken amount that turns out to be counted. */
export interface Move {
  readonly taken: number
  /** What the upstream counts in truth; 0 = nothing. */
  readonly actual: number
  /** When the upstream forgets it. */
  readonly until: number
  readonly now: number
  /** When the request was sent. */
  readonly sentAt: number
}

/**
 * Moves a taken amount from pending to counted.
 *
 * What is left by the upstream's word is corrected by the difference, unless that word came after the
 * request: then it may know of it already.
 */
export function count(window: WindowState, { taken, actual, until, now, sentAt }: Move): WindowState {
  const next = draftOfWindow(window)
  next.pending = Math.max(0, window.pending - taken)
  if (actual > 0) addBucket(next, { amount: actual, until }, now)
  const wasTaken = (window.leftAsOf ?? Infinity) < sentAt
  if (next.left !== undefined && wasTaken && taken > 0) next.left += taken - actual
  return next
}

function addBucket(window: Draft<WindowState>, bucket: Bucket, now: number): void {
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
export interface DayRule {
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
  const said = span === 'day' && dayResets === undefined ? (window?.leftUntil ?? 0) : 0
  const end = said > at.now ? said : at.now + SPAN_MS[span]
  return Math.ceil(end / grain) * grain
}
