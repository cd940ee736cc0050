import * as v from 'valibot'
import type { Instant } from '../lib/clock.ts'
import { SPAN_MS } from '../pool/outcome.ts'
import type { KeptAbilities } from './abilities.ts'
import { causes, type CircuitBreakerState } from './circuit-breaker.ts'
import { emptyFrom, EMPTY_WINDOW, SPAN_OF, type WindowName, type WindowState } from './rate-window.ts'
import { UNKNOWN_SCOPE, type ScopeState } from './scope.ts'

/** What a store writes down: deadlines on the clock of the process that wrote it. Plain data, no secret. */
export interface KeptState {
  readonly version: 1
  /** Wall clock and monotonic clock at writing: their difference moves the deadlines to the next process. */
  readonly savedAt: number
  readonly now: number
  readonly scopes: readonly (readonly [scope: string, state: KeptScope])[]
  /** Who served a key, and until when that is remembered. */
  readonly affinity: readonly (readonly [key: string, upstream: string, until: number])[]
  /** What upstreams can do; none in what older versions wrote. */
  readonly abilities?: KeptAbilities
}

/** No deadline of ours is further away. */
const FURTHEST_MS = 32 * SPAN_MS.day

/** Whether nothing has happened to a state for a day and nothing is under way, whatever deadline it may hold. */
export function isUntouched(state: ScopeState, now: number): boolean {
  return state.inFlight === 0 && state.touched <= now - SPAN_MS.day
}

/** Whether a state tells nothing any more: untouched for a day, nothing under way, no deadline to come. */
export function isStale(state: ScopeState, now: number): boolean {
  if (!isUntouched(state, now)) return false
  const windows = Object.values(state.windows)
  const deadlines = windows.flatMap((window) => [window.leftUntil, emptyFrom(window)])
  return [state.breaker?.openUntil, ...deadlines].every((until = 0) => until <= now)
}

/**
 * Moves kept state onto this process's clock. What was under way when it was written counts as seen by the upstream;
 * nothing is in flight and nobody probes. A wall clock that was set back between the two processes counts as no time
 * passed, so that no deadline is put off; one that was set forward ends them early: there is no other clock that both
 * could read.
 * @param kept anything: what none of ours wrote, or parts of it that none of ours wrote, are left out
 */
export function restored(kept: unknown, { now, wall }: Instant) {
  const [frame] = readable(frameSchema, [kept])
  if (frame === undefined) return { scopes: [], affinity: [], abilities: [], shiftMs: 0 }
  const shiftMs = now - frame.now - Math.max(0, wall - frame.savedAt)
  const { scope, affinity } = schemasAt(now, shiftMs)
  const scopes = readable(scope, frame.scopes).map(
    ([name, state]) => [name, restoredScope(state, now)] as const,
  )
  return {
    scopes: scopes.filter(([, state]) => !isStale(state, now)),
    affinity: readable(affinity, frame.affinity).filter(([, , until]) => until > now),
    abilities: frame.abilities,
    shiftMs,
  }
}

/** Those of `values` that one of ours wrote. */
function readable<Schema extends v.GenericSchema>(schema: Schema, values: readonly unknown[]) {
  return values.flatMap((value) => {
    const read = v.safeParse(schema, value)
    return read.success ? [read.output] : []
  })
}

/** Every number is finite (JSON has 1e999), so that nothing read here can plant a NaN. */
const finiteNumber = v.pipe(v.number(), v.finite())
const amount = v.pipe(finiteNumber, v.minValue(0))
const wholeCount = v.pipe(amount, v.integer())

const frameSchema = v.object({
  version: v.literal(1),
  savedAt: finiteNumber,
  now: finiteNumber,
  scopes: v.array(v.unknown()),
  affinity: v.array(v.unknown()),
  abilities: v.optional(v.unknown()),
})

/**
 * The part of a scope's state that outlives its process: being busy, being probed and being quick do not. Reading it
 * moves its times by `shiftMs`. Names stay what they are, whatever the code calls a thing: other versions read them.
 */
function schemasAt(now: number, shiftMs: number) {
  const moved = (move: (time: number) => number) => v.pipe(finiteNumber, v.transform(move))
  /** A deadline; one that nobody can have meant is cut. */
  const ahead = moved((time) => Math.min(time + shiftMs, now + FURTHEST_MS))
  /** A moment that has passed, whatever happened to the clocks. */
  const past = moved((time) => Math.min(time + shiftMs, now))
  const cooldown = v.object({
    cause: v.picklist(causes),
    coolUntil: ahead,
    coolSince: past,
    strikes: wholeCount,
    lastResortAt: v.exactOptional(past),
    unpaid: v.exactOptional(v.literal(true)),
    noEndpoint: v.exactOptional(v.literal(true)),
  })
  const window = v.object({
    pending: amount,
    // More than a window ever holds, and few enough to do no harm.
    buckets: v.pipe(v.array(v.object({ until: ahead, amount })), v.maxLength(1_000)),
    learnedLimit: v.optional(v.pipe(amount, v.minValue(1))),
    learnedUntil: v.optional(ahead),
    left: v.optional(finiteNumber),
    leftUntil: v.optional(ahead),
    leftAsOf: v.optional(past),
    closedUntil: v.optional(ahead),
  })
  const scope = v.object({
    touched: past,
    cooldown: v.optional(cooldown),
    windows: v.record(v.picklist(Object.keys(SPAN_OF) as WindowName[]), window),
    crowd: v.optional(v.object({ limit: v.pipe(wholeCount, v.minValue(1)), since: past })),
    meanOutput: v.optional(amount),
  })
  return { scope: v.tuple([v.string(), scope]), affinity: v.tuple([v.string(), v.string(), ahead]) }
}

/** A scope's state as it is kept. */
type KeptScope = v.InferOutput<ReturnType<typeof schemasAt>['scope']>[1]
/** A window as it is kept: all buckets in one list, and what they hold together is summed up anew. */
type KeptWindow = NonNullable<KeptScope['windows'][WindowName]>

function restoredScope(
  { cooldown, crowd: learnedConcurrency, windows, ...kept }: KeptScope,
  now: number,
): ScopeState {
  return {
    ...UNKNOWN_SCOPE,
    ...kept,
    windows: Object.fromEntries(Object.entries(windows).map((entry) => restoredWindow(entry, now))),
    breaker: cooldown && breakerFrom(cooldown),
    learnedConcurrency,
  }
}

function restoredWindow([name, kept]: [string, KeptWindow], now: number): [string, WindowState] {
  const { pending, buckets, ...rest } = kept
  const span = SPAN_OF[name as WindowName]
  // What was under way may have been counted just now; in a day, it is forgotten with the rest of that day.
  const lostUntil = (span === 'day' ? buckets.at(-1)?.until : undefined) ?? now + SPAN_MS[span]
  const all = pending > 0 ? [...buckets, { amount: pending, until: lostUntil }] : buckets
  const live = all.filter(({ until }) => until > now).sort((a, b) => a.until - b.until)
  const counted = live.reduce((sum, { amount }) => sum + amount, 0)
  return [name, { ...EMPTY_WINDOW, ...rest, counted, buckets: live.slice(0, -1), newest: live.at(-1) }]
}

/** That part of a state. */
export function keptScope(state: ScopeState): KeptScope {
  const { touched, breaker, meanOutput, learnedConcurrency: crowd } = state
  const windows = Object.entries(state.windows).map(([name, window]) => [name, keptWindow(window)])
  const cooldown = breaker && withoutProbe(storedBreaker(breaker))
  return { touched, windows: Object.fromEntries(windows), cooldown, crowd, meanOutput }
}

function keptWindow({ newest, ...window }: WindowState): KeptWindow {
  return { ...window, buckets: newest === undefined ? [...window.buckets] : [...window.buckets, newest] }
}

function withoutProbe(stored: StoredBreaker) {
  const { probe: _, ...cooldown } = stored
  return cooldown
}

/** A circuit breaker under the names that stand in the state file and on the wire: other versions read them. */
export type StoredBreaker = ReturnType<typeof storedBreaker>

export function storedBreaker(breaker: CircuitBreakerState) {
  const { openUntil: coolUntil, openSince: coolSince, consecutiveBackoffs: strikes, ...rest } = breaker
  return { ...rest, coolUntil, coolSince, strikes }
}

export function breakerFrom(stored: StoredBreaker): CircuitBreakerState {
  const { coolUntil: openUntil, coolSince: openSince, strikes: consecutiveBackoffs, ...rest } = stored
  return { ...rest, openUntil, openSince, consecutiveBackoffs }
}
