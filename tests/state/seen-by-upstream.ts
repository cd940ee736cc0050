/** Counts requests as the strictest of upstreams would, to tell whether a limit was ever passed. */
export interface Witness {
  /** The upstream counts a request at this moment. */
  count(time: number): void
  /** The most that any rolling `spanMs` ever held, half-open as limiters count: `(t − span, t]`. */
  mostWithin(spanMs: number): number
  /** The most that one period held, by the name that `fieldNameOf` gives a moment. */
  mostIn(nameOf: (time: number) => string): number
  readonly total: number
}

export function createWitness(): Witness {
  const times: number[] = []
  return {
    count: (time) => void times.push(time),
    mostWithin(spanMs) {
      const sorted = times.toSorted((a, b) => a - b)
      let most = 0
      let from = 0
      for (const [at, time] of sorted.entries()) {
        while ((sorted[from] ?? time) <= time - spanMs) from += 1
        most = Math.max(most, at - from + 1)
      }
      return most
    },
    mostIn(nameOf) {
      const counts = new Map<string, number>()
      for (const time of times) counts.set(nameOf(time), (counts.get(nameOf(time)) ?? 0) + 1)
      return Math.max(0, ...counts.values())
    },
    get total() {
      return times.length
    },
  }
}
