import type { Settings } from '../config/config.ts'
import { GatewayError } from '../errors.ts'
import type { AbortSignalLike } from '../lib/abort.ts'
import type { ByteReader } from '../lib/bytes.ts'
import { instantOf } from '../lib/clock.ts'
import { isBodiless, type HeaderBag } from '../lib/headers.ts'
import type { Failure, Outcome } from '../pool/outcome.ts'
import type { Claim, Upstream } from '../pool/upstream.ts'
import type { Lease } from '../state/store.ts'
import { TransportError, type UpstreamRequest, type UpstreamResponse } from '../transport/transport.ts'
import { classifyAnswer, classifyTransport } from '../vendors/classify.ts'
import { readPrefix } from './commit.ts'
import type { AttemptOutcome, RelayDeps } from './deps.ts'
import { clientClosedRequest, exhausted } from './exhausted.ts'
import { headersFor, urlFor } from './headers.ts'
import type { RelayAnswer } from './request.ts'
import { endLease, type Traffic } from './select.ts'
import { createTap, type TapEnd } from './stream.ts'

/** A request that goes to one upstream as it is. */
interface PassthroughRequest {
  readonly id: string
  readonly method: string
  /** Below the root, as sent. */
  readonly path: string
  readonly query: string
  readonly headers: HeaderBag
  /** In pieces; empty = none. */
  readonly body: readonly Uint8Array[]
  readonly clientSignal: AbortSignalLike
  readonly since: number
}

/** Where it goes, and what it needs on the way. */
interface PassthroughTask {
  readonly upstream: Upstream
  readonly settings: Settings
  readonly traffic: Traffic
  readonly deps: RelayDeps
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
export async function passthrough(request: PassthroughRequest, task: PassthroughTask): Promise<RelayAnswer> {
  const { upstream, settings, deps } = task
  const probeMs = settings.connectTimeoutMs + settings.timeoutMs
  const ask = { inputTokens: undefined, outputTokens: undefined, lastResort: true, probeMs }
  const lease = await deps.store.acquire([passthroughClaim(upstream)], ask, instantOf(deps.clock))
  const record = createPassthroughRecord(request, { ...task, lease })
  try {
    const response = await deps.send(upstreamRequestOf(request, task), request.clientSignal)
    return await relayAnswerOf(response, { request, task, record })
  } catch (error) {
    throw errorOf(error, { request, task, record })
  }
}

/** Everything but the endpoint: what is asked here says nothing of those that are relayed. */
function passthroughClaim({ claims }: Upstream): Claim {
  const { draws, ...rest } = claims.chat
  return { ...rest, draws: draws.filter(({ role }) => role !== 'endpoint') }
}

function upstreamRequestOf(
  request: PassthroughRequest,
  { upstream, settings }: PassthroughTask,
): UpstreamRequest {
  return {
    method: request.method,
    url: urlFor(upstream, request.path, request.query),
    headers: headersFor(upstream, request.headers),
    ...(request.body.length > 0 && { body: request.body }),
    connectTimeoutMs: settings.connectTimeoutMs,
    timeoutMs: upstream.timeoutMs,
    gatherBytes: (status, headers) => {
      const isSmall = isBodiless(request.method, status) || headers['content-type']?.includes('json') === true
      return isSmall ? WHOLE_ANSWER_BYTES : 0
    },
    ...(!IDEMPOTENT.has(request.method) && { mayResend: false }),
  }
}

interface PassthroughExchange {
  readonly request: PassthroughRequest
  readonly task: PassthroughTask
  readonly record: PassthroughRecord
}

async function relayAnswerOf(
  response: UpstreamResponse,
  { request, task, record }: PassthroughExchange,
): Promise<RelayAnswer> {
  const { status, headers } = response
  if (status < 200 || status > 599) {
    discard(response.body)
    throw new GatewayError(
      'upstream_bad_response',
      `The upstream answered with an invalid status (${status}).`,
    )
  }
  const answer = { status, headers, upstream: task.upstream, attempts: 1 }
  const { body, failure } = COOLING_STATUSES.has(status)
    ? await readRefusal(response, task.deps)
    : { body: response.body }
  record.headersReceived(status)
  const outcome = failure ?? outcomeOf(status)
  if (isBodiless(request.method, status)) discard(body)
  if (body instanceof Uint8Array || isBodiless(request.method, status)) {
    record.end(outcome, { status })
    return { ...answer, body: body instanceof Uint8Array ? body : new Uint8Array(0) }
  }
  const onEnd = (how: TapEnd): void => {
    if (how.kind === 'ok') record.end(outcome, { status })
    else if (how.kind === 'aborted') record.end(failure ?? NEUTRAL_OUTCOME, { status: 499, label: 'aborted' })
    else record.end(failure ?? NEUTRAL_OUTCOME, { status, label: 'broken', code: how.code })
  }
  return { ...answer, body: createTap({ reader: body, head: [], clientSignal: request.clientSignal, onEnd }) }
}

/** Blames nobody: it may be this one request's doing. */
const NEUTRAL_OUTCOME: Outcome = { kind: 'aborted', sent: true }

/** An answer shows an upstream at work, unless it says that it is not. */
const outcomeOf = (status: number): Outcome => (status < 500 ? { kind: 'ok' } : NEUTRAL_OUTCOME)

/** A body that nobody reads must not pin its connection. */
function discard(body: UpstreamResponse['body']): void {
  if (!(body instanceof Uint8Array)) void body.cancel().catch(() => {})
}

interface ReadAnswer {
  readonly body: Uint8Array | ByteReader
  readonly failure?: Failure
}

/** The text of a refusal tells whose limit it is, and for how long. */
async function readRefusal(
  { status, headers, body }: UpstreamResponse,
  { clock }: RelayDeps,
): Promise<ReadAnswer> {
  const prefix = await readPrefix(body, WHOLE_ANSWER_BYTES)
  const failure = classifyAnswer({ status, headers, body: prefix.bytes, wallNow: clock.wall() })
  return { body: prefix.rest?.() ?? prefix.bytes, ...(failure !== undefined && { failure }) }
}

/** What the client is told when there is no answer. Our own mistakes stay what they are. */
function errorOf(error: unknown, { request, task, record }: PassthroughExchange): unknown {
  if (request.clientSignal.aborted) {
    record.end(NEUTRAL_OUTCOME, { status: 499, label: 'aborted', code: 'client_closed_request' })
    return clientClosedRequest()
  }
  if (error instanceof TransportError) {
    const failure = classifyTransport(error.failure === 'aborted' ? 'broken' : error.failure)
    const clientError = exhausted({ failures: [failure], unavailable: [], now: task.deps.clock.now() })
    // Only what never left here says that the upstream is away; the rest may be this one request's doing.
    record.end(failure.class === 'not-sent' ? failure : NEUTRAL_OUTCOME, {
      status: clientError.status,
      label: failure.cause,
      code: clientError.code,
    })
    return clientError
  }
  const known = error instanceof GatewayError ? error : undefined
  record.end(NEUTRAL_OUTCOME, {
    status: known?.status ?? 500,
    label: 'failure',
    code: known?.code ?? 'internal_error',
  })
  return error
}

/** Settles and reports one request that is passed on. */
interface PassthroughRecord {
  /** The answer is there. */
  headersReceived(status: number): void
  /** Ends it: the lease is settled, an attempt and a request are reported. Called once. */
  end(outcome: Outcome, reported: { status: number; label?: AttemptOutcome; code?: string }): void
}

/** Begins the record of one. `lease` is undefined where the upstream is resting: then nobody counts it. */
function createPassthroughRecord(
  request: PassthroughRequest,
  { upstream, deps, lease, traffic }: PassthroughTask & { lease: Lease | undefined },
): PassthroughRecord {
  const startedAt = deps.clock.now()
  let answered: { status: number; firstByteMs: number } | undefined
  return {
    headersReceived(status) {
      answered = { status, firstByteMs: deps.clock.now() - startedAt }
    },
    end(outcome, { status, label, code }) {
      const at = instantOf(deps.clock)
      if (lease !== undefined) endLease({ lease, deps, traffic }, outcome)
      const { name, model, id } = upstream
      const attempt = {
        upstream: name,
        model,
        outcome: label ?? outcomeLabelOf(outcome, status),
        ...answered,
        durationMs: at.now - startedAt,
      }
      deps.report({
        kind: 'attempt',
        requestId: request.id,
        upstreamId: id,
        endpoint: 'passthrough',
        ...attempt,
      })
      deps.report({
        kind: 'request',
        id: request.id,
        endpoint: 'passthrough',
        requestedModel: '',
        upstream: name,
        model,
        status,
        attempts: [attempt],
        ...(answered !== undefined && { firstByteMs: startedAt - request.since + answered.firstByteMs }),
        durationMs: at.now - request.since,
        stream: false,
        queuedMs: 0,
        ...(code !== undefined && { code }),
      })
    },
  }
}

/** What is passed on unjudged is told by its status. */
function outcomeLabelOf(outcome: Outcome, status: number): AttemptOutcome {
  if (outcome.kind === 'failed') return outcome.cause
  if (status < 400) return 'ok'
  return status < 500 ? 'client-error' : 'failure'
}
