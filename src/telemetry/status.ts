import type { Config } from '../config/config.ts'
import type { Instant } from '../lib/clock.ts'
import { hash01 } from '../lib/hash.ts'
import { SPAN_MS, type Cause, type Span } from '../pool/outcome.ts'
import type { Pools } from '../pool/pool.ts'
import { endpoints, type Claim, type Endpoint, type LimitScope, type Upstream } from '../pool/upstream.ts'
import { proxyText } from '../pool/route.ts'
import type { Abilities } from '../state/abilities.ts'
import { availabilityOf, remedyOf, type StateOf, type UnavailableReason } from '../state/availability.ts'
import { outlooksOf, type LimitOutlook } from './outlook.ts'
import { concurrencyOf, UNKNOWN_SCOPE, type ScopeState } from '../state/scope.ts'
import type { StateStore } from '../state/store.ts'
import { needsOf } from './needs.ts'
import { whyNotReady } from './readiness.ts'
import { failureText, type Recent } from './recent.ts'
import type { UsageHistory } from './usage.ts'

/** All that is known of a gateway, at one moment. Wall-clock times are epoch ms. */
export interface StatusTask {
  /** The configuration in force. */
  readonly runtimeConfig: { readonly config: Config; readonly pools: Pools }
  readonly version: string
  /** When the process began to serve, on the wall clock. */
  readonly startedAt: number
  /** Requests in the queue. */
  readonly waiting: number
  readonly isDraining: boolean
  readonly configState: ConfigState
  readonly stateOf: StateOf
  readonly recent: Pick<Recent, 'of'>
  readonly usage: Pick<UsageHistory, 'lastHour'>
  readonly abilities: Pick<Abilities, 'of' | 'hasEmbedded'>
  readonly at: Instant
}
export type KnownStates = Pick<StatusTask, 'stateOf' | 'at'>

/** What became of the configuration since the start. */
export interface ConfigState {
  /** Undefined before the first; not `ok` where the new file was refused, for `problems` of a line each. */
  readonly lastReload?: Reload | undefined
  readonly reloads?: { readonly ok: number; readonly refused: number }
  /** Of the configuration in force, a line each. */
  readonly warnings: readonly string[]
  /** Why the state is not kept across a restart, though it should be; undefined where it is. */
  readonly stateProblem?: string | undefined
}
type Reload = { readonly at: number; readonly ok: boolean; readonly problems: readonly string[] }

export type GatewayStatus = ReturnType<typeof statusOf>
export type UpstreamStatus = ReturnType<typeof upstreamStatus>

/**
 * What `GET /admin/status` answers: the gateway as operators and scripts see it. Moments are ISO 8601. Holds no secret.
 * Pure; costs a few µs for each upstream.
 */
export function statusOf(task: StatusTask) {
  const { runtimeConfig, startedAt } = task
  const { lastReload, reloads = { ok: 0, refused: 0 }, warnings } = task.configState
  const { settings } = runtimeConfig.config
  const { strategy, affinity } = settings
  const { upstreams } = runtimeConfig.pools
  const { stateOf, abilities, at } = task
  const notReady = whyNotReady({ upstreams, settings, abilities, stateOf, now: at.now })
  const why = task.isDraining ? 'draining' : (notReady ?? null)
  return {
    version: task.version,
    started_at: isoOf(startedAt),
    uptime_ms: Math.max(0, Math.round(at.wall - startedAt)),
    /** What may be done below `/admin/`: `read` does not change the configuration. */
    admin: runtimeConfig.config.server.admin,
    /** Whether a request for `auto` can be answered now, as `/readyz` has it, and if not, why. */
    can_answer: { now: why === null, why },
    /** Of the relayed requests. */
    last_hour: task.usage.lastHour(),
    /** What does not heal by itself; empty = nothing. */
    needs_you: needStatuses(task),
    strategy,
    /** As configured: `ip`, `conversation`, `header:x-team`, `off`, … */
    affinity: affinity.kind === 'header' ? `header:${affinity.name}` : affinity.kind,
    /** Names that clients may ask for, as `GET /v1/models` lists them. */
    models: runtimeConfig.pools.listedNames,
    /** `size`: how many may wait. */
    queue: { waiting: task.waiting, size: runtimeConfig.config.settings.queueSize },
    /** True from the first signal to end. */
    draining: task.isDraining,
    last_reload: lastReload === undefined ? null : { ...lastReload, at: isoOf(lastReload.at) },
    /** Since the start. */
    reloads,
    /** What of the configuration in force is allowed and probably not meant, a line each, as `aiload check` prints it. */
    config_warnings: warnings,
    /** In the order of the configuration, disabled ones too. */
    upstreams: upstreams.map(withShownIds()).map(([id, upstream]) => upstreamStatus(upstream, id, task)),
  }
}

/** Puts a finished sentence of ours into another language. */
export type Say = (sentence: string) => string

/** The same, or a part of it, with what is for people alone in their language. */
export function statusIn<Part extends Partial<GatewayStatus>>(part: Part, say: Say | undefined): Part {
  if (say === undefined) return part
  const { config_warnings: warnings, needs_you: needs, last_reload: reload } = part
  return {
    ...part,
    ...(warnings && { config_warnings: warnings.map(say) }),
    ...(needs && { needs_you: needs.map((need) => ({ ...need, text: say(need.text) })) }),
    ...(reload && { last_reload: { ...reload, problems: reload.problems.map(say) } }),
  }
}

function needStatuses({ runtimeConfig, ...task }: StatusTask) {
  const enabled = runtimeConfig.pools.upstreams.filter((upstream) => upstream.enabled)
  const judged = enabled.map((upstream) => ({
    name: upstream.name,
    claim: upstream.claims[mainEndpoint(upstream)],
  }))
  return needsOf({ ...task, judged }).map((need) => ({
    ...need,
    since: need.since === null ? null : isoOf(need.since),
  }))
}

/**
 * With what tells upstreams apart where names change. Nothing of a key is in it, so that it tells nobody whether he has
 * guessed one: the keys of an entry are told apart by their places, and entries alike by their order.
 */
function withShownIds() {
  const seen = new Map<string, number>()
  return (upstream: Upstream): [id: string, upstream: Upstream] => {
    const { root, model, keyPosition } = upstream
    const alike = `${root}\n${model}\n${keyPosition}`
    const nth = (seen.get(alike) ?? 0) + 1
    seen.set(alike, nth)
    return [hash01(`${alike}\n${nth}`).toString(36).slice(2, 12), upstream]
  }
}

/** Of a key so much is shown, and of a shorter one than this nothing. */
const SHOWN_OF_KEY = 4
const SHORTEST_SHOWN_KEY = 16

const keyStatus = ({ apiKey, keyPosition }: Upstream) => ({
  position: apiKey === '' ? null : keyPosition,
  last4: apiKey.length < SHORTEST_SHOWN_KEY ? null : `…${apiKey.slice(-SHOWN_OF_KEY)}`,
})

/** One upstream as `/admin/status` shows it. Holds no more of its key than the last four characters. */
function upstreamStatus(upstream: Upstream, id: string, task: StatusTask) {
  const { stateOf, recent, at } = task
  const { enabled } = upstream
  const main = mainEndpoint(upstream)
  const claim = upstream.claims[main]
  const reason = enabled ? (reasonAgainst(claim, main, task) ?? unprovenReason(claim, task)) : undefined
  const past = recent.of(upstream.id)
  const why = enabled ? reason && whyText(reason, task, past?.lastError) : 'disabled'
  const blocking = claim.draws.find(({ scope }) => scope === reason?.scope)
  const waitMs = (reason?.until ?? at.now) - at.now
  const firstByte = past?.firstByteMs
  const pausedSince = stateOf(upstream.id)?.pausedSince
  return {
    /** Opaque, and the same for as long as the upstream stands in the configuration, whatever its name. */
    id,
    name: upstream.name,
    model: upstream.model,
    /** Of its root URL, with the port if any. */
    host: new URL(upstream.root).host,
    key: keyStatus(upstream),
    /** That its requests go through, without its login; null where they go straight. */
    proxy: upstream.route?.proxy === undefined ? null : proxyText(upstream.route.proxy),
    priority: upstream.priority,
    weight: upstream.weight,
    groups: upstream.groups,
    endpoints: [...upstream.endpoints],
    enabled,
    /** By the operator, until he resumes it; since when. */
    paused: pausedSince !== undefined,
    paused_since: pausedSince === undefined ? null : isoOf(at.wall + (pausedSince - at.now)),
    /**
     * Whether it may take a request now, judged for `chat`, or for the first endpoint of one that serves no chat. Not after
     * a failure that no success has followed, though a request may try it.
     */
    available: why === undefined,
    /** Why it is not available, in words; null when it is. Those that begin with "needs attention" wait for the operator. */
    why: why ?? null,
    /** The same in one of few words, for metrics and scripts; null when it is available. */
    reason: enabled ? (reason ? reasonWord(reason) : null) : 'disabled',
    /** Whose state is in the way: `upstream`, `key`, `endpoint`, `origin`, `proxy`, or `quota` and its name. */
    blocked_by: blocking === undefined ? null : ownerOf(blocking),
    /** When it may open; null when it is open, or when nobody can say. */
    until: laterIso(reason?.until, at),
    /** The same as a duration in whole ms. */
    for_ms: waitMs > 0 && waitMs < Infinity ? Math.ceil(waitMs) : null,
    /** Endpoints that rest on their own, while others of the upstream may work. */
    resting_endpoints: enabled ? restingEndpoints(upstream, task) : [],
    /** Requests under way, streams included. */
    in_flight: stateOf(claim.id)?.inFlight ?? 0,
    windows: claim.draws.flatMap((limitScope) => windowStatuses(limitScope, task)),
    /** What it can do by its configuration, its list of models, what it refused and what worked; with the source. */
    abilities: abilityStatuses(upstream, task),
    /** Newest first; at most 40. `status` is null when it never answered. */
    last_outcomes: (past?.last ?? []).map(({ at, outcome, status, durationMs }) => ({
      at: isoOf(at),
      outcome,
      status: status ?? null,
      ms: Math.round(durationMs),
    })),
    /** Of the last answers, oldest first; at most 40. */
    first_bytes: (past?.firstBytes ?? []).map(Math.round),
    last_error: past?.lastError === undefined ? null : lastErrorStatus(past.lastError),
    /** Of the last 200 answers; null before the first. */
    first_byte_ms: firstByte ? { p50: Math.round(firstByte.p50), p95: Math.round(firstByte.p95) } : null,
    /** Since the start. */
    attempts: past?.attempts ?? 0,
    /** Of the attempts; the client's faults and departures are none. */
    failures: past?.failures ?? 0,
  }
}

/** What is known; `most` of a size is in tokens, of a body in bytes. Nothing is listed of what nobody knows. */
function abilityStatuses({ id, can = {}, contextTokens }: Upstream, { abilities, at }: StatusTask) {
  const learned = abilities.of(id)
  const isKnown = ({ until }: { until: number }): boolean => until > at.now
  const since = (moment: number): string | null => isoOf(at.wall + (moment - at.now))
  return {
    can: Object.fromEntries([
      ...Object.entries(learned.can)
        .filter(([, entry]) => isKnown(entry))
        .map(([name, entry]) => [name, { can: entry.can, source: entry.source, since: since(entry.since) }]),
      ...Object.entries(can).map(([name, is]) => [name, { can: is, source: 'configured', since: null }]),
    ]) as Record<string, AbilityStatus>,
    most: Object.fromEntries([
      ...Object.entries(learned.sizes)
        .filter(([, entry]) => isKnown(entry))
        .map(([name, { most, source, since: from }]) => [name, { most, source, since: since(from) }]),
      ...(contextTokens === undefined
        ? []
        : [['context', { most: contextTokens, source: 'configured', since: null }]]),
    ]) as Record<string, SizeStatus>,
  }
}

type Told = { readonly source: string; readonly since: string | null }
type AbilityStatus = Told & { readonly can: boolean }
type SizeStatus = Told & { readonly most: number }

type LastError = NonNullable<NonNullable<ReturnType<Recent['of']>>['lastError']>

/** What went wrong last; faults of clients are not told. `message` is the upstream's own, with its key masked. */
const lastErrorStatus = ({ at, status, reason, url, words }: LastError) => ({
  at: isoOf(at),
  status: status ?? null,
  reason: reason ?? null,
  url,
  message: words ?? null,
})

function restingEndpoints({ endpoints, claims }: Upstream, known: KnownStates) {
  return [...endpoints].flatMap((endpoint) => {
    const claim = claims[endpoint]
    const own = { ...claim, draws: claim.draws.filter(({ role }) => role === 'endpoint') }
    const reason = reasonAgainst(own, endpoint, known)
    if (reason === undefined) return []
    return [{ endpoint, why: whyText(reason, known), until: laterIso(reason.until, known.at) }]
  })
}

/** A limit as `/admin/status` shows it. */
export interface LimitStatus {
  readonly counts: string
  /** As configured, such as `minute`, `day`, `5h`; of what the upstream tells, the span that comes nearest; `at_once`. */
  readonly window: string
  readonly scope: string
  /** Sent and not forgotten yet, as far as is known here. */
  readonly used: number
  /** Null where the upstream said only what is left. */
  readonly limit: number | null
  /** What may still be sent before `resets_at`; never negative. */
  readonly left: number
  /** `configured`, of a vendor's `preset`, `learned` from headers, or `refused`: told by refusals alone. */
  readonly source: string
  /** What is sent, a minute, averaged over some. */
  readonly rate?: number | undefined
  /** When nothing is left at this rate; null where it is whole again before. */
  readonly runs_out_at: string | null
  /** When one more fits; null where one does now. */
  readonly reopens_at: string | null
  /** When it is as good as new; null when it is already, or nobody said. */
  readonly resets_at: string | null
  /** Seconds since the upstream told of it; null for what is configured. */
  readonly age: number | null
  /** The names of the headers that tell of it. */
  readonly meter?: string
}

/** The limits of one scope: the configured ones, those that only the upstream spoke of, and the requests at once. */
export function windowStatuses(limitScope: LimitScope, { stateOf, at }: KnownStates): LimitStatus[] {
  const { limits } = limitScope
  const state = stateOf(limitScope.scope) ?? UNKNOWN_SCOPE
  const scope = ownerOf(limitScope)
  const counted = outlooksOf(limits, state, at.now).map((outlook) => limitStatus(outlook, scope, at))
  const limit = concurrencyOf(state, limits?.concurrency, at.now)
  if (limit === Infinity) return counted
  const used = state.inFlight
  const left = Math.max(0, limit - used)
  const source = limit === limits?.concurrency ? 'configured' : 'learned'
  const never = { rate: undefined, runs_out_at: null, reopens_at: null, resets_at: null, age: null }
  const atOnce = { counts: 'requests', window: 'at_once', scope, used, limit, left, source, ...never }
  return [...counted, atOnce]
}

function limitStatus(outlook: LimitOutlook, scope: string, at: Instant): LimitStatus {
  const { counts, per, spanMs, used, limit, left, source, rate, heardAt, meter } = outlook
  return {
    counts,
    window: per ?? nearestSpan(spanMs),
    scope,
    used: Math.round(used),
    limit: limit ?? null,
    left: Math.floor(left),
    source,
    rate: Math.round(rate * 10) / 10,
    runs_out_at: laterIso(outlook.runsOutAt, at),
    reopens_at: laterIso(outlook.reopensAt, at),
    resets_at: laterIso(outlook.resetsAt, at),
    age: heardAt === undefined ? null : Math.max(0, Math.round((at.now - heardAt) / 1_000)),
    ...(meter !== undefined && { meter }),
  }
}

/** The span whose length is nearest by ratio: 50 s is a minute, 20 h is a day. */
function nearestSpan(ms: number): Span {
  const distance = (span: Span): number => Math.abs(Math.log(Math.max(1, ms) / SPAN_MS[span]))
  const spans = Object.keys(SPAN_MS) as Span[]
  return spans.reduce((best, span) => (distance(span) < distance(best) ? span : best))
}

/** Whose state a scope is, in a word: nothing of the fingerprints that name it in the store. */
export const ownerOf = ({ role, scope }: LimitScope): string =>
  role === 'quota' || role === 'account' ? scope : role

/** Endpoints whose requests spend no tokens, so that a spent token limit does not close them. */
const TOKENLESS: ReadonlySet<Endpoint> = new Set(['images', 'audio'])

/** The endpoint that an upstream is judged by as a whole: `chat`, or the first that it serves. */
function mainEndpoint({ endpoints }: Upstream): Endpoint {
  const [first = 'chat'] = endpoints
  return endpoints.has('chat') ? 'chat' : first
}

/** What keeps an enabled upstream from taking the smallest of requests now; undefined = nothing. */
export function reasonAgainst(claim: Claim, endpoint: Endpoint, { stateOf, at }: KnownStates) {
  const inputTokens = TOKENLESS.has(endpoint) ? undefined : 1
  const ask = { inputTokens, outputTokens: 0, probeMs: 0, lastResort: false }
  const availability = availabilityOf(claim, stateOf, { ask, now: at.now })
  return availability.free ? undefined : availability.reason
}

/**
 * The failure that no success has followed although its cooldown is over: the next request finds out. A limit of which the
 * time has come is over by itself.
 */
function unprovenReason({ draws }: Claim, { stateOf, at }: KnownStates): UnprovenReason | undefined {
  for (const { scope } of draws) {
    const breaker = stateOf(scope)?.breaker
    if (breaker === undefined || breaker.openUntil > at.now) continue
    const { cause, unpaid } = breaker
    if (unpaid || remedyOf({ scope, cause, until: at.now, onRelease: false }) !== 'wait')
      return { scope, cause, until: undefined, onRelease: false, ...(unpaid && { unpaid }) }
  }
  return undefined
}
type UnprovenReason = Omit<UnavailableReason, 'until'> & { readonly until: undefined }

/** Why an upstream may not take a request, where a sentence is too much. */
type ReasonWord = Cause | 'concurrency' | 'limit' | 'unpaid' | 'proxy' | 'untried' | 'paused'

/** `untried`: it failed, its rest is over, and nobody has tried it since. */
function reasonWord({ scope, cause, until, unpaid }: UnavailableReason | UnprovenReason): ReasonWord {
  if (cause.includes(':')) return 'limit'
  if (unpaid === true) return 'unpaid'
  if (cause !== 'failure') return cause as ReasonWord
  return until === undefined ? 'untried' : scope.startsWith('proxy ') ? 'proxy' : cause
}

/** Causes that are told in other words than their own. */
const WORDS: Readonly<Record<string, string>> = {
  quota: 'quota spent',
  auth: 'needs attention: key refused',
  'not-found': 'needs attention: model or endpoint not found',
  concurrency: 'concurrency limit reached',
}

/** A configured limit by its name, `meter:requests` and `wall:requests`. */
function limitText(cause: string): string {
  const [first = '', second = ''] = cause.split(':')
  if (first === 'meter') return `${second} used up, by the upstream's own word`
  return first === 'wall'
    ? `${second} asked for one after the other since a refusal`
    : `${first} per ${second} used up`
}

/** Why somebody can't be taken, in words. */
export function whyText(
  { scope, cause, until, onRelease }: UnavailableReason | UnprovenReason,
  { stateOf }: Pick<KnownStates, 'stateOf'>,
  lastError?: LastError,
): string {
  if (cause.includes(':')) return limitText(cause)
  const inARow = cause === 'failure' ? (stateOf(scope)?.breaker?.consecutiveBackoffs ?? 0) : 0
  const isProxy = scope.startsWith('proxy ')
  const what =
    cause === 'failure' && !isProxy && (lastError?.outcome === cause || lastError?.outcome === 'broken')
      ? failureText(lastError.status, lastError.reason)
      : undefined
  const words =
    (what ?? (isProxy ? 'its proxy fails' : WORDS[cause]) ?? cause) +
    (inARow > 1 ? `, ${inARow} in a row` : '')
  if (until === undefined) return `${words}; the next request tries it`
  // A cause that waits for a release has sat out its time: somebody's request finds out whether it is over.
  return onRelease && cause !== 'concurrency' ? `${words}, being tried again` : words
}

/** Everything known of the upstreams on all their endpoints, with one question to the store. */
export async function knownStates(upstreams: readonly Upstream[], snapshot: StateStore['snapshot']) {
  // In loops: somebody who watches has this done each second, and there are dozens of scopes to an upstream.
  const known = new Map<string, ScopeState | undefined>()
  for (const { claims } of upstreams)
    for (const endpoint of endpoints)
      for (const { scope } of claims[endpoint].draws) known.set(scope, undefined)
  const scopes = [...known.keys()]
  const states = await snapshot(scopes)
  for (let at = 0; at < scopes.length; at++) known.set(scopes[at] ?? '', states[at])
  return (scope: string) => known.get(scope)
}

/** A moment of the monotonic clock as a date that people read; null when it is over or none, such as never. */
export function laterIso(moment: number | undefined, at: Instant): string | null {
  return moment !== undefined && moment > at.now ? isoOf(at.wall + (moment - at.now)) : null
}

/** Epoch ms of the wall clock, ISO 8601; null outside of what a date can say. */
export function isoOf(wall: number): string | null {
  return Math.abs(wall) <= 8.64e15 ? new Date(wall).toISOString() : null
}
