import type { Outcome } from '../pool/outcome.ts'
import type { Draw } from '../pool/upstream.ts'
import { windowsOf } from './availability.ts'
import { applyBlame, signalsOf } from './blame.ts'
import { endProbe, relieve, startProbe, type Cooldown } from './cooldown.ts'
import { amountOf } from './demand.ts'
import { learnSignals, openWindows } from './learn.ts'
import { takenFrom, type LeaseRecord } from './lease-record.ts'
import { UNKNOWN, withLatency, withOutput, type ScopeState } from './scope-state.ts'
import { stateIn, type Changes, type Given, type Step } from './step.ts'
import type { Answer, Lease } from './store.ts'
import { count, forgottenAt, giveBack, take } from './window-count.ts'
import { countsRequests, EMPTY, type WindowName, type WindowState } from './window.ts'

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
  const changes: Changes = new Map()
  const counted: string[] = []
  for (const draw of lease.claim.draws) {
    const before = stateOf(draw.scope)
    const isProbed = given.probing.includes(draw.scope)
    const isCounted = countsUnderWay(draw, before)
    if (!isProbed && !isCounted) continue
    let state = before ?? UNKNOWN
    if (isCounted) {
      counted.push(draw.scope)
      state = underWay(state, draw, lease.tokens)
    }
    if (isProbed && state.cooldown !== undefined) {
      const probe = { lease: lease.id, until: now + given.probeMs, now }
      state = { ...state, cooldown: startProbe(state.cooldown, probe) }
    }
    changes.set(draw.scope, { ...state, touched: now })
  }
  return { changes, record: { lease, counted, probing: given.probing, confirmed: false } }
}

/** Requests under way are counted where a limit or a choice may ask for them. */
function countsUnderWay(draw: Draw, state: ScopeState | undefined): boolean {
  if (draw.role === 'upstream' || draw.limits !== undefined) return true
  return state !== undefined && (state.crowd !== undefined || Object.keys(state.windows).length > 0)
}

function underWay(state: ScopeState, draw: Draw, tokens: number): ScopeState {
  const windows: Partial<Record<WindowName, WindowState>> = {}
  for (const [name] of windowsOf(draw, state))
    windows[name] = take(state.windows[name], amountOf(name, tokens))
  const { inFlight, unanswered, reserved } = state
  return {
    ...state,
    inFlight: inFlight + 1,
    unanswered: unanswered + 1,
    reserved: reserved + tokens,
    windows,
  }
}

/** The upstream answers: probes end well, the request counts as seen, limits it told of are learned. */
export function confirmLease(record: LeaseRecord, answer: Answer, step: Step): Moved {
  const { lease } = record
  const changes: Changes = new Map()
  const given: Given = { changes, step, record }
  openWindows(answer.signals, given)
  for (const draw of lease.claim.draws) {
    const before = stateIn(given, draw.scope)
    if (before === UNKNOWN) continue
    let state = cleared(before, draw, record)
    state = moved(answered(state, draw, record), draw, { ...given, fateOf: onConfirm })
    if (draw.role === 'upstream') state = withLatency(state, answer.firstByteMs, step.at.now)
    if (state !== before) changes.set(draw.scope, { ...state, touched: step.at.now })
  }
  learnSignals(answer.signals, 'held', given)
  return { changes, record: { ...record, confirmed: true } }
}

/** An answer that has begun is a counted request; what it costs in tokens shows at its end. */
const onConfirm = (name: WindowName): Fate => (countsRequests(name) ? 1 : 'held')

/** A success lifts the cooldown and the suspicion of what it went through. */
function cleared(state: ScopeState, { scope }: Draw, { lease, probing }: LeaseRecord): ScopeState {
  const role = probing.includes(scope) ? 'probe' : 'ordinary'
  const lifted = withCooldown(state, relieve(state.cooldown, { sentAt: lease.since, role }))
  if (lifted.limitedKeys === undefined) return lifted
  const { limitedKeys: _, ...rest } = lifted
  return rest
}

function withCooldown(state: ScopeState, cooldown: Cooldown | undefined): ScopeState {
  if (cooldown === state.cooldown) return state
  const { cooldown: _, ...rest } = state
  return cooldown === undefined ? rest : { ...rest, cooldown }
}

function answered(state: ScopeState, { scope }: Draw, { counted }: LeaseRecord): ScopeState {
  return counted.includes(scope) ? { ...state, unanswered: Math.max(0, state.unanswered - 1) } : state
}

/** What becomes of the amount that a lease holds in a window: counted as so much, given back, or held on. */
type Fate = number | 'given back' | 'held'

/** The state with every window moved. */
function moved(
  state: ScopeState,
  draw: Draw,
  given: Given & { fateOf: (name: WindowName) => Fate },
): ScopeState {
  const { step, record, fateOf } = given
  const { at, dayEndsAt } = step
  const dayRule = { at, dayEndsAt, dayResets: draw.limits?.dayResets }
  const windows: Partial<Record<WindowName, WindowState>> = { ...state.windows }
  for (const name of Object.keys(windows) as WindowName[]) {
    const fate = fateOf(name)
    if (fate === 'held') continue
    const window = windows[name] ?? EMPTY
    const taken = takenFrom(record, draw.scope, name)
    const sent = { taken, now: at.now, sentAt: record.lease.since }
    windows[name] =
      fate === 'given back'
        ? giveBack(window, taken)
        : count(window, { ...sent, actual: fate, until: forgottenAt(name, window, dayRule) })
  }
  return { ...state, windows }
}

/** Ends a lease: frees its place, corrects its tokens, and blames whom the outcome names. */
export function settleLease(record: LeaseRecord, outcome: Outcome, step: Step): Changes {
  const { lease } = record
  const changes: Changes = new Map()
  const given: Given = { changes, step, record }
  if (outcome.kind === 'failed') openWindows(signalsOf(outcome), given)
  for (const draw of lease.claim.draws) {
    const before = stateIn(given, draw.scope)
    if (before === UNKNOWN) continue
    let state = settled(before, draw, { ...given, outcome })
    if (!record.confirmed && provesLife(outcome)) state = cleared(state, draw, record)
    if (draw.role === 'upstream' && outcome.kind === 'ok' && outcome.outputTokens !== undefined) {
      state = withOutput(state, outcome.outputTokens)
    }
    state = withCooldown(state, endProbe(state.cooldown, lease.id))
    if (state !== before) changes.set(draw.scope, { ...state, touched: step.at.now })
  }
  applyBlame(outcome, given)
  return changes
}

/** A refusal that is the request's own fault still shows an upstream at work. */
function provesLife(outcome: Outcome): boolean {
  if (outcome.kind === 'ok') return true
  return outcome.kind === 'failed' && (outcome.class === 'client' || outcome.class === 'other-model')
}

function settled(before: ScopeState, draw: Draw, given: Given & { outcome: Outcome }): ScopeState {
  const { record, outcome } = given
  const { lease, confirmed } = record
  let state = before
  if (record.counted.includes(draw.scope)) {
    const reserved = Math.max(0, state.reserved - lease.tokens)
    state = { ...state, inFlight: Math.max(0, state.inFlight - 1), reserved }
    if (!confirmed) state = answered(state, draw, record)
  }
  const spent = spentBy(outcome, lease.tokens)
  const fateOf = (name: WindowName): Fate => {
    if (!countsRequests(name)) return spent
    if (confirmed) return 'held'
    return spent === 'given back' ? spent : 1
  }
  return moved(state, draw, { ...given, fateOf })
}

/** Tokens that the upstream will count for an outcome; `given back` where it never saw the request. */
function spentBy(outcome: Outcome, reserved: number): number | 'given back' {
  if (outcome.kind === 'aborted' && !outcome.sent) return 'given back'
  if (outcome.kind !== 'failed') return Math.ceil(outcome.tokens ?? reserved)
  if (outcome.class === 'not-sent') return 'given back'
  return outcome.class === 'ambiguous' ? reserved : 0
}
