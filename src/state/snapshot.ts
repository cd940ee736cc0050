import * as v from 'valibot'
import type { Instant } from '../lib/clock.ts'
import { SPAN_MS } from '../pool/outcome.ts'
import { spanMsOf } from '../pool/upstream.ts'
import type { KeptAbilities } from './abilities.ts'
import type { KeptModelLists } from './model-lists.ts'
import type { KeptTokenUsage } from './token-usage.ts'
import { causes, type CircuitBreakerState } from './circuit-breaker.ts'
import { emptyFrom, type WindowState } from './rate-window.ts'
import { mapped, UNKNOWN_SCOPE, type ScopeState } from './scope.ts'

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
  /** Which models upstreams have listed; absent in what older versions wrote. */
  readonly models?: KeptModelLists
  /** What client tokens have used; absent in what older versions wrote. */
  readonly tokens?: KeptTokenUsage
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
  const { breaker, pausedSince, windows, meters, walls } = state
  if (pausedSince !== undefined) return false
  const deadlines = [
    breaker?.openUntil,
    ...valuesOf(windows).map(emptyFrom),
    ...valuesOf(meters).map(({ resetAt }) => resetAt),
    ...valuesOf(walls).map(({ refusedAt }) => refusedAt + SPAN_MS.day),
  ]
  return deadlines.every((until = 0) => until <= now)
}

/** Those that are there. */
const valuesOf = <T>(named: Readonly<Partial<Record<string, T>>>): T[] =>
  Object.values(named).filter((value) => value !== undefined)

/**
 * Moves kept state onto this process's clock. What was under way when it was written counts as seen by the upstream;
 * nothing is in flight and nobody probes. A wall clock that was set back between the two processes counts as no time
 * passed, so that no deadline is put off; one that was set forward ends them early: there is no other clock that both
 * could read.
 * @param kept anything: what none of ours wrote, or parts of it that none of ours wrote, are left out
 */
export function restored(kept: unknown, { now, wall }: Instant) {
  const [frame] = readable(frameSchema, [kept])
  if (frame === undefined)
    return { scopes: [], affinity: [], abilities: [], models: [], tokens: [], shiftMs: 0 }
  const shiftMs = now - frame.now - Math.max(0, wall - frame.savedAt)
  const { scope, affinity } = schemasAt(now, shiftMs)
  const scopes = readable(scope, frame.scopes).map(
    ([name, state]) => [name, restoredScope(state, now)] as const,
  )
  return {
    scopes: scopes.filter(([, state]) => !isStale(state, now)),
    affinity: readable(affinity, frame.affinity).filter(([, , until]) => until > now),
    abilities: frame.abilities,
    models: frame.models,
    tokens: frame.tokens,
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
  models: v.optional(v.unknown()),
  tokens: v.optional(v.unknown()),
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
    isInferred: v.exactOptional(v.literal(true)),
  })
  // More than a window ever holds, and few enough to do no harm.
  const buckets = v.pipe(v.array(v.object({ until: ahead, amount })), v.maxLength(1_000))
  const window = v.object({ pending: amount, buckets, proven: v.exactOptional(amount) })
  const counts = v.picklist(['requests', 'tokens'])
  const meter = v.object({
    counts,
    limit: v.optional(v.pipe(amount, v.minValue(1))),
    remaining: v.optional(amount),
    left: finiteNumber,
    leftAt: past,
    saidAt: past,
    heardAt: past,
    resetAt: ahead,
    isDated: v.boolean(),
    spanMs: amount,
    kind: v.picklist(['window', 'bucket', 'log']),
    unitMs: v.optional(amount),
    isProven: v.boolean(),
    log: v.optional(window),
    first: v.object({ saidAt: past, resetAt: ahead, spent: amount }),
  })
  const wall = v.object({
    counts,
    spanMs: v.pipe(amount, v.minValue(1)),
    limit: v.optional(v.pipe(amount, v.minValue(1))),
    window,
    pauseMs: amount,
    askAt: ahead,
    answeredAt: past,
    raises: wholeCount,
    sent: wholeCount,
    sentFrom: past,
    answered: wholeCount,
    burst: wholeCount,
    refusedAt: past,
  })
  const named = <Schema extends v.GenericSchema>(schema: Schema) => v.record(v.string(), schema)
  /** What can't be read of it is left out, and the rest stays. */
  const readable = <Output>(schema: v.GenericSchema<unknown, Output>) =>
    v.pipe(
      named(v.unknown()),
      v.transform((all): Record<string, Output> => {
        const parsed = Object.entries(all).map(([name, value]) => [name, v.safeParse(schema, value)] as const)
        return Object.fromEntries(parsed.flatMap(([name, one]) => (one.success ? [[name, one.output]] : [])))
      }),
    )
  const scope = v.object({
    touched: past,
    pausedSince: v.optional(past),
    cooldown: v.optional(cooldown),
    windows: named(window),
    // None in what versions before 0.2 wrote: their windows held what was learned, too, which is passed over.
    meters: v.optional(readable(meter), {}),
    walls: v.optional(readable(wall), {}),
    crowd: v.optional(v.object({ limit: v.pipe(wholeCount, v.minValue(1)), since: past })),
    meanOutput: v.optional(amount),
  })
  return { scope: v.tuple([v.string(), scope]), affinity: v.tuple([v.string(), v.string(), ahead]) }
}

/** A scope's state as it is kept. */
type KeptScope = v.InferOutput<ReturnType<typeof schemasAt>['scope']>[1]
/** A window as it is kept: all buckets in one list, and what they hold together is summed up anew. */
type KeptWindow = NonNullable<KeptScope['windows'][string]>

function restoredScope(
  { cooldown, pausedSince, crowd: learnedConcurrency, windows, meters, walls, ...kept }: KeptScope,
  now: number,
): ScopeState {
  return {
    ...UNKNOWN_SCOPE,
    ...kept,
    windows: mapped(windows, (window, name) => restoredWindow(window, now, spanNamed(name))),
    meters: mapped(meters, ({ limit, remaining, unitMs, log, ...meter }) => ({
      ...meter,
      limit,
      remaining,
      unitMs,
      log: log && restoredWindow(log, now, meter.spanMs),
    })),
    walls: mapped(walls, ({ limit, ...wall }) => ({
      ...wall,
      limit,
      window: restoredWindow(wall.window, now, wall.spanMs),
    })),
    breaker: cooldown && breakerFrom(cooldown),
    pausedSince,
    learnedConcurrency,
  }
}

/** How long the window of a limit is, by its name. */
const spanNamed = (name: string): number => spanMsOf(name.slice(name.indexOf(':') + 1)) || SPAN_MS.month

function restoredWindow(
  { pending, buckets, proven = 0 }: KeptWindow,
  now: number,
  spanMs: number,
): WindowState {
  // What was under way may have been counted just now; in a day, it is forgotten with the rest of that day.
  const lostUntil = (spanMs >= SPAN_MS.day ? buckets.at(-1)?.until : undefined) ?? now + spanMs
  const all = pending > 0 ? [...buckets, { amount: pending, until: lostUntil }] : buckets
  const live = all.filter(({ until }) => until > now).sort((a, b) => a.until - b.until)
  const counted = live.reduce((sum, { amount: each }) => sum + each, 0)
  return { pending: 0, counted, buckets: live.slice(0, -1), newest: live.at(-1), proven }
}

/** That part of a state. */
export function keptScope(state: ScopeState): KeptScope {
  const {
    touched,
    pausedSince,
    breaker,
    meanOutput,
    learnedConcurrency: crowd,
    windows,
    meters,
    walls,
  } = state
  return {
    touched,
    pausedSince,
    windows: mapped(windows, keptWindow),
    meters: mapped(meters, (meter) => ({ ...meter, log: meter.log && keptWindow(meter.log) })),
    walls: mapped(walls, (wall) => ({ ...wall, window: keptWindow(wall.window) })),
    cooldown: breaker && withoutProbe(storedBreaker(breaker)),
    crowd,
    meanOutput,
  }
}

const keptWindow = ({ pending, buckets, newest, proven }: WindowState): KeptWindow => ({
  pending,
  buckets: newest === undefined ? [...buckets] : [...buckets, newest],
  ...(proven > 0 && { proven }),
})

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
