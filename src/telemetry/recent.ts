import type { AttemptFailure, AttemptOutcome, AttemptRecord, GatewayEvent } from '../relay/deps.ts'

const LAST_OUTCOMES = 40
const FIRST_BYTES = 200
/** Of these so many are told one by one. */
const TOLD_FIRST_BYTES = 40
/** Outcomes that do not speak against the upstream: the client's faults, and departures. */
export const BLAMELESS: ReadonlySet<AttemptOutcome> = new Set([
  'ok',
  'aborted',
  'client-error',
  'other-model',
  'unfit',
])

export type Recent = ReturnType<typeof createRecent>

/** What every upstream did lately, by the wall clock, and how often it was asked. Bounded: about 6 KB each. */
export function createRecent(wall: () => number) {
  const histories = new Map<string, ReturnType<typeof createHistory>>()
  return {
    report(event: GatewayEvent): void {
      if (event.kind !== 'attempt') return
      const { upstreamId, outcome, status, durationMs, firstByteMs, failure } = event
      let history = histories.get(upstreamId)
      if (history === undefined) histories.set(upstreamId, (history = createHistory()))
      history.attempts += 1
      if (!BLAMELESS.has(outcome)) {
        history.failures += 1
        if (failure !== undefined) history.lastError = { ...failure, at: wall(), outcome, status }
      }
      history.last.push({ at: wall(), outcome, status, durationMs })
      if (history.last.length > LAST_OUTCOMES) history.last.shift()
      if (firstByteMs !== undefined) history.firstBytes[history.answers++ % FIRST_BYTES] = firstByteMs
    },
    /** Undefined for an upstream that was never asked. */
    of(upstreamId: string) {
      const history = histories.get(upstreamId)
      if (history === undefined) return undefined
      const { last, attempts, failures, firstBytes, answers, lastError } = history
      const sorted = firstBytes.slice(0, answers).sort()
      return {
        /** Newest first; at most 40. */
        last: last.toReversed(),
        attempts,
        failures,
        /** Undefined before the first; the client's faults are none. */
        lastError,
        /** Of the last answers, ms, oldest first; at most 40. */
        firstBytes: lastOf(history),
        /** Of the last 200 answers; absent before the first. */
        ...(answers > 0 && { firstByteMs: { p50: percentile(sorted, 50), p95: percentile(sorted, 95) } }),
      }
    },
    /** Forgets all but `ids`; for after a reload. */
    prune(ids: Iterable<string>): void {
      const kept = new Set(ids)
      for (const id of histories.keys()) if (!kept.has(id)) histories.delete(id)
    },
  }
}

/** An attempt, and when it ended: wall-clock epoch ms. */
type PastAttempt = Pick<AttemptRecord, 'outcome' | 'status' | 'durationMs'> & { readonly at: number }

/** What went wrong last, and when. */
type LastError = AttemptFailure & Pick<AttemptRecord, 'outcome' | 'status'> & { readonly at: number }

const createHistory = () => ({
  last: [] as PastAttempt[],
  attempts: 0,
  failures: 0,
  lastError: undefined as LastError | undefined,
  firstBytes: new Float64Array(FIRST_BYTES),
  /** First bytes ever seen: the next one goes to this place, modulo the length. */
  answers: 0,
})

function lastOf({ firstBytes, answers }: ReturnType<typeof createHistory>): number[] {
  const told = Math.min(TOLD_FIRST_BYTES, answers)
  return Array.from({ length: told }, (_, at) => firstBytes[(answers - told + at) % FIRST_BYTES] ?? 0)
}

/** Why something failed, in a few words: `connection refused`, `status 503`. */
export function failureText(status: number | undefined, reason: string | undefined): string {
  if (reason !== undefined) return reason
  if (status === undefined) return 'no answer'
  return status >= 400 ? `status ${status}` : 'no valid answer'
}

/** Nearest rank: always a value that was measured. */
function percentile(sorted: Float64Array, percent: number): number {
  return sorted[Math.ceil((percent / 100) * sorted.length) - 1] ?? 0
}
