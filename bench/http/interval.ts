/** The median of some measurements and how far it can be trusted. */
export interface MedianInterval {
  readonly median: number
  readonly low: number
  readonly high: number
  /** How probable it is that the true median is between `low` and `high`, 0 to 1. */
  readonly coverage: number
}

/** The middle one; the mean of both where their number is even. NaN of nothing. */
export function medianOf(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  const upper = sorted[middle] ?? Number.NaN
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2
}

/**
 * The median with its interval by order statistics: between the k-th smallest and the k-th largest value, k as
 * large as leaves a coverage of 95 %. It asks nothing of how the values are spread but that they are independent:
 * the true median is outside when fewer than k of n fair coins fall on one side. Fewer than six values can't reach
 * 95 %: then it spans all of them, with the coverage that this has.
 */
export function medianInterval(values: readonly number[]): MedianInterval {
  const sorted = values.toSorted((a, b) => a - b)
  const n = sorted.length
  let k = 1
  while (coverageOf(n, k + 1) >= 0.95) k += 1
  return {
    median: medianOf(sorted),
    low: sorted[k - 1] ?? Number.NaN,
    high: sorted[n - k] ?? Number.NaN,
    coverage: coverageOf(n, k),
  }
}

/** One minus twice the probability that fewer than k of n fair coins show heads. */
function coverageOf(n: number, k: number): number {
  let term = 0.5 ** n
  let below = 0
  for (let heads = 0; heads < k; heads++) {
    below += term
    term *= (n - heads) / (heads + 1)
  }
  return 1 - 2 * below
}
