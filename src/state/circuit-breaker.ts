import type { Cause } from '../pool/outcome.ts'

/**
 * The circuit breaker of a scope that has failed: why and until when it is open (its cooldown, as operators read it).
 * No state = closed; after `openUntil` half-open, until a probe decides. Plain data, times in ms on the monotonic clock.
 */
export interface CircuitBreakerState {
  readonly cause: Cause
  readonly openUntil: number
  /** When it opened last. Requests sent before neither prolong nor end that. */
  readonly openSince: number
  /** Own back-offs in a row, each after the cooldown of the one before: the exponent of the next. */
  readonly consecutiveBackoffs: number
  /** The lease that may try while it is half-open, and until when it has the right alone. */
  readonly probe?: { readonly lease: string; readonly until: number }
  /** When somebody last got that right, be it before its time. */
  readonly lastResortAt?: number
  /** Credits are missing: nobody can say when they are there again, so it may be tried before its time. */
  readonly unpaid?: true
}

/** Own back-offs: the first pause, doubled with each one in a row up to the last. */
const BACK_OFF_MS: Readonly<Record<Cause, { first: number; last: number }>> = {
  'rate-limited': { first: 5_000, last: 300_000 },
  overloaded: { first: 1_000, last: 1_000 },
  quota: { first: 3_600_000, last: 86_400_000 },
  auth: { first: 300_000, last: 3_600_000 },
  'not-found': { first: 600_000, last: 86_400_000 },
  failure: { first: 1_000, last: 60_000 },
}

/** What an upstream may ask for: a longer hint is cut, a shorter one stretched. */
const LEAST_HINT_MS = 1_000
const LONGEST_HINT_MS = 3_600_000
const LONGEST_QUOTA_HINT_MS = 31 * 86_400_000

/** Between two tries of something that rests for its key or its model, where nothing else is left. */
const LAST_RESORT_PAUSE_MS = 10_000

/** A failure as a circuit breaker sees it. */
export interface BreakerFailure {
  readonly cause: Cause
  /** How long the upstream asked us to stay away. */
  readonly hintMs?: number | undefined
  readonly unpaid?: boolean
  /** When the failed request was sent. */
  readonly sentAt: number
  /** Whether it was sent to find out if the cooldown is over: then it is news, whenever it was sent. */
  readonly role: 'probe' | 'ordinary'
  readonly now: number
  /** Uniform in [0, 1): spreads own back-offs by ±20 %, so that replicas do not come back as one. */
  readonly random: () => number
}

/**
 * Opens a breaker, or keeps it open for longer. A later deadline always wins, and a hint is never shortened.
 *
 * Many requests that fail together are one back-off: only a request that was sent after the breaker opened adds
 * another. A hint is the upstream's own word and adds none.
 */
export function recordFailure(
  before: CircuitBreakerState | undefined,
  failure: BreakerFailure,
): CircuitBreakerState {
  const { cause, hintMs, now, unpaid } = failure
  const isNews = before === undefined || isAfter(before, failure)
  const sameCause = before?.cause === cause
  if (before !== undefined && !isNews && sameCause && hintMs === undefined) return before
  const past = sameCause ? before.consecutiveBackoffs : 0
  const consecutiveBackoffs = hintMs === undefined && isNews ? past + 1 : past
  const restMs =
    hintMs === undefined ? backOffMs(cause, consecutiveBackoffs, failure.random) : clampHint(cause, hintMs)
  const openUntil = now + restMs
  if (before !== undefined && before.openUntil > openUntil) return before
  return {
    cause,
    openUntil,
    openSince: isNews ? now : before.openSince,
    consecutiveBackoffs,
    ...(before?.lastResortAt !== undefined && { lastResortAt: before.lastResortAt }),
    ...(unpaid && { unpaid }),
  }
}

/** Whether a request was sent after a breaker opened, or may at any rate tell of it. */
function isAfter({ openSince }: CircuitBreakerState, sent: Pick<BreakerFailure, 'sentAt' | 'role'>): boolean {
  return sent.role === 'probe' || sent.sentAt > openSince
}

function backOffMs(cause: Cause, consecutiveBackoffs: number, random: () => number): number {
  const { first, last } = BACK_OFF_MS[cause]
  const doublings = Math.min(30, Math.max(0, consecutiveBackoffs - 1))
  return Math.min(last, first * 2 ** doublings) * (0.8 + 0.4 * random())
}

function clampHint(cause: Cause, hintMs: number): number {
  const longest = cause === 'quota' ? LONGEST_QUOTA_HINT_MS : LONGEST_HINT_MS
  return Math.min(longest, Math.max(LEAST_HINT_MS, hintMs))
}

/** A success closes a breaker, unless it opened after the successful request was sent. */
export function recordSuccess(
  before: CircuitBreakerState | undefined,
  success: Pick<BreakerFailure, 'sentAt' | 'role'>,
): CircuitBreakerState | undefined {
  return before !== undefined && isAfter(before, success) ? undefined : before
}

/** Gives a lease the right to try alone. */
export function startProbe(
  before: CircuitBreakerState,
  { lease, until, now }: { lease: string; until: number; now: number },
): CircuitBreakerState {
  return { ...before, probe: { lease, until }, lastResortAt: now }
}

/** Takes the right back, without a verdict. */
export function endProbe(
  before: CircuitBreakerState | undefined,
  lease: string,
): CircuitBreakerState | undefined {
  if (before?.probe?.lease !== lease) return before
  const { probe: _, ...rest } = before
  return rest
}

/** What a circuit breaker lets through: closed every request, half-open this one as a probe, open none. */
type Admission =
  | { readonly state: 'closed' | 'half-open' }
  | { readonly state: 'open'; readonly reason: BreakerReason }

/** Why an open circuit breaker refuses; see `UnavailableReason`. */
type BreakerReason = Pick<CircuitBreakerState, 'cause' | 'unpaid'> & { until: number; onRelease: boolean }

const CLOSED: Admission = { state: 'closed' }
const HALF_OPEN: Admission = { state: 'half-open' }

/** Open until `openUntil`; then half-open: one request at a time probes until it succeeds or fails. Closed without a state. */
export function admit(
  breaker: CircuitBreakerState | undefined,
  { now, lastResort }: { now: number; lastResort: boolean },
): Admission {
  if (breaker === undefined) return CLOSED
  const { cause, openUntil, probe, unpaid } = breaker
  const isCooling = openUntil > now
  const isProbed = probe !== undefined && probe.until > now
  if (!isCooling && !isProbed) return HALF_OPEN
  if (lastResort && mayForce(breaker, now)) return HALF_OPEN
  const until = isCooling ? openUntil : (probe?.until ?? now)
  return { state: 'open', reason: { cause, until, onRelease: !isCooling, ...(unpaid && { unpaid }) } }
}

function mayForce(breaker: CircuitBreakerState, now: number): boolean {
  const often = lastResortOf(breaker)
  return often === 'sometimes'
    ? now - (breaker.lastResortAt ?? -Infinity) >= LAST_RESORT_PAUSE_MS
    : often === 'always'
}

/**
 * Whether a reason may be overridden when nothing else is left: after failures always, for a key, a model or
 * missing credits once in ten seconds, for a limit never.
 */
export function lastResortOf(reason: { cause: string; unpaid?: true }): 'always' | 'sometimes' | 'never' {
  const { cause, unpaid } = reason
  if (cause === 'failure') return 'always'
  return cause === 'auth' || cause === 'not-found' || unpaid ? 'sometimes' : 'never'
}
