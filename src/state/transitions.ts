import type { Instant } from '../lib/clock.ts'
import {
  type Failure,
  type MeterReading,
  type Outcome,
  type Scope,
  SPAN_MS,
  type ToldLimit,
} from '../pool/outcome.ts'
import type { LimitScope } from '../pool/upstream.ts'
import type { StateOf } from './availability.ts'
import { endProbe, recordFailure, recordSuccess, startProbe, type BreakerFailure } from './circuit-breaker.ts'
import {
  closedUntil,
  giveBack,
  forgottenByLog,
  hear,
  logAnswered,
  prove,
  take,
  withNewest,
} from './rate-limit.ts'
import {
  confirmWall,
  countInWall,
  msToFit,
  raiseWall,
  type SoftWallState,
  takeFromWall,
} from './soft-wall.ts'
import {
  amountOf,
  type CalendarEnd,
  countReserved,
  EMPTY_WINDOW,
  forgottenAt,
  provenWindow,
  type Mutable,
  reserve,
  windowsOf,
} from './rate-window.ts'
import {
  isCounting,
  lowerLearnedConcurrency,
  mapped,
  mutableCopyOf,
  recordLatency,
  recordOutput,
  recordRate,
  recordSent,
  type ScopeState,
  type Sent,
  UNKNOWN_SCOPE,
} from './scope.ts'
import type { AnswerStart, Lease } from './store.ts'

/** A lease as the store keeps it. Plain data. */
export interface LeaseRecord {
  readonly lease: Lease
  /** Scopes in which it counts as under way; none any more when it has ended. */
  readonly counted: string[]
  /** For each of them, what had been sent before it, and before those that were sent at about the same time. */
  readonly sentBefore: Sent[]
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
  readonly endsAt: CalendarEnd
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
      takeFromLimits(state, limitScope, { tokens: lease.tokens, now: at.now })
      recordRate(state, lease.tokens, at.now)
      state.inFlight += 1
      state.unanswered += 1
      state.reserved += lease.tokens
      record.sentBefore.push(recordSent(state, lease.tokens, at.now))
    }
    if (isProbed && state.breaker !== undefined)
      state.breaker = startProbe(state.breaker, { lease: lease.id, until: at.now + probeMs, now: at.now })
  }
}

/** Counts a request in everything that is counted in a scope. */
function takeFromLimits(
  state: Mutable<ScopeState>,
  { limits }: LimitScope,
  { tokens, now }: { readonly tokens: number; readonly now: number },
): void {
  const configured = windowsOf(limits)
  if (configured.length > 0) {
    const windows = { ...state.windows }
    for (const { name, counts } of configured)
      windows[name] = reserve(windows[name] ?? EMPTY_WINDOW, amountOf(counts, tokens))
    state.windows = windows
  }
  state.meters = mapped(state.meters, (meter) => take(meter, amountOf(meter.counts, tokens), now))
  state.walls = mapped(state.walls, (wall) => takeFromWall(wall, amountOf(wall.counts, tokens), now))
}

/** Requests under way are counted where a limit or a choice may ask for them. */
function countsUnderWay({ role, limits }: LimitScope, state: ScopeState | undefined): boolean {
  if (role === 'upstream' || limits !== undefined) return true
  return state !== undefined && (state.learnedConcurrency !== undefined || isCounting(state))
}

/** The upstream answers: probes end well, the request counts as seen, limits it told of are learned. */
export function confirmLease(transaction: Transaction, { firstByteMs, readings }: AnswerStart): void {
  const { record, at } = transaction
  for (const limitScope of record.lease.claim.draws) {
    if (!isKnown(transaction, limitScope.scope)) continue
    const state = mutableScope(transaction, limitScope.scope)
    recordSuccessIn(state, limitScope, record)
    if (record.counted.includes(limitScope.scope)) state.unanswered = Math.max(0, state.unanswered - 1)
    // An answer that has begun is a counted request; what it costs in tokens shows at its end.
    moveLimits(limitScope, { requests: 1, tokens: 'held', isAnswered: true }, transaction)
    state.walls = mapped(state.walls, (wall) => raiseWall(wall, at.now))
    state.meters = mapped(state.meters, (meter) => prove(meter, { isRefused: false, now: at.now }))
    if (limitScope.role === 'upstream') recordLatency(state, firstByteMs, at.now)
  }
  hearAll(readings, transaction)
  record.confirmed = true
}

/** Ends a lease: releases its concurrency, corrects its tokens, and records a failure where the outcome names one. */
export function settleLease(transaction: Transaction, outcome: Outcome): void {
  const { record } = transaction
  const { lease, counted, confirmed } = record
  if (outcome.kind === 'failed' && refusesForSize(outcome)) proveMeters(transaction)
  const tokens = tokensUsedBy(outcome, lease.tokens)
  const unconfirmed = tokens === 'given back' ? tokens : 1
  const isRefused = outcome.kind === 'failed' && outcome.class === 'refused'
  for (const limitScope of lease.claim.draws) {
    if (!isKnown(transaction, limitScope.scope)) continue
    const state = mutableScope(transaction, limitScope.scope)
    if (counted.includes(limitScope.scope)) {
      state.inFlight = Math.max(0, state.inFlight - 1)
      state.reserved = Math.max(0, state.reserved - lease.tokens)
      if (!confirmed) state.unanswered = Math.max(0, state.unanswered - 1)
    }
    const requests = confirmed ? 'held' : unconfirmed
    moveLimits(limitScope, { requests, tokens, isRefused, isAnswered: confirmed }, transaction)
    if (!confirmed && (provesLife(outcome) || isProxyPassed(limitScope, outcome)))
      recordSuccessIn(state, limitScope, record)
    const isWhole = limitScope.role === 'upstream' || limitScope.role === 'token'
    if (isWhole && outcome.kind === 'ok' && outcome.outputTokens !== undefined)
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

/** What becomes of the amounts that a lease holds: counted as so much, given back, or held on. */
interface Settlements extends Record<MeterReading['counts'], number | 'given back' | 'held'> {
  /** A refusal counts in our own windows, to be sure; what the upstream lets through is seen by what it does not refuse. */
  readonly isRefused?: boolean
  /** What is counted was let through. */
  readonly isAnswered: boolean
}

/** Moves what a lease holds in everything that is counted in a scope. */
function moveLimits(limitScope: LimitScope, settlements: Settlements, transaction: Transaction): void {
  const { scope, role, limits } = limitScope
  const { isRefused = false, isAnswered } = settlements
  const { at, endsAt, record } = transaction
  const { now } = at
  const state = mutableScope(transaction, scope)
  if (!isCounting(state)) return
  const configured = windowsOf(limits)
  if (configured.length > 0) {
    const windows = { ...state.windows }
    // Without a closure or an object more: this is most of what a request costs.
    for (const limit of configured) {
      const { name, counts, isPresumed = false } = limit
      const window = windows[name]
      const settlement = settlements[counts]
      if (window === undefined || settlement === 'held') continue
      const reserved = takenFrom(record, scope, counts)
      const actual = settlement === 'given back' ? 0 : settlement
      // A client counts its requests from when it sent them; how many tokens they cost shows at the end.
      const from = role === 'token' && counts === 'requests' ? sentAtOf(record, at) : at
      const next = countReserved(window, { reserved, actual, until: forgottenAt(limit, from, endsAt), now })
      windows[name] = isPresumed && isAnswered ? provenWindow(next, limit.limit, now) : next
    }
    state.windows = windows
  }
  state.meters = mapped(state.meters, (meter) => {
    const settlement = settlements[meter.counts]
    if (settlement === 'held') return meter
    const reserved = takenFrom(record, scope, meter.counts)
    const actual = settlement === 'given back' ? 0 : settlement
    const sentAt = record.lease.since
    const corrected = reserved === 0 ? meter : giveBack(meter, reserved - actual, sentAt)
    return logAnswered(corrected, isRefused ? 0 : actual, { sentAt, now })
  })
  state.walls = mapped(state.walls, (wall) => {
    const settlement = settlements[wall.counts]
    if (settlement === 'held') return wall
    const actual = settlement === 'given back' || isRefused ? 0 : settlement
    return countInWall(wall, {
      reserved: takenFrom(record, scope, wall.counts),
      actual,
      sentAt: record.lease.since,
      now,
    })
  })
}

/** When the request of a lease was sent, on both clocks. */
const sentAtOf = ({ lease: { since } }: LeaseRecord, { now, wall }: Instant): Instant => ({
  now: since,
  wall: wall - (now - since),
})

/** What a lease holds in a limit until it is counted. */
const takenFrom = ({ lease, counted }: LeaseRecord, scope: string, counts: MeterReading['counts']): number =>
  counted.includes(scope) ? amountOf(counts, lease.tokens) : 0

/** What is refused or answered for the request's own sake still shows an upstream at work. */
function provesLife(outcome: Outcome): boolean {
  if (outcome.kind !== 'failed') return outcome.kind === 'ok'
  return outcome.class === 'too-long' || outcome.class === 'refused-body' || outcome.class === 'unfit'
}

/** Whatever the upstream answers, the proxy before it has let it through. */
const isProxyPassed = ({ role }: LimitScope, outcome: Outcome): boolean =>
  role === 'proxy' && outcome.kind === 'failed' && outcome.status !== undefined

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
  const { cause, code, scope, isInferred } = outcome
  hearAll(outcome.readings, transaction, outcome.class === 'ambiguous' ? undefined : outcome)
  const hintMs = outcome.hintMs ?? (cause === 'quota' ? untilDayEnds(transaction) : undefined)
  const unpaid = cause === 'quota' && code === 'insufficient_quota'
  const noEndpoint = code === 'unsupported_endpoint'
  if (cause === 'rate-limited' && scope !== 'none') meetWalls(outcome, transaction)
  for (const limitScope of scopesNamedBy(lease, scope)) {
    const state = mutableScope(transaction, limitScope.scope)
    if (cause === 'overloaded') lowerLearnedConcurrency(state, now)
    const own = cause === 'rate-limited' ? reopensIn(transaction) : {}
    openBreaker(limitScope, { cause, hintMs, ...own, unpaid, noEndpoint, isInferred }, transaction)
  }
  if (cause === 'rate-limited' && hintMs === undefined && scope !== 'none') suspectOrigin(transaction)
}

/**
 * Ms until by what is known of its limits an upstream lets more through: at the latest, and as our own logs have it where
 * it says that nothing is left but not until when. Undefined where nothing is known.
 */
function reopensIn({ record, at, stateOf, changes }: Transaction): Pick<Fault, 'mostMs' | 'ownMs'> {
  let mostMs = 0
  let ownMs = 0
  for (const { scope } of record.lease.claim.draws) {
    const state = changes.find((change) => change.scope === scope)?.state ?? stateOf(scope) ?? UNKNOWN_SCOPE
    for (const meter of Object.values(state.meters)) {
      if (meter === undefined) continue
      mostMs = Math.max(mostMs, closedUntil(meter, 1) - at.now)
      ownMs = Math.max(ownMs, forgottenByLog(meter, at.now) - at.now)
    }
    for (const wall of Object.values(state.walls))
      mostMs = Math.max(mostMs, (wall && msToFit(wall, at.now)) ?? 0)
  }
  return { mostMs: mostMs || undefined, ownMs: ownMs || undefined }
}

type Fault = Pick<
  BreakerFailure,
  'cause' | 'hintMs' | 'mostMs' | 'ownMs' | 'unpaid' | 'noEndpoint' | 'isInferred'
>

function openBreaker(limitScope: LimitScope, fault: Fault, transaction: Transaction): void {
  const { record, at, random } = transaction
  const state = mutableScope(transaction, limitScope.scope)
  const sent = sentTo(limitScope, record)
  state.breaker = recordFailure(state.breaker, { ...fault, ...sent, now: at.now, random })
}

/** A spent day without a named reset ends at the configured midnight: that of a limit by the day, if there is one. */
function untilDayEnds({ record, at, endsAt }: Transaction): number | undefined {
  const all = record.lease.claim.draws.flatMap(({ limits }) => windowsOf(limits))
  const daily = all.find(({ per, resets }) => per === 'day' && resets !== 'rolling')
  return daily && endsAt(daily, at) - at.now
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

/**
 * The scopes of a lease that an outcome names: the shared quotas, or the upstream itself where it has none, and the
 * account that a preset presumes; with a proxy the upstream too.
 */
function scopesNamedBy({ claim }: Lease, scope: Scope): readonly LimitScope[] {
  const { draws } = claim
  const named = draws.filter(({ role }) => role === scope || (scope === 'proxy' && role === 'upstream'))
  if (scope !== 'quota') return named
  const sure = named.length > 0 ? named : draws.filter(({ role }) => role === 'upstream')
  return [...sure, ...draws.filter(({ role }) => role === 'account')]
}

/**
 * Takes in what an upstream's headers say of its limits, in the scopes that they speak of.
 *
 * @param refusal the failure that they came with, unless it may have been counted: its words may say of which span a limit
 *   is where its headers don't
 */
function hearAll(readings: readonly MeterReading[], transaction: Transaction, refusal?: Failure): void {
  const { record, at } = transaction
  const { lease, counted } = record
  for (const reading of readings) {
    const { meter, counts, spanMs = refusal?.told?.find((limit) => isSame(limit, reading))?.spanMs } = reading
    for (const { scope } of scopesNamedBy(lease, reading.scope)) {
      const state = mutableScope(transaction, scope)
      const heard = hear(state.meters[meter], {
        reading: { ...reading, spanMs },
        isRefusal: refusal !== undefined,
        askedAt: lease.since,
        now: at.now,
        // Requests are counted by now, tokens are held until the answer ends.
        uncounted: counted.includes(scope) && counts === 'tokens' ? lease.tokens : 0,
        // What was under way with a refused one is refused as well, or was counted before it.
        others: refusal === undefined ? othersOf(record, { scope, state, counts }) : 0,
      })
      state.meters = withNewest(state.meters, [meter, heard], (one) => one.heardAt)
    }
  }
}

/** What others have under way that was not sent clearly before a lease: its word can't hold that, or need not. */
function othersOf(
  { lease, counted, sentBefore }: LeaseRecord,
  { scope, state, counts }: { scope: string; state: ScopeState; counts: MeterReading['counts'] },
): number {
  const before = sentBefore[counted.indexOf(scope)]
  if (before === undefined) return 0
  const underWay = counts === 'requests' ? state.unanswered : state.reserved - lease.tokens
  return Math.max(0, Math.min(underWay, state.sent[counts] - before[counts] - amountOf(counts, lease.tokens)))
}

const isSame = (limit: ToldLimit, { counts, limit: most }: MeterReading): boolean =>
  limit.counts === counts && limit.limit === most

/** Whether nothing that is spent explains a refusal, so that it may be the size of the request. */
const refusesForSize = ({ cause, readings }: Failure): boolean =>
  cause === 'rate-limited' && readings.length > 0 && readings.every(({ remaining }) => remaining >= 1)

/** A refusal shows whether what seemed not to fit is refused. */
function proveMeters(transaction: Transaction): void {
  const { now } = transaction.at
  for (const { scope } of transaction.record.lease.claim.draws) {
    if (!isKnown(transaction, scope)) continue
    const state = mutableScope(transaction, scope)
    state.meters = mapped(state.meters, (meter) => prove(meter, { isRefused: true, now }))
  }
}

/** A refusal of which no meter knows: what its words name, else the requests of a minute. */
function meetWalls({ told = [], readings, scope, hintMs }: Failure, transaction: Transaction): void {
  const { lease } = transaction.record
  const { now } = transaction.at
  const isMetered = (limit: ToldLimit): boolean => readings.some((reading) => isSame(limit, reading))
  const unnamed =
    readings.length > 0
      ? []
      : [{ counts: 'requests' as const, spanMs: SPAN_MS.minute, scope, limit: undefined }]
  for (const { counts, spanMs, scope: named, limit } of told.length > 0
    ? told.filter((limit) => !isMetered(limit))
    : unnamed) {
    for (const limitScope of scopesNamedBy(lease, named)) {
      const state = mutableScope(transaction, limitScope.scope)
      const name = `${counts}:${spanMs}`
      const wall: SoftWallState = confirmWall(state.walls[name], { counts, spanMs, limit, hintMs, now })
      state.walls = withNewest(state.walls, [name, wall], (one) => one.refusedAt)
    }
  }
}
