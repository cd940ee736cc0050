import type { Instant } from '../lib/clock.ts'
import { standings, type Candidate } from '../pool/strategy.ts'
import type { Endpoint, LimitScope, Upstream } from '../pool/upstream.ts'
import type { Unavailable } from '../relay/candidates.ts'
import type { UnavailableReason } from '../state/availability.ts'
import { concurrencyOf, UNKNOWN_SCOPE } from '../state/scope.ts'
import { requestSummaryOf, type RequestSummary } from '../telemetry/live.ts'
import { isoOf, laterIso, ownerOf, whyText } from '../telemetry/status.ts'
import type { AttemptFrame, EndFrame } from './record.ts'
import type { Segment } from './recorder.ts'
import { replay, type ReplayedChoice } from './replay.ts'
import { inTurns, type Pause, type SeenRequest } from './segment.ts'

/** Why a request went where it went, as `GET /admin/requests/{id}` answers. Moments are ISO 8601. Holds no secret. */
export interface Explanation {
  readonly request: RequestSummary
  /** Whether every choice, made again, fell as it had. */
  readonly exact: boolean
  readonly decisions: readonly Decision[]
  readonly attempts: readonly AttemptLine[]
  /** Null while it is under way. */
  readonly end: { readonly status: number; readonly code: string | null; readonly text: string } | null
}

export type Decision = ReturnType<typeof decisionOf>
export type AttemptLine = ReturnType<typeof attemptLine>

/** A request in a line. */
export function requestLine({ begin, end }: SeenRequest): RequestSummary {
  const { ownId, clientId = ownId, model, at } = begin
  return requestSummaryOf({ ...NO_END, ...end, ...begin, id: clientId, requestedModel: model }, at.wall)
}

const NO_END = { status: 0, attempts: [], queuedMs: 0, durationMs: 0 }

const rounded = (ms: number | undefined): number | null => (ms === undefined ? null : Math.round(ms))

/** What is known of a request, over all segments that tell of it. */
export interface Found extends SeenRequest {
  /** The oldest first. */
  readonly segments: readonly Segment[]
  /** Whether the process that had it may still have it. */
  readonly isAlive: boolean
}

/** Why a request went where it went: its choices are made once more. `pause`: lets others have a turn. */
export async function explanationOf(found: Found, secret: Uint32Array, pause?: Pause): Promise<Explanation> {
  const { begin, end, segments, isAlive } = found
  const decisions: Decision[] = []
  /** When attempts began, ms on the clock. */
  const sent: number[] = []
  /** Ids. */
  const tried = new Set<string>()
  let isExact = true
  for (const segment of segments) {
    const steps = replay(segment, secret, {
      wants: ({ ownId }) => ownId === begin.ownId,
      onChoice(_, choice) {
        decisions.push(decisionOf(choice, { begin, end, tried }))
        if (choice.chosen !== undefined) {
          sent.push(choice.frame.at.now)
          tried.add(choice.chosen.id)
        }
        isExact &&= choice.isSame
      },
    })
    try {
      await inTurns(steps, pause)
    } catch {
      // A segment that is damaged tells what it can.
      isExact = false
    }
  }
  return {
    request: requestLine(found),
    exact: isExact,
    decisions,
    attempts: (end?.attempts ?? []).map((attempt, at) =>
      attemptLine(attempt, Math.max(0, (sent[at] ?? begin.at.now) - begin.at.now)),
    ),
    end:
      end === undefined
        ? isAlive
          ? null
          : LOST
        : { status: end.status, code: end.code ?? null, text: endText(end) },
  }
}

const LOST = { status: 0, code: null, text: 'its process ended before it, or its end was not written down' }

/** @param startedMs since the request's arrival */
function attemptLine(attempt: AttemptFrame, startedMs: number) {
  return {
    upstream: attempt.upstream,
    model: attempt.model,
    outcome: attempt.outcome,
    /** Null where it never answered. */
    status: attempt.status ?? null,
    started_ms: Math.round(startedMs),
    first_byte_ms: rounded(attempt.firstByteMs),
    duration_ms: Math.round(attempt.durationMs),
    reason: attempt.reason ?? null,
    why: attempt.why ?? null,
  }
}

function endText({ status, code, upstream, attempts }: EndFrame): string {
  if (status === 499) return 'the client left'
  if (upstream === undefined)
    return attempts.length === 0 ? 'refused without an attempt' : 'no upstream answered'
  if (code !== undefined) return `the answer of ${upstream} broke off`
  return status < 400 ? `${upstream} answered` : `${upstream} refused it, and its words were handed on`
}

const KIND_WORDS = {
  next: 'choice',
  remaining: 'next in order',
  'last-resort': 'last resort',
  'rare-last-resort': 'last resort',
} as const

/** A request up to one of its choices. */
type Past = SeenRequest & { readonly tried: ReadonlySet<string> }

function decisionOf(choice: ReplayedChoice, past: Past) {
  const { frame, strategy, pools, evaluation, order } = choice
  const { at, kind, isWaiting } = frame
  const { begin, tried } = past
  const endpoint = begin.endpoint as Endpoint
  const stateOf = (scope: string) => choice.store.snapshot([scope])[0]
  const ranks = new Map(order.map(({ id }, rank) => [id, rank + 1]))
  // Who remains of an order is the choice; the others that were looked at again for its sake were asked before.
  const isMeant = ({ upstream }: { upstream: Upstream }): boolean =>
    kind !== 'remaining' || ranks.has(upstream.id) || !tried.has(upstream.id)
  const candidates = evaluation.candidates.filter(isMeant)
  const unavailable = evaluation.unavailable.filter(isMeant)
  const looked = new Set([...candidates, ...unavailable].map(({ upstream }) => upstream))
  return {
    at: isoOf(at.wall) ?? '',
    /** Since the request's arrival. */
    after_ms: Math.round(at.now - begin.at.now),
    kind: isWaiting && kind === 'next' ? ('after waiting' as const) : KIND_WORDS[kind],
    strategy,
    /** Who served the same affinity key before; null where nobody is remembered. */
    remembered: choice.remembered?.name ?? null,
    /** Who made what the request brings along. */
    owner: choice.owner?.name ?? null,
    /** Those who might take it. `rank`: their place in the order; null behind the first eight. */
    candidates: candidates.map((candidate) => ({
      ...candidateLine(candidate),
      rank: ranks.get(candidate.upstream.id) ?? null,
    })),
    /** All others of the configuration: those whose state is in the way, then those whom nobody looked at. */
    unavailable: [
      ...unavailable.map((one) => unavailableLine(one, { endpoint, at, stateOf })),
      ...pools.upstreams
        .filter((upstream) => !looked.has(upstream))
        .map((upstream) => leftOutLine(upstream, choice, past)),
    ],
    order: order.map(({ name }) => name),
    /** Null where nobody could be asked. */
    chosen: choice.chosen?.name ?? null,
    same: choice.isSame,
  }
}

const candidateLine = ({ upstream, inFlight, latencyMs, headroom, credit, standing }: Candidate) => ({
  upstream: upstream.name,
  weight: upstream.weight,
  priority: upstream.priority,
  /** Share of its tightest limit that is free, 0 to 1. */
  headroom: Math.round(headroom * 10_000) / 10_000,
  in_flight: inFlight,
  /** Null where it was not measured. */
  latency_ms: latencyMs === 0 ? null : Math.round(latencyMs),
  /** What smooth round robin has saved up for it. */
  credit,
  /** What speaks against it; null where nothing does. */
  standing: standingText(standing),
})

function standingText(standing: number): string | null {
  const words = [
    [standings.unable, 'is known to be unable to'],
    [standings.last, 'a guess speaks against it'],
    [standings.sameModel, 'its model refused this request'],
    [standings.sameHost, 'its host refused this request'],
    [standings.unknown, 'nobody knows whether it is able to, and others are'],
  ] as const
  let rest = standing
  const found: string[] = []
  for (const [value, text] of words)
    if (rest >= value) {
      found.push(text)
      rest -= value
    }
  return found.length === 0 ? null : found.join('; ')
}

interface Moment {
  readonly endpoint: Endpoint
  readonly at: Instant
  readonly stateOf: Parameters<typeof whyText>[1]['stateOf']
}

function unavailableLine({ upstream, reason }: Unavailable, { endpoint, at, stateOf }: Moment) {
  const scope = upstream.claims[endpoint].draws.find((one) => one.scope === reason.scope)
  return {
    upstream: upstream.name,
    why: whyText(reason, { stateOf }),
    /** When it may open; null where nobody can say, or it is a matter of somebody else's end. */
    until: laterIso(Number.isFinite(reason.until) ? reason.until : undefined, at),
    source: sourceOf(reason, scope, { stateOf, at }),
    /** Whose state is in the way. */
    scope: scope === undefined ? null : ownerOf(scope),
  }
}

/** An upstream that was not looked at, by the first rule that keeps it from the choice. */
function leftOutLine(upstream: Upstream, { base, pools }: ReplayedChoice, { begin, end, tried }: Past) {
  const { model, token } = begin
  const endpoint = begin.endpoint as Endpoint
  const line = (why: string, source: string) => ({
    upstream: upstream.name,
    why,
    until: null,
    source,
    scope: null,
  })
  if (!upstream.enabled) return line('disabled', 'configured')
  if (!upstream.endpoints.has(endpoint)) return line(`does not serve ${endpoint}`, 'configured')
  if (tried.has(upstream.id)) return line('asked already for this request', 'request')
  if (base.includes(upstream)) return line('others wait for it already', 'queue')
  const pool = pools.poolFor(model, endpoint)?.upstreams ?? []
  // A name that no upstream of a token bears may stand for all that it has.
  if (!pool.includes(upstream) && base.every((one) => pool.includes(one)))
    return pools.named(model)?.includes(upstream) === false
      ? line('not of the model that was asked for', 'request')
      : line('presumed to be for other endpoints', 'presumed')
  const [first] = base
  if (endpoint === 'embeddings' && first !== undefined && first.model !== upstream.model)
    return line("its vectors do not mix with another model's", 'configured')
  const isPinned = end?.attempts.some(({ why }) => why === 'pinned') === true
  if (isPinned || token === undefined)
    return line('another one has the answer that the request builds on', 'pinned')
  // Of one that nobody was asked for it is not written down which of both it was.
  return endpoint === 'responses' && base.length === 1 && (end?.attempts ?? []).length === 0
    ? line("left out by the client's token, or by the answer that the request builds on", 'token')
    : line("not for the client's token", 'token')
}

/** Who says so: the configuration, a preset, the upstream's headers or refusals, the operator, or our own rest after a failure. */
function sourceOf(
  { cause }: UnavailableReason,
  scope: LimitScope | undefined,
  { stateOf, at }: Pick<Moment, 'stateOf' | 'at'>,
): string {
  if (cause.startsWith('meter:')) return 'learned'
  if (cause.startsWith('wall:')) return 'refused'
  if (cause === 'concurrency') {
    const configured = scope?.limits?.concurrency ?? Infinity
    const state = (scope && stateOf(scope.scope)) ?? UNKNOWN_SCOPE
    return concurrencyOf(state, configured, at.now) < configured ? 'learned' : 'configured'
  }
  if (cause === 'paused') return 'paused'
  if (!cause.includes(':')) return 'cooldown'
  const window = scope?.limits?.windows.find(({ name }) => name === cause)
  return window?.isPresumed ? 'preset' : 'configured'
}
