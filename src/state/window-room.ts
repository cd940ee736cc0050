import { budgetOf, countedOf, usedOf, type WindowState } from './window.ts'

/**
 * What may be sent now: the rest of the limit, or of what the upstream said is left, whichever is less.
 * Infinity without either; negative where more is used than that. Asked for every window at each choice.
 */
export function freeIn(window: WindowState | undefined, limit: number | undefined, now: number): number {
  if (window === undefined) return limit ?? Infinity
  const byCount = limit === undefined ? Infinity : limit - usedOf(window, now)
  const budget = budgetOf(window, now)
  return budget === undefined || byCount < budget ? byCount : budget
}

/** What a request asks of a window. */
export interface Demand {
  readonly amount: number
  /** The limit in force, if any. */
  readonly limit: number | undefined
  readonly now: number
  /** The span of the window: what is under way will be counted, and is forgotten that long after. */
  readonly spanMs: number
}

/** When a window that is full opens again. */
export interface Reopening {
  /** Ms on the monotonic clock; Infinity = never, since the amount is larger than the limit. */
  readonly until: number
  /** Whether the end of another request may open it earlier: it may have used less than it reserved. */
  readonly onRelease: boolean
}

/** When an amount that does not fit now will. */
export function reopeningOf(window: WindowState, demand: Demand): Reopening {
  const { amount, limit, now } = demand
  const budget = budgetOf(window, now)
  const byBudget = budget !== undefined && budget < amount ? (window.leftUntil ?? now) : now
  const until = Math.max(fitsFrom(window, demand), byBudget)
  const isClosed = (window.closedUntil ?? 0) > now
  const isFull = limit !== undefined && countedOf(window, now) + amount > limit
  return { until, onRelease: window.pending > 0 && !isClosed && !isFull }
}

function fitsFrom(window: WindowState, { amount, limit, now, spanMs }: Demand): number {
  if (limit === undefined) return now
  if (amount > limit) return Infinity
  let excess = usedOf(window, now) + amount - limit
  if (excess <= 0) return now
  for (const bucket of window.buckets) {
    if (bucket.until <= now) continue
    excess -= bucket.amount
    if (excess <= 0) return bucket.until
  }
  if (window.newest !== undefined && excess <= window.newest.amount) return window.newest.until
  return now + spanMs
}
