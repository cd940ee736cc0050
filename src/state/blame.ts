import type { Cause, Failure, Outcome, QuotaSignal } from '../pool/outcome.ts'
import type { Draw } from '../pool/upstream.ts'
import { blame } from './cooldown.ts'
import { drawsOf, learnSignals } from './learn.ts'
import { crowd } from './scope-state.ts'
import { draftIn, type Given, type Step } from './step.ts'
import type { Lease } from './store.ts'

/** Moves the cooldowns that an outcome asks for. Successes, client faults and departures ask for none. */
export function applyBlame(outcome: Outcome, given: Given): void {
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
export function signalsOf({ signals, hintMs }: Failure): readonly QuotaSignal[] {
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
