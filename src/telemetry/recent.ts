import type { AttemptOutcome, AttemptRecord, Report } from '../relay/deps.ts'

/** One attempt, remembered. */
interface PastAttempt {
  /** When it ended, wall-clock epoch ms. */
  readonly at: number
  readonly outcome: AttemptOutcome
  /** Absent when the upstream never answered. */
  readonly status?: number | undefined
  readonly durationMs: number
}

/** What an upstream did lately, and how often it was asked. */
interface RecentOutcomes {
  /** Newest first; at most 20. */
  readonly last: readonly PastAttempt[]
  /** Since the upstream was first asked in this process. */
  readonly attempts: number
  /** Those of the attempts that speak against the upstream: not the client's faults, not departures. */
  readonly failures: number
  /** Of the last 200 answers; absent before the first. */
  readonly firstByteMs?: { readonly p50: number; readonly p95: number }
}

/** Bounded memory of every upstream: about 4 KB each. */
export interface Recent {
  readonly report: Report
  /** Undefined for an upstream that was never asked. */
  of(upstreamId: string): RecentOutcomes | undefined
  /** Forgets all but `ids`; for after a reload. */
  prune(ids: Iterable<string>): void
}

const LAST_OUTCOMES = 20
const FIRST_BYTES = 200

interface UpstreamHistory {
  readonly last: PastAttempt[]
  attempts: number
  failures: number
  readonly firstBytes: Float64Array
  /** First bytes ever seen: the next one goes to this place, modulo the length. */
  answers: number
}

/** @param wall wall-clock epoch ms: people read these times */
export function createRecent(wall: () => number): Recent {
  const histories = new Map<string, UpstreamHistory>()

  function historyOf(id: string): UpstreamHistory {
    let history = histories.get(id)
    if (history === undefined) {
      history = { last: [], attempts: 0, failures: 0, firstBytes: new Float64Array(FIRST_BYTES), answers: 0 }
      histories.set(id, history)
    }
    return history
  }

  return {
    report(event) {
      if (event.kind === 'attempt') remember(historyOf(event.upstreamId), event, wall())
    },
    of(upstreamId) {
      const history = histories.get(upstreamId)
      return history === undefined ? undefined : outcomesOf(history)
    },
    prune(ids) {
      const kept = new Set(ids)
      for (const id of histories.keys()) if (!kept.has(id)) histories.delete(id)
    },
  }
}

function remember(
  history: UpstreamHistory,
  { outcome, status, durationMs, firstByteMs }: AttemptRecord,
  at: number,
): void {
  history.attempts += 1
  if (speaksAgainst(outcome)) history.failures += 1
  history.last.push({ at, outcome, status, durationMs })
  if (history.last.length > LAST_OUTCOMES) history.last.shift()
  if (firstByteMs !== undefined) history.firstBytes[history.answers++ % FIRST_BYTES] = firstByteMs
}

function speaksAgainst(outcome: AttemptOutcome): boolean {
  return outcome !== 'ok' && outcome !== 'aborted' && outcome !== 'client-error' && outcome !== 'other-model'
}

function outcomesOf({ last, attempts, failures, firstBytes, answers }: UpstreamHistory): RecentOutcomes {
  const sorted = firstBytes.slice(0, Math.min(answers, FIRST_BYTES)).sort()
  const known = { last: last.toReversed(), attempts, failures }
  if (answers === 0) return known
  return { ...known, firstByteMs: { p50: percentile(sorted, 50), p95: percentile(sorted, 95) } }
}

/** Nearest rank: always a value that was measured. */
function percentile(sorted: Float64Array, percent: number): number {
  return sorted[Math.ceil((percent / 100) * sorted.length) - 1] ?? 0
}
