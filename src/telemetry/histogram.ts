/** Counts of observations by size. */
export interface Histogram {
  /** Upper bounds, ascending, without the infinite one. */
  readonly bounds: readonly number[]
  /** Observations in each bucket alone, not cumulated; the last one is above all bounds. */
  readonly counts: Float64Array
  sum: number
}

/** An empty one; all that it will ever need is allocated. */
export function createHistogram(bounds: readonly number[]): Histogram {
  return { bounds, counts: new Float64Array(bounds.length + 1), sum: 0 }
}

/** Counts a value; one that is no finite number is left out, for it would spoil the sum for ever. */
export function observe(histogram: Histogram, value: number): void {
  if (!Number.isFinite(value)) return
  const { bounds, counts } = histogram
  let at = 0
  while (at < bounds.length && value > (bounds[at] ?? Infinity)) at++
  counts[at] = (counts[at] ?? 0) + 1
  histogram.sum += value
}
