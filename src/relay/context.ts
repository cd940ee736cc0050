import type { Failure } from '../pool/outcome.ts'
import type { Claim, Upstream } from '../pool/upstream.ts'
import { NO_KEYS, type PinResolution } from './candidates.ts'
import type { UpstreamErrorResponse } from './commit.ts'
import type { AttemptOutcome, AttemptRecord, RelayDeps } from './deps.ts'
import type { RelayAnswer, RelayRequest } from './request.ts'

/** What one request has been through. Lives as long as its loop. */
export interface RelayState {
  readonly request: RelayRequest
  /** The upstreams it may go to; the pool, or the one that holds an earlier answer. */
  upstreams: readonly Upstream[]
  /** Keys of earlier answers whose upstream is not known here; see `Ask.pinKeys`. */
  unresolvedPins: readonly string[]
  /** The rest of the present order. */
  order: Claim[]
  /** Ids that were tried since the last wait. */
  readonly tried: Set<string>
  /** Ids that refused this one request and took no harm: to wait for them is of no use. */
  refusedBy: ReadonlySet<string>
  readonly attempts: AttemptRecord[]
  readonly failures: Failure[]
  ambiguousFailures: number
  /** When the first attempt began. */
  firstSentAt: number | undefined
  /** The last moment for a first byte, over all attempts; ms on the clock. */
  deadline: number
  /** Waiting in the queue in all. */
  queuedMs: number
  /** Models that refused what another may accept. */
  refusingModels: ReadonlySet<string>
  /** The answer of the first such model; what the client gets when the other one fails too. */
  fallbackResponse: UpstreamErrorResponse | undefined
}

/** Most requests never have any. */
const NO_IDS: ReadonlySet<string> = new Set()

/** A request that was not tried anywhere yet; it may go to its whole pool where nothing else is known. */
export function createRelayState(request: RelayRequest, pins?: PinResolution): RelayState {
  return {
    request,
    upstreams: pins?.upstreams ?? request.pool.upstreams,
    unresolvedPins: pins?.unresolvedPins ?? NO_KEYS,
    order: [],
    tried: new Set(),
    refusedBy: NO_IDS,
    attempts: [],
    failures: [],
    ambiguousFailures: 0,
    firstSentAt: undefined,
    deadline: Infinity,
    queuedMs: 0,
    refusingModels: NO_IDS,
    fallbackResponse: undefined,
  }
}

/** Who may be tried at all, now or after a wait. */
export function suitableUpstreams({ upstreams, refusedBy, refusingModels }: RelayState): readonly Upstream[] {
  if (refusedBy.size === 0 && refusingModels.size === 0) return upstreams
  return upstreams.filter(({ id, model }) => !refusedBy.has(id) && !refusingModels.has(model))
}

/** Who may be tried now: not the same twice. */
export function untriedUpstreams(state: RelayState): readonly Upstream[] {
  const { tried } = state
  const suitable = suitableUpstreams(state)
  return tried.size === 0 ? suitable : suitable.filter(({ id }) => !tried.has(id))
}

/** How a request ended, for its event. */
interface RequestEnd {
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
export function createRecord(state: RelayState, { clock, report }: RelayDeps): RequestRecord {
  const { request } = state
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
      requestedModel: request.requestedModel,
      attempts: state.attempts,
      durationMs: clock.now() - request.since,
      stream: request.stream,
      queuedMs: state.queuedMs,
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
      state.attempts.push(attempt)
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
export function outcomeLabel(failure: Failure): AttemptOutcome {
  if (failure.class === 'client') return 'client-error'
  return failure.class === 'other-model' ? 'other-model' : failure.cause
}
