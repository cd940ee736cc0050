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
import { exhausted } from './exhausted.ts'
import { headersFor, urlFor } from './headers.ts'
import type { RelayAnswer } from './request.ts'
import { endLease, type Traffic } from './select.ts'
import { createTap, type TapEnd } from './stream.ts'

/** A request that goes to one upstream as it is. */
interface PassedOn {
  readonly id: string
  readonly method: string
  /** Below the root, as sent. */
  readonly path: string
  readonly query: string
  readonly headers: HeaderBag
  /** Empty = none. */
  readonly body: Uint8Array
  readonly gone: AbortSignalLike
  readonly since: number
}

/** Where it goes, and what it needs on the way. */
interface PassOnTask {
  readonly upstream: Upstream
  readonly settings: Settings
  readonly traffic: Traffic
  readonly deps: RelayDeps
}

/** Statuses that say something of the key or its limits, and not of the request. */
const COOLING = new Set([401, 402, 429])
/** RFC 9110 §9.2.2. Any other may have done its work over a connection that died, and is not sent twice. */
const IDEMPOTENT = new Set(['GET', 'HEAD', 'OPTIONS', 'PUT', 'DELETE'])
/** Small JSON arrives whole; of what cools this much is read for its hint. */
const WHOLE_BYTES = 65_536

/**
 * One attempt, whatever the upstream's state: nothing is rewritten, no other upstream could answer for it.
 *
 * The answer's status and body are the upstream's, errors too. Only 401, 402, 429 and a connection that could not be
 * made cool it. The body is empty where HTTP allows none.
 *
 * @throws GatewayError when there is no answer, or the client left before it began
 */
export async function passOn(request: PassedOn, task: PassOnTask): Promise<RelayAnswer> {
  const { upstream, settings, deps } = task
  const probeMs = settings.connectTimeoutMs + settings.timeoutMs
  const ask = { inputTokens: undefined, outputTokens: undefined, lastResort: true, probeMs }
  const lease = await deps.store.acquire([claimOf(upstream)], ask, instantOf(deps.clock))
  const record = createPassOnRecord(request, { ...task, lease })
  try {
    const response = await deps.send(outgoing(request, task), request.gone)
    return await answerOf(response, { request, task, record })
  } catch (error) {
    throw ended(error, { request, task, record })
  }
}

/** Everything but the endpoint: what is asked here says nothing of those that are relayed. */
function claimOf({ claims }: Upstream): Claim {
  const { draws, ...rest } = claims.chat
  return { ...rest, draws: draws.filter(({ role }) => role !== 'endpoint') }
}

function outgoing(request: PassedOn, { upstream, settings }: PassOnTask): UpstreamRequest {
  return {
    method: request.method,
    url: urlFor(upstream, request.path, request.query),
    headers: headersFor(upstream, request.headers),
    ...(request.body.length > 0 && { body: [request.body] }),
    connectTimeoutMs: settings.connectTimeoutMs,
    timeoutMs: upstream.timeoutMs,
    gatherBytes: (status, headers) => {
      const isSmall = isBodiless(request.method, status) || headers['content-type']?.includes('json') === true
      return isSmall ? WHOLE_BYTES : 0
    },
    ...(!IDEMPOTENT.has(request.method) && { mayResend: false }),
  }
}

interface Passing {
  readonly request: PassedOn
  readonly task: PassOnTask
  readonly record: PassOnRecord
}

async function answerOf(
  response: UpstreamResponse,
  { request, task, record }: Passing,
): Promise<RelayAnswer> {
  const { status, headers } = response
  if (status < 200 || status > 599) {
    give(response.body)
    throw new GatewayError(
      'upstream_bad_response',
      `The upstream answered with an invalid status (${status}).`,
    )
  }
  const answer = { status, headers, upstream: task.upstream, attempts: 1 }
  const { body, failure } = COOLING.has(status) ? await read(response, task.deps) : { body: response.body }
  record.began(status)
  const outcome = failure ?? outcomeOf(status)
  if (isBodiless(request.method, status)) give(body)
  if (body instanceof Uint8Array || isBodiless(request.method, status)) {
    record.end(outcome, { status })
    return { ...answer, body: body instanceof Uint8Array ? body : new Uint8Array(0) }
  }
  const onEnd = (how: TapEnd): void => {
    if (how.kind === 'ok') record.end(outcome, { status })
    else if (how.kind === 'aborted') record.end(failure ?? NOBODY, { status: 499, word: 'aborted' })
    else record.end(failure ?? NOBODY, { status, word: 'broken', code: how.code })
  }
  return { ...answer, body: createTap({ reader: body, head: [], gone: request.gone, onEnd }) }
}

/** Blames nobody: it may be this one request's doing. */
const NOBODY: Outcome = { kind: 'aborted', sent: true }

/** An answer shows an upstream at work, unless it says that it is not. */
const outcomeOf = (status: number): Outcome => (status < 500 ? { kind: 'ok' } : NOBODY)

/** A body that nobody reads must not pin its connection. */
function give(body: UpstreamResponse['body']): void {
  if (!(body instanceof Uint8Array)) void body.cancel().catch(() => {})
}

interface Read {
  readonly body: Uint8Array | ByteReader
  readonly failure?: Failure
}

/** The text of a refusal tells whose limit it is, and for how long. */
async function read({ status, headers, body }: UpstreamResponse, { clock }: RelayDeps): Promise<Read> {
  const prefix = await readPrefix(body, WHOLE_BYTES)
  const failure = classifyAnswer({ status, headers, body: prefix.bytes, wallNow: clock.wall() })
  return { body: prefix.rest?.() ?? prefix.bytes, ...(failure !== undefined && { failure }) }
}

/** What the client is told when there is no answer. Our own mistakes stay what they are. */
function ended(error: unknown, { request, task, record }: Passing): unknown {
  if (request.gone.aborted) {
    record.end(NOBODY, { status: 499, word: 'aborted', code: 'client_closed_request' })
    return new GatewayError('client_closed_request', 'The client left before the answer began.')
  }
  if (error instanceof TransportError) {
    const failure = classifyTransport(error.failure === 'aborted' ? 'broken' : error.failure)
    const told = exhausted({ failures: [failure], resting: [], now: task.deps.clock.now() })
    // Only what never left here says that the upstream is away; the rest may be this one request's doing.
    record.end(failure.class === 'not-sent' ? failure : NOBODY, {
      status: told.status,
      word: failure.cause,
      code: told.code,
    })
    return told
  }
  const known = error instanceof GatewayError ? error : undefined
  record.end(NOBODY, { status: known?.status ?? 500, word: 'failure', code: known?.code ?? 'internal_error' })
  return error
}

/** Settles and reports one request that is passed on. */
interface PassOnRecord {
  /** The answer is there. */
  began(status: number): void
  /** Ends it: the lease is settled, an attempt and a request are reported. Called once. */
  end(outcome: Outcome, told: { status: number; word?: AttemptOutcome; code?: string }): void
}

/** Begins the record of one. `lease` is undefined where the upstream is resting: then nobody counts it. */
function createPassOnRecord(
  request: PassedOn,
  { upstream, deps, lease, traffic }: PassOnTask & { lease: Lease | undefined },
): PassOnRecord {
  const startedAt = deps.clock.now()
  let answered: { status: number; firstByteMs: number } | undefined
  return {
    began(status) {
      answered = { status, firstByteMs: deps.clock.now() - startedAt }
    },
    end(outcome, { status, word, code }) {
      const at = instantOf(deps.clock)
      if (lease !== undefined) endLease({ lease, deps, traffic }, outcome)
      const { name, model, id } = upstream
      const attempt = {
        upstream: name,
        model,
        outcome: word ?? wordOf(outcome, status),
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
        asked: '',
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
function wordOf(outcome: Outcome, status: number): AttemptOutcome {
  if (outcome.kind === 'failed') return outcome.cause
  if (status < 400) return 'ok'
  return status < 500 ? 'client-error' : 'failure'
}
