/*
 * How upstreams count. A `Counter` is one limit, a `Ledger` all of an upstream's limits with what happens to them from
 * outside. Both enforce exactly what they say: the relay is held against them, and so is the yardstick.
 */
import { midnightAfter } from '../../lib/time.ts'

/** How an upstream forgets what it has counted. */
export type Forgetting =
  /** Everything exactly one span later: a sliding log. */
  | 'rolling'
  /** All at once, whenever the upstream's clock has come round to the span. */
  | 'wall'
  /** The same, by a clock that is so much behind. */
  | { readonly behindMs: number }
  /** All at once, a span after the first request that it counted since the last time. */
  | 'first'
  /** Steadily: a token bucket that holds the limit and is refilled once a span. */
  | 'bucket'
  /** As steadily, but it holds no more than so much: GCRA. */
  | { readonly burst: number }
  /** All at once, at midnight in an IANA zone. */
  | { readonly zone: string }

/** A limit as an upstream enforces it. Times are epoch ms and never go back. */
export interface Counter {
  /** What can be left at most. */
  readonly limit: number
  /** What it lets through in a span in the long run: the same but for GCRA. */
  readonly perSpan: number
  /** What is counted at a moment, which may be before the last count. */
  used(now: number): number
  /** What may still be counted now, never below 0. */
  left(now: number): number
  count(amount: number, now: number): void
  /** Ms until `amount` would be let through; 0 = now, Infinity = it is more than the limit. */
  opensIn(amount: number, now: number): number
  /** Ms until nothing is counted any more; of a bucket: until it is full. */
  resetsIn(now: number): number
  /** Ms until there is more left than now. */
  freesIn(now: number): number
  /** What was counted stays counted. */
  setLimit(limit: number, now: number): void
}

/** @param rule.spanMs ignored for a zone */
export function createCounter(limit: number, rule: { forgets: Forgetting; spanMs: number }): Counter {
  const { forgets, spanMs } = rule
  if (forgets === 'rolling') return createRolling(limit, spanMs)
  if (forgets === 'bucket') return createBucket(limit, { spanMs })
  if (forgets === 'wall') return createWall(limit, { spanMs, behindMs: 0 })
  if (forgets === 'first') return createFixed(limit, (now) => now + spanMs)
  if ('burst' in forgets) return createBucket(limit, { spanMs, burst: forgets.burst })
  if ('behindMs' in forgets) return createWall(limit, { spanMs, behindMs: forgets.behindMs })
  return createFixed(limit, (now) => midnightAfter(forgets.zone, now))
}

function createRolling(atFirst: number, spanMs: number): Counter {
  let limit = atFirst
  let counted: { at: number; amount: number }[] = []
  /** The place of the oldest that still counts. */
  let first = 0
  let used = 0

  function forget(now: number): void {
    for (let one; (one = counted[first]) !== undefined && one.at + spanMs <= now; first++) used -= one.amount
    if (first < 1_000 || first * 2 < counted.length) return
    counted = counted.slice(first)
    first = 0
  }

  const endsIn = (one: { at: number } | undefined, now: number): number =>
    one === undefined ? 0 : one.at + spanMs - now

  return {
    get limit() {
      return limit
    },
    get perSpan() {
      return limit
    },
    used(now) {
      let counts = used
      for (let at = first, one; (one = counted[at]) !== undefined && one.at + spanMs <= now; at++)
        counts -= one.amount
      return counts
    },
    left(now) {
      forget(now)
      return Math.max(0, limit - used)
    },
    count(amount, now) {
      forget(now)
      counted.push({ at: now, amount })
      used += amount
    },
    opensIn(amount, now) {
      forget(now)
      let missing = used + amount - limit
      if (missing <= 0) return 0
      for (let at = first; at < counted.length; at++) {
        missing -= counted[at]?.amount ?? 0
        if (missing <= 0) return endsIn(counted[at], now)
      }
      return Infinity
    },
    resetsIn(now) {
      forget(now)
      return first < counted.length ? endsIn(counted.at(-1), now) : 0
    },
    freesIn(now) {
      forget(now)
      return endsIn(counted[first], now)
    },
    setLimit: (next) => void (limit = next),
  }
}

const createWall = (limit: number, { spanMs, behindMs }: { spanMs: number; behindMs: number }): Counter =>
  createFixed(limit, (now) => (Math.floor((now - behindMs) / spanMs) + 1) * spanMs + behindMs)

/** @param endOf when a window ends that begins now */
function createFixed(atFirst: number, endOf: (now: number) => number): Counter {
  let limit = atFirst
  let used = 0
  let end = 0

  const usedAt = (now: number): number => (now < end ? used : 0)
  const endsIn = (now: number): number => (now < end ? end : endOf(now)) - now

  return {
    get limit() {
      return limit
    },
    get perSpan() {
      return limit
    },
    used: usedAt,
    left: (now) => Math.max(0, limit - usedAt(now)),
    count(amount, now) {
      used = usedAt(now) + amount
      if (now >= end) end = endOf(now)
    },
    opensIn(amount, now) {
      if (usedAt(now) + amount <= limit) return 0
      return amount > limit ? Infinity : endsIn(now)
    },
    resetsIn: endsIn,
    freesIn: endsIn,
    setLimit: (next) => void (limit = next),
  }
}

/** Sums of fractions: what is a billionth short of a whole is a whole. */
const HAIR = 1e-9

function createBucket(limit: number, { spanMs, burst }: { spanMs: number; burst?: number }): Counter {
  let most = burst ?? limit
  let perSpan = limit
  let level = most
  let since = 0

  const levelAt = (now: number): number => Math.min(most, level + ((now - since) * perSpan) / spanMs)

  function refill(now: number): void {
    level = levelAt(now)
    since = now
  }

  const wholeLevel = (): number => Math.floor(level + HAIR)
  const msFor = (missing: number): number => (missing <= HAIR ? 0 : (missing * spanMs) / perSpan)

  return {
    get limit() {
      return most
    },
    get perSpan() {
      return perSpan
    },
    used: (now) => most - levelAt(now),
    left(now) {
      refill(now)
      return wholeLevel()
    },
    count(amount, now) {
      refill(now)
      level -= amount
    },
    opensIn(amount, now) {
      refill(now)
      return amount > most ? Infinity : msFor(amount - level)
    },
    resetsIn(now) {
      refill(now)
      return msFor(most - level)
    },
    freesIn(now) {
      refill(now)
      return level >= most ? 0 : msFor(wholeLevel() + 1 - level)
    },
    setLimit(next, now) {
      refill(now)
      perSpan = next
      if (burst !== undefined) return
      // A larger bucket is not filled anew, but what was added to it is in it.
      level = Math.min(next, level + Math.max(0, next - most))
      most = next
    },
  }
}

/** A limit that an upstream has. */
export interface LimitSpec {
  readonly counts: 'requests' | 'tokens'
  readonly limit: number
  readonly spanMs: number
  readonly forgets: Forgetting
  /** What the limit becomes, `at` ms after the start of the run. */
  readonly changes?: readonly { readonly at: number; readonly limit: number }[]
}

/** What requests cost. */
export type LimitCost = Readonly<Record<LimitSpec['counts'], number>>

/** All limits of an upstream. Times are those of its own clock. */
export interface Ledger {
  readonly entries: readonly { readonly spec: LimitSpec; readonly counter: Counter }[]
  /** Ms until all limits let it through; 0 = now. */
  opensIn(cost: LimitCost, now: number): number
  count(cost: LimitCost, now: number): void
  /** What happens from outside, ms after the start of the run, in order. */
  readonly happenings: readonly { readonly at: number; readonly run: (now: number) => void }[]
}

/** @param all.others when somebody else spends a request of the same limits, where one is left */
export function createLedger(all: { limits: readonly LimitSpec[]; others?: readonly number[] }): Ledger {
  const { limits, others = [] } = all
  const entries = limits.map((spec) => ({ spec, counter: createCounter(spec.limit, spec) }))

  const opensIn: Ledger['opensIn'] = (cost, now) =>
    entries.reduce((most, { spec, counter }) => Math.max(most, counter.opensIn(cost[spec.counts], now)), 0)
  const count: Ledger['count'] = (cost, now) => {
    for (const { spec, counter } of entries) counter.count(cost[spec.counts], now)
  }
  const spendOne = (now: number): void => {
    if (opensIn(ONE_REQUEST, now) <= 0) count(ONE_REQUEST, now)
  }
  const changes = entries.flatMap(({ spec, counter }) =>
    (spec.changes ?? []).map(({ at, limit }) => ({
      at,
      run: (now: number) => counter.setLimit(limit, now),
    })),
  )
  const happenings = [...changes, ...others.map((at) => ({ at, run: spendOne }))]
  return { entries, opensIn, count, happenings: happenings.sort((a, b) => a.at - b.at) }
}
const ONE_REQUEST: LimitCost = { requests: 1, tokens: 0 }
