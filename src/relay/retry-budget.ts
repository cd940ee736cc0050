export type RetryBudget = ReturnType<typeof createRetryBudget>

const SLOT_MS = 1_000
/** Requests of the last 9 to 10 s are counted, and retries of the last 10 to 11: no 10 s ever hold more. */
const BEGUN_SLOTS = 10
const SPENT_SLOTS = 11
/** Retries that are always allowed in a window, so that a quiet gateway can retry at all. */
const BASE = 100
const SHARE = 0.2

/**
 * Keeps retries of ambiguous failures from multiplying the load of upstreams that are in trouble: in any 10 s 100 retries
 * and a fifth of the requests begun in them. Counted in slots of a second.
 */
export function createRetryBudget() {
  const begun = createSlots(BEGUN_SLOTS)
  const spent = createSlots(SPENT_SLOTS)
  return {
    /** Tells of a request that begins. */
    recordRequest: (now: number): void => begun.add(now),
    /** Takes one retry; false when the budget is spent. */
    spend(now: number): boolean {
      if (spent.sum(now) + 1 > BASE + SHARE * begun.sum(now)) return false
      spent.add(now)
      return true
    },
  }
}

/** Counts what happened in the present second and those before it, `size` in all. */
function createSlots(size: number) {
  const counts = Array.from({ length: size }, () => 0)
  let last = -Infinity

  function slotAt(now: number): number {
    const second = Math.floor(now / SLOT_MS)
    if (second - last >= size) counts.fill(0)
    else for (let stale = last + 1; stale <= second; stale++) counts[stale % size] = 0
    last = Math.max(last, second)
    return second % size
  }

  return {
    add(now: number): void {
      const slot = slotAt(now)
      counts[slot] = (counts[slot] ?? 0) + 1
    },
    sum(now: number): number {
      slotAt(now)
      return counts.reduce((total, count) => total + count, 0)
    },
  }
}
