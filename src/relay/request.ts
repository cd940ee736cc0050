import type { Settings } from '../config/config.ts'
import type { TokenConfig } from '../config/token-schema.ts'
import type { AbortSignalLike } from '../lib/abort.ts'
import type { HeaderBag } from '../lib/headers.ts'
import type { Failure, Lesson } from '../pool/outcome.ts'
import type { Pool } from '../pool/pool.ts'
import type { Claim, Endpoint, Upstream } from '../pool/upstream.ts'
import type { UpstreamResponse } from '../transport/transport.ts'
import type { Demands } from './demand.ts'
import type { AttemptRecord, PassedOver, RelayDeps, RequestEvent, RequestTrace, Why } from './deps.ts'

/** What a request has cost its client. */
export type Cost =
  | 'nothing' // no upstream has worked for it
  | 'request' // it was refused for its own sake
  | 'reserved' // an upstream may have worked, and nobody knows how much
  | { readonly tokens: number; readonly inputTokens: number; readonly outputTokens: number }

/** Whom a request is counted for: the client token that it came with. */
export interface Account {
  readonly token: Pick<TokenConfig, 'name' | 'admin' | 'passthrough'>
  /** Its answer has begun. */
  began(): void
  /** Ends the request; what is told after the first time is of no account. */
  end(cost: Cost): void
}

/** A request as the relay takes it: read, checked, its pool found. */
export interface RelayRequest extends Demands {
  /** As the client knows it: its own, or ours. */
  readonly id: string
  /** Ours, which no other request has. */
  readonly ownId: string
  readonly endpoint: Endpoint
  /** Below an upstream's root, such as `chat/completions`. */
  readonly path: string
  /** The client's own query, without `?`; empty = none. */
  readonly query: string
  readonly pool: Pool
  readonly settings: Settings
  /** The model that the client named; empty = none. */
  readonly requestedModel: string
  /** The client's address; absent where it is not to be told. */
  readonly client: string | undefined
  /** The name of the client token that it came with; undefined where that was an `auth_token`. */
  readonly token?: string | undefined
  /** Of that token; who holds an `auth_token` is counted nowhere. */
  readonly account?: Account | undefined
  /** Allow-listed already; without the upstream's own key. */
  readonly headers: HeaderBag
  /** The body for one upstream: the client's bytes, with its model name in place of the client's, and its edits. */
  readonly bodyFor: (upstream: Upstream) => readonly Uint8Array[]
  readonly stream: boolean
  /** Whether that is not said in a place that is read: then an answer may have either form. */
  readonly isForm: boolean
  /** Whether it asks for sound, or for text in any form: then no answer can be told to be none but an error in JSON. */
  readonly isFree: boolean
  /** What makes requests stick together; empty = nothing. */
  readonly affinityKey: string
  /** Its hash; 0 = none. */
  readonly keyHash: number
  /** Remembered ids of earlier answers that the request builds on; it goes where they are, alone. */
  readonly answerIds: readonly string[]
  /** The key under which the upstream is remembered that made what the request brings along; empty = nothing such. */
  readonly ownerKey: string
  /** Whether its answer is kept where it is made: by its id, clients ask for it later. */
  readonly isStored: boolean
  /** Aborted when the client leaves. */
  readonly clientSignal: AbortSignalLike
  /** Arrival, ms on the clock. */
  readonly since: number
  /** Absent where nothing is traced: then a `traceparent` goes on as it came. */
  readonly trace?: RequestTrace | undefined
}

/** What the relay gives back; its body ends the request. */
export interface RelayAnswer extends UpstreamResponse {
  readonly upstream: Upstream
  readonly attempts: number
  /** The same as an HTTP error, where an error came as an event of a stream. */
  readonly asError?: UpstreamResponse
}

/** What log and metrics are told of a request when it ends. */
export interface RequestRecord {
  readonly request: Pick<
    RelayRequest,
    'id' | 'ownId' | 'requestedModel' | 'client' | 'token' | 'account' | 'stream' | 'since' | 'trace'
  > & {
    endpoint: string
  }
  readonly deps: RelayDeps
  readonly attempts: AttemptRecord[]
  /** Waiting in the queue in all. */
  queuedMs: number
  /** From arrival to the commit point. */
  firstByteMs: number | undefined
  /** Of all attempts; those of a whole answer are told with its end. */
  readonly cost: Cost
  /** Of the present attempt. */
  readonly why: Why | undefined
  readonly passedOver?: PassedOver | undefined
}

/** Most requests never have any. */
const NONE: ReadonlySet<string> = new Set()

/** One request on its way over the upstreams: what it may use, and what it has been through. */
export class RelayState implements RequestRecord {
  readonly request: RelayRequest
  readonly deps: RelayDeps
  /** The upstreams it may go to; the pool, or the one that holds an earlier answer. */
  upstreams: readonly Upstream[]
  /** Whether it may go to that one alone. */
  isPinned = false
  why: Why | undefined
  passedOver: PassedOver | undefined
  cost: Exclude<Cost, object> = 'nothing'
  /** Keys of earlier answers whose upstream only the next `acquire` finds out; see `Ask.pinKeys`. */
  unresolvedPins: readonly string[] = []
  /** The rest of the present order. */
  order: readonly Claim[] = []
  /** Ids that were tried since the last wait. */
  readonly tried = new Set<string>()
  /** Ids that refused this one request and took no harm: to wait for them is of no use. */
  refusedBy = NONE
  readonly attempts: AttemptRecord[] = []
  readonly failures: Failure[] = []
  /** When the first attempt began. */
  firstSentAt: number | undefined
  /** Of the settings and of all upstreams that were asked. */
  longestTimeoutMs: number
  /** The last moment for a first byte, over all attempts: twice the longest timeout; ms on the clock. */
  deadline = Infinity
  queuedMs = 0
  /** While it waits: until when at most, ms on the clock. */
  waitUntil: number | undefined
  firstByteMs: number | undefined
  /** Upstreams that refused this body; others are asked first. */
  readonly refusers: Upstream[] = []
  /** Those who said that they are at a limit. */
  readonly limited: Upstream[] = []
  /** What the first of those who refused the body said, and whether that speaks of what a model can do or take. */
  refusal: RelayAnswer | undefined
  isAboutAbility = false
  /** What the first said that refused it for reasons of its own, in words that a client may read. */
  firstWords: RelayAnswer | undefined
  /** What the last said, where its error came inside a success. */
  lastWords: string | undefined
  /** The last answer without content, or the first in the other form than asked. */
  unfit: RelayAnswer | undefined
  isUnfitWhole = false
  /** What is to be remembered of those who refused, if somebody answers. */
  readonly lessons: { readonly upstream: Upstream; readonly lesson: Lesson | undefined }[] = []
  /** Who made what the request brings along, where that is known. */
  owner: string | undefined

  constructor(request: RelayRequest, deps: RelayDeps) {
    this.request = request
    this.deps = deps
    this.upstreams = request.pool.upstreams
    this.longestTimeoutMs = request.settings.timeoutMs
  }
}

/** Nobody reads the words of those who refused any more, but for the answer that is handed on. */
export function dropKept({ refusal, firstWords }: RelayState, except?: RelayAnswer): void {
  for (const kept of [refusal, firstWords])
    if (kept !== except && kept !== undefined && !(kept.body instanceof Uint8Array))
      void kept.body.cancel().catch(() => {})
}

type AttemptEnd = Omit<AttemptRecord, 'upstream' | 'model' | 'why'>

export function recordAttempt(record: RequestRecord, upstream: Upstream, end: AttemptEnd): void {
  const { why, passedOver } = record
  const { id: requestId, endpoint } = record.request
  const attempt = { ...end, upstream: upstream.name, model: upstream.model, why }
  record.attempts.push(attempt)
  record.deps.report({
    ...attempt,
    kind: 'attempt',
    requestId,
    upstreamId: upstream.id,
    endpoint,
    passedOver,
  })
}

type RequestEnd = Pick<RequestEvent, 'status' | 'code' | 'inputTokens' | 'outputTokens'> & {
  readonly cost?: Cost
}

/** Tells of the end of a request. Called once. */
export function recordEnd(record: RequestRecord, end: RequestEnd & { upstream?: Upstream }): void {
  const { request, deps, attempts, queuedMs, firstByteMs } = record
  const { upstream } = end
  request.account?.end(end.cost ?? record.cost)
  deps.report({
    kind: 'request',
    id: request.id,
    ownId: request.ownId,
    endpoint: request.endpoint,
    requestedModel: request.requestedModel,
    client: request.client,
    token: request.token,
    attempts,
    durationMs: deps.clock.now() - request.since,
    stream: request.stream,
    queuedMs,
    status: end.status,
    code: end.code,
    upstream: upstream?.name,
    model: upstream?.model,
    why: upstream && attempts.findLast((attempt) => attempt.upstream === upstream.name)?.why,
    passedOver: attempts.length === 0 ? record.passedOver : undefined,
    firstByteMs,
    inputTokens: end.inputTokens,
    outputTokens: end.outputTokens,
    trace: request.trace,
  })
}
