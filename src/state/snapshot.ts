import * as v from 'valibot'
import type { Instant } from '../lib/clock.ts'
import { type Cause, SPAN_MS } from '../pool/outcome.ts'
import type { CircuitBreakerState } from './circuit-breaker.ts'
import { emptyFrom, spanOf, type Bucket, type WindowName, type WindowState } from './rate-window.ts'
import { UNKNOWN_SCOPE, type ScopeState } from './scope.ts'

/** What a store writes down: deadlines on the clock of the process that wrote it. Plain data, no secret. */
export interface KeptState {
  readonly version: 1
  /** Wall clock and monotonic clock at writing: their difference moves the deadlines to the next process. */
  readonly savedAt: number
  readonly now: number
  readonly scopes: readonly (readonly [scope: string, state: KeptScope])[]
  readonly affinity: readonly AffinityEntry[]
}

/** Who served a key, and until when that is remembered. */
type AffinityEntry = readonly [key: string, upstream: string, until: number]

/** What was kept, on this process's clock. */
interface Restored {
  readonly scopes: readonly (readonly [scope: string, state: ScopeState])[]
  readonly affinity: readonly AffinityEntry[]
}

const DAY_MS = 86_400_000
/** What nobody touched for this long is dropped, at the latest when its deadlines are over. */
const FORGET_AFTER_MS = DAY_MS
/** No deadline of ours is further away. */
const FURTHEST_MS = 32 * DAY_MS

/** Whether nothing has happened to a state for a day and nothing is under way, whatever deadline it may hold. */
export function isUntouched(state: ScopeState, now: number): boolean {
  return state.inFlight === 0 && state.touched <= now - FORGET_AFTER_MS
}

/** Whether a state tells nothing any more: untouched for a day, nothing under way, no deadline to come. */
export function isStale(state: ScopeState, now: number): boolean {
  if (!isUntouched(state, now)) return false
  if ((state.breaker?.openUntil ?? 0) > now || (state.tooLarge?.until ?? 0) > now) return false
  return Object.values(state.windows).every(
    (window) => (window.leftUntil ?? 0) <= now && emptyFrom(window) <= now,
  )
}

/**
 * Moves kept state onto this process's clock. What was under way when it was written counts as seen by the
 * upstream; nothing is in flight and nobody probes.
 *
 * A wall clock that was set back between the two processes counts as no time passed, so that no deadline is
 * put off; one that was set forward ends them early: there is no other clock that both could read.
 *
 * @param kept anything: what none of ours wrote, or parts of it that none of ours wrote, are left out
 */
export function restored(kept: unknown, at: Instant): Restored {
  const frame = readFrame(kept)
  if (frame === undefined) return { scopes: [], affinity: [] }
  const shift: Shift = { ms: at.now - frame.now - Math.max(0, at.wall - frame.savedAt), now: at.now }
  const scopes = frame.scopes
    .map((entry) => scopeOf(entry, shift))
    .filter((entry) => entry !== undefined)
    .filter(([, state]) => !isStale(state, at.now))
  const affinity = frame.affinity.filter(isAffinityEntry).map((entry) => shiftedEntry(entry, shift))
  return { scopes, affinity: affinity.filter(([, , until]) => until > at.now) }
}

/** From the clock of then to the clock of now. */
interface Shift {
  readonly ms: number
  readonly now: number
}

function scopeOf(entry: unknown, shift: Shift): [scope: string, state: ScopeState] | undefined {
  if (!Array.isArray(entry) || typeof entry[0] !== 'string') return undefined
  const kept = readScope(entry[1])
  return kept === undefined ? undefined : [entry[0], shifted(kept, shift)]
}

function isAffinityEntry(entry: unknown): entry is AffinityEntry {
  if (!Array.isArray(entry)) return false
  const [key, upstream, until] = entry as unknown[]
  return typeof key === 'string' && typeof upstream === 'string' && Number.isFinite(until)
}

const shiftedEntry = ([key, upstream, until]: AffinityEntry, shift: Shift): AffinityEntry => [
  key,
  upstream,
  ahead(until, shift),
]

/** A deadline; one that nobody can have meant is cut. */
const ahead = (time: number, { ms, now }: Shift): number => Math.min(time + ms, now + FURTHEST_MS)
/** A moment that has passed, whatever happened to the clocks. */
const past = (time: number, { ms, now }: Shift): number => Math.min(time + ms, now)

function shifted(
  { touched, cooldown, crowd, tooLarge, windows, meanOutput }: KeptScope,
  shift: Shift,
): ScopeState {
  return {
    ...UNKNOWN_SCOPE,
    touched: past(touched, shift),
    windows: Object.fromEntries(
      Object.entries(windows).map(([name, window]) => [
        name,
        shiftedWindow(window, name as WindowName, shift),
      ]),
    ),
    ...(meanOutput !== undefined && { meanOutput }),
    ...(cooldown && { breaker: breakerFrom(shiftedCooldown(cooldown, shift)) }),
    ...(crowd && { learnedConcurrency: { ...crowd, since: past(crowd.since, shift) } }),
    ...(tooLarge && { tooLarge: { ...tooLarge, until: ahead(tooLarge.until, shift) } }),
  }
}

type KeptCooldown = NonNullable<KeptScope['cooldown']>

function shiftedCooldown(
  { coolUntil, coolSince, lastResortAt, ...rest }: KeptCooldown,
  shift: Shift,
): KeptCooldown {
  return {
    ...rest,
    coolUntil: ahead(coolUntil, shift),
    coolSince: past(coolSince, shift),
    ...(lastResortAt !== undefined && { lastResortAt: past(lastResortAt, shift) }),
  }
}

function shiftedWindow(kept: KeptWindow, name: WindowName, shift: Shift): WindowState {
  const { pending, learnedLimit, learnedUntil, left, leftUntil, leftAsOf, closedUntil } = kept
  const buckets = kept.buckets.map(({ until, amount }) => ({ until: ahead(until, shift), amount }))
  if (pending > 0) buckets.push(lostBucket(pending, { buckets, name, now: shift.now }))
  const live = buckets.filter(({ until }) => until > shift.now).sort((a, b) => a.until - b.until)
  return {
    pending: 0,
    counted: live.reduce((sum, { amount }) => sum + amount, 0),
    buckets: live.slice(0, -1),
    newest: live.at(-1),
    learnedLimit,
    learnedUntil: learnedUntil && ahead(learnedUntil, shift),
    left,
    leftUntil: leftUntil && ahead(leftUntil, shift),
    leftAsOf: leftAsOf && past(leftAsOf, shift),
    closedUntil: closedUntil && ahead(closedUntil, shift),
  }
}

/** What was under way may have been counted just now; in a day, it is forgotten with the rest of that day. */
function lostBucket(
  amount: number,
  { buckets, name, now }: { buckets: readonly Bucket[]; name: WindowName; now: number },
): Bucket {
  const span = spanOf(name)
  const lastOfDay = span === 'day' ? buckets.at(-1)?.until : undefined
  return { amount, until: lastOfDay ?? now + SPAN_MS[span] }
}

/**
 * The part of a scope's state that outlives its process. Being busy, being probed and being quick do not.
 *
 * Every number is finite (JSON has 1e999), so that nothing read here can plant a NaN.
 */
const finiteNumber = v.pipe(v.number(), v.finite())
const amount = v.pipe(finiteNumber, v.minValue(0))
const wholeCount = v.pipe(amount, v.integer())
const causes = [
  'rate-limited',
  'overloaded',
  'quota',
  'auth',
  'not-found',
  'failure',
] as const satisfies Cause[]
const spans = ['second', 'minute', 'hour', 'day', 'month'] as const
const names = spans.flatMap((span): WindowName[] => [`requests:${span}`, `tokens:${span}`])

const cooldown = v.object({
  cause: v.picklist(causes),
  coolUntil: finiteNumber,
  coolSince: finiteNumber,
  strikes: wholeCount,
  lastResortAt: v.exactOptional(finiteNumber),
  unpaid: v.exactOptional(v.literal(true)),
})

const window = v.object({
  pending: amount,
  // More than a window ever holds, and few enough to do no harm.
  buckets: v.pipe(v.array(v.object({ until: finiteNumber, amount })), v.maxLength(1_000)),
  learnedLimit: v.optional(v.pipe(amount, v.minValue(1))),
  learnedUntil: v.optional(finiteNumber),
  left: v.optional(finiteNumber),
  leftUntil: v.optional(finiteNumber),
  leftAsOf: v.optional(finiteNumber),
  closedUntil: v.optional(finiteNumber),
})

const scope = v.object({
  touched: finiteNumber,
  cooldown: v.exactOptional(cooldown),
  windows: v.record(v.picklist(names), window),
  crowd: v.exactOptional(v.object({ limit: v.pipe(wholeCount, v.minValue(1)), since: finiteNumber })),
  tooLarge: v.exactOptional(v.object({ tokens: amount, until: finiteNumber })),
  meanOutput: v.exactOptional(amount),
})

/** A window as it is kept: all buckets in one list, and what they hold together is summed up anew. */
type KeptWindow = v.InferOutput<typeof window>
/** A scope's state as it is kept. */
type KeptScope = Omit<v.InferOutput<typeof scope>, 'windows'> & {
  readonly windows: Readonly<Partial<Record<WindowName, KeptWindow>>>
}

/** That part of a state. */
export function keptScope({
  breaker,
  windows,
  learnedConcurrency,
  tooLarge,
  meanOutput,
  touched,
}: ScopeState): KeptScope {
  return {
    touched,
    windows: Object.fromEntries(
      Object.entries(windows).map(([name, { newest, ...rest }]) => [
        name,
        newest === undefined ? rest : { ...rest, buckets: [...rest.buckets, newest] },
      ]),
    ),
    ...(breaker && { cooldown: withoutProbe(storedBreaker(breaker)) }),
    ...(learnedConcurrency && { crowd: learnedConcurrency }),
    ...(tooLarge && { tooLarge }),
    ...(meanOutput !== undefined && { meanOutput }),
  }
}

function withoutProbe(breaker: StoredBreaker): KeptCooldown {
  const { probe, ...rest } = breaker
  void probe
  return rest
}

/** A circuit breaker under the names that stand in the state file and on the wire: other versions read them. */
export interface StoredBreaker extends Omit<
  CircuitBreakerState,
  'openUntil' | 'openSince' | 'consecutiveBackoffs'
> {
  readonly coolUntil: number
  readonly coolSince: number
  readonly strikes: number
}

export const storedBreaker = ({
  openUntil,
  openSince,
  consecutiveBackoffs,
  ...rest
}: CircuitBreakerState): StoredBreaker => ({
  ...rest,
  coolUntil: openUntil,
  coolSince: openSince,
  strikes: consecutiveBackoffs,
})

export const breakerFrom = ({
  coolUntil,
  coolSince,
  strikes,
  ...rest
}: StoredBreaker): CircuitBreakerState => ({
  ...rest,
  openUntil: coolUntil,
  openSince: coolSince,
  consecutiveBackoffs: strikes,
})

/** Reads one back; undefined for anything that none of ours wrote. Never throws. */
function readScope(value: unknown): KeptScope | undefined {
  const read = v.safeParse(scope, value)
  return read.success ? read.output : undefined
}

/** Reads the frame around the scopes; undefined for anything else. */
function readFrame(value: unknown): v.InferOutput<typeof frame> | undefined {
  const read = v.safeParse(frame, value)
  return read.success ? read.output : undefined
}

const frame = v.object({
  version: v.literal(1),
  savedAt: finiteNumber,
  now: finiteNumber,
  scopes: v.array(v.unknown()),
  affinity: v.array(v.unknown()),
})
