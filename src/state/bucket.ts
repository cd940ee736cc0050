/** An amount that an upstream has counted and forgets at `until` (ms, monotonic clock). */
export interface Bucket {
  readonly until: number
  readonly amount: number
}

/** The part of a list of buckets that has run out: so many of the first ones, with so much in them. */
export interface Forgotten {
  readonly places: number
  readonly amount: number
}

const NOTHING: Forgotten = { places: 0, amount: 0 }
/** Shorter lists are added up faster than they are found again. */
const WORTH_KNOWING = 16

/**
 * Lists are never changed but replaced, and time moves on: each look goes on where the last one ended. Without
 * this, a choice among a hundred upstreams that have rested for some seconds would add up tens of thousands.
 */
const known = new WeakMap<readonly Bucket[], Forgotten>()

/**
 * What of `buckets` (ascending by `until`) has run out at `now`, ms on the monotonic clock. Asked for every window
 * at each choice. A moment before that of an earlier look costs a walk from the start.
 */
export function forgottenOf(buckets: readonly Bucket[], now: number): Forgotten {
  const first = buckets[0]
  if (first === undefined || first.until > now) return NOTHING
  const isLong = buckets.length > WORTH_KNOWING
  const before = isLong ? lastLook(buckets, now) : NOTHING
  let { places, amount } = before
  for (let bucket = buckets[places]; bucket !== undefined && bucket.until <= now; bucket = buckets[places]) {
    amount += bucket.amount
    places += 1
  }
  if (places === before.places) return before
  const forgotten = { places, amount }
  if (isLong) known.set(buckets, forgotten)
  return forgotten
}

function lastLook(buckets: readonly Bucket[], now: number): Forgotten {
  const last = known.get(buckets)
  const newest = last && buckets[last.places - 1]
  return last === undefined || newest === undefined || newest.until > now ? NOTHING : last
}
