import { SPAN_MS } from '../pool/outcome.ts'
import type { Claim, LimitScope, Limits } from '../pool/upstream.ts'
import {
  CONFIGURABLE,
  configuredLimit,
  countsRequests,
  emptyFrom,
  forgottenOf,
  freeIn,
  limitOf,
  spanOf,
  type Mutable,
  type WindowName,
  type WindowState,
} from './rate-window.ts'
import { hasWindows, UNKNOWN_SCOPE, type ScopeState } from './scope.ts'

/** What the windows of a scope leave free, all of them together. */
interface Headroom {
  /** Requests and tokens that fit into every window; Infinity without one, negative where too much is used. */
  readonly requests: number
  readonly tokens: number
  /**
   * Share of the tightest window that counts requests, and of the tightest of all; 0…1. Of a window that lasts
   * longer than a minute only that part which may go within a minute if the rest is to last: see `minutesShare`.
   */
  readonly requestShare: number
  readonly share: number
  /** When a window forgets something next: until then nothing changes but with the state. Ms on the clock. */
  readonly until: number
}

interface CachedHeadroom extends Headroom {
  readonly limits: Limits | undefined
}

/**
 * States are never changed but replaced, so what was worked out for one holds for as long as it is there.
 * Without this, the windows of a quota that a hundred upstreams share would be summed up for each of them.
 */
const headroomCache = new WeakMap<ScopeState, CachedHeadroom>()

/** Where nothing is counted. */
const UNLIMITED: Headroom = {
  requests: Infinity,
  tokens: Infinity,
  requestShare: 1,
  share: 1,
  until: Infinity,
}

/** Looks at all windows of a scope at once. */
export function headroomOf({ role, limits }: LimitScope, state: ScopeState, now: number): Headroom {
  if (limits === undefined && !hasWindows(state)) return UNLIMITED
  // Nobody shares an upstream: what its claim adds up is remembered there.
  if (role === 'upstream') return computeHeadroom(limits, state, now)
  const cached = headroomCache.get(state)
  if (cached !== undefined && cached.until > now && cached.limits === limits) return cached
  const headroom = computeHeadroom(limits, state, now)
  headroomCache.set(state, headroom)
  return headroom
}

function computeHeadroom(limits: Limits | undefined, { windows }: ScopeState, now: number): CachedHeadroom {
  const sum: Mutable<CachedHeadroom> = {
    limits,
    requests: Infinity,
    tokens: Infinity,
    requestShare: 1,
    share: 1,
    until: Infinity,
  }
  for (const { name, key } of CONFIGURABLE) {
    const configured = limits?.[key]
    if (configured !== undefined) addWindow(sum, name, { window: windows[name], configured, now })
  }
  for (const name of Object.keys(windows) as WindowName[]) {
    const isNew = configuredLimit(limits, name) === undefined
    if (isNew) addWindow(sum, name, { window: windows[name], configured: undefined, now })
  }
  return sum
}

function addWindow(
  sum: Mutable<CachedHeadroom>,
  name: WindowName,
  {
    window,
    configured,
    now,
  }: { window: WindowState | undefined; configured: number | undefined; now: number },
): void {
  const limit = limitOf(window, configured, now)
  const free = freeIn(window, limit, now)
  const share =
    limit === undefined ? 1 : Math.max(0, Math.min(1, free / limit)) * minutesShare(name, window, now)
  sum.share = Math.min(sum.share, share)
  if (countsRequests(name)) {
    sum.requests = Math.min(sum.requests, free)
    sum.requestShare = Math.min(sum.requestShare, share)
  } else sum.tokens = Math.min(sum.tokens, free)
  sum.until = Math.min(sum.until, changesAt(window, now))
}

/**
 * The part of a window's remaining time that a minute is; 1 for windows of a minute or less.
 *
 * What is free in a minute's window is lost with the minute, what is free in a day's window can still be spent when
 * the minutes of all others are full. Compared by their bare shares, the days would be spent by noon, and the
 * evening's peaks would find nobody. So a day counts by what it could give in every minute until it ends; shortly
 * before that it counts in full.
 */
function minutesShare(name: WindowName, window: WindowState | undefined, now: number): number {
  const spanMs = SPAN_MS[spanOf(name)]
  if (spanMs <= SPAN_MS.minute) return 1
  const end = Math.max(window === undefined ? 0 : emptyFrom(window), window?.leftUntil ?? 0)
  return Math.min(1, SPAN_MS.minute / (end > now ? end - now : spanMs))
}

function changesAt(window: WindowState | undefined, now: number): number {
  if (window === undefined) return Infinity
  const { buckets, newest, leftUntil = 0, learnedUntil = 0 } = window
  let next = (buckets[forgottenOf(buckets, now).places] ?? newest)?.until ?? Infinity
  if (next <= now) next = Infinity
  if (leftUntil > now) next = Math.min(next, leftUntil)
  return learnedUntil > now ? Math.min(next, learnedUntil) : next
}

/** What is known of everything that a claim draws on. Replaced when any of it changes. */
export interface ClaimSnapshot {
  /** One state for each of the claim's draws, in their order. */
  readonly states: readonly (ScopeState | undefined)[]
  /** What was worked out of them when somebody last asked; see `claimHeadroomOf`. */
  headroom: ClaimHeadroom | undefined
}

/** What everything that a claim draws on leaves free together. */
interface ClaimHeadroom extends Headroom {
  readonly claim: Claim
  /** No breaker of it is open or probed, and nothing is limited in another way than by windows and a configured number at once. */
  readonly isPlain: boolean
}

/** States of which nothing has been worked out yet. */
export const claimSnapshotOf = (states: ClaimSnapshot['states']): ClaimSnapshot => ({
  states,
  headroom: undefined,
})

/**
 * Looks at all scopes of a claim at once.
 *
 * A claim snapshot is replaced when anything in it changes, so what was worked out for one holds until a window
 * forgets something. Of a hundred upstreams a request changes one, and those that share a quota with it.
 */
export function claimHeadroomOf(claim: Claim, claimSnapshot: ClaimSnapshot, now: number): ClaimHeadroom {
  const { headroom } = claimSnapshot
  if (headroom !== undefined && headroom.until > now && headroom.claim === claim) return headroom
  const fresh = computeClaimHeadroom(claim, claimSnapshot.states, now)
  claimSnapshot.headroom = fresh
  return fresh
}

function computeClaimHeadroom(claim: Claim, states: ClaimSnapshot['states'], now: number): ClaimHeadroom {
  const sum = {
    claim,
    isPlain: true,
    requests: Infinity,
    tokens: Infinity,
    requestShare: 1,
    share: 1,
    until: Infinity,
  }
  for (let at = 0; at < states.length; at++) {
    const limitScope = claim.draws[at]
    const state = states[at]
    if (limitScope === undefined || (state === undefined && limitScope.limits === undefined)) continue
    const headroom = headroomOf(limitScope, state ?? UNKNOWN_SCOPE, now)
    const free = freeConcurrency(limitScope, state)
    sum.isPlain &&= free > 0 && (state === undefined || isPlain(state))
    sum.requests = Math.min(sum.requests, headroom.requests)
    sum.tokens = Math.min(sum.tokens, headroom.tokens)
    sum.requestShare = Math.min(sum.requestShare, headroom.requestShare, free)
    sum.share = Math.min(sum.share, headroom.share, free)
    sum.until = Math.min(sum.until, headroom.until)
  }
  return sum
}

const isPlain = ({ breaker, tooLarge, learnedConcurrency }: ScopeState): boolean =>
  breaker === undefined && tooLarge === undefined && learnedConcurrency === undefined

/** Share of the configured number at once that is free; 1 without one. */
function freeConcurrency({ limits }: LimitScope, state: ScopeState | undefined): number {
  const most = limits?.concurrency
  return most === undefined ? 1 : 1 - (state?.inFlight ?? 0) / most
}
