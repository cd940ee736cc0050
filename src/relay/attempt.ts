import { GatewayError } from '../errors.ts'
import { createAbort } from '../lib/abort.ts'
import { instantOf } from '../lib/clock.ts'
import { BYTES_PER_TOKEN, type Usage, usageOf } from '../openai/usage.ts'
import type { Failure, Outcome } from '../pool/outcome.ts'
import type { Upstream } from '../pool/upstream.ts'
import type { Lease } from '../state/store.ts'
import { TransportError, type UpstreamRequest, type UpstreamResponse } from '../transport/transport.ts'
import { classifyAnswer, classifyTransport } from '../vendors/classify.ts'
import { quotaSignals } from '../vendors/rate-limits.ts'
import { answerKey } from './candidates.ts'
import {
  answerIdOf,
  answerKindOf,
  commitAnswer,
  discard,
  readPrefix,
  upstreamErrorOf,
  type Commit,
} from './commit.ts'
import type { AttemptOutcome } from './deps.ts'
import { clientClosedRequest, outOfResources } from './exhausted.ts'
import { relayedHeaders, urlFor } from './headers.ts'
import { recordAttempt, recordEnd, type RelayAnswer, type RelayRequest, type RelayState } from './request.ts'
import { endLease, wakeAfter } from './select.ts'
import { createBodyObserver, createTap, type BodyEnd } from './stream.ts'

/** Errors are read this far: their text tells whose limit it is. */
const ERROR_BYTES = 65_536
/** Non-stream answers up to this size are complete before the client gets a byte. */
const WHOLE_BYTES = 8_388_608
/** A day at least: an answer's id is of use only on the account that gave it. */
const ANSWER_TTL_MS = 48 * 3_600_000

/** One request to one upstream, from its lease to the end of its body. Its clock runs from the start. */
class Attempt {
  readonly state: RelayState
  readonly lease: Lease
  readonly upstream: Upstream
  readonly startedAt: number
  readonly controller = createAbort()
  readonly onClientAbort = (): void => this.controller.abort()
  /** Ends the wait for the first byte. */
  readonly stopClock: () => void
  isLate = false
  /** What is known of an answer whose body is not there yet. */
  head: Pick<UpstreamResponse, 'status' | 'headers'> | undefined
  /** From sending to the commit point. */
  firstByteMs: number | undefined

  constructor(state: RelayState, lease: Lease) {
    const { request, deps } = state
    const upstream = state.upstreams.find(({ id }) => id === lease.claim.id)
    if (upstream === undefined)
      throw new GatewayError('internal_error', 'The choice named an unknown upstream.')
    this.state = state
    this.lease = lease
    this.upstream = upstream
    this.startedAt = deps.clock.now()
    state.tried.add(upstream.id)
    state.firstSentAt ??= this.startedAt
    state.longestTimeoutMs = Math.max(state.longestTimeoutMs, upstream.timeoutMs)
    state.deadline = state.firstSentAt + 2 * state.longestTimeoutMs
    const waitMs = Math.min(upstream.timeoutMs, state.deadline - this.startedAt)
    this.stopClock = deps.clock.after(waitMs, () => {
      this.isLate = true
      this.controller.abort()
    })
    request.clientSignal.addEventListener('abort', this.onClientAbort)
  }
}

/** An attempt before whose commit point something failed. */
export interface FailedAttempt {
  readonly failure: Failure
  readonly upstream: Upstream
  /** The upstream's own answer, where a client may have to see it. */
  readonly upstreamErrorResponse?: RelayAnswer
}

/**
 * Sends the request to the upstream of a lease and waits for the commit point; then the attempt goes on with its body.
 * The lease is settled on every way out.
 *
 * @throws GatewayError when the client has left, or nothing can be sent from here
 */
export async function runAttempt(state: RelayState, lease: Lease): Promise<RelayAnswer | FailedAttempt> {
  const { request, deps } = state
  const { clientSignal } = request
  // The client may have left while the lease was being had: then nothing is sent.
  if (clientSignal.aborted) {
    endLease(lease, { kind: 'aborted', sent: false }, deps)
    throw clientClosedRequest()
  }
  const attempt = new Attempt(state, lease)
  try {
    const response = await deps.send(upstreamRequestFor(attempt), attempt.controller.signal)
    if (!isSuccess(response.status)) return await failByStatus(attempt, response)
    const committing = commitAnswer(response, request.stream, deps.clock.wall())
    const commit = committing instanceof Promise ? await committing : committing
    if (clientSignal.aborted) throw new TransportError('aborted', 'the client left')
    if (commit.kind === 'failed') return fail(attempt, asBadResponse(commit))
    return committed(attempt, response.status, commit)
  } catch (error) {
    if (error instanceof TransportError && error.failure === 'shortage') {
      endAttempt(attempt, { kind: 'aborted', sent: false })
      throw outOfResources()
    }
    if (!clientSignal.aborted) return fail(attempt, failureFrom(attempt, error))
    endAttempt(attempt, { kind: 'aborted', sent: true })
    throw clientClosedRequest()
  } finally {
    attempt.stopClock()
  }
}

/** A status that promises an answer. */
const isSuccess = (status: number): boolean => status >= 200 && status <= 299

/** The request as this upstream gets it. */
function upstreamRequestFor(attempt: Attempt): UpstreamRequest {
  const { upstream, state } = attempt
  const { request } = state
  return {
    method: 'POST',
    url: urlFor(upstream, request.path, request.query),
    headers: relayedHeaders(upstream, request.headers),
    body: request.bodyFor(upstream),
    connectTimeoutMs: request.settings.connectTimeoutMs,
    timeoutMs: upstream.timeoutMs,
    gatherBytes: (status, headers) => {
      attempt.head = { status, headers }
      if (!isSuccess(status)) return ERROR_BYTES
      if (answerKindOf(headers, request.stream) !== 'json') return 0
      // A long answer that makes progress is not late: from here on only its silence counts.
      attempt.stopClock()
      return WHOLE_BYTES
    },
  }
}

/** An error status: what its text says decides who is asked next, or that the client sees it. */
async function failByStatus(attempt: Attempt, response: UpstreamResponse): Promise<FailedAttempt> {
  const { state, upstream } = attempt
  const { status, headers } = response
  const wallNow = state.deps.clock.wall()
  attempt.head = response
  const prefix = await readPrefix(response.body, ERROR_BYTES)
  const failure = classifyAnswer({ status, headers, body: prefix.bytes, wallNow })
  if (failure === undefined) throw new TransportError('broken', 'an error status that no rule classifies')
  const failed = fail(attempt, failure)
  if (!isForClient(failure)) {
    discard(prefix.body)
    return failed
  }
  const answer = { ...upstreamErrorOf(response, prefix), upstream, attempts: state.attempts.length }
  return { ...failed, upstreamErrorResponse: answer }
}

/** Faults that are told by the upstream's own words. */
const isForClient = (failure: Failure): boolean =>
  failure.class === 'client' || failure.class === 'other-model'

/** What another model may accept has no status of its own here: when nothing is left it was a bad answer. */
function asBadResponse(failure: Failure): Failure {
  return failure.class === 'other-model' ? { ...failure, code: 'upstream_bad_response' } : failure
}

/** What a thrown error means. A body that breaks or stalls hides less than it shows: an error status says what the failure is. */
function failureFrom({ state, isLate, head }: Attempt, error: unknown): Failure {
  if (head !== undefined && !isSuccess(head.status)) {
    const failure = classifyAnswer({ ...head, body: undefined, wallNow: state.deps.clock.wall() })
    if (failure !== undefined && !isForClient(failure)) return failure
  }
  if (isLate) return classifyTransport('timeout')
  const failure = error instanceof TransportError ? error.failure : 'aborted'
  return classifyTransport(failure === 'aborted' || failure === 'shortage' ? 'broken' : failure)
}

function fail(attempt: Attempt, failure: Failure): FailedAttempt {
  endAttempt(attempt, failure, failure.status)
  return { failure, upstream: attempt.upstream }
}

/** From here on the client gets this answer. */
function committed(attempt: Attempt, status: number, commit: Commit): RelayAnswer {
  const { state, upstream, lease, startedAt } = attempt
  const { request, deps } = state
  const { headers } = commit
  const at = instantOf(deps.clock)
  const firstByteMs = at.now - startedAt
  attempt.firstByteMs = firstByteMs
  state.firstByteMs = at.now - request.since
  wakeAfter(deps.store.confirm(lease, { firstByteMs, signals: quotaSignals(headers, at.wall) }, at), deps)
  rememberUpstream(attempt, commit)
  // Its record is written when its body has ended, which a whole one has at once.
  const attempts = state.attempts.length + 1
  return { status, headers, body: bodyOf(attempt, status, commit), upstream, attempts }
}

function rememberUpstream({ state, upstream }: Attempt, commit: Commit): void {
  const { request, deps } = state
  const { settings, affinityKey, endpoint, answerIds } = request
  const remember = (key: string, ttlMs: number): void =>
    void deps.store.remember(key, upstream.id, { ttlMs, at: instantOf(deps.clock) })
  if (affinityKey !== '') remember(affinityKey, settings.affinityTtlMs)
  if (endpoint !== 'responses') return
  const own = answerIdOf(commit)
  for (const id of own === undefined ? answerIds : [own, ...answerIds]) remember(answerKey(id), ANSWER_TTL_MS)
}

/** The body, with which the request ends: one that is whole has ended from the upstream's side. */
function bodyOf(attempt: Attempt, status: number, commit: Commit): RelayAnswer['body'] {
  const { endpoint, inputTokens, clientSignal } = attempt.state.request
  if (commit.kind === 'bytes') {
    const { bytes } = commit
    const usage = inputTokens === undefined ? undefined : usageOf(bytes)
    complete(attempt, { kind: 'ok' }, { status, usage, bytes: bytes.length })
    return bytes
  }
  const { reader, head, isEvents } = commit
  const observer = createBodyObserver(endpoint, isEvents)
  const onEnd = (end: BodyEnd): void =>
    complete(attempt, end, { status, usage: observer.usage(), bytes: observer.bytes })
  return createTap({ reader, head, onEnd, observer, clientSignal })
}

interface PassedBody {
  readonly status: number
  readonly usage: Usage | undefined
  readonly bytes: number
}

/** Ends an attempt and its request with the body of the answer. */
function complete(attempt: Attempt, end: BodyEnd, { status, usage, bytes }: PassedBody): void {
  const { state, upstream } = attempt
  endAttempt(attempt, { ...spentOn(state.request, usage, bytes), ...end }, status)
  recordEnd(state, {
    status: end.kind === 'aborted' ? 499 : status,
    upstream,
    code: end.kind === 'broken' ? end.code : undefined,
    inputTokens: usage?.input,
    outputTokens: usage?.output,
  })
}

/** By `usage` where the answer has it, else by its bytes; nothing where the endpoint counts no tokens. */
function spentOn(request: RelayRequest, usage: Usage | undefined, bytes: number) {
  const { inputTokens, outputTokens, choices } = request
  if (inputTokens === undefined) return {}
  // What writes no text (embeddings) has no output tokens, however long its answer is.
  const output = usage?.output ?? (outputTokens === 0 ? 0 : Math.ceil(bytes / BYTES_PER_TOKEN))
  const tokens = usage?.total ?? (usage?.input ?? inputTokens) + output
  return { tokens, outputTokens: usage?.output && usage.output / choices }
}

function endAttempt(attempt: Attempt, outcome: Outcome, status?: number): void {
  const { state, upstream, lease, startedAt, firstByteMs } = attempt
  const { request, deps } = state
  request.clientSignal.removeEventListener('abort', attempt.onClientAbort)
  const durationMs = deps.clock.now() - startedAt
  endLease(lease, outcome, deps)
  recordAttempt(state, upstream, { outcome: labelOf(outcome), status, firstByteMs, durationMs })
}

/** The word for an outcome in logs and metrics. */
function labelOf(outcome: Outcome): AttemptOutcome {
  if (outcome.kind !== 'failed') return outcome.kind
  if (outcome.class === 'client') return 'client-error'
  return outcome.class === 'other-model' ? 'other-model' : outcome.cause
}
