/*
 * Rate limits as upstreams tell of them. A *meter* is what its headers say of one limit: the newest word replaces all
 * before it, and may refuse only while it says that nothing is left. A *soft wall* is what refusals alone tell: above it
 * requests go one after the other for as long as the limit's span after a refusal; then it only delays. Plain data and pure
 * functions; all times in ms on the monotonic clock.
 */
import { type MeterReading, SPAN_MS } from '../pool/outcome.ts'
import {
  countReserved,
  EMPTY_WINDOW,
  firstForgottenAt,
  freeIn,
  reserve,
  usedOf,
  windowOpensAt,
  type WindowState,
} from './rate-window.ts'

/** By name; a name that nobody wrote has nothing. */
export type Named<T> = Readonly<Partial<Record<string, T>>>

/** What an upstream's headers say of one limit; they name it. */
export interface MeterState {
  readonly counts: MeterReading['counts']
  /** Undefined where only what is left was said. */
  readonly limit: number | undefined
  /**
   * What the newest word said is left; of what refills with the fraction that its reset point tells. Undefined = the reset
   * has passed since, so that this is our guess.
   */
  readonly remaining: number | undefined
  /** The same less all that was sent since, or was under way at the time. */
  readonly left: number
  /** When the request was sent whose answer said so: of two answers the later question counts. */
  readonly askedAt: number
  readonly heardAt: number
  /** When it is whole again; where nobody said so, when the word is forgotten. */
  readonly resetAt: number
  /** Whether the upstream said when, itself or by the name of its header. */
  readonly isDated: boolean
  /** How long it takes to be whole again, as far as it was seen or said. */
  readonly spanMs: number
  /** How it comes back: all at the reset point, one every so often, or each a span after it was spent. */
  readonly kind: MeterKind
  /** Ms in which one comes back; undefined where all do at once, or it can't be told. */
  readonly unitMs: number | undefined
  /** Of a sliding log what we have sent: it tells when the first of it is forgotten. */
  readonly log: WindowState | undefined
  /** The upstream has refused an amount that seemed not to fit, and answered none since: it counts as we estimate. */
  readonly isProven: boolean
  /** The first word of those that lead up to the same reset point: `kind` is found by comparing with it. */
  readonly first: { readonly heardAt: number; readonly resetAt: number; readonly spent: number }
}

type MeterKind = 'window' | 'bucket' | 'log'

/** A reading, and what it can't have known. */
interface Heard {
  readonly reading: MeterReading
  /** A refusal took nothing, so its reset point does not tell how the limit comes back. */
  readonly isRefusal: boolean
  readonly askedAt: number
  readonly now: number
  /** What others have under way: the answer may not hold their cost yet. */
  readonly others: number
}

/** How long a word is believed that names no reset point. */
const UNDATED_MS = SPAN_MS.minute

/** Takes in a word. One on an earlier question than the last tells nothing new while that holds. */
export function hear(before: MeterState | undefined, heard: Heard): MeterState {
  const { reading, isRefusal, askedAt, now, others } = heard
  if (before !== undefined && before.askedAt > askedAt && before.resetAt > now) return before
  const { counts, resetMs, spanMs } = reading
  const limit = reading.limit ?? before?.limit
  const known = before?.limit === limit ? before : undefined
  const isDated = resetMs !== undefined
  const resetAt = now + (resetMs ?? UNDATED_MS)
  const word = { heardAt: now, resetAt, spent: Math.max(0, (limit ?? reading.remaining) - reading.remaining) }
  const first = known !== undefined && isDated && known.first.resetAt > now ? known.first : word
  const likely = before?.kind ?? (reading.isDuration ? 'bucket' : 'window')
  const kind = isDated && !isRefusal ? kindBetween(first, word, likely) : likely
  const log = kind === 'log' ? (known?.log ?? EMPTY_WINDOW) : undefined
  const unitMs = kind === 'window' || !isDated ? undefined : unitOf(word, { known: known?.unitMs, log })
  // A reset in whole seconds tells no fractions of a short unit.
  const isExact = (resetMs ?? 0) % SPAN_MS.second !== 0 || (unitMs ?? 0) > 4 * ROUNDING_MS
  const whole = reading.remaining
  const level =
    kind === 'bucket' && isExact ? (limit ?? whole) - (resetAt - now) / (unitMs ?? Infinity) : whole
  const remaining = Math.min(whole + 1 - HAIR, Math.max(whole, level))
  return {
    counts,
    limit,
    remaining,
    left: remaining - others,
    askedAt,
    heardAt: now,
    resetAt,
    isDated,
    spanMs: spanMs ?? Math.max(resetMs ?? 0, known?.spanMs ?? 0),
    kind,
    unitMs,
    log,
    isProven: before?.isProven ?? false,
    first,
  }
}

/** Upstreams choose the names of their headers and the spans in their words: so many are remembered for a scope. */
const MOST_NAMES = 32

/** Takes one in; of too many the one that was heard of longest ago goes. */
export function withNewest<T>(
  named: Named<T>,
  [name, value]: readonly [string, T],
  heardAt: (one: T) => number,
): Named<T> {
  const next = { ...named, [name]: value }
  const names = Object.keys(next)
  if (names.length <= MOST_NAMES) return next
  const timeOf = (one: string): number => (next[one] === undefined ? 0 : heardAt(next[one]))
  delete next[names.reduce((oldest, one) => (timeOf(one) < timeOf(oldest) ? one : oldest))]
  return next
}

/** Fractions of units do not add up to whole ones. */
const HAIR = 1e-6
/** Resets are told in whole seconds, and what is under way for a while is counted at any moment of it. */
const ROUNDING_MS = 1_500

/**
 * How a limit comes back, by two words about it: of a bucket the time until it is whole grows with what is spent, of a
 * sliding log it stays what it is, and a window's gets shorter by what has passed. Where that can't be told it is as before.
 */
function kindBetween(first: MeterState['first'], word: MeterState['first'], before: MeterKind): MeterKind {
  const firstMs = first.resetAt - first.heardAt
  const wordMs = word.resetAt - word.heardAt
  const misfits = {
    window: Math.abs(firstMs - wordMs - (word.heardAt - first.heardAt)),
    bucket: word.spent === 0 ? Infinity : Math.abs(firstMs - (wordMs * first.spent) / word.spent),
    log: Math.abs(firstMs - wordMs),
  }
  const kinds: readonly MeterKind[] = ['window', 'bucket', 'log']
  const least = Math.min(...kinds.map((kind) => misfits[kind]))
  const likely = kinds.filter((kind) => misfits[kind] <= least + ROUNDING_MS)
  return likely.includes(before) ? before : (likely[0] ?? before)
}

/** Where our own log holds less of what is spent, others spend too. */
const OWN_SHARE = 0.8

/**
 * Ms in which one comes back. Of a bucket: what is left is told in whole ones, so that a word gives two bounds, and the
 * longest lower one is kept while no upper one contradicts it. Of a log: when the first of it is forgotten.
 */
function unitOf(
  { heardAt, resetAt, spent }: MeterState['first'],
  { known, log }: { readonly known: number | undefined; readonly log: WindowState | undefined },
): number | undefined {
  const ms = resetAt - heardAt
  const least = spent > 0 ? ms / spent : 0
  if (log !== undefined && usedOf(log, heardAt) >= spent * OWN_SHARE)
    return firstForgottenAt(log, heardAt) - heardAt
  const most = spent > 1 ? ms / (spent - 1) : Infinity
  const unit = log === undefined && known !== undefined && known > least && known <= most ? known : least
  return unit > 0 ? unit : undefined
}

/** Counts what the upstream has answered, where it keeps a log. */
export function logAnswered(
  meter: MeterState,
  amount: number,
  { sentAt, now }: { readonly sentAt: number; readonly now: number },
): MeterState {
  if (meter.log === undefined || amount === 0) return meter
  const until = roundedUp(sentAt + meter.spanMs, meter.spanMs / 600)
  return { ...meter, log: countReserved(meter.log, { reserved: 0, actual: amount, until, now }) }
}

/** What is forgotten soon after each other is forgotten together. */
const roundedUp = (until: number, grainMs: number): number => Math.ceil(until / grainMs) * grainMs

/** What may be sent by the newest word; Infinity where none holds any more. */
export function leftIn(
  { resetAt, heardAt, unitMs = Infinity, limit = Infinity, left }: MeterState,
  now: number,
): number {
  return resetAt <= now ? Infinity : Math.min(limit, left + (now - heardAt) / unitMs + HAIR)
}

/** When an amount that does not fit will, by the newest word. */
export function fitsAt({ unitMs = Infinity, left, heardAt, resetAt }: MeterState, amount: number): number {
  return Math.min(resetAt, heardAt + unitMs * Math.max(HAIR, amount - left))
}

/**
 * Until when the upstream's own word is that there is nothing left: to the reset point, or until one has come back. Where it
 * named no point in time, it only orders. Of tokens it says so for more than is left, where it has refused that before.
 */
export function closedUntil(meter: MeterState, amount: number): number {
  const {
    remaining = amount,
    isDated,
    heardAt,
    unitMs = Infinity,
    resetAt,
    isProven,
    limit = Infinity,
  } = meter
  const least = isProven && amount <= limit ? amount : 1
  if (remaining >= least || !isDated) return 0
  return Math.min(resetAt, heardAt + unitMs * (least - remaining))
}

/**
 * Counts what is being sent. Behind a reset point nothing is known: as much as the limit allows is sent then without
 * waiting for an answer, so that not everybody runs into a limit that is the same as before.
 */
export function take(
  meter: MeterState,
  amount: number,
  { now, others }: Pick<Heard, 'now' | 'others'>,
): MeterState {
  if (meter.resetAt > now || meter.limit === undefined) return { ...meter, left: meter.left - amount }
  const resetAt = now + Math.max(SPAN_MS.second, meter.spanMs)
  const left = meter.limit - others - amount
  const first = { heardAt: now, resetAt: now, spent: 0 }
  return { ...meter, remaining: undefined, left, heardAt: now, resetAt, first }
}

/** Gives back what was not sent, or not spent. A word that came after the sending may know of it already. */
export function giveBack(meter: MeterState, amount: number, sentAt: number): MeterState {
  return amount === 0 || meter.askedAt >= sentAt ? meter : { ...meter, left: meter.left + amount }
}

/** What became of a request that seemed not to fit: `leftIn` is below 0, since it is taken already. */
export function prove(
  meter: MeterState,
  { isRefused, now }: { isRefused: boolean; now: number },
): MeterState {
  return meter.counts === 'tokens' && leftIn(meter, now) < 0 ? { ...meter, isProven: isRefused } : meter
}

/** What refusals alone tell of: how much was let through in a span before one, and at which pace. */
export interface SoftWallState {
  readonly counts: MeterReading['counts']
  readonly spanMs: number
  /** Up to here nobody waits; undefined after a first refusal, before which nothing was counted. */
  readonly limit: number | undefined
  /** Our own count. */
  readonly window: WindowState
  /** Above it one after the other, with so much time between two. */
  readonly pauseMs: number
  readonly askAt: number
  readonly answeredAt: number
  /** Answers above it since it was last met. */
  readonly raises: number
  /** When it was last met. */
  readonly refusedAt: number
}

/** A refusal, with what it says of the limit. */
interface Refused {
  readonly counts: MeterReading['counts']
  readonly spanMs: number
  readonly limit: number | undefined
  readonly hintMs: number | undefined
  readonly now: number
}

const SHORTEST_PAUSE_MS = 100
const LONGEST_PAUSE_MS = 15_000
/** What a refusal does to the pause and to the limit at most, and an answer to the pause (`npm run bench:sim -- limits`). */
const SLOWER = 1.5
const LOWER = 0.5
const QUICKER = 0.85
/** Behind so many answers in a row there is more than that. */
const SURE_RAISES = 2
const QUICKEST = 0.5

/**
 * A refusal confirms a wall where it is met, or halves it at most (multiplicative fall): a limit that others share is found
 * in a few spans, and one odd refusal costs little. The time from the last answer to the end of the hint is the pace at which
 * a bucket gives one back.
 */
export function confirmWall(before: SoftWallState | undefined, refused: Refused): SoftWallState {
  const { counts, spanMs, hintMs = 0, now } = refused
  if (before === undefined) {
    const pauseMs =
      refused.limit === undefined ? SHORTEST_PAUSE_MS : Math.min(LONGEST_PAUSE_MS, spanMs / refused.limit)
    const fresh = { window: EMPTY_WINDOW, pauseMs, askAt: now, answeredAt: now, raises: 0, refusedAt: now }
    return { counts, spanMs, limit: refused.limit, ...fresh }
  }
  // One refusal after the other tells nothing new: the circuit breaker waits for longer.
  if (before.answeredAt <= before.refusedAt)
    return { ...before, refusedAt: now, limit: refused.limit ?? before.limit }
  const seen = Math.max(1, usedOf(before.window, now))
  const last = before.limit ?? seen
  const limit = refused.limit ?? Math.max(Math.floor(last * LOWER), Math.min(last, seen))
  const pace = Math.max(before.pauseMs * SLOWER, now - before.answeredAt + hintMs)
  const pauseMs = Math.min(pace, LONGEST_PAUSE_MS)
  return { ...before, limit, pauseMs, askAt: now + pauseMs, raises: 0, refusedAt: now }
}

/** An answer above the wall raises it by itself (additive rise) and shortens the pause. */
export function raiseWall(wall: SoftWallState, now: number): SoftWallState {
  const { limit, window, raises } = wall
  const used = usedOf(window, now)
  if (limit === undefined || used <= limit) return { ...wall, answeredAt: now }
  const pauseMs = Math.max(SHORTEST_PAUSE_MS, wall.pauseMs * (raises < SURE_RAISES ? QUICKER : QUICKEST))
  return { ...wall, limit: used, pauseMs, raises: raises + 1, answeredAt: now }
}

/** A wall that was not met for so long is forgotten. */
const WALL_MS = SPAN_MS.day

/** What may still be sent without a pause. */
export function leftBelow({ window, limit = Infinity, refusedAt }: SoftWallState, now: number): number {
  return refusedAt + WALL_MS <= now ? Infinity : freeIn(window, limit, now)
}

/** Ms until by our own count another fits below it; undefined where that is so already, or not known. */
export function msToFit({ window, limit, spanMs, counts }: SoftWallState, now: number): number | undefined {
  if (limit === undefined || freeIn(window, limit, now) >= 1) return undefined
  return windowOpensAt(window, { counts, limit, spanMs }, { amount: 1, now }).until - now
}

/** Counts what is being sent. */
export function takeFromWall(wall: SoftWallState, amount: number, now: number): SoftWallState {
  const window = reserve(wall.window, amount)
  return amount > leftBelow(wall, now) ? { ...wall, window, askAt: now + wall.pauseMs } : { ...wall, window }
}

/** Counts what was spent in truth of what was reserved; 0 where it was not sent or refused. */
export function countInWall(wall: SoftWallState, amounts: { reserved: number; actual: number; now: number }) {
  const until = roundedUp(amounts.now + wall.spanMs, wall.spanMs / 60)
  return { ...wall, window: countReserved(wall.window, { ...amounts, until }) }
}
