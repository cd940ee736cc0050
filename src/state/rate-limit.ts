/*
 * Rate limits as upstreams tell of them: a *meter* is what its headers say of one limit. The newest word replaces all
 * before it, and may refuse only while it says that nothing is left. How a limit comes back is in refill.ts, what refusals
 * alone tell in soft-wall.ts, what the operator has configured in rate-window.ts. Plain data and pure functions; all times
 * in ms on the monotonic clock.
 */
import { type MeterReading, SPAN_MS } from '../pool/outcome.ts'
import {
  countReserved,
  firstForgottenAt,
  forgetsBy,
  usedOf,
  type WindowState,
  roundedUp,
} from './rate-window.ts'
import {
  begunLog,
  firstKind,
  HAIR,
  kindOf,
  LEAST_LOG_MS,
  levelBy,
  likelySpan,
  LOG_LATE_MS,
  type MeterKind,
  OWN_SHARE,
  ROUNDING_MS,
  unitOf,
  type Word,
} from './refill.ts'

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
  /** The same less all that was sent since, as it was at `leftAt`. */
  readonly left: number
  readonly leftAt: number
  /**
   * What time the newest word speaks of. Limits are looked at when a request comes, so that is when it was asked for, though
   * it may be heard a minute later.
   */
  readonly saidAt: number
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
  readonly first: Word
}

/** A reading, and what it can't have known. */
interface Heard {
  readonly reading: MeterReading
  /** A refusal took nothing, so its reset point does not tell how the limit comes back. */
  readonly isRefusal: boolean
  readonly askedAt: number
  readonly now: number
  /** What the request spends, as far as our own count of what was answered does not hold it yet. */
  readonly uncounted: number
  /** What others have under way that the word can't hold, or need not. */
  readonly others: number
}

/** How long a request may be on its way to an upstream, and which part of a short reset: who comes too early is refused. */
const ON_ITS_WAY_MS = 250
const ON_ITS_WAY_SHARE = 1 / 40
/** How long a word is believed that names no reset point. */
const UNDATED_MS = SPAN_MS.minute
/** Right after a refusal so much of a unit is missing at least, however its reset point was rounded. */
const LEAST_MISSING = 1 / 8

/** Takes in a word. One that speaks of an earlier time than the last tells nothing new while that holds. */
export function hear(before: MeterState | undefined, heard: Heard): MeterState {
  const { reading, isRefusal, askedAt, now, others } = heard
  const { counts, resetMs } = reading
  const saidAt = isRefusal ? now : askedAt
  if (before !== undefined && before.saidAt > saidAt && before.resetAt > now) return before
  const limit = reading.limit ?? before?.limit
  const known = before?.limit === limit ? before : undefined
  const isDated = resetMs !== undefined
  const spent = Math.max(0, (limit ?? reading.remaining) - reading.remaining)
  const word = { saidAt, resetAt: saidAt + (resetMs ?? UNDATED_MS), spent }
  const first = known !== undefined && isDated && known.first.resetAt > saidAt ? known.first : word
  const namedMs = reading.spanMs ?? (isDated || known?.isDated !== false ? 0 : known.spanMs)
  const kind = kindOf({ first, word, isDated, isRefusal, namedMs }, before?.kind ?? firstKind(reading))
  const log = kind === 'log' ? (known?.log ?? begunLog(first, word)) : undefined
  const isSteady = kind !== 'window' && (isDated || namedMs > 0)
  const unitMs = isSteady ? unitOf(word, { known: known?.unitMs, log }) : undefined
  // What is left in whole ones, with the fraction that can be told, and by all that was said.
  const whole = log === undefined ? reading.remaining : leftByLog(log, { ...heard, limit })
  const level = kind === 'bucket' ? levelBy(word.resetAt - saidAt, { whole, limit, unitMs }) : whole
  const said = isRefusal && whole < 1 ? Math.min(level, 1 - LEAST_MISSING) : level
  const most = known === undefined ? Infinity : mostAfter(known, word)
  const remaining = Math.min(said, most)
  const onItsWayMs = Math.min(now - saidAt, ON_ITS_WAY_MS, (resetMs ?? Infinity) * ON_ITS_WAY_SHARE)
  const resetAt = word.resetAt + onItsWayMs
  return {
    counts,
    limit,
    remaining,
    left: remaining - others,
    leftAt: log === undefined ? saidAt + onItsWayMs : now,
    saidAt,
    heardAt: now,
    resetAt: known !== undefined && most < said ? Math.min(resetAt, known.resetAt) : resetAt,
    isDated,
    spanMs: namedMs || (isDated ? Math.max(likelySpan(resetMs), known?.spanMs ?? 0) : 0),
    kind,
    unitMs,
    log,
    isProven: known?.isProven ?? false,
    first,
  }
}

/** Which of two questions was counted first can't be told where they were sent within so many ms. */
const TOGETHER_MS = 5

/**
 * What can be left at most after a word on a question that was sent together with another: which of the two was counted
 * first can't be told, and it only gets less but for what comes back.
 */
function mostAfter(before: MeterState, { saidAt, resetAt }: Word): number {
  const { remaining, unitMs = Infinity, kind } = before
  const isLater = saidAt - before.saidAt > TOGETHER_MS || before.resetAt <= saidAt
  const isAnew = kind === 'window' && Math.abs(resetAt - before.resetAt) > ROUNDING_MS
  if (remaining === undefined || isLater || isAnew) return Infinity
  return remaining + (saidAt - before.saidAt) / unitMs
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

/** What is left of a log by now: some of what the word speaks of may have been forgotten since. */
function leftByLog(
  log: WindowState,
  heard: Pick<Heard, 'reading' | 'askedAt' | 'now' | 'uncounted'> & { readonly limit: number | undefined },
): number {
  const { reading, limit = Infinity, askedAt, now, uncounted } = heard
  const { remaining } = reading
  const used = usedOf(log, now)
  const forgotten = usedOf(log, askedAt) - used
  return Math.max(remaining, Math.min(remaining + forgotten, limit - used - uncounted))
}

/**
 * When by our own log one is forgotten of a limit that is spent, where the upstream does not say until when; 0 where the log
 * can't tell.
 */
export function forgottenByLog(meter: MeterState, now: number): number {
  const { isDated, log, limit, remaining = 1, resetAt } = meter
  if (isDated || log === undefined || limit === undefined || remaining >= 1) return 0
  if (usedOf(log, now) < Math.max(1, limit * OWN_SHARE)) return 0
  return Math.min(resetAt, Math.max(now + LEAST_LOG_MS, firstForgottenAt(log, now - LOG_LATE_MS)))
}

/** What is forgotten within such a part of its span is forgotten together, and so late it may have come. */
const LOG_GRAIN = 600

/** Counts what the upstream has answered, where it keeps a log. */
export function logAnswered(
  meter: MeterState,
  amount: number,
  { sentAt, now }: { readonly sentAt: number; readonly now: number },
): MeterState {
  if (meter.log === undefined || amount === 0 || meter.spanMs === 0) return meter
  const grainMs = meter.spanMs / LOG_GRAIN
  const until = roundedUp(Math.min(now, sentAt + grainMs) + meter.spanMs, grainMs)
  // What is forgotten while a question is under way is told as spent by its answer, so it is kept for as long.
  const keptFrom = sentAt - LOG_LATE_MS
  return { ...meter, log: countReserved(meter.log, { reserved: 0, actual: amount, until, now: keptFrom }) }
}

/** What may be sent by the newest word; Infinity where none holds any more. */
export function leftIn(meter: MeterState, now: number): number {
  const { resetAt, leftAt, unitMs = Infinity, limit = Infinity, left } = meter
  if (resetAt <= now) return Infinity
  const log = ownLogOf(meter)
  const cameBack = log === undefined ? (now - leftAt) / unitMs : usedOf(log, leftAt) - usedOf(log, now)
  return Math.min(limit, left + cameBack + HAIR)
}

/** When an amount that does not fit will, by the newest word. */
export function fitsAt(meter: MeterState, amount: number): number {
  const { unitMs = Infinity, left, leftAt, resetAt } = meter
  const log = ownLogOf(meter)
  const missing = Math.max(HAIR, amount - left)
  return Math.min(resetAt, log === undefined ? leftAt + unitMs * missing : forgetsBy(log, missing, leftAt))
}

/** Our own log where it holds so much of what is spent that it tells how that comes back. */
function ownLogOf({ log, saidAt, limit = 0, remaining = limit }: MeterState): WindowState | undefined {
  return log !== undefined && usedOf(log, saidAt) >= (limit - remaining) * OWN_SHARE ? log : undefined
}

/**
 * Until when the upstream's own word is that there is nothing left: to the reset point, or until one has come back, of a
 * bucket another for each that was sent since. Where it named no point in time, it only orders. Of tokens it says so for
 * more than is left, where it has refused that before.
 */
export function closedUntil(meter: MeterState, amount: number): number {
  const { remaining = amount, isDated, saidAt, unitMs = Infinity, resetAt, isProven, kind } = meter
  const least = isProven && amount <= (meter.limit ?? Infinity) ? amount : 1
  if (remaining >= least || !isDated) return 0
  if (kind === 'bucket') return fitsAt(meter, least)
  return Math.min(resetAt, saidAt + unitMs * (least - remaining))
}

/** How long a bucket takes to fill, ms: the span of its limit where no header names one. 0 = it is none, or not known. */
export const fillMsOf = ({ kind, limit = 0, unitMs = 0 }: MeterState): number =>
  kind === 'bucket' ? limit * unitMs : 0

/**
 * Counts what is being sent. Behind a reset point nothing is known: as much as the limit allows is sent then without
 * waiting for an answer, so that not everybody runs into a limit that is the same as before.
 */
export function take(meter: MeterState, amount: number, now: number): MeterState {
  const { limit, unitMs, kind, spanMs, resetAt, leftAt } = meter
  if (limit === undefined) return { ...meter, left: meter.left - amount }
  if (resetAt > now) return { ...meter, left: leftIn(meter, now) - amount, leftAt: now }
  // A bucket is whole again only when all has come back that was taken since.
  const refillMs = kind === 'bucket' ? unitMs : undefined
  const left =
    (refillMs === undefined ? limit : Math.min(limit, meter.left + (now - leftAt) / refillMs)) - amount
  const wholeMs = refillMs === undefined ? Math.max(SPAN_MS.second, spanMs) : (limit - left) * refillMs
  const first = { saidAt: now, resetAt: now, spent: 0 }
  return {
    ...meter,
    remaining: undefined,
    left,
    leftAt: now,
    saidAt: now,
    heardAt: now,
    resetAt: now + wholeMs,
    isProven: false,
    first,
  }
}

/** Gives back what was not sent, or not spent. A word about a later time than the sending knows of it already. */
export function giveBack(meter: MeterState, amount: number, sentAt: number): MeterState {
  const isTold = meter.remaining !== undefined && meter.saidAt >= sentAt
  return amount === 0 || isTold ? meter : { ...meter, left: meter.left + amount }
}

/** What became of a request that seemed not to fit: `leftIn` is below 0, since it is taken already. */
export function prove(
  meter: MeterState,
  { isRefused, now }: { isRefused: boolean; now: number },
): MeterState {
  return meter.counts === 'tokens' && leftIn(meter, now) < 0 ? { ...meter, isProven: isRefused } : meter
}
