import type { Draw } from '../pool/upstream.ts'
import type { Instant } from '../state/instant.ts'
import { concurrencyOf, UNKNOWN, type ScopeState } from '../state/scope-state.ts'
import {
  budgetOf,
  CONFIGURABLE,
  configuredLimit,
  countsRequests,
  emptyFrom,
  limitOf,
  spanOf,
  usedOf,
  type WindowName,
  type WindowState,
} from '../state/window.ts'
import { wallIso } from './wall-iso.ts'

/** One counted limit as `/admin/status` shows it. */
export interface WindowStatus {
  readonly counts: 'requests' | 'tokens'
  /** `at_once` is the concurrency limit. */
  readonly window: 'second' | 'minute' | 'hour' | 'day' | 'month' | 'at_once'
  /** Whose it is: `upstream`, `key`, `origin`, `endpoint`, or `quota` and its name. */
  readonly scope: string
  /** Sent and not forgotten yet, as far as is known here. */
  readonly used: number
  /** The tighter of the configured and the learned limit; null where the upstream said only what is left. */
  readonly limit: number | null
  /** What may still be sent before `resets_at`; never negative. */
  readonly left: number
  /** Where the number that binds comes from. */
  readonly source: 'configured' | 'learned'
  /** ISO 8601: when the window is as good as new; null when it is already. */
  readonly resets_at: string | null
}

/** The limits of one scope, configured and learned. */
export function windowStatuses(
  draw: Draw,
  known: ScopeState | undefined,
  given: { scope: string; at: Instant },
): WindowStatus[] {
  const state = known ?? UNKNOWN
  const counted = [...windowNames(draw, state)].map((name) =>
    countedStatus({
      ...given,
      name,
      window: state.windows[name],
      configured: configuredLimit(draw.limits, name),
    }),
  )
  return [...counted, crowdStatus(draw, state, given)].filter((status) => status !== undefined)
}

/** Configured ones first, then those that only the upstream spoke of. */
function windowNames({ limits }: Draw, { windows }: ScopeState): Set<WindowName> {
  const configured = CONFIGURABLE.filter(({ key }) => limits?.[key] !== undefined)
  return new Set([...configured.map(({ name }) => name), ...(Object.keys(windows) as WindowName[])])
}

interface Counted {
  readonly name: WindowName
  readonly window: WindowState | undefined
  readonly configured: number | undefined
  readonly scope: string
  readonly at: Instant
}

function countedStatus({ name, window, configured, scope, at }: Counted): WindowStatus | undefined {
  const limit = limitOf(window, configured, at.now)
  const budget = budgetOf(window, at.now)
  // Counted once, and nobody says any more how much is allowed.
  if (limit === undefined && budget === undefined) return undefined
  const counted = usedOf(window, at.now)
  const leftByCount = limit === undefined ? Infinity : Math.max(0, limit - counted)
  const left = Math.min(leftByCount, Math.max(0, budget ?? Infinity))
  const isLearned = limit !== configured || left < leftByCount
  // The upstream's own word counts where it is the tighter one.
  const isTold = budget !== undefined && budget <= leftByCount
  const until = (isTold ? window?.leftUntil : window && emptyFrom(window)) ?? 0
  return {
    counts: countsRequests(name) ? 'requests' : 'tokens',
    window: spanOf(name),
    scope,
    used: limit === undefined ? counted : Math.max(counted, limit - left),
    limit: limit ?? null,
    left,
    source: isLearned ? 'learned' : 'configured',
    resets_at: until > at.now ? wallIso(until, at) : null,
  }
}

function crowdStatus(
  draw: Draw,
  state: ScopeState,
  { scope, at }: { scope: string; at: Instant },
): WindowStatus | undefined {
  const configured = draw.limits?.concurrency
  const limit = concurrencyOf(state, configured, at.now)
  if (limit === Infinity) return undefined
  const { inFlight } = state
  const source = limit === configured ? 'configured' : 'learned'
  return {
    counts: 'requests',
    window: 'at_once',
    scope,
    used: inFlight,
    limit,
    left: Math.max(0, limit - inFlight),
    source,
    resets_at: null,
  }
}
