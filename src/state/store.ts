/*
 * state: what is remembered of upstreams, keys and quotas, as plain data that pure functions move on. A store keeps the
 * data and makes each step atomic; all of them pass one suite, `tests/state/store-contract.ts`.
 *
 * store            the contract of a store, and the lease: the right to send one request
 * scope            everything that is remembered of one scope
 * abilities        what upstreams can do, as far as it is known
 * model-lists      which models upstreams have listed
 * token-usage      what client tokens have used by day, week and month
 * circuit-breaker  cooldowns after a 429, a refused key or a failure: back-off, and the probe that ends one (half-open)
 * rate-window      windows of configured limits: what was counted, when they open again; when days end
 * rate-limit       limits that upstreams tell of in their headers: meters
 * refill           how such a limit comes back
 * soft-wall        limits that only refusals tell of
 * headroom         what all windows leave free together
 * availability     whether an upstream may take a request now, and if not, why
 * transitions      how a lease is taken, confirmed and settled, and what that changes
 * memory           the store in this process
 * snapshot         what outlives a process
 * fallback-store   a remote store that holds nobody up and fails nobody
 * durable-object/  the store in a Cloudflare Durable Object
 */
import type { Instant } from '../lib/clock.ts'
import type { MeterReading, Outcome } from '../pool/outcome.ts'
import type { Claim } from '../pool/upstream.ts'
import type { ClaimSnapshot } from './headroom.ts'
import type { ScopeState } from './scope.ts'

/** At once where the state is in this process, later where it is elsewhere. */
export type MaybePromise<T> = T | Promise<T>

/** What a body will cost in tokens. */
export interface TokenDemand {
  /** Estimated input tokens; undefined for endpoints that count no tokens. */
  readonly inputTokens: number | undefined
  /** The most output tokens that the client allows, times `n`; undefined = what this upstream usually gives. */
  readonly outputTokens: number | undefined
  /** How many answers it wants, each with the usual output where no maximum is named; 1 unless given. */
  readonly choices?: number
}

/** What a request asks of the upstream that it is sent to. */
export interface Ask extends TokenDemand {
  /** By the id of a claim: what differs there, since that upstream gets another body. */
  readonly demands?: Readonly<Record<string, TokenDemand>> | undefined
  /** How long a probe may keep others away, ms; one of a limit for a second at most. */
  readonly probeMs: number
  /** How long it may still wait, ms; 0 unless given. So long a guess may delay it. */
  readonly patienceMs?: number
  /** Nothing else is left: a breaker that is open for failures is no obstacle. */
  readonly lastResort: boolean
  /** The operator tries this upstream: nothing is an obstacle, neither a limit nor his own pause. */
  readonly isTrial?: boolean
  /** A key whose upstream is not known here: it goes first in its tier of the order. */
  readonly stickTo?: string | undefined
  /** Keys of earlier answers whose upstream is not known here: the first that is known pins the request to its upstream. */
  readonly pinKeys?: readonly string[] | undefined
}

/** The right to send one request. Ends with `settle`, or by itself after an hour (a crash leaks none). */
export interface Lease {
  readonly id: string
  readonly claim: Claim
  /** When it was given, ms. */
  readonly since: number
  /** Tokens reserved. */
  readonly tokens: number
}

/** How an answer began, and what its headers told of limits: given once, at the commit point. */
export interface AnswerStart {
  readonly firstByteMs: number
  readonly readings: readonly MeterReading[]
}

/**
 * Where circuit breakers, quotas and affinity are kept. It speaks the domain and never reads a clock; a remote
 * one costs at most one round trip before an attempt.
 */
export interface StateStore {
  /** What is known now, one state for each scope in the order asked; up to 1 s old where the store is remote. */
  snapshot(scopes: readonly string[]): MaybePromise<readonly (ScopeState | undefined)[]>
  /** The same for choosing: a snapshot for each claim. The very same one means that nothing has changed. */
  claimSnapshots(claims: readonly Claim[]): MaybePromise<readonly ClaimSnapshot[]>
  /** Takes the first of `order` whose scopes all have room: all of them or none. Takes back lost leases beforehand. */
  acquire(order: readonly Claim[], ask: Ask, at: Instant): MaybePromise<Lease | undefined>
  /** Takes back leases of this process that nobody settled in time: whoever held them is gone. */
  reclaim(at: Instant): void
  /** The upstream has begun to answer: ends a probe with success, learns, and counts the request as seen. */
  confirm(lease: Lease, answer: AnswerStart, at: Instant): MaybePromise<void>
  /** Ends a lease, exactly once: corrects tokens, moves the circuit breaker of every scope that the outcome names. */
  settle(lease: Lease, outcome: Outcome, at: Instant): MaybePromise<void>
  /**
   * Ends the rest of scopes before its time: somebody knows that the cause is gone. What was learned of limits stays, and
   * a later failure opens the breaker again. Gives those of them that rested.
   */
  closeBreakers(scopes: readonly string[], at: Instant): MaybePromise<readonly string[]>
  /**
   * The operator's pause of an upstream, by its own scope: begun, it takes no new request until it is ended, whoever asks
   * and whatever else is left; what is under way goes on. Gives whether that is news.
   */
  pause(scope: string, isPaused: boolean, at: Instant): MaybePromise<boolean>
  /**
   * The upstream that a key was served by, when that is not forgotten yet; null = not known on this side of the
   * round trip: the next `acquire` takes the key along, and afterwards it is known.
   */
  recall(key: string, at: Instant): MaybePromise<string | null | undefined>
  /** The same for those who must know, and wait for it where the state is elsewhere. */
  locate(key: string, at: Instant): MaybePromise<string | undefined>
  /** Remembers who served a key, for `ttlMs` from now. */
  remember(key: string, upstream: string, life: { ttlMs: number; at: Instant }): MaybePromise<void>
}

/** A request that was sent by the leave of another store, told when it is over. Plain data. */
export interface LocalUsage {
  readonly claim: Claim
  /** Tokens that were reserved. */
  readonly tokens: number
  /** Ms on the clock. */
  readonly sentAt: number
  /** What it told before its body; undefined where it never began to answer. */
  readonly answer?: AnswerStart | undefined
  readonly outcome: Outcome
  /** Ms on the clock. */
  readonly endedAt: number
}
