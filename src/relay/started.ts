import { createAbort, type AbortControllerLike, type AbortSignalLike } from '../lib/abort.ts'
import { classifyAnswer, classifyTransport } from '../pool/classify.ts'
import type { Failure } from '../pool/outcome.ts'
import { kindOf } from './answer-form.ts'
import type { AttemptTask } from './attempt.ts'
import { TransportError, type UpstreamRequest, type UpstreamResponse } from './transport.ts'
import { relayedHeaders, urlFor } from './upstream-headers.ts'

/** Errors are read this far: their text tells whose limit it is. */
export const ERROR_BYTES = 65_536
/** Non-stream answers up to this size are complete before the client gets a byte. */
const WHOLE_BYTES = 8_388_608

/** An attempt under way, up to its commit point. */
export interface Started {
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
export function start(task: AttemptTask, gone: AbortSignalLike): Started {
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
export const isSuccess = (status: number): boolean => status >= 200 && status <= 299

/** The request as this upstream gets it. */
export function outgoing(started: Started): UpstreamRequest {
  const { upstream, journey, rules } = started.task
  const { request } = journey
  return {
    method: 'POST',
    url: urlFor(upstream, request.path, request.query),
    headers: relayedHeaders(upstream, request.headers),
    body: request.bodyFor(upstream),
    connectTimeoutMs: rules.connectTimeoutMs,
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
export function failureOf(error: unknown, { isLate, head, task }: Started): Failure {
  if (head !== undefined && !isSuccess(head.status)) {
    const failure = classifyAnswer({ ...head, body: undefined, wallNow: task.deps.clock.wall() })
    if (failure !== undefined && !isForClient(failure)) return failure
  }
  if (isLate) return classifyTransport('timeout')
  const isOwn = error instanceof TransportError && error.failure !== 'aborted'
  return classifyTransport(isOwn ? error.failure : 'broken')
}

/** Faults that are told by the upstream's own words. */
export const isForClient = (failure: Failure): boolean =>
  failure.class === 'client' || failure.class === 'other-model'
