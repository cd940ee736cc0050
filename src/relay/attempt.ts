import { classifyAnswer } from '../pool/classify.ts'
import type { Failure } from '../pool/outcome.ts'
import { quotaSignals } from '../pool/quota-signals.ts'
import type { Upstream } from '../pool/upstream.ts'
import type { Lease, MaybePromise } from '../state/store.ts'
import { idInAnswer, idInEvent } from './answer-form.ts'
import { instantOf } from './clock.ts'
import { commitAnswer, type Commit } from './commit.ts'
import type { RelayDeps } from './deps.ts'
import { endLease, wakeAfter } from './end-lease.ts'
import { finishBytes, finishStream } from './finish.ts'
import { answerKey } from './holder.ts'
import type { Journey } from './journey.ts'
import { readPrefix } from './prefix.ts'
import { outcomeWord, type RequestRecord } from './record.ts'
import type { RelayAnswer } from './relay-request.ts'
import { TransportError, type UpstreamResponse } from './transport.ts'
import type { RelayRules, Traffic } from './turn.ts'
import { ERROR_BYTES, failureOf, isForClient, isSuccess, outgoing, start, type Started } from './started.ts'
import { verbatimOf, type Verbatim } from './verbatim.ts'

/** One lease, used. */
export interface AttemptTask {
  readonly upstream: Upstream
  readonly lease: Lease
  readonly journey: Journey
  readonly record: RequestRecord
  readonly rules: RelayRules
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
  if (failure === undefined) throw new TransportError('broken', 'an error status without a verdict')
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
  { journey, upstream, deps, rules }: AttemptTask,
  commit: Exclude<Commit, { kind: 'failed' }>,
): void {
  const { affinityKey, endpoint, answerIds } = journey.request
  if (affinityKey === '' && endpoint !== 'responses') return
  const at = instantOf(deps.clock)
  if (affinityKey !== '')
    void deps.store.remember(affinityKey, upstream.id, { ttlMs: rules.affinityTtlMs, at })
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
