/*
 * A *soft wall* is what refusals alone tell of a limit: above it requests go one after the other, for as long as the
 * limit's span after a refusal; then it only delays. Plain data and pure functions; all times in ms on the monotonic clock.
 */
import { type MeterReading, SPAN_MS } from '../pool/outcome.ts'
import {
  countReserved,
  EMPTY_WINDOW,
  freeIn,
  reserve,
  roundedUp,
  usedOf,
  windowOpensAt,
  type WindowState,
} from './rate-window.ts'

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
  /** Sent, the first of them when, and answered since it was last met. */
  readonly sent: number
  readonly sentFrom: number
  readonly answered: number
  /** So many go without a pause until it is met again: as many as the last time, where they came back all at once. */
  readonly burst: number
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

/** Counted anew from each refusal. */
const MET = { raises: 0, sent: 0, answered: 0 }

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
    const begun = { window: EMPTY_WINDOW, pauseMs, askAt: now, answeredAt: now, sentFrom: now, burst: 0 }
    return { counts, spanMs, limit: refused.limit, ...begun, ...MET, refusedAt: now }
  }
  // One refusal after the other tells nothing new: the circuit breaker waits for longer.
  if (before.answeredAt <= before.refusedAt)
    return { ...before, refusedAt: now, limit: refused.limit ?? before.limit }
  const seen = Math.max(1, usedOf(before.window, now))
  const last = before.limit ?? seen
  const limit = refused.limit ?? Math.max(Math.floor(last * LOWER), Math.min(last, seen))
  const burst = burstOf(before, { hintMs, now })
  // Longer than twice the pause nobody asked.
  const gapMs = Math.min(now - before.answeredAt, 2 * before.pauseMs)
  const pace = burst > 0 ? before.pauseMs : Math.max(before.pauseMs * SLOWER, gapMs + hintMs)
  const pauseMs = Math.min(pace, LONGEST_PAUSE_MS)
  return { ...before, limit, pauseMs, askAt: now + pauseMs, burst, ...MET, refusedAt: now }
}

/** Fewer may have been let through one after the other. */
const LEAST_BURST = 4

/**
 * How many come back at once: as many as were answered since the last refusal, where the upstream asks for a rest that is
 * longer than they took one by one. Of what comes back steadily the rest is as long as one takes.
 */
function burstOf(
  { answered, sentFrom }: SoftWallState,
  { hintMs, now }: { readonly hintMs: number; readonly now: number },
): number {
  // A hint of a second may be that of a moment.
  const restMs = hintMs - SPAN_MS.second
  return answered >= LEAST_BURST && restMs > (2 * (now - sentFrom)) / answered ? answered : 0
}

/** An answer above the wall raises it by itself (additive rise) and shortens the pause. */
export function raiseWall(wall: SoftWallState, now: number): SoftWallState {
  const { limit, window, raises } = wall
  const used = usedOf(window, now)
  const answered = wall.answered + 1
  if (limit === undefined || used <= limit) return { ...wall, answeredAt: now, answered }
  const pauseMs = Math.max(SHORTEST_PAUSE_MS, wall.pauseMs * (raises < SURE_RAISES ? QUICKER : QUICKEST))
  return { ...wall, limit: used, pauseMs, raises: raises + 1, answeredAt: now, answered }
}

/** A wall that was not met for so long is forgotten. */
const WALL_MS = SPAN_MS.day

/** What may still be sent without a pause. */
export function leftBelow(wall: SoftWallState, now: number): number {
  const { window, limit = Infinity, refusedAt, sent, burst } = wall
  return refusedAt + WALL_MS <= now || sent < burst ? Infinity : freeIn(window, limit, now)
}

/** Ms until by our own count another fits below it; undefined where that is so already, or not known. */
export function msToFit({ window, limit, spanMs, counts }: SoftWallState, now: number): number | undefined {
  if (limit === undefined || freeIn(window, limit, now) >= 1) return undefined
  return windowOpensAt(window, { counts, limit, spanMs }, { amount: 1, now }).until - now
}

/** Counts what is being sent. */
export function takeFromWall(wall: SoftWallState, amount: number, now: number): SoftWallState {
  const taken = {
    ...wall,
    window: reserve(wall.window, amount),
    sent: wall.sent + 1,
    sentFrom: wall.sent === 0 ? now : wall.sentFrom,
  }
  return amount > leftBelow(wall, now) ? { ...taken, askAt: now + wall.pauseMs } : taken
}

/** Counts what was spent in truth of what was reserved; 0 where it was not sent or refused. */
export function countInWall(
  wall: SoftWallState,
  { sentAt, ...amounts }: { reserved: number; actual: number; sentAt: number; now: number },
) {
  const { spanMs, window } = wall
  const until = roundedUp(Math.min(amounts.now, sentAt + spanMs / 60) + spanMs, spanMs / 60)
  return { ...wall, window: countReserved(window, { ...amounts, until }) }
}
