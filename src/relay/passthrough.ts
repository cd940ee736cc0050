import { GatewayError } from '../errors.ts'
import { instantOf } from '../lib/clock.ts'
import { isBodiless } from '../lib/headers.ts'
import type { Outcome } from '../pool/outcome.ts'
import type { Claim, Upstream } from '../pool/upstream.ts'
import type { Lease } from '../state/store.ts'
import { TransportError, type UpstreamRequest, type UpstreamResponse } from '../transport/transport.ts'
import { classifyStatus, classifyTransport } from '../vendors/classify.ts'
import { answerKey } from './candidates.ts'
import { discard, readPrefix } from './commit.ts'
import type { AttemptOutcome, AttemptRecord, RelayDeps, Why } from './deps.ts'
import { clientClosedRequest, exhausted, outOfResources, pausedError } from './exhausted.ts'
import { headersFor, traced, urlFor } from './headers.ts'
import {
  recordAttempt,
  recordEnd,
  type Cost,
  type RelayAnswer,
  type RelayRequest,
  type RequestRecord,
} from './request.ts'
import { attemptFailureOf } from './secrets.ts'
import { endLease } from './select.ts'
import { createTap, type BodyEnd } from './stream.ts'

/** What is told of an attempt besides what it meant for the upstream. */
type Told = { label: AttemptOutcome; code?: string; failure?: Outcome | undefined }

/** Who a request is passed on to, and its lease; undefined where the upstream is resting: then nobody counts it. */
interface PassthroughTarget {
  readonly upstream: Upstream
  readonly why: Why
  readonly lease: Lease | undefined
}

interface PassthroughChoice extends Pick<RelayRequest, 'settings'> {
  /** An answer that its upstream keeps; it exists nowhere else. */
  readonly storedAnswerId: string | undefined
  /** Who may have made it: all that are enabled. */
  readonly upstreams: readonly Upstream[]
  /** Who is asked where that is not known, unless disabled. */
  readonly otherwise: Upstream | undefined
}

/**
 * The upstream that made a stored answer, else `otherwise`; undefined where there is neither. A remote store that does
 * not know it on this side tells with the acquire, for which all are put in order.
 *
 * @throws `no_upstream` where the operator has paused it
 */
export async function passthroughTarget(
  { storedAnswerId, upstreams, otherwise, settings }: PassthroughChoice,
  deps: RelayDeps,
): Promise<PassthroughTarget | undefined> {
  const { store, clock } = deps
  const key = storedAnswerId === undefined ? undefined : answerKey(storedAnswerId)
  const targetOf = (id: string | null | undefined): Upstream | undefined =>
    upstreams.find((upstream) => upstream.id === id) ?? upstreams.find((upstream) => upstream === otherwise)
  const known = key === undefined ? undefined : await store.recall(key, instantOf(clock))
  const isAsked = key !== undefined && known === null
  const first = targetOf(known)
  const others = isAsked ? upstreams.filter((upstream) => upstream !== first) : []
  const order = first === undefined ? others : [first, ...others]
  if (order.length === 0) return undefined
  const probeMs = settings.connectTimeoutMs + settings.timeoutMs
  const ask = { inputTokens: undefined, outputTokens: undefined, lastResort: true, probeMs }
  const pinKeys = isAsked ? [key] : undefined
  const lease = await store.acquire(order.map(passthroughClaim), { ...ask, pinKeys }, instantOf(clock))
  const holder = isAsked ? await store.recall(key, instantOf(clock)) : known
  const upstream = targetOf(holder)
  const own = lease?.claim.id === upstream?.id ? lease : undefined
  if (lease !== own && lease !== undefined) endLease(lease, { kind: 'aborted', sent: false }, deps)
  if (upstream !== undefined && own === undefined) await refuseWherePaused(upstream, deps)
  return upstream && { upstream, lease: own, why: upstream.id === holder ? 'pinned' : 'passthrough' }
}

/** Whatever else its state: what the operator has paused is asked for nothing. @throws `no_upstream` */
async function refuseWherePaused({ id }: Upstream, { store }: RelayDeps): Promise<void> {
  const [state] = await store.snapshot([id])
  if (state?.pausedSince !== undefined) throw pausedError('The upstream that this path goes to')
}

/** A request that goes to one upstream as it is. */
interface PassthroughRequest
  extends
    PassthroughTarget,
    Pick<
      RelayRequest,
      | 'id'
      | 'ownId'
      | 'settings'
      | 'path'
      | 'query'
      | 'headers'
      | 'client'
      | 'token'
      | 'account'
      | 'clientSignal'
      | 'since'
      | 'trace'
    > {
  readonly method: string
  /** The path as it may be told: a client's token may stand in it by mistake. */
  readonly shownPath: () => string
  /** In pieces; empty = none. */
  readonly body: readonly Uint8Array[]
}

/** Statuses that say something of the key or its limits, and not of the request. */
const COOLING_STATUSES = new Set([401, 402, 429])
/** RFC 9110 §9.2.2. Any other may have done its work over a connection that died, and is not sent twice. */
const IDEMPOTENT = new Set(['GET', 'HEAD', 'OPTIONS', 'PUT', 'DELETE'])
/** Small JSON and errors arrive whole; of what cools this much is read for its hint. */
const WHOLE_ANSWER_BYTES = 65_536

/**
 * One attempt, whatever the upstream's state but for a pause: nothing is rewritten, no other upstream could answer for it.
 *
 * The answer's status and body are the upstream's, errors too. Only 401, 402, 429 and a connection that could not be
 * made cool it. The body is empty where HTTP allows none.
 *
 * @throws GatewayError when there is no answer, or the client left before it began
 */
export async function passthrough(request: PassthroughRequest, deps: RelayDeps): Promise<RelayAnswer> {
  const { upstream, lease, method, clientSignal } = request
  const startedAt = deps.clock.now()
  const record: RequestRecord = {
    request: { ...request, endpoint: 'passthrough', requestedModel: '', stream: false },
    deps,
    attempts: [],
    queuedMs: 0,
    firstByteMs: undefined,
    cost: 'nothing',
    why: request.why,
  }
  let head: Pick<AttemptRecord, 'status' | 'firstByteMs'> | undefined

  /** Settles the lease and reports an attempt and a request. Called once. */
  function end(outcome: Outcome, status: number, told: Told): void {
    const durationMs = deps.clock.now() - startedAt
    if (lease !== undefined) endLease(lease, outcome, deps)
    const failure = attemptFailureOf(told.failure ?? outcome, upstream, request.shownPath())
    recordAttempt(record, upstream, { ...head, outcome: told.label, durationMs, failure })
    recordEnd(record, { status, upstream, code: told.code, cost: costOfPassing(outcome) })
  }

  try {
    const response = await deps.send(upstreamRequestOf(request), clientSignal)
    const { status, headers } = response
    const { body, failure } = await judged(response, deps)
    head = { status, firstByteMs: deps.clock.now() - startedAt }
    record.firstByteMs = deps.clock.now() - request.since
    request.account?.began()
    const onEnd = (how: BodyEnd): void => {
      // An answer shows an upstream at work, unless it says that it is not.
      const outcome = failure ?? (how.kind === 'ok' && status < 500 ? how : NEUTRAL_OUTCOME)
      if (how.kind === 'ok') {
        const label = failure?.cause ?? labelOf(status)
        end(outcome, status, { label, failure: label === 'failure' ? unjudged(response, deps) : undefined })
      } else if (how.kind === 'aborted') end(outcome, 499, { label: 'aborted' })
      else end(outcome, status, { label: 'broken', code: how.code, failure: how })
    }
    const answer = { status, headers, upstream, attempts: 1 }
    const isEmpty = isBodiless(method, status)
    if (!isEmpty && !(body instanceof Uint8Array))
      return {
        ...answer,
        body: createTap({ reader: body, head: [], clientSignal, onEnd, after: deps.clock.after }),
      }
    discard(body)
    onEnd({ kind: 'ok' })
    return { ...answer, body: body instanceof Uint8Array ? body : new Uint8Array(0) }
  } catch (error) {
    if (clientSignal.aborted) {
      end(NEUTRAL_OUTCOME, 499, { label: 'aborted', code: 'client_closed_request' })
      throw clientClosedRequest()
    }
    if (error instanceof TransportError) {
      const { failure: how } = error
      if (how === 'shortage') {
        end(NOTHING_SENT, 503, { label: 'aborted', code: 'overloaded' })
        throw outOfResources()
      }
      const failure = classifyTransport(how === 'aborted' ? 'broken' : how, error.reason)
      const clientError = exhausted({
        failures: [failure],
        unavailable: [],
        now: deps.clock.now(),
        request: { path: request.path, requestedModel: '' },
      })
      const { status, code } = clientError
      clientError.attempts = 1
      // Only what never left here says that the upstream is away; the rest may be this one request's doing.
      const told = { label: failure.cause, code, failure }
      end(failure.class === 'not-sent' ? failure : NEUTRAL_OUTCOME, status, told)
      throw clientError
    }
    // Our own mistakes stay what they are.
    if (error instanceof GatewayError) error.attempts = 1
    const { status, code } = error instanceof GatewayError ? error : { status: 500, code: 'internal_error' }
    end(NEUTRAL_OUTCOME, status, { label: 'failure', code })
    throw error
  }
}

/** What is passed on counts as a request, whatever it asks for: of tokens nothing is known. */
function costOfPassing(outcome: Outcome): Cost {
  const isRefused = outcome.kind === 'failed' && (outcome.class === 'refused' || outcome.class === 'not-sent')
  return isRefused || (outcome.kind === 'aborted' && !outcome.sent) ? 'nothing' : 'request'
}

/** Everything but the endpoint: what is asked here says nothing of those that are relayed. */
export function passthroughClaim({ claims }: Upstream): Claim {
  const { draws, ...rest } = claims.chat
  return { ...rest, draws: draws.filter(({ role }) => role !== 'endpoint') }
}

function upstreamRequestOf(request: PassthroughRequest): UpstreamRequest {
  const { upstream, method, body } = request
  return {
    method,
    url: urlFor(upstream, request.path, request.query),
    headers: traced(headersFor(upstream, request.headers), request.trace?.attempt(upstream)),
    ...(body.length > 0 && { body }),
    route: upstream.route,
    connectTimeoutMs: request.settings.connectTimeoutMs,
    timeoutMs: upstream.timeoutMs,
    gatherBytes: (status, headers) => {
      const isSmall =
        status >= 400 || isBodiless(method, status) || headers['content-type']?.includes('json') === true
      return isSmall ? WHOLE_ANSWER_BYTES : 0
    },
    ...(!IDEMPOTENT.has(request.method) && { mayResend: false }),
  }
}

/** The body, and what a refusal means: its text tells whose limit it is, and for how long. */
async function judged({ status, headers, body }: UpstreamResponse, { clock }: RelayDeps) {
  if (status < 200 || status > 599) {
    discard(body)
    const message = `The upstream answered with an invalid status (${status}).`
    throw new GatewayError('upstream_bad_response', message)
  }
  if (!COOLING_STATUSES.has(status)) return { body }
  const prefix = await readPrefix(body, WHOLE_ANSWER_BYTES)
  const failure = classifyStatus({ status, headers, body: prefix.bytes, wallNow: clock.wall() })
  return { body: prefix.body, failure }
}

/** What is told of a failure that blames nobody. */
const unjudged = ({ status, headers, body }: UpstreamResponse, { clock }: RelayDeps): Outcome | undefined =>
  status < 400
    ? undefined
    : classifyStatus({
        status,
        headers,
        body: body instanceof Uint8Array ? body : undefined,
        wallNow: clock.wall(),
      })

/** Blames nobody: it may be this one request's doing. */
const NEUTRAL_OUTCOME: Outcome = { kind: 'aborted', sent: true }

const NOTHING_SENT: Outcome = { kind: 'aborted', sent: false }

/** What is passed on unjudged is told by its status. */
function labelOf(status: number): AttemptOutcome {
  if (status < 400) return 'ok'
  return status < 500 ? 'client-error' : 'failure'
}
