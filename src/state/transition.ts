import type { Outcome } from '../pool/outcome.ts'
import type { Draw } from '../pool/upstream.ts'
import { applyBlame, signalsOf } from './blame.ts'
import { endProbe, relieve, startProbe } from './cooldown.ts'
import { amountOf } from './demand.ts'
import type { Draft } from './draft.ts'
import { learnSignals, openWindows } from './learn.ts'
import { takenFrom, type LeaseRecord } from './lease-record.ts'
import { draftOf, hasWindows, learnLatency, learnOutput, UNKNOWN, type ScopeState } from './scope-state.ts'
import { draftIn, stateIn, type Changes, type Given, type Step } from './step.ts'
import type { Answer, Lease } from './store.ts'
import { count, forgottenAt, giveBack, take } from './window-count.ts'
import { CONFIGURABLE, countsRequests, EMPTY, type WindowName } from './window.ts'

/** What an event leaves behind: the states it moved, and the lease as it is now. */
export interface Moved {
  readonly changes: Changes
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
