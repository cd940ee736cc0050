import type { Upstream } from '../pool/upstream.ts'
import type { Endpoint } from '../pool/vocabulary.ts'
import type { AttemptOutcome } from '../relay/event.ts'
import type { StateOf } from '../state/availability.ts'
import type { Instant } from '../state/instant.ts'
import { conditionOf, mainEndpoint, scopeWord, type Condition } from './condition.ts'
import type { Recent } from './recent.ts'
import { isoOf, wallIso } from './wall-iso.ts'
import { windowStatuses, type WindowStatus } from './window-status.ts'

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

export interface RestingEndpoint {
  readonly endpoint: Endpoint
  readonly why: string
  readonly until: string | null
}

export interface PastOutcome {
  /** ISO 8601. */
  readonly at: string | null
  readonly outcome: AttemptOutcome
  /** The upstream's status; null when it never answered. */
  readonly status: number | null
  readonly ms: number
}

/** What is known of all upstreams, at one moment. */
export interface Known {
  readonly stateOf: StateOf
  readonly recent: Pick<Recent, 'of'>
  readonly at: Instant
}

/** One upstream with its state. Pure. */
export function upstreamStatus(upstream: Upstream, known: Known): UpstreamStatus {
  const { stateOf, at } = known
  const main = mainEndpoint(upstream)
  const claim = upstream.claims[main]
  const condition = conditionOf(upstream, stateOf, { endpoint: main, now: at.now })
  const scope = condition.available ? undefined : condition.block?.scope
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
    windows: claim.draws.flatMap((draw) =>
      windowStatuses(draw, stateOf(draw.scope), { scope: scopeWord(claim, draw.scope), at }),
    ),
    ...lately(upstream, known),
  }
}

/** A block that somebody's release lifts names no moment, or one that has come already. */
function untilOf(condition: Condition, at: Instant): Pick<UpstreamStatus, 'until' | 'for_ms'> {
  const until = condition.available ? undefined : condition.block?.until
  if (until === undefined || !Number.isFinite(until) || until <= at.now) return { until: null, for_ms: null }
  return { until: wallIso(until, at), for_ms: Math.ceil(until - at.now) }
}

function restingEndpoints(upstream: Upstream, { stateOf, at }: Known): RestingEndpoint[] {
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
  { recent }: Known,
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
