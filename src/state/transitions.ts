import type { Instant } from '../lib/clock.ts'
import type { Failure, Outcome, QuotaSignal, Scope } from '../pool/outcome.ts'
import type { LimitScope } from '../pool/upstream.ts'
import type { StateOf } from './availability.ts'
import { endProbe, recordFailure, recordSuccess, startProbe, type BreakerFailure } from './circuit-breaker.ts'
import {
  amountOf,
  applyQuotaSignal,
  countReserved,
  countsRequests,
  EMPTY_WINDOW,
  reserve,
  windowNameOf,
  windowNamesIn,
  type DayEnd,
  type Mutable,
  type WindowName,
} from './rate-window.ts'
import {
  hasWindows,
  lowerLearnedConcurrency,
  mutableCopyOf,
  recordLatency,
  recordOutput,
  type ScopeState,
} from './scope.ts'
import type { AnswerStart, Lease } from './store.ts'

/** A lease as the store keeps it. Plain data. */
export interface LeaseRecord {
  readonly lease: Lease
  /** Scopes in which it counts as under way; none any more when it has ended. */
  readonly counted: string[]
  /** Scopes that it probes. */
  readonly probing: readonly string[]
  /** The answer has begun: requests are counted, probes have ended. */
  confirmed: boolean
}

/** One step of a lease: all that it changes takes effect at once, when the store puts `changes` in place. */
export interface Transaction {
  readonly record: LeaseRecord
  readonly at: Instant
  readonly stateOf: StateOf
  /**
   * The states of scopes as it leaves them: copies that nobody else holds yet. A handful, each scope once: a search is
   * quicker than a map would be made.
   */
  readonly changes: { readonly scope: string; readonly state: Mutable<ScopeState> }[]
  /** Uniform in [0, 1). */
  readonly random: () => number
  readonly dayEndsAt: DayEnd
}

/** The state of a scope to be changed in this transaction; a copy of what it was before, the first time. */
function mutableScope({ changes, stateOf, at }: Transaction, scope: string): Mutable<ScopeState> {
  for (const change of changes) if (change.scope === scope) return change.state
  const state = mutableCopyOf(stateOf(scope) ?? {})
  state.touched = at.now
  changes.push({ scope, state })
  return state
}

const isKnown = ({ changes, stateOf }: Transaction, scope: string): boolean =>
  stateOf(scope) !== undefined || changes.some((change) => change.scope === scope)

/** Counts a request before it is sent, in every window of every scope, and takes the probes. */
export function grantLease(transaction: Transaction, probeMs: number): void {
  const { record, at, stateOf } = transaction
  const { lease, counted, probing } = record
  for (const limitScope of lease.claim.draws) {
    const { scope } = limitScope
    const isCounted = countsUnderWay(limitScope, stateOf(scope))
    const isProbed = probing.includes(scope)
    if (!isProbed && !isCounted) continue
    const state = mutableScope(transaction, scope)
    if (isCounted) {
      counted.push(scope)
      const windows = { ...state.windows }
      for (const name of windowNamesIn(limitScope.limits, windows))
        windows[name] = reserve(windows[name] ?? EMPTY_WINDOW, amountOf(name, lease.tokens))
      state.windows = windows
      state.inFlight += 1
      state.unanswered += 1
      state.reserved += lease.tokens
    }
    if (isProbed && state.breaker !== undefined)
      state.breaker = startProbe(state.breaker, { lease: lease.id, until: at.now + probeMs, now: at.now })
  }
}

/** Requests under way are counted where a limit or a choice may ask for them. */
function countsUnderWay({ role, limits }: LimitScope, state: ScopeState | undefined): boolean {
  if (role === 'upstream' || limits !== undefined) return true
  return state !== undefined && (state.learnedConcurrency !== undefined || hasWindows(state))
}

/** The upstream answers: probes end well, the request counts as seen, limits it told of are learned. */
export function confirmLease(transaction: Transaction, { firstByteMs, signals }: AnswerStart): void {
  const { record, at } = transaction
  openWindows(signals, transaction)
  for (const limitScope of record.lease.claim.draws) {
    if (!isKnown(transaction, limitScope.scope)) continue
    const state = mutableScope(transaction, limitScope.scope)
    recordSuccessIn(state, limitScope, record)
    if (record.counted.includes(limitScope.scope)) state.unanswered = Math.max(0, state.unanswered - 1)
    // An answer that has begun is a counted request; what it costs in tokens shows at its end.
    moveWindows(limitScope, { requests: 1, tokens: 'held' }, transaction)
    if (limitScope.role === 'upstream') recordLatency(state, firstByteMs, at.now)
  }
  applyQuotaSignals(signals, transaction)
  record.confirmed = true
}

/** Ends a lease: releases its concurrency, corrects its tokens, and records a failure where the outcome names one. */
export function settleLease(transaction: Transaction, outcome: Outcome): void {
  const { record } = transaction
  const { lease, counted, confirmed } = record
  if (outcome.kind === 'failed') openWindows(failureSignals(outcome), transaction)
  const tokens = tokensUsedBy(outcome, lease.tokens)
  const unconfirmed = tokens === 'given back' ? tokens : 1
  for (const limitScope of lease.claim.draws) {
    if (!isKnown(transaction, limitScope.scope)) continue
    const state = mutableScope(transaction, limitScope.scope)
    if (counted.includes(limitScope.scope)) {
      state.inFlight = Math.max(0, state.inFlight - 1)
      state.reserved = Math.max(0, state.reserved - lease.tokens)
      if (!confirmed) state.unanswered = Math.max(0, state.unanswered - 1)
    }
    moveWindows(limitScope, { requests: confirmed ? 'held' : unconfirmed, tokens }, transaction)
    if (!confirmed && provesLife(outcome)) recordSuccessIn(state, limitScope, record)
    if (limitScope.role === 'upstream' && outcome.kind === 'ok' && outcome.outputTokens !== undefined)
      recordOutput(state, outcome.outputTokens)
    state.breaker = endProbe(state.breaker, lease.id)
  }
  // From here on it holds nothing.
  counted.length = 0
  applyFailure(outcome, transaction)
}

/** A request as the breaker of a scope sees it. */
const sentTo = ({ scope }: LimitScope, { lease, probing }: LeaseRecord) => ({
  sentAt: lease.since,
  isProbe: probing.includes(scope),
})

/** A success closes the breakers of what it went through, and ends the suspicion of its origin. */
function recordSuccessIn(state: Mutable<ScopeState>, limitScope: LimitScope, record: LeaseRecord): void {
  state.breaker = recordSuccess(state.breaker, sentTo(limitScope, record))
  state.limitedKeys = undefined
}

/** What becomes of the amounts that a lease holds in windows: counted as so much, given back, or held on. */
type Settlements = Record<QuotaSignal['counts'], number | 'given back' | 'held'>

/** Moves what a lease holds in every window of a scope. */
function moveWindows(limitScope: LimitScope, settlements: Settlements, transaction: Transaction): void {
  const { scope, limits } = limitScope
  const { at, dayEndsAt, record } = transaction
  const state = mutableScope(transaction, scope)
  if (!hasWindows(state)) return
  const sentAt = record.lease.since
  const dayResets = limits?.dayResets
  const windows = { ...state.windows }
  for (const name of Object.keys(windows) as WindowName[]) {
    const window = windows[name] ?? EMPTY_WINDOW
    const actual = countsRequests(name) ? settlements.requests : settlements.tokens
    if (actual === 'held') continue
    const reserved = takenFrom(record, scope, name)
    windows[name] =
      actual === 'given back'
        ? reserve(window, -Math.min(reserved, window.pending))
        : countReserved(window, name, { reserved, actual, sentAt, at, dayResets, dayEndsAt })
  }
  state.windows = windows
}

/** What is refused or answered for the request's own sake still shows an upstream at work. */
function provesLife(outcome: Outcome): boolean {
  if (outcome.kind !== 'failed') return outcome.kind === 'ok'
  return outcome.class === 'too-long' || outcome.class === 'refused-body' || outcome.class === 'unfit'
}

/** Tokens that the upstream will count for an outcome; `given back` where it never saw the request. */
function tokensUsedBy(outcome: Outcome, reserved: number): number | 'given back' {
  if (outcome.kind === 'aborted' && !outcome.sent) return 'given back'
  if (outcome.kind !== 'failed') return Math.ceil(outcome.tokens ?? reserved)
  if (outcome.class === 'not-sent') return 'given back'
  return outcome.class === 'ambiguous' || outcome.class === 'unfit' ? reserved : 0
}

/** Opens the breakers that an outcome asks for. Successes, the client's faults and clients that leave ask for none. */
function applyFailure(outcome: Outcome, transaction: Transaction): void {
  const { lease } = transaction.record
  const { now } = transaction.at
  if (outcome.kind === 'broken')
    for (const limitScope of scopesNamedBy(lease, 'upstream'))
      openBreaker(limitScope, { cause: 'failure' }, transaction)
  if (outcome.kind !== 'failed') return
  const { cause, code, scope } = outcome
  applyQuotaSignals(failureSignals(outcome), transaction)
  const hintMs = outcome.hintMs ?? (cause === 'quota' ? untilDayEnds(transaction) : undefined)
  const unpaid = cause === 'quota' && code === 'insufficient_quota'
  const noEndpoint = code === 'unsupported_endpoint'
  for (const limitScope of scopesNamedBy(lease, scope)) {
    if (cause === 'overloaded') lowerLearnedConcurrency(mutableScope(transaction, limitScope.scope), now)
    openBreaker(limitScope, { cause, hintMs, unpaid, noEndpoint }, transaction)
  }
  if (cause === 'rate-limited' && hintMs === undefined && scope !== 'none') suspectOrigin(transaction)
}

/** What a refusal says is left holds for as long as it asks to stay away. */
function failureSignals({ signals, hintMs }: Failure): readonly QuotaSignal[] {
  if (hintMs === undefined) return signals
  return signals.map((signal) => (signal.remaining === undefined ? signal : { resetMs: hintMs, ...signal }))
}

type Fault = Pick<BreakerFailure, 'cause' | 'hintMs' | 'unpaid' | 'noEndpoint'>

function openBreaker(limitScope: LimitScope, fault: Fault, transaction: Transaction): void {
  const { record, at, random } = transaction
  const state = mutableScope(transaction, limitScope.scope)
  const sent = sentTo(limitScope, record)
  state.breaker = recordFailure(state.breaker, { ...fault, ...sent, now: at.now, random })
}

/** A spent day without a named reset ends at the configured midnight: that of a limit by the day, if there is one. */
function untilDayEnds({ record, at, dayEndsAt }: Transaction): number | undefined {
  const all = record.lease.claim.draws.map(({ limits }) => limits).filter((limits) => limits !== undefined)
  const daily = all.find(({ rpd, tpd }) => rpd !== undefined || tpd !== undefined)
  const zone = (daily ?? all[0])?.dayResets
  return zone === undefined || zone === 'rolling' ? undefined : dayEndsAt(zone, at) - at.now
}

/** Keys of one origin that are limited within this time are limited together. */
const TOGETHER_MS = 1_000
/** Keys remembered for that; two are enough. */
const MOST_KEYS = 8

/**
 * Two keys of one origin that get a 429 without a hint within a second, with no success between them,
 * may share a limit by address or account that no single key can tell: then all of the origin are asked last for a
 * while. Where that was so already, and none has succeeded since, one more such word is enough.
 */
function suspectOrigin(transaction: Transaction): void {
  const { lease } = transaction.record
  const { now } = transaction.at
  const { draws } = lease.claim
  const origin = draws.find(({ role }) => role === 'origin')
  const key = draws.find(({ role }) => role === 'key')?.scope
  if (origin === undefined || key === undefined) return
  const state = mutableScope(transaction, origin.scope)
  const recent = (state.limitedKeys ?? []).filter(({ at }) => now - at <= TOGETHER_MS)
  const others = recent.filter((seen) => seen.key !== key)
  state.limitedKeys = [...others.slice(1 - MOST_KEYS), { key, at: now }]
  if (others.length > 0 || state.breaker !== undefined)
    openBreaker(origin, { cause: 'rate-limited' }, transaction)
}

/** The scopes of a lease that an outcome names: the shared quotas, or the upstream itself where it has none. */
function scopesNamedBy({ claim }: Lease, scope: Scope): readonly LimitScope[] {
  const named = claim.draws.filter(({ role }) => role === scope)
  if (named.length > 0 || scope !== 'quota') return named
  return claim.draws.filter(({ role }) => role === 'upstream')
}

/**
 * Opens the windows that an answer speaks of for the first time, holding what is under way: so the very
 * request that told of a limit is the first that is counted.
 */
function openWindows(signals: readonly QuotaSignal[], transaction: Transaction): void {
  for (const signal of signals) {
    const name = windowNameOf(signal)
    for (const { scope } of scopesNamedBy(transaction.record.lease, signal.scope)) {
      const state = mutableScope(transaction, scope)
      if (state.windows[name] !== undefined) continue
      const pending = countsRequests(name) ? state.unanswered : state.reserved
      state.windows = { ...state.windows, [name]: reserve(EMPTY_WINDOW, pending) }
    }
  }
}

/** Puts what an upstream said of its limits into the windows of the scopes it spoke of, which are open by now. */
function applyQuotaSignals(signals: readonly QuotaSignal[], transaction: Transaction): void {
  const { record, at, dayEndsAt } = transaction
  for (const signal of signals) {
    const name = windowNameOf(signal)
    for (const { scope, limits } of scopesNamedBy(record.lease, signal.scope)) {
      const state = mutableScope(transaction, scope)
      const window = applyQuotaSignal(state.windows[name] ?? EMPTY_WINDOW, {
        signal,
        at,
        askedAt: record.lease.since,
        // Requests are counted by now, tokens are held until the answer ends.
        own: countsRequests(name) ? 0 : takenFrom(record, scope, name),
        dayResets: limits?.dayResets,
        dayEndsAt,
      })
      state.windows = { ...state.windows, [name]: window }
    }
  }
}

/** What a lease holds in a window until it is counted; windows that became known while it was under way hold it too. */
const takenFrom = ({ lease, counted }: LeaseRecord, scope: string, name: WindowName): number =>
  counted.includes(scope) ? amountOf(name, lease.tokens) : 0
