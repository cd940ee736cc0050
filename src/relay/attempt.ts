import type { Settings } from '../config/config.ts'
import { createAbort, type AbortControllerLike, type AbortSignalLike } from '../lib/abort.ts'
import type { ByteReader } from '../lib/bytes.ts'
import { instantOf } from '../lib/clock.ts'
import { BYTES_PER_TOKEN, type Usage, usageOf } from '../openai/usage.ts'
import type { Failure, Outcome } from '../pool/outcome.ts'
import type { Upstream } from '../pool/upstream.ts'
import type { Lease, MaybePromise } from '../state/store.ts'
import { TransportError, type UpstreamRequest, type UpstreamResponse } from '../transport/transport.ts'
import { classifyAnswer, classifyTransport } from '../vendors/classify.ts'
import { quotaSignals } from '../vendors/rate-limits.ts'
import { answerKey } from './candidates.ts'
import {
  commitAnswer,
  idInAnswer,
  idInEvent,
  answerKindOf,
  readPrefix,
  upstreamErrorResponseOf,
  type Commit,
  type UpstreamErrorResponse,
} from './commit.ts'
import { outcomeLabel, type RelayState, type RequestRecord } from './context.ts'
import type { AttemptOutcome, RelayDeps } from './deps.ts'
import { relayedHeaders, urlFor } from './headers.ts'
import type { RelayAnswer } from './request.ts'
import { endLease, wakeAfter, type Traffic } from './select.ts'
import { createBodyObserver, createEventObserver, createTap, type TapEnd } from './stream.ts'

/** One lease, used. */
export interface AttemptTask {
  readonly upstream: Upstream
  readonly lease: Lease
  readonly state: RelayState
  readonly record: RequestRecord
  readonly settings: Settings
  readonly traffic: Traffic
  readonly deps: RelayDeps
}

/** How an attempt ended, as far as the loop is concerned. A committed one goes on with its body. */
export type AttemptEnd =
  | { readonly kind: 'committed'; readonly answer: RelayAnswer }
  /** `upstreamErrorResponse`: the upstream's own answer, where a client may have to see it. */
  | {
      readonly kind: 'failed'
      readonly failure: Failure
      readonly upstreamErrorResponse?: UpstreamErrorResponse
    }
  | { readonly kind: 'aborted' }

/** Sends one request to one upstream and waits for the commit point. The lease is settled on every way out. */
export async function attempt(task: AttemptTask): Promise<AttemptEnd> {
  const { clientSignal } = task.state.request
  // The client may have left while the lease was being had: then nothing is sent.
  if (clientSignal.aborted) return releaseLease(task)
  const context = startAttempt(task, clientSignal)
  try {
    const handling = handleResponse(
      await task.deps.send(upstreamRequestFor(context), context.controller.signal),
      context,
    )
    return handling instanceof Promise ? await handling : handling
  } catch (error) {
    context.release()
    return clientSignal.aborted
      ? attemptAborted(context)
      : attemptFailed(context, failureFrom(error, context))
  } finally {
    context.stopClock()
  }
}

function releaseLease(task: AttemptTask): AttemptEnd {
  endLease(task, { kind: 'aborted', sent: false })
  return { kind: 'aborted' }
}

function handleResponse(response: UpstreamResponse, context: AttemptContext): MaybePromise<AttemptEnd> {
  const { state, deps } = context.task
  const { status } = response
  if (!isSuccess(status)) return handleErrorStatus(response, context)
  const { stream, clientSignal } = state.request
  const committing = commitAnswer(response, { stream, wallNow: deps.clock.wall() })
  const end = (commit: Commit): AttemptEnd => {
    if (clientSignal.aborted) throw new TransportError('aborted', 'the client left')
    return commit.kind === 'failed'
      ? attemptFailed(context, asBadResponse(commit.failure))
      : attemptCommitted(context, status, commit)
  }
  return committing instanceof Promise ? committing.then(end) : end(committing)
}

async function handleErrorStatus(response: UpstreamResponse, context: AttemptContext): Promise<AttemptEnd> {
  const { deps, upstream } = context.task
  const { status, headers, body } = response
  const wallNow = deps.clock.wall()
  context.head = response
  const prefix = await readPrefix(body, ERROR_BYTES)
  const failure = classifyAnswer({ status, headers, body: prefix.bytes, wallNow })
  if (failure === undefined) throw new TransportError('broken', 'an error status that no rule classifies')
  if (isForClient(failure))
    return {
      ...attemptFailed(context, failure),
      upstreamErrorResponse: upstreamErrorResponseOf(response, prefix, upstream),
    }
  prefix.cancel()
  return attemptFailed(context, failure)
}

/** What another model may accept has no status of its own here: when nothing is left it was a bad answer. */
function asBadResponse(failure: Failure): Failure {
  return failure.class === 'other-model' ? { ...failure, code: 'upstream_bad_response' } : failure
}

function attemptCommitted(
  context: AttemptContext,
  status: number,
  commit: Exclude<Commit, { kind: 'failed' }>,
): AttemptEnd {
  const { task, startedAt, release } = context
  const { deps, lease, upstream, record, state, traffic } = task
  const { headers } = commit
  const at = instantOf(deps.clock)
  const firstByteMs = at.now - startedAt
  record.committed()
  wakeAfter(deps.store.confirm(lease, { firstByteMs, signals: quotaSignals(headers, at.wall) }, at), traffic)
  rememberUpstream(task, commit)
  const attempts = state.attempts.length + 1
  const completion = { task, startedAt, release, status, firstByteMs }
  const body =
    commit.kind === 'bytes' ? completeBytes(commit.bytes, completion) : completeStream(commit, completion)
  return { kind: 'committed', answer: { status, headers, body, upstream, attempts } }
}

/** A day at least: an answer's id is of use only on the account that gave it. */
const ANSWER_TTL_MS = 48 * 3_600_000

function rememberUpstream(
  { state, upstream, deps, settings }: AttemptTask,
  commit: Exclude<Commit, { kind: 'failed' }>,
): void {
  const { affinityKey, endpoint, answerIds } = state.request
  if (affinityKey === '' && endpoint !== 'responses') return
  const at = instantOf(deps.clock)
  if (affinityKey !== '')
    void deps.store.remember(affinityKey, upstream.id, { ttlMs: settings.affinityTtlMs, at })
  if (endpoint !== 'responses') return
  const own = commit.kind === 'bytes' ? idInAnswer(commit.bytes) : idInEvent(commit.opening)
  for (const id of own === undefined ? answerIds : [own, ...answerIds])
    void deps.store.remember(answerKey(id), upstream.id, { ttlMs: ANSWER_TTL_MS, at })
}

function attemptFailed(
  { task, startedAt, release }: AttemptContext,
  failure: Failure,
): Extract<AttemptEnd, { kind: 'failed' }> {
  release()
  const at = instantOf(task.deps.clock)
  endLease(task, failure)
  task.record.attempt(task.upstream, {
    outcome: outcomeLabel(failure),
    durationMs: at.now - startedAt,
    status: failure.status,
  })
  return { kind: 'failed', failure }
}

function attemptAborted({ task, startedAt }: AttemptContext): AttemptEnd {
  const at = instantOf(task.deps.clock)
  endLease(task, { kind: 'aborted', sent: true })
  task.record.attempt(task.upstream, { outcome: 'aborted', durationMs: at.now - startedAt })
  return { kind: 'aborted' }
}

/** Errors are read this far: their text tells whose limit it is. */
const ERROR_BYTES = 65_536
/** Non-stream answers up to this size are complete before the client gets a byte. */
const WHOLE_BYTES = 8_388_608

/** An attempt under way, up to its commit point. */
interface AttemptContext {
  readonly task: AttemptTask
  readonly startedAt: number
  readonly controller: AbortControllerLike
  /** Stops listening for the client's departure. */
  readonly release: () => void
  /** Ends the wait for the first byte. */
  stopClock: () => void
  isLate: boolean
  /** What is known of an answer whose body is not there yet. */
  head: Pick<UpstreamResponse, 'status' | 'headers'> | undefined
}

/** Begins an attempt: its clock runs, and it ends when the client leaves. */
function startAttempt(task: AttemptTask, clientSignal: AbortSignalLike): AttemptContext {
  const { deps, state, upstream } = task
  const startedAt = deps.clock.now()
  const controller = createAbort()
  const onClientAbort = (): void => controller.abort()
  clientSignal.addEventListener('abort', onClientAbort)
  const release = (): void => clientSignal.removeEventListener('abort', onClientAbort)
  const context: AttemptContext = {
    task,
    startedAt,
    controller,
    release,
    stopClock: () => {},
    isLate: false,
    head: undefined,
  }
  const onLate = (): void => {
    context.isLate = true
    controller.abort()
  }
  context.stopClock = deps.clock.after(Math.min(upstream.timeoutMs, state.deadline - startedAt), onLate)
  return context
}

/** A status that promises an answer. */
const isSuccess = (status: number): boolean => status >= 200 && status <= 299

/** The request as this upstream gets it. */
function upstreamRequestFor(context: AttemptContext): UpstreamRequest {
  const { upstream, state, settings } = context.task
  const { request } = state
  return {
    method: 'POST',
    url: urlFor(upstream, request.path, request.query),
    headers: relayedHeaders(upstream, request.headers),
    body: request.bodyFor(upstream),
    connectTimeoutMs: settings.connectTimeoutMs,
    timeoutMs: upstream.timeoutMs,
    gatherBytes: (status, headers) => {
      context.head = { status, headers }
      if (!isSuccess(status)) return ERROR_BYTES
      if (answerKindOf(headers, request.stream) !== 'json') return 0
      // A long answer that makes progress is not late: from here on only its silence counts.
      context.stopClock()
      return WHOLE_BYTES
    },
  }
}

/**
 * What a thrown error means. A body that breaks or stalls hides less than it shows: an error status says what the failure is.
 */
function failureFrom(error: unknown, { isLate, head, task }: AttemptContext): Failure {
  if (head !== undefined && !isSuccess(head.status)) {
    const failure = classifyAnswer({ ...head, body: undefined, wallNow: task.deps.clock.wall() })
    if (failure !== undefined && !isForClient(failure)) return failure
  }
  if (isLate) return classifyTransport('timeout')
  const isOwn = error instanceof TransportError && error.failure !== 'aborted'
  return classifyTransport(isOwn ? error.failure : 'broken')
}

/** Faults that are told by the upstream's own words. */
const isForClient = (failure: Failure): boolean =>
  failure.class === 'client' || failure.class === 'other-model'

/** A committed attempt whose body is still to pass. */
interface Completion {
  readonly task: AttemptTask
  readonly startedAt: number
  readonly firstByteMs: number
  readonly status: number
  /** Stops listening for the client's departure. */
  readonly release: () => void
}

/** A complete answer: from the upstream's side the request is over. */
function completeBytes(bytes: Uint8Array, completion: Completion): Uint8Array {
  const { inputTokens } = completion.task.state.request
  const usage = inputTokens === undefined ? undefined : usageOf(bytes)
  complete(completion, { outcome: okOutcome(completion, usage, bytes.length), label: 'ok', usage })
  return bytes
}

/** A streamed answer: the request is over when its body is. */
function completeStream(commit: Extract<Commit, { kind: 'stream' }>, completion: Completion): ByteReader {
  const { reader, head, isEvents } = commit
  const { endpoint, clientSignal } = completion.task.state.request
  const observer = isEvents ? createEventObserver(endpoint) : createBodyObserver()
  const onEnd = (end: TapEnd): void => {
    const usage = observer.usage()
    const spent = okOutcome(completion, usage, observer.bytes)
    if (end.kind === 'ok') complete(completion, { outcome: spent, label: 'ok', usage })
    else if (end.kind === 'aborted')
      complete(completion, { outcome: { ...spent, kind: 'aborted', sent: true }, label: 'aborted', usage })
    else
      complete(completion, {
        outcome: { ...spent, kind: 'broken', code: end.code },
        label: 'broken',
        usage,
        code: end.code,
      })
  }
  return createTap({ reader, head, onEnd, observer, clientSignal })
}

/** `usage` where the answer has it, else its bytes. */
function okOutcome(
  { task }: Completion,
  usage: Usage | undefined,
  bytes: number,
): Extract<Outcome, { kind: 'ok' }> {
  const { inputTokens, outputTokens, choices } = task.state.request
  if (inputTokens === undefined) return { kind: 'ok' }
  // What writes no text (embeddings) has no output tokens, however long its answer is.
  const output = usage?.output ?? (outputTokens === 0 ? 0 : Math.ceil(bytes / BYTES_PER_TOKEN))
  const tokens = usage?.total ?? (usage?.input ?? inputTokens) + output
  return { kind: 'ok', tokens, outputTokens: usage?.output && usage.output / choices }
}

interface AttemptResult {
  readonly outcome: Outcome
  readonly label: AttemptOutcome
  readonly usage: Usage | undefined
  readonly code?: string
}

function complete(completion: Completion, { outcome, label, usage, code }: AttemptResult): void {
  const { task, startedAt, firstByteMs, status, release } = completion
  release()
  const at = instantOf(task.deps.clock)
  endLease(task, outcome)
  task.record.attempt(task.upstream, { outcome: label, status, firstByteMs, durationMs: at.now - startedAt })
  task.record.end({
    status: label === 'aborted' ? 499 : status,
    upstream: task.upstream,
    code,
    inputTokens: usage?.input,
    outputTokens: usage?.output,
  })
}
