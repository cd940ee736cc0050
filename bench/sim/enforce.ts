import { midnightAfter } from '../../src/lib/time.ts'

/** How an upstream forgets what it has counted. */
export type Forgetting =
  /** Everything exactly one span later. */
  | 'rolling'
  /** All at once, whenever the clock on its wall has come round to the span. */
  | 'wall'
  /** Steadily: a bucket that holds the limit and is refilled once a span. */
  | 'bucket'
  /** All at once, at midnight in an IANA zone. */
  | { readonly zone: string }

/** A limit as an upstream enforces it. Times are epoch ms and never go back. */
export interface Counter {
  readonly limit: number
  /** What may still be counted now. */
  left(now: number): number
  count(amount: number, now: number): void
  /** Ms until `amount` would be let through; 0 = now. */
  opensIn(amount: number, now: number): number
  /** Ms until nothing is counted any more; of a bucket: until it is full. */
  resetsIn(now: number): number
  /** Ms until there is more left than now. */
  freesIn(now: number): number
}

/** @param rule.spanMs ignored for a zone */
export function createCounter(limit: number, rule: { forgets: Forgetting; spanMs: number }): Counter {
  const { forgets, spanMs } = rule
  if (forgets === 'rolling') return createRolling(limit, spanMs)
  if (forgets === 'bucket') return createBucket(limit, spanMs)
  if (forgets === 'wall') return createFixed(limit, (now) => (Math.floor(now / spanMs) + 1) * spanMs)
  return createFixed(limit, (now) => midnightAfter(forgets.zone, now))
}

function createRolling(limit: number, spanMs: number): Counter {
  let counted: { at: number; amount: number }[] = []
  let used = 0

  function forget(now: number): void {
    const kept = counted.findIndex(({ at }) => at + spanMs > now)
    if (kept === 0) return
    const gone = kept < 0 ? counted : counted.slice(0, kept)
    counted = kept < 0 ? [] : counted.slice(kept)
    for (const { amount } of gone) used -= amount
  }

  return {
    limit,
    left(now) {
      forget(now)
      return limit - used
    },
    count(amount, now) {
      forget(now)
      counted.push({ at: now, amount })
      used += amount
    },
    opensIn(amount, now) {
      forget(now)
      let missing = used + amount - limit
      for (const { at, amount: freed } of counted) {
        if (missing <= 0) return 0
        missing -= freed
        if (missing <= 0) return at + spanMs - now
      }
      return missing <= 0 ? 0 : spanMs
    },
    resetsIn(now) {
      forget(now)
      return Math.max(0, (counted.at(-1)?.at ?? now - spanMs) + spanMs - now)
    },
    freesIn(now) {
      forget(now)
      return Math.max(0, (counted[0]?.at ?? now - spanMs) + spanMs - now)
    },
  }
}

function createFixed(limit: number, endOf: (now: number) => number): Counter {
  let used = 0
  let end = 0

  function turn(now: number): void {
    if (now < end) return
    used = 0
    end = endOf(now)
  }

  function endsIn(now: number): number {
    turn(now)
    return end - now
  }

  return {
    limit,
    left(now) {
      turn(now)
      return limit - used
    },
    count(amount, now) {
      turn(now)
      used += amount
    },
    opensIn(amount, now) {
      turn(now)
      return used + amount <= limit ? 0 : end - now
    },
    resetsIn: endsIn,
    freesIn: endsIn,
  }
}

function createBucket(limit: number, spanMs: number): Counter {
  const perMs = limit / spanMs
  let level = limit
  let since = 0

  function refill(now: number): void {
    level = Math.min(limit, level + (now - since) * perMs)
    since = now
  }

  return {
    limit,
    left(now) {
      refill(now)
      // Sums of fractions: what is a billionth short of a whole is a whole.
      return Math.floor(level + 1e-9)
    },
    count(amount, now) {
      refill(now)
      level -= amount
    },
    opensIn(amount, now) {
      refill(now)
      return Math.max(0, (amount - level) / perMs)
    },
    resetsIn(now) {
      refill(now)
      return (limit - level) / perMs
    },
    freesIn(now) {
      refill(now)
      return level >= limit ? 0 : (Math.floor(level + 1e-9) + 1 - level) / perMs
    },
  }
}
