import { SPAN_MS } from '../pool/outcome.ts'
import type { Claim, LimitScope, Limits } from '../pool/upstream.ts'
import { fitsAt, leftIn, type MeterState } from './rate-limit.ts'
import { leftBelow, type SoftWallState } from './soft-wall.ts'
import { EMPTY_WINDOW, emptyFrom, firstForgottenAt, freeIn, windowsOf, type Mutable } from './rate-window.ts'
import { isCounting, limitInForce, UNKNOWN_SCOPE, type ScopeState } from './scope.ts'

/** What windows leave free, all of them together. */
export type Headroom = Readonly<ReturnType<typeof unlimited>>

/** Where nothing is counted. Everything is summed up from here. */
const unlimited = (limits?: Limits) => ({
  /** Of the configuration; a scope's own. */
  limits,
  /** Requests and tokens that fit into every window; Infinity without one, negative where too much is used. */
  requests: Infinity,
  tokens: Infinity,
  /**
   * Share of the tightest window that counts requests, and of the tightest of all; 0…1. Of a window that lasts
   * longer than a minute only that part which may go within a minute if the rest is to last: see `minutesShare`.
   */
  requestShare: 1,
  share: 1,
  /** When a window forgets something next: until then nothing changes but with the state. Ms on the clock. */
  until: Infinity,
  /** Not paused, no breaker is open or probed, and nothing is limited in another way than by windows and a configured number at once. */
  isPlain: true,
})
const UNLIMITED = unlimited()

/**
 * States are never changed but replaced, so what was worked out for one holds for as long as it is there.
 * Without this, the windows of a quota that a hundred upstreams share would be summed up for each of them.
 */
const headroomCache = new WeakMap<ScopeState, Headroom>()

/** Looks at all windows of a scope at once. */
export function headroomOf({ role, limits }: LimitScope, state: ScopeState, now: number): Headroom {
  if (limits === undefined && !isCounting(state)) return UNLIMITED
  // Nobody shares an upstream: what its claim adds up is remembered there.
  if (role === 'upstream') return computeHeadroom(limits, state, now)
  const cached = headroomCache.get(state)
  if (cached !== undefined && cached.until > now && cached.limits === limits) return cached
  const headroom = computeHeadroom(limits, state, now)
  headroomCache.set(state, headroom)
  return headroom
}

function computeHeadroom(limits: Limits | undefined, state: ScopeState, now: number): Headroom {
  const sum = unlimited(limits)
  for (const one of windowsOf(limits)) {
    const { name, counts, spanMs } = one
    const limit = limitInForce(one, state)
    if (limit === Infinity) continue
    const window = state.windows[name] ?? EMPTY_WINDOW
    const end = emptyFrom(window)
    const free = freeIn(window, limit, now)
    addTo(sum, { counts, free, limit, endsInMs: end > now ? endsIn(sum, end, now) : spanMs })
    sum.until = Math.min(sum.until, firstForgottenAt(window, now))
  }
  for (const name in state.meters) addMeter(sum, state.meters[name], now)
  for (const name in state.walls) addWall(sum, state.walls[name], now)
  return sum
}

type Sum = Mutable<Headroom>

/** Ends of windows are told to so many ms: what is worked out is a function of the state and the moment alone. */
const GRID_MS = 10_000

/**
 * Ms until a window ends, as seen from the next moment of the grid: whoever works it out again, a moment later or from
 * the event log, finds the very same.
 */
function endsIn(sum: Sum, end: number, now: number): number {
  const seenFrom = now - (now % GRID_MS) + GRID_MS
  // From a minute on it counts in full; see `minutesShare`.
  if (end - seenFrom > SPAN_MS.minute) sum.until = Math.min(sum.until, seenFrom)
  return Math.max(1, end - seenFrom)
}

function addTo(
  sum: Sum,
  one: {
    readonly counts: 'requests' | 'tokens'
    readonly free: number
    readonly limit: number
    readonly endsInMs: number
  },
): void {
  const { counts, free, limit, endsInMs } = one
  const share = Math.max(0, Math.min(1, free / limit)) * minutesShare(endsInMs)
  sum.share = Math.min(sum.share, share)
  if (counts === 'requests') {
    sum.requests = Math.min(sum.requests, free)
    sum.requestShare = Math.min(sum.requestShare, share)
  } else sum.tokens = Math.min(sum.tokens, free)
}

function addMeter(sum: Sum, meter: MeterState | undefined, now: number): void {
  if (meter === undefined || meter.resetAt <= now) return
  // Whole ones, so that what was worked out holds until the next one has come back.
  const free = Math.floor(leftIn(meter, now))
  // What comes back steadily can't be saved up for later: a bucket overflows.
  const endsInMs = meter.unitMs !== undefined ? 0 : endsIn(sum, meter.resetAt, now)
  addTo(sum, { counts: meter.counts, free, limit: meter.limit ?? Math.max(1, free), endsInMs })
  sum.until = Math.min(sum.until, fitsAt(meter, free + 1))
}

function addWall(sum: Sum, wall: SoftWallState | undefined, now: number): void {
  if (wall === undefined) return
  const { counts, limit, window, spanMs } = wall
  if (limit === undefined) return
  addTo(sum, { counts, free: leftBelow(wall, now), limit, endsInMs: spanMs })
  sum.until = Math.min(sum.until, firstForgottenAt(window, now))
}

/**
 * The part of a window's remaining time that a minute is; 1 for windows of a minute or less. What is free in a
 * minute's window is lost with the minute, what is free in a day's window can still be spent when the minutes of all
 * others are full. Compared by their bare shares, the days would be spent by noon, and the evening's peaks would find
 * nobody. So a day counts by what it could give in every minute until it ends; shortly before that it counts in full.
 */
const minutesShare = (endsInMs: number): number => Math.min(1, SPAN_MS.minute / Math.max(1, endsInMs))

type States = readonly (ScopeState | undefined)[]

/** What is known of everything that a claim draws on. Replaced when any of it changes. */
export interface ClaimSnapshot {
  /** One state for each of the claim's draws, in their order. */
  readonly states: States
  /** What was worked out of them when somebody last asked; see `claimHeadroomOf`. */
  headroom: Headroom | undefined
}

/** States of which nothing has been worked out yet. */
export const claimSnapshotOf = (states: States): ClaimSnapshot => ({ states, headroom: undefined })

/**
 * Looks at all scopes of a claim at once. A claim snapshot is replaced when anything in it changes, so what was worked
 * out for one holds until a window forgets something. Of a hundred upstreams a request changes one, and those that
 * share a quota with it.
 */
export function claimHeadroomOf({ draws }: Claim, claimSnapshot: ClaimSnapshot, now: number): Headroom {
  const { headroom: known, states } = claimSnapshot
  if (known !== undefined && known.until > now) return known
  const sum = unlimited()
  for (const [at, limitScope] of draws.entries()) {
    const { limits } = limitScope
    const state = states[at] ?? UNKNOWN_SCOPE
    if (state === UNKNOWN_SCOPE && limits === undefined) continue
    const headroom = headroomOf(limitScope, state, now)
    const free = limits?.concurrency === undefined ? 1 : 1 - state.inFlight / limits.concurrency
    const isPlain = state.breaker === undefined && state.pausedSince === undefined
    sum.isPlain &&= free > 0 && isPlain && state.learnedConcurrency === undefined
    sum.requests = Math.min(sum.requests, headroom.requests)
    sum.tokens = Math.min(sum.tokens, headroom.tokens)
    sum.requestShare = Math.min(sum.requestShare, headroom.requestShare, free)
    sum.share = Math.min(sum.share, headroom.share, free)
    sum.until = Math.min(sum.until, headroom.until)
  }
  claimSnapshot.headroom = sum
  return sum
}
