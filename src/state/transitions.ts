import type { Instant } from '../lib/clock.ts'
import type { Cause, Failure, Outcome, QuotaSignal, Scope } from '../pool/outcome.ts'
import type { LimitScope } from '../pool/upstream.ts'
import { amountOf, type StateOf } from './availability.ts'
import type { DayEnd } from './calendar.ts'
import { recordFailure, endProbe, recordSuccess, startProbe } from './circuit-breaker.ts'
import {
  CONFIGURABLE,
  countReserved,
  countsRequests,
  EMPTY_WINDOW,
  forgottenAt,
  release,
  applyQuotaSignal,
  reserve,
  windowNameOf,
  type Mutable,
  type WindowName,
  type WindowState,
} from './rate-window.ts'
import {
  lowerLearnedConcurrency,
  mutableCopyOf,
  hasWindows,
  recordLatency,
  recordOutput,
  UNKNOWN_SCOPE,
  type ScopeState,
} from './scope.ts'
import type { AnswerStart, Lease, LeaseRecord } from './store.ts'

/** A scope that a transaction changed, and its state as that leaves it: a copy that nobody else holds yet. */
interface ScopeChange {
  readonly scope: string
  readonly state: Mutable<ScopeState>
}

/** A handful, each scope once: a search is quicker than a map would be made. */
export type ScopeChanges = ScopeChange[]

/** What a transition is given besides its event. */
export interface TransitionContext {
  readonly stateOf: StateOf
  readonly at: Instant
  /** Uniform in [0, 1). */
  readonly random: () => number
  readonly dayEndsAt: DayEnd
}

/** What an event leaves behind: the states it moved, and the lease as it is now. */
interface Transition {
  readonly changes: ScopeChanges
  readonly record: LeaseRecord
}

/** One step of a lease: all that it changes takes effect at once. What it has changed so far. */
interface Transaction {
  readonly changes: ScopeChanges
  readonly context: TransitionContext
  readonly record: LeaseRecord
}

/** Counts a request before it is sent, in every window of every scope, and takes the probes. */
export function grantLease(
  lease: Lease,
  probes: { probing: readonly string[]; probeMs: number },
  { stateOf, at }: TransitionContext,
): Transition {
  const { now } = at
  const changes: ScopeChanges = []
  const counted: string[] = []
  for (const limitScope of lease.claim.draws) {
    const before = stateOf(limitScope.scope)
    const isProbed = probes.probing.length > 0 && probes.probing.includes(limitScope.scope)
    const isCounted = countsUnderWay(limitScope, before)
    if (!isProbed && !isCounted) continue
    const state = mutableCopyOf(before ?? UNKNOWN_SCOPE)
    if (isCounted) {
      counted.push(limitScope.scope)
      countIn(state, limitScope, lease.tokens)
    }
    if (isProbed && state.breaker !== undefined) {
      const probe = { lease: lease.id, until: now + probes.probeMs, now }
      state.breaker = startProbe(state.breaker, probe)
    }
    state.touched = now
    changes.push({ scope: limitScope.scope, state })
  }
  return { changes, record: { lease, counted, probing: probes.probing, confirmed: false } }
}

/** Requests under way are counted where a limit or a choice may ask for them. */
function countsUnderWay(limitScope: LimitScope, state: ScopeState | undefined): boolean {
  if (limitScope.role === 'upstream' || limitScope.limits !== undefined) return true
  return state !== undefined && (state.learnedConcurrency !== undefined || hasWindows(state))
}

function countIn(state: Mutable<ScopeState>, limitScope: LimitScope, tokens: number): void {
  const windows = { ...state.windows }
  for (const { name, key } of CONFIGURABLE)
    if (limitScope.limits?.[key] !== undefined) windows[name] ??= EMPTY_WINDOW
  for (const known in windows) {
    const name = known as WindowName
    windows[name] = reserve(windows[name], amountOf(name, tokens))
  }
  state.windows = windows
  state.inFlight += 1
  state.unanswered += 1
  state.reserved += tokens
}

/** The upstream answers: probes end well, the request counts as seen, limits it told of are learned. */
export function confirmLease(
  record: LeaseRecord,
  answer: AnswerStart,
  context: TransitionContext,
): Transition {
  const { lease, counted, probing } = record
  const changes: ScopeChanges = []
  const transaction: Transaction = { changes, context, record }
  openWindows(answer.signals, transaction)
  for (const limitScope of lease.claim.draws) {
    if (scopeIn(transaction, limitScope.scope) === UNKNOWN_SCOPE) continue
    const state = mutableScope(transaction, limitScope.scope)
    recordSuccessIn(state, limitScope, record)
    markAnswered(state, limitScope, record)
    moveWindows(state, limitScope, { context, record, settlementOf: onConfirm })
    if (limitScope.role === 'upstream') recordLatency(state, answer.firstByteMs, context.at.now)
    state.touched = context.at.now
  }
  applyQuotaSignals(answer.signals, 'held', transaction)
  return { changes, record: { lease, counted, probing, confirmed: true } }
}

/** An answer that has begun is a counted request; what it costs in tokens shows at its end. */
const onConfirm = (name: WindowName): Settlement => (countsRequests(name) ? 1 : 'held')

/** A success closes the breakers of what it went through, and ends the suspicion of its origin. */
function recordSuccessIn(
  state: Mutable<ScopeState>,
  { scope }: LimitScope,
  { lease, probing }: LeaseRecord,
): void {
  const role = probing.length > 0 && probing.includes(scope) ? 'probe' : 'ordinary'
  state.breaker = recordSuccess(state.breaker, { sentAt: lease.since, role })
  state.limitedKeys = undefined
}

function markAnswered(state: Mutable<ScopeState>, { scope }: LimitScope, { counted }: LeaseRecord): void {
  if (counted.includes(scope)) state.unanswered = Math.max(0, state.unanswered - 1)
}

/** What becomes of the amount that a lease holds in a window: counted as so much, given back, or held on. */
type Settlement = number | 'given back' | 'held'

/** What moves the windows of a lease. */
type LeaseTransition = Pick<Transaction, 'context' | 'record'>

/** Moves what a lease holds in every window. */
function moveWindows(
  state: Mutable<ScopeState>,
  limitScope: LimitScope,
  { context, record, settlementOf }: LeaseTransition & { settlementOf: (name: WindowName) => Settlement },
): void {
  const { at, dayEndsAt } = context
  if (!hasWindows(state)) return
  const dayRule = { at, dayEndsAt, dayResets: limitScope.limits?.dayResets }
  const windows = { ...state.windows }
  for (const known in windows) {
    const name = known as WindowName
    const window = windows[name] ?? EMPTY_WINDOW
    const settlement = settlementOf(name)
    if (settlement === 'held') continue
    const reserved = takenFrom(record, limitScope.scope, name)
    if (settlement === 'given back') windows[name] = release(window, reserved)
    else {
      windows[name] = countReserved(window, {
        reserved,
        actual: settlement,
        until: forgottenAt(name, window, dayRule),
        now: at.now,
        sentAt: record.lease.since,
      })
    }
  }
  state.windows = windows
}

/** Ends a lease: releases its concurrency, corrects its tokens, and records a failure where the outcome names one. */
export function settleLease(record: LeaseRecord, outcome: Outcome, context: TransitionContext): ScopeChanges {
  const { lease } = record
  const changes: ScopeChanges = []
  const transaction: Transaction = { changes, context, record }
  if (outcome.kind === 'failed') openWindows(failureSignals(outcome), transaction)
  for (const limitScope of lease.claim.draws) {
    if (scopeIn(transaction, limitScope.scope) === UNKNOWN_SCOPE) continue
    const state = mutableScope(transaction, limitScope.scope)
    countOut(state, limitScope, { context, record, outcome })
    if (!record.confirmed && provesLife(outcome)) recordSuccessIn(state, limitScope, record)
    if (limitScope.role === 'upstream' && outcome.kind === 'ok' && outcome.outputTokens !== undefined) {
      recordOutput(state, outcome.outputTokens)
    }
    state.breaker = endProbe(state.breaker, lease.id)
    state.touched = context.at.now
  }
  applyFailure(outcome, transaction)
  return changes
}

/** A refusal that is the request's own fault still shows an upstream at work. */
function provesLife(outcome: Outcome): boolean {
  if (outcome.kind === 'ok') return true
  return outcome.kind === 'failed' && (outcome.class === 'client' || outcome.class === 'other-model')
}

interface LeaseEnd extends LeaseTransition {
  readonly outcome: Outcome
}

function countOut(
  state: Mutable<ScopeState>,
  limitScope: LimitScope,
  { context, record, outcome }: LeaseEnd,
): void {
  const { lease, confirmed } = record
  if (record.counted.includes(limitScope.scope)) {
    state.inFlight = Math.max(0, state.inFlight - 1)
    state.reserved = Math.max(0, state.reserved - lease.tokens)
    if (!confirmed) markAnswered(state, limitScope, record)
  }
  const used = tokensUsedBy(outcome, lease.tokens)
  const settlementOf = (name: WindowName): Settlement => {
    if (!countsRequests(name)) return used
    if (confirmed) return 'held'
    return used === 'given back' ? used : 1
  }
  moveWindows(state, limitScope, { context, record, settlementOf })
}

/** Tokens that the upstream will count for an outcome; `given back` where it never saw the request. */
function tokensUsedBy(outcome: Outcome, reserved: number): number | 'given back' {
  if (outcome.kind === 'aborted' && !outcome.sent) return 'given back'
  if (outcome.kind !== 'failed') return Math.ceil(outcome.tokens ?? reserved)
  if (outcome.class === 'not-sent') return 'given back'
  return outcome.class === 'ambiguous' ? reserved : 0
}

/** Opens the breakers that an outcome asks for. Successes, the client's faults and clients that leave ask for none. */
function applyFailure(outcome: Outcome, transaction: Transaction): void {
  const { lease } = transaction.record
  if (outcome.kind === 'broken')
    for (const limitScope of scopesNamedBy(lease, 'upstream'))
      openBreaker(limitScope, { cause: 'failure' }, transaction)
  if (outcome.kind !== 'failed') return
  applyQuotaSignals(failureSignals(outcome), 'settled', transaction)
  rememberSizeLimit(outcome, transaction)
  for (const limitScope of scopesNamedBy(lease, outcome.scope)) {
    if (outcome.cause === 'overloaded') lowerConcurrency(limitScope, transaction)
    openBreaker(limitScope, breakerFaultOf(outcome, lease, transaction.context), transaction)
  }
  const isBareLimit = outcome.cause === 'rate-limited' && outcome.hintMs === undefined
  if (isBareLimit && outcome.scope !== 'none') suspectOrigin(transaction)
}

/** What a refusal says is left holds for as long as it asks to stay away. */
function failureSignals({ signals, hintMs }: Failure): readonly QuotaSignal[] {
  if (hintMs === undefined) return signals
  return signals.map((signal) =>
    signal.remaining === undefined || signal.resetMs !== undefined ? signal : { ...signal, resetMs: hintMs },
  )
}

interface BreakerFault {
  readonly cause: Cause
  readonly hintMs?: number
  readonly unpaid?: true
}

function breakerFaultOf(failure: Failure, lease: Lease, context: TransitionContext): BreakerFault {
  const { cause, code } = failure
  const hintMs = failure.hintMs ?? (cause === 'quota' ? untilDayEnds(lease, context) : undefined)
  return {
    cause,
    ...(hintMs !== undefined && { hintMs }),
    ...(cause === 'quota' && code === 'insufficient_quota' && { unpaid: true }),
  }
}

function openBreaker(limitScope: LimitScope, fault: BreakerFault, transaction: Transaction): void {
  const state = mutableScope(transaction, limitScope.scope)
  const { now } = transaction.context.at
  const { lease, probing } = transaction.record
  state.breaker = recordFailure(state.breaker, {
    ...fault,
    sentAt: lease.since,
    role: probing.includes(limitScope.scope) ? 'probe' : 'ordinary',
    now,
    random: transaction.context.random,
  })
  state.touched = now
}

/** A spent day without a named reset ends at the configured midnight: that of a limit by the day, if there is one. */
function untilDayEnds({ claim }: Lease, { at, dayEndsAt }: TransitionContext): number | undefined {
  const all = claim.draws.map(({ limits }) => limits).filter((limits) => limits !== undefined)
  const daily = all.find(({ rpd, tpd }) => rpd !== undefined || tpd !== undefined)
  const zone = (daily ?? all[0])?.dayResets
  return zone === undefined || zone === 'rolling' ? undefined : dayEndsAt(zone, at) - at.now
}

function lowerConcurrency(limitScope: LimitScope, transaction: Transaction): void {
  const state = mutableScope(transaction, limitScope.scope)
  // The refused request has just left the count.
  lowerLearnedConcurrency(state, state.inFlight + 1, transaction.context.at.now)
}

/** How long a size limit that an answer named is believed. */
const SIZE_LIMIT_MS = 86_400_000

function rememberSizeLimit({ maxTokensPerRequest }: Failure, transaction: Transaction): void {
  if (maxTokensPerRequest === undefined) return
  const scope = transaction.record.lease.claim.id
  const { now } = transaction.context.at
  const state = mutableScope(transaction, scope)
  state.tooLarge = { tokens: maxTokensPerRequest, until: now + SIZE_LIMIT_MS }
  state.touched = now
}

/** Keys of one origin that are limited within this time are limited together. */
const TOGETHER_MS = 1_000
/** Keys remembered for that; two are enough. */
const MOST_KEYS = 8

/**
 * Two keys of one origin that get a 429 without a hint within a second, with no success between them,
 * share a limit by address or account that no single key can tell: then the whole origin rests. One that
 * probed the origin and is refused again needs no second.
 */
function suspectOrigin(transaction: Transaction): void {
  const { claim } = transaction.record.lease
  const origin = claim.draws.find(({ role }) => role === 'origin')
  const key = claim.draws.find(({ role }) => role === 'key')?.scope
  if (origin === undefined || key === undefined) return
  const { now } = transaction.context.at
  const state = mutableScope(transaction, origin.scope)
  const others = (state.limitedKeys ?? []).filter((seen) => seen.key !== key && now - seen.at <= TOGETHER_MS)
  state.limitedKeys = [...others.slice(1 - MOST_KEYS), { key, at: now }]
  state.touched = now
  if (others.length > 0 || transaction.record.probing.includes(origin.scope))
    openBreaker(origin, { cause: 'rate-limited' }, transaction)
}

/** The scopes of a lease that an outcome names: the shared quotas, or the upstream itself where it has none. */
function scopesNamedBy(lease: Lease, scope: Scope): readonly LimitScope[] {
  if (scope === 'none') return []
  const named = lease.claim.draws.filter(({ role }) => role === scope)
  if (named.length > 0 || scope !== 'quota') return named
  return lease.claim.draws.filter(({ role }) => role === 'upstream')
}

/**
 * Opens the windows that an answer speaks of for the first time, holding what is under way: so the very
 * request that told of a limit is the first that is counted.
 */
function openWindows(signals: readonly QuotaSignal[], transaction: Transaction): void {
  for (const signal of signals) {
    const name = windowNameOf(signal)
    for (const { scope } of scopesNamedBy(transaction.record.lease, signal.scope)) {
      const state = scopeIn(transaction, scope)
      if (state.windows[name] !== undefined) continue
      const pending = countsRequests(name) ? state.unanswered : state.reserved
      setWindow(transaction, scope, [name, reserve(undefined, pending)])
    }
  }
}

/** Puts what an upstream said of its limits into the windows of the scopes it spoke of. */
function applyQuotaSignals(
  signals: readonly QuotaSignal[],
  own: 'held' | 'settled',
  transaction: Transaction,
): void {
  const { context, record } = transaction
  for (const signal of signals) {
    const name = windowNameOf(signal)
    for (const { scope, limits } of scopesNamedBy(record.lease, signal.scope)) {
      const window = applyQuotaSignal(scopeIn(transaction, scope).windows[name], {
        signal,
        at: context.at,
        askedAt: record.lease.since,
        // Requests are counted by now, tokens are held until the answer ends.
        own: own === 'settled' || countsRequests(name) ? 0 : takenFrom(record, scope, name),
        dayResets: limits?.dayResets,
        dayEndsAt: context.dayEndsAt,
      })
      setWindow(transaction, scope, [name, window])
    }
  }
}

/** The state of a scope as this transaction has left it so far. */
function scopeIn({ changes, context }: Transaction, scope: string): ScopeState {
  return changeIn(changes, scope)?.state ?? context.stateOf(scope) ?? UNKNOWN_SCOPE
}

function changeIn(changes: ScopeChanges, scope: string): ScopeChange | undefined {
  for (const change of changes) if (change.scope === scope) return change
  return undefined
}

/** The state of a scope to be changed in this transaction; a copy of what it was before, the first time. */
function mutableScope({ changes, context }: Transaction, scope: string): Mutable<ScopeState> {
  const before = changeIn(changes, scope)
  if (before !== undefined) return before.state
  const state = mutableCopyOf(context.stateOf(scope) ?? UNKNOWN_SCOPE)
  changes.push({ scope, state })
  return state
}

/** Leaves a scope with one window changed. */
function setWindow(transaction: Transaction, scope: string, [name, window]: [WindowName, WindowState]): void {
  const state = mutableScope(transaction, scope)
  const windows = { ...state.windows }
  windows[name] = window
  state.windows = windows
}

/**
 * What a lease holds in a window of a scope until it is counted: a request, or the tokens reserved. Windows
 * that became known while it was under way hold it too.
 */
function takenFrom({ lease, counted }: LeaseRecord, scope: string, window: WindowName): number {
  if (!counted.includes(scope)) return 0
  return countsRequests(window) ? 1 : lease.tokens
}
