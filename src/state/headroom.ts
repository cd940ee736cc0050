import type { Claim, Draw, Limits } from '../pool/upstream.ts'
import {
  CONFIGURABLE,
  configuredLimit,
  countsRequests,
  emptyFrom,
  forgottenOf,
  freeIn,
  limitOf,
  SPAN_MS,
  spanOf,
  type Draft,
  type WindowName,
  type WindowState,
} from './rate-window.ts'
import { hasWindows, UNKNOWN, type ScopeState } from './scope.ts'

/** What the windows of a scope leave free, all of them together. */
interface Outlook {
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

interface Known extends Outlook {
  readonly limits: Limits | undefined
}

/**
 * States are never changed but replaced, so what was worked out for one holds for as long as it is there.
 * Without this, the windows of a quota that a hundred upstreams share would be summed up for each of them.
 */
const known = new WeakMap<ScopeState, Known>()

/** Where nothing is counted. */
const OPEN: Outlook = { requests: Infinity, tokens: Infinity, requestShare: 1, share: 1, until: Infinity }

/** Looks at all windows of a scope at once. */
export function outlookOf({ role, limits }: Draw, state: ScopeState, now: number): Outlook {
  if (limits === undefined && !hasWindows(state)) return OPEN
  // Nobody shares an upstream: what its claim adds up is remembered there.
  if (role === 'upstream') return lookedAt(limits, state, now)
  const found = known.get(state)
  if (found !== undefined && found.until > now && found.limits === limits) return found
  const outlook = lookedAt(limits, state, now)
  known.set(state, outlook)
  return outlook
}

function lookedAt(limits: Limits | undefined, { windows }: ScopeState, now: number): Known {
  const sum: Draft<Known> = {
    limits,
    requests: Infinity,
    tokens: Infinity,
    requestShare: 1,
    share: 1,
    until: Infinity,
  }
  for (const { name, key } of CONFIGURABLE) {
    const configured = limits?.[key]
    if (configured !== undefined) add(sum, name, { window: windows[name], configured, now })
  }
  for (const name of Object.keys(windows) as WindowName[]) {
    const isNew = configuredLimit(limits, name) === undefined
    if (isNew) add(sum, name, { window: windows[name], configured: undefined, now })
  }
  return sum
}

function add(
  sum: Draft<Known>,
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
export interface Standing {
  /** One state for each of the claim's draws, in their order. */
  readonly states: readonly (ScopeState | undefined)[]
  /** What was worked out of them when somebody last asked; see `claimOutlookOf`. */
  outlook: ClaimOutlook | undefined
}

/** What everything that a claim draws on leaves free together. */
interface ClaimOutlook extends Outlook {
  readonly claim: Claim
  /** Nothing of it rests, is probed, or is limited in another way than by windows and a configured number at once. */
  readonly isPlain: boolean
}

/** States of which nothing has been worked out yet. */
export const standingOf = (states: Standing['states']): Standing => ({ states, outlook: undefined })

/**
 * Looks at all scopes of a claim at once.
 *
 * A standing is replaced when anything in it changes, so what was worked out for one holds until a window
 * forgets something. Of a hundred upstreams a request changes one, and those that share a quota with it.
 */
export function claimOutlookOf(claim: Claim, standing: Standing, now: number): ClaimOutlook {
  const { outlook } = standing
  if (outlook !== undefined && outlook.until > now && outlook.claim === claim) return outlook
  const fresh = examineScopes(claim, standing.states, now)
  standing.outlook = fresh
  return fresh
}

function examineScopes(claim: Claim, states: Standing['states'], now: number): ClaimOutlook {
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
    const draw = claim.draws[at]
    const state = states[at]
    if (draw === undefined || (state === undefined && draw.limits === undefined)) continue
    const outlook = outlookOf(draw, state ?? UNKNOWN, now)
    const free = freePlaces(draw, state)
    sum.isPlain &&= free > 0 && (state === undefined || isPlain(state))
    sum.requests = Math.min(sum.requests, outlook.requests)
    sum.tokens = Math.min(sum.tokens, outlook.tokens)
    sum.requestShare = Math.min(sum.requestShare, outlook.requestShare, free)
    sum.share = Math.min(sum.share, outlook.share, free)
    sum.until = Math.min(sum.until, outlook.until)
  }
  return sum
}

const isPlain = ({ cooldown, tooLarge, crowd }: ScopeState): boolean =>
  cooldown === undefined && tooLarge === undefined && crowd === undefined

/** Share of the configured number at once that is free; 1 without one. */
function freePlaces({ limits }: Draw, state: ScopeState | undefined): number {
  const most = limits?.concurrency
  return most === undefined ? 1 : 1 - (state?.inFlight ?? 0) / most
}
