import type { Cause } from '../pool/outcome.ts'

const HOUR_MS = 3_600_000

/**
 * The circuit breaker of a scope that has failed: why and until when it is open (its cooldown, as operators read it).
 * No state = closed; after `openUntil` half-open, until a probe decides, or has been quiet for long enough. Plain data,
 * times in ms on the monotonic clock.
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
  /** It is the endpoint that is missing, whatever the model. */
  readonly noEndpoint?: true
  /** The end is our guess: now and then one request may ask before. */
  readonly isInferred?: true
}
type Breaker = CircuitBreakerState | undefined

/**
 * Own back-offs, ms: the first pause, doubled with each one in a row up to the last. And the longest hint: what upstreams
 * ask for beyond that is cut, as what is under a second is stretched.
 */
const BACK_OFFS: Readonly<Record<Cause, { first: number; last: number; longestHint: number }>> = {
  'rate-limited': { first: 5_000, last: 300_000, longestHint: HOUR_MS },
  overloaded: { first: 1_000, last: 1_000, longestHint: HOUR_MS },
  quota: { first: HOUR_MS, last: 24 * HOUR_MS, longestHint: 31 * 24 * HOUR_MS },
  auth: { first: 300_000, last: HOUR_MS, longestHint: HOUR_MS },
  'not-found': { first: 600_000, last: 24 * HOUR_MS, longestHint: HOUR_MS },
  failure: { first: 1_000, last: 60_000, longestHint: HOUR_MS },
}
/** The shortest rest, hinted or our own. */
const LEAST_MS = 1_000

/** All causes that a breaker opens for. */
export const causes = Object.keys(BACK_OFFS) as Cause[]

/** Between two tries of something that rests for its key or its model, where nothing else is left. */
const LAST_RESORT_PAUSE_MS = 10_000

/** A failure as a circuit breaker sees it. */
export interface BreakerFailure {
  readonly cause: Cause
  /** How long the upstream asked us to stay away. */
  readonly hintMs?: number | undefined
  readonly unpaid?: boolean
  readonly noEndpoint?: boolean
  readonly isInferred?: boolean | undefined
  /** The longest own back-off, where it is known when more will be let through. */
  readonly mostMs?: number | undefined
  /** The own back-off, where our own count says when more will be let through; at most the longest of them. */
  readonly ownMs?: number | undefined
  /** When the failed request was sent. */
  readonly sentAt: number
  /** Whether it was sent to find out if the cooldown is over: then it is news, whenever it was sent. */
  readonly isProbe: boolean
  readonly now: number
  /** Uniform in [0, 1): spreads own back-offs by ±20 %, so that replicas do not come back as one. */
  readonly random: () => number
}

type Sent = Pick<BreakerFailure, 'sentAt' | 'isProbe'>

/**
 * Opens a breaker, or keeps it open for longer. A later deadline always wins, and a hint is never shortened. Many
 * requests that fail together are one back-off: only a request that was sent after the breaker opened adds another. A
 * hint is the upstream's own word and adds none.
 */
export function recordFailure(before: Breaker, failure: BreakerFailure): CircuitBreakerState {
  const { cause, hintMs, mostMs = Infinity, now, unpaid, noEndpoint, isInferred } = failure
  const isNews = before === undefined || isAfter(before, failure)
  const sameCause = before?.cause === cause
  if (before !== undefined && !isNews && sameCause && hintMs === undefined) return before
  const past = sameCause ? before.consecutiveBackoffs : 0
  const consecutiveBackoffs = hintMs === undefined && isNews ? past + 1 : past
  const { first, last, longestHint } = BACK_OFFS[cause]
  const doubledMs = Math.min(last, first * 2 ** Math.min(30, Math.max(0, consecutiveBackoffs - 1)))
  const spreadMs = Math.max(LEAST_MS, Math.min(mostMs, doubledMs)) * (0.8 + 0.4 * failure.random())
  const backOffMs = failure.ownMs === undefined ? spreadMs : Math.min(last, failure.ownMs)
  const restMs = hintMs === undefined ? backOffMs : Math.min(longestHint, Math.max(LEAST_MS, hintMs))
  const openUntil = now + restMs
  if (before !== undefined && before.openUntil > openUntil) return before
  return {
    cause,
    openUntil,
    openSince: isNews ? now : before.openSince,
    consecutiveBackoffs,
    ...(before?.lastResortAt !== undefined && { lastResortAt: before.lastResortAt }),
    ...(unpaid && { unpaid }),
    ...(noEndpoint && { noEndpoint }),
    ...(isInferred && { isInferred }),
  }
}

/** Whether a request was sent after a breaker opened, or may at any rate tell of it. */
const isAfter = ({ openSince }: CircuitBreakerState, { sentAt, isProbe }: Sent): boolean =>
  isProbe || sentAt > openSince

/** A success closes a breaker, unless it opened after the successful request was sent. */
export function recordSuccess(before: Breaker, success: Sent): Breaker {
  return before !== undefined && isAfter(before, success) ? undefined : before
}

/** Limits refuse at once: a probe that was quiet for so long is being answered, which may take a minute. */
const QUIET_MS = 1_000

/** Gives a lease the right to try alone. */
export function startProbe(
  before: CircuitBreakerState,
  { lease, until, now }: { lease: string; until: number; now: number },
): CircuitBreakerState {
  const quietAt = before.cause === 'rate-limited' ? Math.min(until, now + QUIET_MS) : until
  return { ...before, probe: { lease, until: quietAt }, lastResortAt: now }
}

/** Takes the right back, without a verdict. */
export function endProbe(before: Breaker, lease: string) {
  if (before?.probe?.lease !== lease) return before
  const { probe: _, ...rest } = before
  return rest
}

/**
 * What a circuit breaker lets through: closed (without a state) every request, open until `openUntil` none; then
 * half-open one request at a time, which probes until it succeeds or fails; of a limit until it was quiet for a second.
 */
export function admit(breaker: Breaker, { now, lastResort }: { now: number; lastResort: boolean }) {
  if (breaker === undefined) return { state: 'closed' } as const
  const { cause, openUntil, probe, unpaid, noEndpoint } = breaker
  const isCooling = openUntil > now
  // How many may be under way at once is known by then: nobody waits for one alone.
  const isProbed = cause !== 'overloaded' && probe !== undefined && probe.until > now
  if (cause === 'rate-limited' && !isCooling && probe !== undefined && !isProbed)
    return { state: 'closed' } as const
  if ((!isCooling && !isProbed) || (lastResort && mayForce(breaker, now)) || mayAsk(breaker, now))
    return { state: 'half-open' } as const
  const until = isCooling ? openUntil : (probe?.until ?? now)
  return {
    state: 'open',
    reason: {
      cause,
      until,
      onRelease: !isCooling,
      ...(unpaid && { unpaid }),
      ...(noEndpoint && { noEndpoint }),
    },
  } as const
}

/** Between two questions whether a day has ended whose end is a guess: plans are raised. */
const ASK_EVERY_MS = HOUR_MS

function mayAsk(
  { isInferred, openSince, lastResortAt = openSince }: CircuitBreakerState,
  now: number,
): boolean {
  return isInferred === true && now - Math.max(openSince, lastResortAt) >= ASK_EVERY_MS
}

function mayForce(breaker: CircuitBreakerState, now: number): boolean {
  const often = lastResortOf(breaker)
  const lastAt = breaker.lastResortAt ?? -Infinity
  return often === 'always' || (often === 'sometimes' && now - lastAt >= LAST_RESORT_PAUSE_MS)
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
