import { GatewayError } from '../errors.ts'
import { instantOf } from '../lib/clock.ts'
import { isBodiless } from '../lib/headers.ts'
import type { Outcome } from '../pool/outcome.ts'
import type { Claim, Upstream } from '../pool/upstream.ts'
import type { Lease } from '../state/store.ts'
import { TransportError, type UpstreamRequest, type UpstreamResponse } from '../transport/transport.ts'
import { classifyAnswer, classifyTransport } from '../vendors/classify.ts'
import { discard, readPrefix } from './commit.ts'
import type { AttemptOutcome, AttemptRecord, RelayDeps } from './deps.ts'
import { clientClosedRequest, exhausted } from './exhausted.ts'
import { headersFor, urlFor } from './headers.ts'
import {
  recordAttempt,
  recordEnd,
  type RelayAnswer,
  type RelayRequest,
  type RequestRecord,
} from './request.ts'
import { endLease } from './select.ts'
import { createTap } from './stream.ts'

/** A request that goes to one upstream as it is. */
interface PassthroughRequest extends Pick<
  RelayRequest,
  'id' | 'settings' | 'path' | 'query' | 'headers' | 'clientSignal' | 'since'
> {
  readonly upstream: Upstream
  readonly method: string
  /** In pieces; empty = none. */
  readonly body: readonly Uint8Array[]
}

/** Such a request under way. */
interface PassthroughState extends RequestRecord {
  readonly upstream: Upstream
  /** Undefined where the upstream is resting: then nobody counts it. */
  readonly lease: Lease | undefined
  readonly startedAt: number
  /** Of its answer, as soon as that is there. */
  head: Pick<AttemptRecord, 'status' | 'firstByteMs'> | undefined
}

/** Statuses that say something of the key or its limits, and not of the request. */
const COOLING_STATUSES = new Set([401, 402, 429])
/** RFC 9110 §9.2.2. Any other may have done its work over a connection that died, and is not sent twice. */
const IDEMPOTENT = new Set(['GET', 'HEAD', 'OPTIONS', 'PUT', 'DELETE'])
/** Small JSON arrives whole; of what cools this much is read for its hint. */
const WHOLE_ANSWER_BYTES = 65_536

/**
 * One attempt, whatever the upstream's state: nothing is rewritten, no other upstream could answer for it.
 *
 * The answer's status and body are the upstream's, errors too. Only 401, 402, 429 and a connection that could not be
 * made cool it. The body is empty where HTTP allows none.
 *
 * @throws GatewayError when there is no answer, or the client left before it began
 */
export async function passthrough(request: PassthroughRequest, deps: RelayDeps): Promise<RelayAnswer> {
  const { upstream, settings, clientSignal } = request
  const probeMs = settings.connectTimeoutMs + settings.timeoutMs
  const ask = { inputTokens: undefined, outputTokens: undefined, lastResort: true, probeMs }
  const lease = await deps.store.acquire([passthroughClaim(upstream)], ask, instantOf(deps.clock))
  const state: PassthroughState = {
    request: { ...request, endpoint: 'passthrough', requestedModel: '', stream: false },
    deps,
    upstream,
    lease,
    startedAt: deps.clock.now(),
    attempts: [],
    queuedMs: 0,
    firstByteMs: undefined,
    head: undefined,
  }
  try {
    const response = await deps.send(upstreamRequestOf(request), clientSignal)
    return await relayAnswerOf(response, request, state)
  } catch (error) {
    throw clientSignal.aborted ? clientLeft(state) : errorOf(error, state)
  }
}

/** Everything but the endpoint: what is asked here says nothing of those that are relayed. */
function passthroughClaim({ claims }: Upstream): Claim {
  const { draws, ...rest } = claims.chat
  return { ...rest, draws: draws.filter(({ role }) => role !== 'endpoint') }
}

function upstreamRequestOf(request: PassthroughRequest): UpstreamRequest {
  const { upstream, method, body } = request
  return {
    method,
    url: urlFor(upstream, request.path, request.query),
    headers: headersFor(upstream, request.headers),
    ...(body.length > 0 && { body }),
    connectTimeoutMs: request.settings.connectTimeoutMs,
    timeoutMs: upstream.timeoutMs,
    gatherBytes: (status, headers) => {
      const isSmall = isBodiless(method, status) || headers['content-type']?.includes('json') === true
      return isSmall ? WHOLE_ANSWER_BYTES : 0
    },
    ...(!IDEMPOTENT.has(request.method) && { mayResend: false }),
  }
}

async function relayAnswerOf(
  response: UpstreamResponse,
  { method, clientSignal }: PassthroughRequest,
  state: PassthroughState,
): Promise<RelayAnswer> {
  const { upstream, deps, startedAt } = state
  const { status, headers } = response
  if (status < 200 || status > 599) {
    discard(response.body)
    throw new GatewayError(
      'upstream_bad_response',
      `The upstream answered with an invalid status (${status}).`,
    )
  }
  let { body } = response
  // An answer shows an upstream at work, unless it says that it is not.
  let outcome: Outcome = status < 500 ? { kind: 'ok' } : NEUTRAL_OUTCOME
  let broken = NEUTRAL_OUTCOME
  if (COOLING_STATUSES.has(status)) {
    // The text of a refusal tells whose limit it is, and for how long.
    const prefix = await readPrefix(body, WHOLE_ANSWER_BYTES)
    body = prefix.body
    const failure = classifyAnswer({ status, headers, body: prefix.bytes, wallNow: deps.clock.wall() })
    if (failure !== undefined) outcome = broken = failure
  }
  state.head = { status, firstByteMs: deps.clock.now() - startedAt }
  state.firstByteMs = deps.clock.now() - state.request.since
  if (isBodiless(method, status)) {
    discard(body)
    if (!(body instanceof Uint8Array)) body = new Uint8Array(0)
  }
  if (body instanceof Uint8Array) end(state, outcome, { status, label: labelOf(outcome, status) })
  else
    body = createTap({
      reader: body,
      head: [],
      clientSignal,
      onEnd: (how) => {
        if (how.kind === 'ok') end(state, outcome, { status, label: labelOf(outcome, status) })
        else if (how.kind === 'aborted') end(state, broken, { status: 499, label: 'aborted' })
        else end(state, broken, { status, label: 'broken', code: how.code })
      },
    })
  return { status, headers, body, upstream, attempts: 1 }
}

/** Blames nobody: it may be this one request's doing. */
const NEUTRAL_OUTCOME: Outcome = { kind: 'aborted', sent: true }

/** What is passed on unjudged is told by its status. */
function labelOf(outcome: Outcome, status: number): AttemptOutcome {
  if (outcome.kind === 'failed') return outcome.cause
  if (status < 400) return 'ok'
  return status < 500 ? 'client-error' : 'failure'
}

function clientLeft(state: PassthroughState): GatewayError {
  end(state, NEUTRAL_OUTCOME, { status: 499, label: 'aborted', code: 'client_closed_request' })
  return clientClosedRequest()
}

/** What the client is told when there is no answer. Our own mistakes stay what they are. */
function errorOf(error: unknown, state: PassthroughState): unknown {
  if (error instanceof TransportError) {
    const failure = classifyTransport(error.failure === 'aborted' ? 'broken' : error.failure)
    const clientError = exhausted([failure], [], state.deps.clock.now())
    const { status, code } = clientError
    // Only what never left here says that the upstream is away; the rest may be this one request's doing.
    const outcome = failure.class === 'not-sent' ? failure : NEUTRAL_OUTCOME
    end(state, outcome, { status, label: failure.cause, code })
    return clientError
  }
  const { status, code } = error instanceof GatewayError ? error : { status: 500, code: 'internal_error' }
  end(state, NEUTRAL_OUTCOME, { status, label: 'failure', code })
  return error
}

/** Settles the lease and reports an attempt and a request. Called once. */
function end(
  state: PassthroughState,
  outcome: Outcome,
  how: { readonly status: number; readonly label: AttemptOutcome; readonly code?: string },
): void {
  const { upstream, lease, deps, startedAt, head } = state
  const durationMs = deps.clock.now() - startedAt
  if (lease !== undefined) endLease(lease, outcome, deps)
  recordAttempt(state, upstream, { ...head, outcome: how.label, durationMs })
  recordEnd(state, { status: how.status, upstream, code: how.code })
}
