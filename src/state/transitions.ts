import type { Instant } from '../lib/clock.ts'
import type { Cause, Failure, Outcome, QuotaSignal, Scope } from '../pool/outcome.ts'
import type { Draw } from '../pool/upstream.ts'
import { amountOf, type StateOf } from './availability.ts'
import type { DayEnd } from './calendar.ts'
import { blame, endProbe, relieve, startProbe } from './circuit-breaker.ts'
import {
  CONFIGURABLE,
  count,
  countsRequests,
  EMPTY,
  forgottenAt,
  giveBack,
  learn,
  take,
  windowNameOf,
  type Draft,
  type WindowName,
  type WindowState,
} from './rate-window.ts'
import { crowd, draftOf, hasWindows, learnLatency, learnOutput, UNKNOWN, type ScopeState } from './scope.ts'
import type { Answer, Lease, LeaseRecord } from './store.ts'

/** A scope that a step moved, and its state as the step leaves it: a copy that nobody else holds yet. */
interface Change {
  readonly scope: string
  readonly state: Draft<ScopeState>
}

/** A handful, each scope once: a search is quicker than a map would be made. */
export type Changes = Change[]

/** What a step is given besides its event. */
export interface Step {
  readonly stateOf: StateOf
  readonly at: Instant
  /** Uniform in [0, 1). */
  readonly draw: () => number
  readonly dayEndsAt: DayEnd
}

/** What an event leaves behind: the states it moved, and the lease as it is now. */
interface Moved {
  readonly changes: Changes
  readonly record: LeaseRecord
}

/** A step of one lease, and what it has changed so far. */
interface Given {
  readonly changes: Changes
  readonly step: Step
  readonly record: LeaseRecord
}

/** Counts a request before it is sent, in every window of every scope, and takes the probes. */
export function takeLease(
  lease: Lease,
  given: { probing: readonly string[]; probeMs: number },
  { stateOf, at }: Step,
): Moved {
  const { now } = at
  const changes: Changes = []
  const counted: string[] = []
  for (const draw of lease.claim.draws) {
    const before = stateOf(draw.scope)
    const isProbed = given.probing.length > 0 && given.probing.includes(draw.scope)
    const isCounted = countsUnderWay(draw, before)
    if (!isProbed && !isCounted) continue
    const state = draftOf(before ?? UNKNOWN)
    if (isCounted) {
      counted.push(draw.scope)
      enter(state, draw, lease.tokens)
    }
    if (isProbed && state.cooldown !== undefined) {
      const probe = { lease: lease.id, until: now + given.probeMs, now }
      state.cooldown = startProbe(state.cooldown, probe)
    }
    state.touched = now
    changes.push({ scope: draw.scope, state })
  }
  return { changes, record: { lease, counted, probing: given.probing, confirmed: false } }
}

/** Requests under way are counted where a limit or a choice may ask for them. */
function countsUnderWay(draw: Draw, state: ScopeState | undefined): boolean {
  if (draw.role === 'upstream' || draw.limits !== undefined) return true
  return state !== undefined && (state.crowd !== undefined || hasWindows(state))
}

function enter(state: Draft<ScopeState>, draw: Draw, tokens: number): void {
  const windows = { ...state.windows }
  for (const { name, key } of CONFIGURABLE) if (draw.limits?.[key] !== undefined) windows[name] ??= EMPTY
  for (const known in windows) {
    const name = known as WindowName
    windows[name] = take(windows[name], amountOf(name, tokens))
  }
  state.windows = windows
  state.inFlight += 1
  state.unanswered += 1
  state.reserved += tokens
}

/** The upstream answers: probes end well, the request counts as seen, limits it told of are learned. */
export function confirmLease(record: LeaseRecord, answer: Answer, step: Step): Moved {
  const { lease, counted, probing } = record
  const changes: Changes = []
  const given: Given = { changes, step, record }
  openWindows(answer.signals, given)
  for (const draw of lease.claim.draws) {
    if (stateIn(given, draw.scope) === UNKNOWN) continue
    const state = draftIn(given, draw.scope)
    clear(state, draw, record)
    see(state, draw, record)
    moveWindows(state, draw, { step, record, fateOf: onConfirm })
    if (draw.role === 'upstream') learnLatency(state, answer.firstByteMs, step.at.now)
    state.touched = step.at.now
  }
  learnSignals(answer.signals, 'held', given)
  return { changes, record: { lease, counted, probing, confirmed: true } }
}

/** An answer that has begun is a counted request; what it costs in tokens shows at its end. */
const onConfirm = (name: WindowName): Fate => (countsRequests(name) ? 1 : 'held')

/** A success lifts the cooldown and the suspicion of what it went through. */
function clear(state: Draft<ScopeState>, { scope }: Draw, { lease, probing }: LeaseRecord): void {
  const role = probing.length > 0 && probing.includes(scope) ? 'probe' : 'ordinary'
  state.cooldown = relieve(state.cooldown, { sentAt: lease.since, role })
  state.limitedKeys = undefined
}

function see(state: Draft<ScopeState>, { scope }: Draw, { counted }: LeaseRecord): void {
  if (counted.includes(scope)) state.unanswered = Math.max(0, state.unanswered - 1)
}

/** What becomes of the amount that a lease holds in a window: counted as so much, given back, or held on. */
type Fate = number | 'given back' | 'held'

/** A step of a lease. */
type OfLease = Pick<Given, 'step' | 'record'>

/** Moves what a lease holds in every window. */
function moveWindows(
  state: Draft<ScopeState>,
  draw: Draw,
  { step, record, fateOf }: OfLease & { fateOf: (name: WindowName) => Fate },
): void {
  const { at, dayEndsAt } = step
  if (!hasWindows(state)) return
  const dayRule = { at, dayEndsAt, dayResets: draw.limits?.dayResets }
  const windows = { ...state.windows }
  for (const known in windows) {
    const name = known as WindowName
    const window = windows[name] ?? EMPTY
    const fate = fateOf(name)
    if (fate === 'held') continue
    const taken = takenFrom(record, draw.scope, name)
    if (fate === 'given back') windows[name] = giveBack(window, taken)
    else {
      windows[name] = count(window, {
        taken,
        actual: fate,
        until: forgottenAt(name, window, dayRule),
        now: at.now,
        sentAt: record.lease.since,
      })
    }
  }
  state.windows = windows
}

/** Ends a lease: frees its place, corrects its tokens, and blames whom the outcome names. */
export function settleLease(record: LeaseRecord, outcome: Outcome, step: Step): Changes {
  const { lease } = record
  const changes: Changes = []
  const given: Given = { changes, step, record }
  if (outcome.kind === 'failed') openWindows(signalsOf(outcome), given)
  for (const draw of lease.claim.draws) {
    if (stateIn(given, draw.scope) === UNKNOWN) continue
    const state = draftIn(given, draw.scope)
    leave(state, draw, { step, record, outcome })
    if (!record.confirmed && provesLife(outcome)) clear(state, draw, record)
    if (draw.role === 'upstream' && outcome.kind === 'ok' && outcome.outputTokens !== undefined) {
      learnOutput(state, outcome.outputTokens)
    }
    state.cooldown = endProbe(state.cooldown, lease.id)
    state.touched = step.at.now
  }
  applyBlame(outcome, given)
  return changes
}

/** A refusal that is the request's own fault still shows an upstream at work. */
function provesLife(outcome: Outcome): boolean {
  if (outcome.kind === 'ok') return true
  return outcome.kind === 'failed' && (outcome.class === 'client' || outcome.class === 'other-model')
}

interface Departure extends OfLease {
  readonly outcome: Outcome
}

function leave(state: Draft<ScopeState>, draw: Draw, { step, record, outcome }: Departure): void {
  const { lease, confirmed } = record
  if (record.counted.includes(draw.scope)) {
    state.inFlight = Math.max(0, state.inFlight - 1)
    state.reserved = Math.max(0, state.reserved - lease.tokens)
    if (!confirmed) see(state, draw, record)
  }
  const spent = spentBy(outcome, lease.tokens)
  const fateOf = (name: WindowName): Fate => {
    if (!countsRequests(name)) return spent
    if (confirmed) return 'held'
    return spent === 'given back' ? spent : 1
  }
  moveWindows(state, draw, { step, record, fateOf })
}

/** Tokens that the upstream will count for an outcome; `given back` where it never saw the request. */
function spentBy(outcome: Outcome, reserved: number): number | 'given back' {
  if (outcome.kind === 'aborted' && !outcome.sent) return 'given back'
  if (outcome.kind !== 'failed') return Math.ceil(outcome.tokens ?? reserved)
  if (outcome.class === 'not-sent') return 'given back'
  return outcome.class === 'ambiguous' ? reserved : 0
}

/** Moves the cooldowns that an outcome asks for. Successes, client faults and departures ask for none. */
function applyBlame(outcome: Outcome, given: Given): void {
  const { lease } = given.record
  if (outcome.kind === 'broken')
    for (const draw of drawsOf(lease, 'upstream')) cool(draw, { cause: 'failure' }, given)
  if (outcome.kind !== 'failed') return
  learnSignals(signalsOf(outcome), 'settled', given)
  rememberSizeLimit(outcome, given)
  for (const draw of drawsOf(lease, outcome.scope)) {
    if (outcome.cause === 'overloaded') lowerConcurrency(draw, given)
    cool(draw, faultOf(outcome, lease, given.step), given)
  }
  const isBareLimit = outcome.cause === 'rate-limited' && outcome.hintMs === undefined
  if (isBareLimit && outcome.scope !== 'none') suspectOrigin(given)
}

/** What a refusal says is left holds for as long as it asks to stay away. */
function signalsOf({ signals, hintMs }: Failure): readonly QuotaSignal[] {
  if (hintMs === undefined) return signals
  return signals.map((signal) =>
    signal.remaining === undefined || signal.resetMs !== undefined ? signal : { ...signal, resetMs: hintMs },
  )
}

interface Fault {
  readonly cause: Cause
  readonly hintMs?: number
  readonly unpaid?: true
}

function faultOf(failure: Failure, lease: Lease, step: Step): Fault {
  const { cause, code } = failure
  const hintMs = failure.hintMs ?? (cause === 'quota' ? untilDayEnds(lease, step) : undefined)
  return {
    cause,
    ...(hintMs !== undefined && { hintMs }),
    ...(cause === 'quota' && code === 'insufficient_quota' && { unpaid: true }),
  }
}

function cool(draw: Draw, fault: Fault, given: Given): void {
  const state = draftIn(given, draw.scope)
  const { now } = given.step.at
  const { lease, probing } = given.record
  state.cooldown = blame(state.cooldown, {
    ...fault,
    sentAt: lease.since,
    role: probing.includes(draw.scope) ? 'probe' : 'ordinary',
    now,
    draw: given.step.draw,
  })
  state.touched = now
}

/** A spent day without a named reset ends at the configured midnight: that of a limit by the day, if there is one. */
function untilDayEnds({ claim }: Lease, { at, dayEndsAt }: Step): number | undefined {
  const all = claim.draws.map(({ limits }) => limits).filter((limits) => limits !== undefined)
  const daily = all.find(({ rpd, tpd }) => rpd !== undefined || tpd !== undefined)
  const zone = (daily ?? all[0])?.dayResets
  return zone === undefined || zone === 'rolling' ? undefined : dayEndsAt(zone, at) - at.now
}

function lowerConcurrency(draw: Draw, given: Given): void {
  const state = draftIn(given, draw.scope)
  // The refused request has just left the count.
  crowd(state, state.inFlight + 1, given.step.at.now)
}

/** How long a size limit that an answer named is believed. */
const SIZE_LIMIT_MS = 86_400_000

function rememberSizeLimit({ maxTokensPerRequest }: Failure, given: Given): void {
  if (maxTokensPerRequest === undefined) return
  const scope = given.record.lease.claim.id
  const { now } = given.step.at
  const state = draftIn(given, scope)
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
function suspectOrigin(given: Given): void {
  const { claim } = given.record.lease
  const origin = claim.draws.find(({ role }) => role === 'origin')
  const key = claim.draws.find(({ role }) => role === 'key')?.scope
  if (origin === undefined || key === undefined) return
  const { now } = given.step.at
  const state = draftIn(given, origin.scope)
  const others = (state.limitedKeys ?? []).filter((seen) => seen.key !== key && now - seen.at <= TOGETHER_MS)
  state.limitedKeys = [...others.slice(1 - MOST_KEYS), { key, at: now }]
  state.touched = now
  if (others.length > 0 || given.record.probing.includes(origin.scope))
    cool(origin, { cause: 'rate-limited' }, given)
}

/** The draws of a lease that a scope names: the shared quotas, or the upstream itself where it has none. */
function drawsOf(lease: Lease, scope: Scope): readonly Draw[] {
  if (scope === 'none') return []
  const named = lease.claim.draws.filter(({ role }) => role === scope)
  if (named.length > 0 || scope !== 'quota') return named
  return lease.claim.draws.filter(({ role }) => role === 'upstream')
}

/**
 * Opens the windows that an answer speaks of for the first time, holding what is under way: so the very
 * request that told of a limit is the first that is counted.
 */
function openWindows(signals: readonly QuotaSignal[], given: Given): void {
  for (const signal of signals) {
    const name = windowNameOf(signal)
    for (const { scope } of drawsOf(given.record.lease, signal.scope)) {
      const state = stateIn(given, scope)
      if (state.windows[name] !== undefined) continue
      const pending = countsRequests(name) ? state.unanswered : state.reserved
      setWindow(given, scope, [name, take(undefined, pending)])
    }
  }
}

/** Puts what an upstream said of its limits into the windows of the scopes it spoke of. */
function learnSignals(signals: readonly QuotaSignal[], own: 'held' | 'settled', given: Given): void {
  const { step, record } = given
  for (const signal of signals) {
    const name = windowNameOf(signal)
    for (const { scope, limits } of drawsOf(record.lease, signal.scope)) {
      const window = learn(stateIn(given, scope).windows[name], {
        signal,
        at: step.at,
        askedAt: record.lease.since,
        // Requests are counted by now, tokens are held until the answer ends.
        own: own === 'settled' || countsRequests(name) ? 0 : takenFrom(record, scope, name),
        dayResets: limits?.dayResets,
        dayEndsAt: step.dayEndsAt,
      })
      setWindow(given, scope, [name, window])
    }
  }
}

/** The state of a scope as this step has left it so far. */
function stateIn({ changes, step }: Given, scope: string): ScopeState {
  return changeIn(changes, scope)?.state ?? step.stateOf(scope) ?? UNKNOWN
}

function changeIn(changes: Changes, scope: string): Change | undefined {
  for (const change of changes) if (change.scope === scope) return change
  return undefined
}

/** The state of a scope to be changed further in this step; a copy of what it was before, the first time. */
function draftIn({ changes, step }: Given, scope: string): Draft<ScopeState> {
  const before = changeIn(changes, scope)
  if (before !== undefined) return before.state
  const state = draftOf(step.stateOf(scope) ?? UNKNOWN)
  changes.push({ scope, state })
  return state
}

/** Leaves a scope with one window changed. */
function setWindow(given: Given, scope: string, [name, window]: [WindowName, WindowState]): void {
  const state = draftIn(given, scope)
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
