import type { Draw } from '../pool/upstream.ts'
import type { Limits } from '../pool/vocabulary.ts'
import { forgottenOf } from './bucket.ts'
import type { Draft } from './draft.ts'
import { hasWindows, type ScopeState } from './scope-state.ts'
import { freeIn } from './window-room.ts'
import {
  CONFIGURABLE,
  configuredLimit,
  countsRequests,
  emptyFrom,
  limitOf,
  SPAN_MS,
  spanOf,
  type WindowName,
  type WindowState,
} from './window.ts'

/** What the windows of a scope leave free, all of them together. */
export interface Outlook {
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
