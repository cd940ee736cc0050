import type { Config } from '../config/config.ts'
import type { Instant } from '../lib/clock.ts'
import type { Pools } from '../pool/pool.ts'
import type { Claim, LimitScope, Endpoint, StrategyName, Upstream } from '../pool/upstream.ts'
import type { AttemptOutcome } from '../relay/deps.ts'
import { availabilityOf, type UnavailableReason, type StateOf } from '../state/availability.ts'
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
} from '../state/rate-window.ts'
import { concurrencyOf, UNKNOWN_SCOPE, type ScopeState } from '../state/scope.ts'
import type { Ask, MaybePromise, StateStore } from '../state/store.ts'
import { isoOf, wallIso } from './log.ts'
import type { Gauges } from './metrics.ts'
import type { Recent } from './recent.ts'

/** What `GET /admin/status` answers. Holds no secret. */
export interface GatewayStatus {
  readonly version: string
  /** ISO 8601. */
  readonly started_at: string | null
  readonly uptime_ms: number
  readonly strategy: StrategyName
  /** As configured: `ip`, `conversation`, `header:x-team`, `off`, … */
  readonly affinity: string
  /** Names that clients may ask for, as `GET /v1/models` lists them. */
  readonly models: readonly string[]
  readonly queue: { readonly waiting: number }
  /** True from the first signal to end. */
  readonly draining: boolean
  /** Null before the first reload. */
  readonly last_reload: LastReload | null
  /** In the order of the configuration, disabled ones too. */
  readonly upstreams: readonly UpstreamStatus[]
}

interface LastReload {
  /** ISO 8601. */
  readonly at: string | null
  /** False = the new file was refused and the last good configuration stays. */
  readonly ok: boolean
  /** One line for each problem: file, line, column, path, what is wrong, what would be right. */
  readonly problems: readonly string[]
}

/** A gateway at one moment. */
export interface StatusTask extends StatusSources {
  /** The configuration in force. */
  readonly runtimeConfig: { readonly config: Config; readonly pools: Pools }
  readonly version: string
  /** When the process began to serve, wall-clock epoch ms. */
  readonly startedAt: number
  /** Requests in the queue. */
  readonly waiting: number
  readonly isDraining: boolean
  /** `at`: wall-clock epoch ms. Undefined = none yet. */
  readonly lastReload:
    | { readonly at: number; readonly ok: boolean; readonly problems: readonly string[] }
    | undefined
}

/** The gateway as operators and scripts see it. Pure; costs a few µs for each upstream. */
export function statusOf(task: StatusTask): GatewayStatus {
  const { runtimeConfig, version, startedAt, waiting, isDraining, lastReload, at } = task
  const { strategy, affinity } = runtimeConfig.config.settings
  return {
    version,
    started_at: isoOf(startedAt),
    uptime_ms: Math.max(0, Math.round(at.wall - startedAt)),
    strategy,
    affinity: affinity.kind === 'header' ? `header:${affinity.name}` : affinity.kind,
    models: runtimeConfig.pools.listedNames,
    queue: { waiting },
    draining: isDraining,
    last_reload: lastReload === undefined ? null : { ...lastReload, at: isoOf(lastReload.at) },
    upstreams: runtimeConfig.pools.upstreams.map((upstream) => upstreamStatus(upstream, task)),
  }
}

/** One upstream as `/admin/status` shows it. Holds no part of its key. */
export interface UpstreamStatus {
  readonly name: string
  readonly model: string
  /** Host, with the port if any, of its root URL. */
  readonly host: string
  readonly priority: number
  readonly weight: number
  readonly groups: readonly string[]
  readonly endpoints: readonly Endpoint[]
  readonly enabled: boolean
  /** Whether it may take a request now, judged for `chat`, or for the first endpoint of one that serves no chat. */
  readonly available: boolean
  /** Why it is not available, in words; null when it is. Those that begin with "needs attention" wait for the operator. */
  readonly why: string | null
  /** Whose state is in the way: `upstream`, `key`, `endpoint`, `origin`, or `quota` and its name. */
  readonly blocked_by: string | null
  /** ISO 8601: when it may open; null when it is open, or when nobody can say. */
  readonly until: string | null
  /** The same as a duration in whole ms. */
  readonly for_ms: number | null
  /** Endpoints that rest on their own, while others of the upstream may work. */
  readonly resting_endpoints: readonly RestingEndpoint[]
  /** Requests under way, streams included. */
  readonly in_flight: number
  readonly windows: readonly WindowStatus[]
  /** Newest first; at most 20. */
  readonly last_outcomes: readonly PastOutcome[]
  /** Of the last 200 answers; null before the first. */
  readonly first_byte_ms: { readonly p50: number; readonly p95: number } | null
  /** Since the start. */
  readonly attempts: number
  /** Of the attempts; the client's faults and departures are none. */
  readonly failures: number
}

interface RestingEndpoint {
  readonly endpoint: Endpoint
  readonly why: string
  readonly until: string | null
}

interface PastOutcome {
  /** ISO 8601. */
  readonly at: string | null
  readonly outcome: AttemptOutcome
  /** The upstream's status; null when it never answered. */
  readonly status: number | null
  readonly ms: number
}

/** What the status is made of: all that is known of the upstreams, at one moment. */
interface StatusSources {
  readonly stateOf: StateOf
  readonly recent: Pick<Recent, 'of'>
  readonly at: Instant
}

/** One upstream with its state. Pure. */
function upstreamStatus(upstream: Upstream, known: StatusSources): UpstreamStatus {
  const { stateOf, at } = known
  const main = mainEndpoint(upstream)
  const claim = upstream.claims[main]
  const condition = conditionOf(upstream, stateOf, { endpoint: main, now: at.now })
  const scope = condition.available ? undefined : condition.reason?.scope
  return {
    name: upstream.name,
    model: upstream.model,
    host: new URL(upstream.root).host,
    priority: upstream.priority,
    weight: upstream.weight,
    groups: upstream.groups,
    endpoints: [...upstream.endpoints],
    enabled: upstream.enabled,
    available: condition.available,
    why: condition.available ? null : condition.why,
    blocked_by: scope === undefined ? null : scopeWord(claim, scope),
    ...untilOf(condition, at),
    resting_endpoints: restingEndpoints(upstream, known),
    in_flight: condition.inFlight,
    windows: claim.draws.flatMap((limitScope) =>
      windowStatuses(limitScope, stateOf(limitScope.scope), {
        scope: scopeWord(claim, limitScope.scope),
        at,
      }),
    ),
    ...lately(upstream, known),
  }
}

/** A reason that somebody's release ends names no moment, or one that has come already. */
function untilOf(condition: Condition, at: Instant): Pick<UpstreamStatus, 'until' | 'for_ms'> {
  const until = condition.available ? undefined : condition.reason?.until
  if (until === undefined || !Number.isFinite(until) || until <= at.now) return { until: null, for_ms: null }
  return { until: wallIso(until, at), for_ms: Math.ceil(until - at.now) }
}

function restingEndpoints(upstream: Upstream, { stateOf, at }: StatusSources): RestingEndpoint[] {
  if (!upstream.enabled) return []
  return [...upstream.endpoints].flatMap((endpoint) => {
    const own = upstream.claims[endpoint].draws.filter(({ role }) => role === 'endpoint')
    const claims = { ...upstream.claims, [endpoint]: { id: upstream.id, draws: own } }
    const condition = conditionOf({ ...upstream, claims }, stateOf, { endpoint, now: at.now })
    if (condition.available) return []
    return [{ endpoint, why: condition.why, until: untilOf(condition, at).until }]
  })
}

function lately(
  { id }: Upstream,
  { recent }: StatusSources,
): Pick<UpstreamStatus, 'last_outcomes' | 'first_byte_ms' | 'attempts' | 'failures'> {
  const past = recent.of(id)
  const first = past?.firstByteMs
  return {
    last_outcomes: (past?.last ?? []).map(({ at, outcome, status, durationMs }) => ({
      at: isoOf(at),
      outcome,
      status: status ?? null,
      ms: Math.round(durationMs),
    })),
    first_byte_ms: first === undefined ? null : { p50: Math.round(first.p50), p95: Math.round(first.p95) },
    attempts: past?.attempts ?? 0,
    failures: past?.failures ?? 0,
  }
}

/** One counted limit as `/admin/status` shows it. */
interface WindowStatus {
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
function windowStatuses(
  limitScope: LimitScope,
  known: ScopeState | undefined,
  given: { scope: string; at: Instant },
): WindowStatus[] {
  const state = known ?? UNKNOWN_SCOPE
  const counted = [...windowNames(limitScope, state)].map((name) =>
    countedStatus({
      ...given,
      name,
      window: state.windows[name],
      configured: configuredLimit(limitScope.limits, name),
    }),
  )
  return [...counted, concurrencyStatus(limitScope, state, given)].filter((status) => status !== undefined)
}

/** Configured ones first, then those that only the upstream spoke of. */
function windowNames({ limits }: LimitScope, { windows }: ScopeState): Set<WindowName> {
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
  const isFromUpstream = budget !== undefined && budget <= leftByCount
  const until = (isFromUpstream ? window?.leftUntil : window && emptyFrom(window)) ?? 0
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

function concurrencyStatus(
  limitScope: LimitScope,
  state: ScopeState,
  { scope, at }: { scope: string; at: Instant },
): WindowStatus | undefined {
  const configured = limitScope.limits?.concurrency
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

/** Whether an upstream may take the smallest of requests now, and if not, why. */
type Condition =
  | { readonly available: true; readonly inFlight: number }
  | {
      readonly available: false
      readonly inFlight: number
      readonly why: string
      /** Absent for a disabled upstream: then no state stands in the way. */
      readonly reason?: UnavailableReason
    }

/** Endpoints whose requests spend no tokens, so that a spent token limit does not close them. */
const TOKENLESS: ReadonlySet<Endpoint> = new Set(['images', 'audio'])

/** The endpoint that an upstream is judged by as a whole: `chat`, or the first that it serves. */
function mainEndpoint({ endpoints }: Upstream): Endpoint {
  if (endpoints.has('chat')) return 'chat'
  for (const endpoint of endpoints) return endpoint
  return 'chat'
}

/** Judges an upstream for one endpoint. */
export function conditionOf(
  upstream: Upstream,
  stateOf: StateOf,
  given: { endpoint: Endpoint; now: number },
): Condition {
  const { endpoint, now } = given
  const claim = upstream.claims[endpoint]
  const inFlight = stateOf(claim.id)?.inFlight ?? 0
  if (!upstream.enabled) return { available: false, inFlight, why: 'disabled' }
  const ask: Ask = {
    inputTokens: TOKENLESS.has(endpoint) ? undefined : 1,
    outputTokens: 0,
    probeMs: 0,
    lastResort: false,
  }
  const availability = availabilityOf(claim, stateOf, { ask, now })
  if (availability.free) return { available: true, inFlight }
  return { available: false, inFlight, why: whyText(availability.reason), reason: availability.reason }
}

/** What the metrics show of every upstream at this moment. */
export function upstreamGauges(
  upstreams: readonly Upstream[],
  stateOf: StateOf,
  now: number,
): Gauges['upstreams'] {
  return upstreams.map((upstream) => {
    const { inFlight, available } = conditionOf(upstream, stateOf, { endpoint: mainEndpoint(upstream), now })
    return { name: upstream.name, inFlight, available }
  })
}

const WORDS: Readonly<Record<string, string>> = {
  'rate-limited': 'rate-limited',
  overloaded: 'overloaded',
  quota: 'quota spent',
  auth: 'needs attention: key refused',
  'not-found': 'needs attention: model or endpoint not found',
  failure: 'failure',
  concurrency: 'concurrency limit reached',
  'too-large': 'token limit of a single request',
}

function whyText({ cause, onRelease }: UnavailableReason): string {
  const words = WORDS[cause]
  if (words === undefined) return `${cause.replace(':', ' per ')} used up`
  // A cause that waits for a release has sat out its time: somebody's request finds out whether it is over.
  return onRelease && cause !== 'concurrency' ? `${words}, being tried again` : words
}

/** Whose state a scope is, in a word: nothing of the fingerprints that name it in the store. */
function scopeWord(claim: Claim, scope: string): string {
  const limitScope = claim.draws.find((other) => other.scope === scope)
  if (limitScope === undefined) return 'upstream'
  return limitScope.role === 'quota' ? scope : limitScope.role
}

/** Everything known of the upstreams on all their endpoints, with one question to the store. */
export function knownStates(
  upstreams: readonly Upstream[],
  store: Pick<StateStore, 'snapshot'>,
): MaybePromise<StateOf> {
  const scopes = scopesOf(upstreams)
  const states = store.snapshot(scopes)
  return states instanceof Promise ? states.then((known) => lookUp(scopes, known)) : lookUp(scopes, states)
}

function scopesOf(upstreams: readonly Upstream[]): string[] {
  const scopes = new Set<string>()
  for (const { claims } of upstreams) {
    for (const { draws } of Object.values(claims)) for (const { scope } of draws) scopes.add(scope)
  }
  return [...scopes]
}

function lookUp(scopes: readonly string[], states: readonly (ScopeState | undefined)[]): StateOf {
  const known = new Map(scopes.map((scope, at) => [scope, states[at]]))
  return (scope) => known.get(scope)
}
