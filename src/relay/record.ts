import type { Failure } from '../pool/outcome.ts'
import type { Upstream } from '../pool/upstream.ts'
import type { RelayDeps } from './deps.ts'
import type { AttemptOutcome, AttemptRecord } from './event.ts'
import type { Journey } from './journey.ts'
import type { RelayAnswer } from './relay-request.ts'

/** How a request ended, for its event. */
export interface RequestEnd {
  readonly status: number
  readonly code?: string | undefined
  readonly upstream?: Upstream | undefined
  readonly inputTokens?: number | undefined
  readonly outputTokens?: number | undefined
}

/** Writes the record of one request: an event for each attempt and one at the end. */
export interface RequestRecord {
  attempt(upstream: Upstream, end: Omit<AttemptRecord, 'upstream' | 'model'>): void
  /** The answer has begun to reach the client. */
  committed(): void
  /** Ends the record; later calls do nothing. */
  end(how: RequestEnd): void
  /** Ends the record with an answer that is handed on as it came. */
  answered(answer: RelayAnswer): RelayAnswer
}

/** Begins the record of a request. */
export function createRecord(journey: Journey, { clock, report }: RelayDeps): RequestRecord {
  const { request } = journey
  let firstByteMs: number | undefined
  let ended = false

  function end(how: RequestEnd): void {
    if (ended) return
    ended = true
    const { status, code, upstream, inputTokens, outputTokens } = how
    report({
      kind: 'request',
      id: request.id,
      endpoint: request.endpoint,
      asked: request.asked,
      attempts: journey.attempts,
      durationMs: clock.now() - request.since,
      stream: request.stream,
      queuedMs: journey.queuedMs,
      status,
      code,
      upstream: upstream?.name,
      model: upstream?.model,
      firstByteMs,
      inputTokens,
      outputTokens,
    })
  }

  return {
    attempt(upstream, how) {
      const { outcome, status, firstByteMs: firstByte, durationMs } = how
      const { name, model } = upstream
      const attempt = { upstream: name, model, outcome, status, firstByteMs: firstByte, durationMs }
      journey.attempts.push(attempt)
      report({
        kind: 'attempt',
        requestId: request.id,
        upstreamId: upstream.id,
        endpoint: request.endpoint,
        upstream: name,
        model,
        outcome,
        status,
        firstByteMs: firstByte,
        durationMs,
      })
    },
    committed() {
      firstByteMs ??= clock.now() - request.since
    },
    end,
    answered(answer) {
      firstByteMs ??= clock.now() - request.since
      end({ status: answer.status, upstream: answer.upstream })
      return answer
    },
  }
}

/** The word for a failure in logs and metrics. */
export function outcomeWord(failure: Failure): AttemptOutcome {
  if (failure.class === 'client') return 'client-error'
  return failure.class === 'other-model' ? 'other-model' : failure.cause
}
