import { errorTrace, GatewayError } from '../errors.ts'
import { createAbort } from '../lib/abort.ts'
import { concatBytes } from '../lib/bytes.ts'
import { instantOf } from '../lib/clock.ts'
import { encryptedKeys, itemIdsOf } from '../openai/affinity-key.ts'
import { BYTES_PER_TOKEN, type Usage, usageOf } from '../openai/usage.ts'
import type { Failure, Outcome } from '../pool/outcome.ts'
import type { Upstream } from '../pool/upstream.ts'
import type { Lease } from '../state/store.ts'
import { TransportError, type UpstreamRequest, type UpstreamResponse } from '../transport/transport.ts'
import { classifyStatus, classifyTransport } from '../vendors/classify.ts'
import { meterReadings } from '../vendors/rate-limit-headers.ts'
import { answerKey, ownAnswerKey } from './candidates.ts'
import {
  answerIdOf,
  commitAnswer,
  discard,
  formOf,
  MOST_WHOLE_BYTES,
  readPrefix,
  upstreamErrorOf,
  type Commit,
} from './commit.ts'
import { type Demand, demandOn } from './demand.ts'
import type { AttemptOutcome } from './deps.ts'
import { clientClosedRequest, outOfResources } from './exhausted.ts'
import { relayedHeaders, traced, urlFor } from './headers.ts'
import { learnFromAnswer } from './lessons.ts'
import { attemptFailureOf } from './secrets.ts'
import { dropKept, recordAttempt, recordEnd, type RelayAnswer, type RelayState } from './request.ts'
import { endLease, hasOthersNow, untriedUpstreams, wakeAfter } from './select.ts'
import { createBodyObserver, createTap, type BodyEnd, type KeptItems } from './stream.ts'

/** Errors are read this far: their text tells whose limit it is. */
const ERROR_BYTES = 65_536
/** A day at least: an answer's id is of use only on the account that gave it. */
const ANSWER_TTL_MS = 48 * 3_600_000

/** One request to one upstream, from its lease to the end of its body. Its clock runs from the start. */
class Attempt {
  readonly state: RelayState
  readonly lease: Lease
  readonly upstream: Upstream
  readonly startedAt: number
  readonly traceparent: string | undefined
  readonly controller = createAbort()
  readonly onClientAbort = (): void => this.controller.abort()
  isLate = false
  /** What is known of an answer whose body is not there yet. */
  head: Pick<UpstreamResponse, 'status' | 'headers'> | undefined
  /** From sending to the commit point. */
  firstByteMs: number | undefined
  /** When a byte of the body came last. */
  private heardAt: number
  /** When the upstream took some of the request's body last; before, the start. */
  private takenAt: number
  /** The first bytes of a body that is being gathered, until its form is known. */
  private start: Uint8Array | undefined
  private cancelClock = (): void => {}

  constructor(state: RelayState, lease: Lease) {
    const { request, deps } = state
    const upstream = state.upstreams.find(({ id }) => id === lease.claim.id)
    if (upstream === undefined)
      throw new GatewayError('internal_error', 'The choice named an unknown upstream.')
    this.state = state
    this.lease = lease
    this.upstream = upstream
    this.startedAt = this.heardAt = this.takenAt = deps.clock.now()
    this.traceparent = request.trace?.attempt(upstream)
    state.tried.add(upstream.id)
    state.firstSentAt ??= this.startedAt
    state.longestTimeoutMs = Math.max(state.longestTimeoutMs, upstream.timeoutMs)
    state.deadline = state.firstSentAt + 2 * state.longestTimeoutMs
    this.startClock(Math.min(upstream.timeoutMs, state.deadline - this.startedAt))
    request.clientSignal.addEventListener('abort', this.onClientAbort)
  }

  /** Ends the wait for the first content. */
  stopClock(): void {
    this.cancelClock()
    this.cancelClock = () => {}
  }

  /** A chunk has come that is held back. @returns whether there is memory to hold more */
  readonly heard = (chunk: Uint8Array): boolean => {
    const { clock, memory } = this.state.deps
    this.heardAt = clock.now()
    if (!memory.reserve(chunk.byteLength)) return false
    this.heldBytes += chunk.byteLength
    return true
  }
  private heldBytes = 0

  /** The upstream takes a body that is large for the way to it: that is no silence, and none of its time to answer. */
  readonly onTaken = (): void => {
    const { state } = this
    const now = state.deps.clock.now()
    state.deadline += now - this.takenAt
    this.takenAt = now
  }

  /** Nothing is held back any more. */
  letGo(): void {
    this.state.deps.memory.release(this.heldBytes)
    this.heldBytes = 0
  }

  /** Looks at a body that is being gathered: JSON is worth all of it, and is not late as long as it goes on. */
  readonly onGathered = (chunk: Uint8Array): boolean => {
    const hasRoom = this.heard(chunk)
    if (this.head !== undefined && !isSuccess(this.head.status)) return true
    if (this.form === 'json' || !hasRoom) return hasRoom
    this.start = this.start === undefined ? chunk : concatBytes([this.start, chunk])
    this.form = formOf(this.start)
    if (this.form === 'blank') this.start = undefined
    if (this.form === 'json') this.stopClock()
    return this.form === undefined || this.form === 'blank' || this.form === 'json'
  }
  private form: ReturnType<typeof formOf>

  private startClock(ms: number): void {
    const since = this.state.deps.clock.now()
    this.cancelClock = this.state.deps.clock.after(ms, () => void this.onTimeout(since))
  }

  /** Where nobody else is left to ask, an upstream that goes on sending signs of life has four times as long. */
  private async onTimeout(since: number): Promise<void> {
    const { state, upstream, startedAt } = this
    const cancelClock = this.cancelClock
    const now = state.deps.clock.now()
    const restMs = Math.min(this.takenAt + upstream.timeoutMs, state.deadline) - now
    if (this.takenAt > since && restMs > 0) return this.startClock(restMs)
    const isAlive = this.heardAt > startedAt && this.heardAt >= since
    const leftMs = startedAt + SOLE_TIMEOUTS * upstream.timeoutMs - now
    const mayWait = isAlive && leftMs > 0 && !(await hasOthersNow(state))
    if (cancelClock !== this.cancelClock) return
    if (mayWait) return this.startClock(Math.min(leftMs, upstream.timeoutMs))
    this.isLate = true
    this.controller.abort()
  }
}

/**
 * The longest wait for the first content of the only one that is left, and for an event behind nothing but comments, in
 * timeouts of the upstream.
 */
const SOLE_TIMEOUTS = 4

/** An attempt before whose commit point something failed. */
export interface FailedAttempt {
  readonly failure: Failure
  readonly upstream: Upstream
  /** The upstream's own answer, where a client may have to see it. */
  readonly answer?: RelayAnswer
  /** What an error inside a success said, on one line and without a key. */
  readonly words?: string | undefined
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
    const committing = commitAnswer(response, {
      endpoint: request.endpoint,
      stream: request.isForm ? undefined : request.stream,
      isFree: request.isFree,
      hasOthers: untriedUpstreams(state).length > 0,
      wallNow: deps.clock.wall(),
      onRead: attempt.heard,
    })
    const commit = committing instanceof Promise ? await committing : committing
    if (clientSignal.aborted) throw new TransportError('aborted', 'the client left')
    if (commit.kind === 'rejected') {
      const failed = fail(attempt, commit.failure, commit.answer)
      return { ...failed, words: state.attempts.at(-1)?.failure?.words }
    }
    return committed(attempt, response.status, commit)
  } catch (error) {
    if (error instanceof TransportError && error.failure === 'shortage') {
      endAttempt(attempt, { kind: 'aborted', sent: false })
      throw outOfResources()
    }
    if (!clientSignal.aborted) {
      if (!(error instanceof TransportError)) reportMistake(state, error)
      return fail(attempt, failureFrom(attempt, error))
    }
    endAttempt(attempt, { kind: 'aborted', sent: true })
    throw clientClosedRequest()
  } finally {
    attempt.stopClock()
    attempt.letGo()
  }
}

/** A status that promises an answer. */
const isSuccess = (status: number): boolean => status >= 200 && status <= 299

/** What is worth nothing more as a whole, but for an error that goes by the name of what was asked. */
const STREAMED = /^\s*(audio|image|video)\//i

/** The request as this upstream gets it. */
function upstreamRequestFor(attempt: Attempt): UpstreamRequest {
  const { upstream, state } = attempt
  const { request } = state
  return {
    method: 'POST',
    url: urlFor(upstream, request.path, request.query),
    headers: traced(relayedHeaders(upstream, request.headers), attempt.traceparent),
    body: request.bodyFor(upstream),
    route: upstream.route,
    connectTimeoutMs: request.settings.connectTimeoutMs,
    timeoutMs: upstream.timeoutMs,
    gatherBytes: (status, headers) => {
      attempt.head = { status, headers }
      if (!isSuccess(status)) return ERROR_BYTES
      return STREAMED.test(headers['content-type'] ?? '') ? ERROR_BYTES : MOST_WHOLE_BYTES
    },
    onGathered: attempt.onGathered,
    onTaken: attempt.onTaken,
  }
}

/** An error status: what its text says decides who is asked next, or that the client sees it. */
async function failByStatus(attempt: Attempt, response: UpstreamResponse): Promise<FailedAttempt> {
  const { status, headers } = response
  attempt.head = response
  const prefix = await readPrefix(response.body, ERROR_BYTES)
  const failure = classifyStatus({
    status,
    headers,
    body: prefix.bytes,
    wallNow: attempt.state.deps.clock.wall(),
  })
  if (failure.isForClient === true) return fail(attempt, failure, upstreamErrorOf(response, prefix, failure))
  discard(prefix.body)
  return fail(attempt, failure)
}

/** Nothing but a transport's failure should be thrown. What is, costs an attempt and not the request; the operator reads where. */
function reportMistake({ request, deps }: RelayState, error: unknown): void {
  const message = `internal error in an attempt of request ${request.id}: ${errorTrace(error)}`
  deps.report({ kind: 'notice', level: 'error', message })
}

/** What a thrown error means. A body that breaks or stalls hides less than it shows: an error status says what the failure is. */
function failureFrom({ state, isLate, head }: Attempt, error: unknown): Failure {
  if (head !== undefined && !isSuccess(head.status)) {
    const failure = classifyStatus({ ...head, body: undefined, wallNow: state.deps.clock.wall() })
    if (failure.isForClient !== true) return failure
  }
  if (isLate) return classifyTransport('timeout', 'no answer in time')
  if (!(error instanceof TransportError)) return classifyTransport('broken')
  const { failure, reason } = error
  return failure === 'aborted' || failure === 'shortage'
    ? classifyTransport('broken')
    : classifyTransport(failure, reason)
}

function fail(attempt: Attempt, said: Failure, answer?: UpstreamResponse): FailedAttempt {
  const { state, upstream } = attempt
  const failure = said.class === 'unfit' ? afterRuns(state, upstream, said) : said
  endAttempt(attempt, failure, failure.status)
  const attempts = state.attempts.length
  return { failure, upstream, ...(answer && { answer: { ...answer, upstream, attempts } }) }
}

/** Answers without content in a row that are no chance any more. */
const MOST_EMPTY_RUNS = 3

/** An upstream that has nothing to say again and again fails. */
function afterRuns({ deps }: RelayState, { id }: Upstream, failure: Failure): Failure {
  if (failure.lesson !== undefined) return failure
  const runs = (deps.traffic.emptyRuns.get(id) ?? 0) + 1
  deps.traffic.emptyRuns.set(id, runs % MOST_EMPTY_RUNS)
  return runs < MOST_EMPTY_RUNS ? failure : { ...failure, scope: 'upstream' }
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
  deps.traffic.emptyRuns.delete(upstream.id)
  learnFromAnswer(state, upstream)
  dropKept(state)
  const readings = meterReadings(headers, { wallNow: at.wall, latencyMs: firstByteMs })
  wakeAfter(deps.store.confirm(lease, { firstByteMs, readings }, at), deps)
  request.account?.began()
  rememberUpstream(attempt, commit)
  // Its record is written when its body has ended, which a whole one has at once.
  const attempts = state.attempts.length + 1
  return { status, headers, body: bodyOf(attempt, status, commit), upstream, attempts }
}

function rememberUpstream(attempt: Attempt, commit: Commit): void {
  const { state, upstream } = attempt
  const { request, deps } = state
  const { settings, affinityKey, isStored, answerIds, ownerKey } = request
  const remember = (key: string, ttlMs: number): void =>
    void deps.store.remember(key, upstream.id, { ttlMs, at: instantOf(deps.clock) })
  if (affinityKey !== '') remember(affinityKey, settings.affinityTtlMs)
  if (ownerKey !== '') remember(ownerKey, ANSWER_TTL_MS)
  if (!isStored) return
  const own = answerIdOf(commit)
  rememberKept(attempt, { keys: [], ids: own === undefined ? answerIds : [own, ...answerIds] })
}

function rememberKept({ state, upstream }: Attempt, { keys, ids }: KeptItems): void {
  const { request, deps } = state
  const token = request.account?.token.name
  const ofToken = token === undefined ? [] : ids.map((id) => ownAnswerKey(token, id))
  for (const key of new Set([...keys, ...ids.map(answerKey), ...ofToken]))
    void deps.store.remember(key, upstream.id, { ttlMs: ANSWER_TTL_MS, at: instantOf(deps.clock) })
}

/** The body, with which the request ends: one that is whole has ended from the upstream's side. */
function bodyOf(attempt: Attempt, status: number, commit: Commit): RelayAnswer['body'] {
  const { endpoint, demand, clientSignal } = attempt.state.request
  if (commit.kind === 'bytes') {
    const { bytes } = commit
    const usage = demand.inputTokens === undefined ? undefined : usageOf(bytes)
    if (endpoint === 'responses') rememberKept(attempt, { keys: encryptedKeys(bytes), ids: itemIdsOf(bytes) })
    complete(attempt, { kind: 'ok' }, { status, usage, bytes: bytes.length })
    return bytes
  }
  const { reader, head, isEvents, isEndSure } = commit
  const { clock } = attempt.state.deps
  const commentsMs = SOLE_TIMEOUTS * attempt.upstream.timeoutMs
  const observer = createBodyObserver(endpoint, { isEvents, isEndSure, now: clock.now, commentsMs })
  const onEnd = (end: BodyEnd): void => {
    rememberKept(attempt, observer.items)
    complete(attempt, end, { status, usage: observer.usage(), bytes: observer.bytes })
  }
  return createTap({ reader, head, onEnd, observer, clientSignal, after: clock.after })
}

interface PassedBody {
  readonly status: number
  readonly usage: Usage | undefined
  readonly bytes: number
}

/** Ends an attempt and its request with the body of the answer. */
function complete(attempt: Attempt, end: BodyEnd, { status, usage, bytes }: PassedBody): void {
  const { state, upstream } = attempt
  const demand = demandOn(state.request, upstream)
  const spent = spentOn(demand, usage, bytes)
  const perAnswer = usage?.output && usage.output / demand.choices
  const told = demand.inputTokens === undefined ? {} : { tokens: spent.tokens, outputTokens: perAnswer }
  endAttempt(attempt, { ...told, ...end }, status)
  recordEnd(state, {
    status: end.kind === 'aborted' ? 499 : status,
    upstream,
    cost: spent,
    code: end.kind === 'broken' ? end.code : undefined,
    inputTokens: usage?.input,
    outputTokens: usage?.output,
  })
}

/** By `usage` where the answer has it, else by its bytes; nothing where the endpoint counts no tokens. */
function spentOn({ inputTokens, outputTokens }: Demand, usage: Usage | undefined, bytes: number) {
  if (inputTokens === undefined) return NO_TOKENS
  const input = usage?.input ?? inputTokens
  // What writes no text (embeddings) has no output tokens, however long its answer is.
  const output = usage?.output ?? (outputTokens === 0 ? 0 : Math.ceil(bytes / BYTES_PER_TOKEN))
  return { tokens: usage?.total ?? input + output, inputTokens: input, outputTokens: output }
}
const NO_TOKENS = { tokens: 0, inputTokens: 0, outputTokens: 0 }

/** What an attempt without a whole answer has cost, at most. */
function costOf(outcome: Outcome): RelayState['cost'] {
  if (outcome.kind === 'aborted') return outcome.sent ? 'reserved' : 'nothing'
  if (outcome.kind !== 'failed' || outcome.class === 'ambiguous' || outcome.class === 'unfit')
    return 'reserved'
  return outcome.class === 'not-sent' || outcome.class === 'refused' ? 'nothing' : 'request'
}

function endAttempt(attempt: Attempt, outcome: Outcome, status?: number): void {
  const { state, upstream, lease, startedAt, firstByteMs } = attempt
  const { request, deps } = state
  request.clientSignal.removeEventListener('abort', attempt.onClientAbort)
  const durationMs = deps.clock.now() - startedAt
  const cost = costOf(outcome)
  if (cost === 'reserved' || state.cost === 'nothing') state.cost = cost
  endLease(lease, outcome, deps)
  const failure = attemptFailureOf(outcome, upstream, request.path)
  recordAttempt(state, upstream, { outcome: labelOf(outcome), status, firstByteMs, durationMs, failure })
}

/** The word for an outcome in logs and metrics. */
function labelOf(outcome: Outcome): AttemptOutcome {
  if (outcome.kind !== 'failed') return outcome.kind
  if (outcome.class === 'refused-body') return 'client-error'
  if (outcome.class === 'too-long') return 'other-model'
  return outcome.class === 'unfit' ? 'unfit' : outcome.cause
}
