import type { Outcome } from '../pool/outcome.ts'
import type { Lease } from '../state/store.ts'
import { instantOf } from './clock.ts'
import { endLease } from './end-lease.ts'
import type { AttemptOutcome } from './event.ts'
import type { PassedOn, PassOnTask } from './pass-on.ts'

/** Settles and reports one request that is passed on. */
export interface PassOnRecord {
  /** The answer is there. */
  began(status: number): void
  /** Ends it: the lease is settled, an attempt and a request are reported. Called once. */
  end(outcome: Outcome, told: { status: number; word?: AttemptOutcome; code?: string }): void
}

/** Begins the record of one. `lease` is undefined where the upstream is resting: then nobody counts it. */
export function createPassOnRecord(
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
