import type { Settings } from '../config/config.ts'
import { createAbort, type AbortControllerLike, type AbortSignalLike } from '../lib/abort.ts'
import type { ByteReader } from '../lib/bytes.ts'
import { instantOf } from '../lib/clock.ts'
import { usageOf, type Usage } from '../openai/usage.ts'
import type { Failure, Outcome } from '../pool/outcome.ts'
import type { Upstream } from '../pool/upstream.ts'
import type { Lease, MaybePromise } from '../state/store.ts'
import { TransportError, type UpstreamRequest, type UpstreamResponse } from '../transport/transport.ts'
import { classifyAnswer, classifyTransport } from '../vendors/classify.ts'
import { quotaSignals } from '../vendors/rate-limit-headers.ts'
import { answerKey } from './candidates.ts'
import {
  commitAnswer,
  idInAnswer,
  idInEvent,
  kindOf,
  readPrefix,
  verbatimOf,
  type Commit,
  type Verbatim,
} from './commit.ts'
import { outcomeWord, type Journey, type RequestRecord } from './context.ts'
import type { AttemptOutcome, RelayDeps } from './deps.ts'
import { relayedHeaders, urlFor } from './headers.ts'
import type { RelayAnswer } from './request.ts'
import { endLease, wakeAfter, type Traffic } from './select.ts'
import { createBodyWatch, createStreamWatch, createTap, type TapEnd } from './stream.ts'

/** One lease, used. */
export interface AttemptTask {
  readonly upstream: Upstream
  readonly lease: Lease
  readonly journey: Journey
  readonly record: RequestRecord
  readonly settings: Settings
  readonly traffic: Traffic
  readonly deps: RelayDeps
}

/** How an attempt ended, as far as the loop is concerned. A committed one goes on with its body. */
export type AttemptEnd =
  | { readonly kind: 'committed'; readonly answer: RelayAnswer }
  /** `verbatim`: the upstream's own answer, where a client may have to see it. */
  | { readonly kind: 'failed'; readonly failure: Failure; readonly verbatim?: Verbatim }
  | { readonly kind: 'aborted' }

/** Sends one request to one upstream and waits for the commit point. The lease is settled on every way out. */
export async function attempt(task: AttemptTask): Promise<AttemptEnd> {
  const { gone } = task.journey.request
  // The client may have left while the lease was being had: then nothing is sent.
  if (gone.aborted) return giveBack(task)
  const started = start(task, gone)
  try {
    const judged = judge(await task.deps.send(outgoing(started), started.controller.signal), started)
    return judged instanceof Promise ? await judged : judged
  } catch (error) {
    started.release()
    return gone.aborted ? aborted(started) : failed(started, failureOf(error, started))
  } finally {
    started.stopClock()
  }
}

function giveBack(task: AttemptTask): AttemptEnd {
  endLease(task, { kind: 'aborted', sent: false })
  return { kind: 'aborted' }
}

function judge(response: UpstreamResponse, started: Started): MaybePromise<AttemptEnd> {
  const { journey, deps } = started.task
  const { status } = response
  if (!isSuccess(status)) return judgeRefusal(response, started)
  const { stream, gone } = journey.request
  const committing = commitAnswer(response, { stream, wallNow: deps.clock.wall() })
  const end = (commit: Commit): AttemptEnd => {
    if (gone.aborted) throw new TransportError('aborted', 'the client left')
    return commit.kind === 'failed'
      ? failed(started, insideSuccess(commit.failure))
      : committed(started, status, commit)
  }
  return committing instanceof Promise ? committing.then(end) : end(committing)
}

async function judgeRefusal(response: UpstreamResponse, started: Started): Promise<AttemptEnd> {
  const { deps, upstream } = started.task
  const { status, headers, body } = response
  const wallNow = deps.clock.wall()
  started.head = response
  const prefix = await readPrefix(body, ERROR_BYTES)
  const failure = classifyAnswer({ status, headers, body: prefix.bytes, wallNow })
  if (failure === undefined) throw new TransportError('broken', 'an error status that no rule classifies')
  if (isForClient(failure))
    return { ...failed(started, failure), verbatim: verbatimOf(response, prefix, upstream) }
  prefix.cancel()
  return failed(started, failure)
}

/** What another model may accept has no status of its own here: when nothing is left it was a bad answer. */
function insideSuccess(failure: Failure): Failure {
  return failure.class === 'other-model' ? { ...failure, code: 'upstream_bad_response' } : failure
}

function committed(
  started: Started,
  status: number,
  commit: Exclude<Commit, { kind: 'failed' }>,
): AttemptEnd {
  const { task, startedAt, release } = started
  const { deps, lease, upstream, record, journey, traffic } = task
  const { headers } = commit
  const at = instantOf(deps.clock)
  const firstByteMs = at.now - startedAt
  record.committed()
  wakeAfter(deps.store.confirm(lease, { firstByteMs, signals: quotaSignals(headers, at.wall) }, at), traffic)
  rememberHolder(task, commit)
  const attempts = journey.attempts.length + 1
  const ending = { task, startedAt, release, status, firstByteMs }
  const body = commit.kind === 'bytes' ? finishBytes(commit.bytes, ending) : finishStream(commit, ending)
  return { kind: 'committed', answer: { status, headers, body, upstream, attempts } }
}

/** A day at least: an answer's id is of use only on the account that gave it. */
const ANSWER_TTL_MS = 48 * 3_600_000

function rememberHolder(
  { journey, upstream, deps, settings }: AttemptTask,
  commit: Exclude<Commit, { kind: 'failed' }>,
): void {
  const { affinityKey, endpoint, answerIds } = journey.request
  if (affinityKey === '' && endpoint !== 'responses') return
  const at = instantOf(deps.clock)
  if (affinityKey !== '')
    void deps.store.remember(affinityKey, upstream.id, { ttlMs: settings.affinityTtlMs, at })
  if (endpoint !== 'responses') return
  const own = commit.kind === 'bytes' ? idInAnswer(commit.bytes) : idInEvent(commit.opening)
  for (const id of own === undefined ? answerIds : [own, ...answerIds])
    void deps.store.remember(answerKey(id), upstream.id, { ttlMs: ANSWER_TTL_MS, at })
}

function failed(
  { task, startedAt, release }: Started,
  failure: Failure,
): Extract<AttemptEnd, { kind: 'failed' }> {
  release()
  const at = instantOf(task.deps.clock)
  endLease(task, failure)
  task.record.attempt(task.upstream, {
    outcome: outcomeWord(failure),
    durationMs: at.now - startedAt,
    status: failure.status,
  })
  return { kind: 'failed', failure }
}

function aborted({ task, startedAt }: Started): AttemptEnd {
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
interface Started {
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
function start(task: AttemptTask, gone: AbortSignalLike): Started {
  const { deps, journey, upstream } = task
  const startedAt = deps.clock.now()
  const controller = createAbort()
  const onGone = (): void => controller.abort()
  gone.addEventListener('abort', onGone)
  const release = (): void => gone.removeEventListener('abort', onGone)
  const started: Started = {
    task,
    startedAt,
    controller,
    release,
    stopClock: () => {},
    isLate: false,
    head: undefined,
  }
  const onLate = (): void => {
    started.isLate = true
    controller.abort()
  }
  started.stopClock = deps.clock.after(Math.min(upstream.timeoutMs, journey.deadline - startedAt), onLate)
  return started
}

/** A status that promises an answer. */
const isSuccess = (status: number): boolean => status >= 200 && status <= 299

/** The request as this upstream gets it. */
function outgoing(started: Started): UpstreamRequest {
  const { upstream, journey, settings } = started.task
  const { request } = journey
  return {
    method: 'POST',
    url: urlFor(upstream, request.path, request.query),
    headers: relayedHeaders(upstream, request.headers),
    body: request.bodyFor(upstream),
    connectTimeoutMs: settings.connectTimeoutMs,
    timeoutMs: upstream.timeoutMs,
    gatherBytes: (status, headers) => {
      started.head = { status, headers }
      if (!isSuccess(status)) return ERROR_BYTES
      if (kindOf(headers, request.stream) !== 'json') return 0
      // A long answer that makes progress is not late: from here on only its silence counts.
      started.stopClock()
      return WHOLE_BYTES
    },
  }
}

/**
 * What a thrown error means. A body that breaks or stalls hides less than it shows: an error status says what the failure is.
 */
function failureOf(error: unknown, { isLate, head, task }: Started): Failure {
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
interface Ending {
  readonly task: AttemptTask
  readonly startedAt: number
  readonly firstByteMs: number
  readonly status: number
  /** Stops listening for the client's departure. */
  readonly release: () => void
}

/** Bytes of an answer to a token, where the upstream does not say what it has counted. */
const BYTES_A_TOKEN = 4

/** A complete answer: from the upstream's side the request is over. */
function finishBytes(bytes: Uint8Array, ending: Ending): Uint8Array {
  const { inputTokens } = ending.task.journey.request
  const usage = inputTokens === undefined ? undefined : usageOf(bytes)
  finish(ending, { outcome: okOutcome(ending, usage, bytes.length), word: 'ok', usage })
  return bytes
}

/** A streamed answer: the request is over when its body is. */
function finishStream(commit: Extract<Commit, { kind: 'stream' }>, ending: Ending): ByteReader {
  const { reader, head, isEvents } = commit
  const { endpoint, gone } = ending.task.journey.request
  const watch = isEvents ? createStreamWatch(endpoint) : createBodyWatch()
  const onEnd = (end: TapEnd): void => {
    const usage = watch.usage()
    const spent = okOutcome(ending, usage, watch.bytes)
    if (end.kind === 'ok') finish(ending, { outcome: spent, word: 'ok', usage })
    else if (end.kind === 'aborted')
      finish(ending, { outcome: { ...spent, kind: 'aborted', sent: true }, word: 'aborted', usage })
    else
      finish(ending, {
        outcome: { ...spent, kind: 'broken', code: end.code },
        word: 'broken',
        usage,
        code: end.code,
      })
  }
  return createTap({ reader, head, onEnd, watch, gone })
}

/** `usage` where the answer has it, else its bytes. */
function okOutcome(
  { task }: Ending,
  usage: Usage | undefined,
  bytes: number,
): Extract<Outcome, { kind: 'ok' }> {
  const { inputTokens, outputTokens, choices } = task.journey.request
  if (inputTokens === undefined) return { kind: 'ok' }
  // What writes no text (embeddings) has no output tokens, however long its answer is.
  const output = usage?.output ?? (outputTokens === 0 ? 0 : Math.ceil(bytes / BYTES_A_TOKEN))
  const tokens = usage?.total ?? (usage?.input ?? inputTokens) + output
  return { kind: 'ok', tokens, outputTokens: usage?.output && usage.output / choices }
}

interface Finish {
  readonly outcome: Outcome
  readonly word: AttemptOutcome
  readonly usage: Usage | undefined
  readonly code?: string
}

function finish(ending: Ending, { outcome, word, usage, code }: Finish): void {
  const { task, startedAt, firstByteMs, status, release } = ending
  release()
  const at = instantOf(task.deps.clock)
  endLease(task, outcome)
  task.record.attempt(task.upstream, { outcome: word, status, firstByteMs, durationMs: at.now - startedAt })
  task.record.end({
    status: word === 'aborted' ? 499 : status,
    upstream: task.upstream,
    code,
    inputTokens: usage?.input,
    outputTokens: usage?.output,
  })
}
