/**
 * When the waiting look again for what nobody here tells them of: a place that became free in another process.
 *
 * Soon at first, then ever more rarely: what is found late is found after half as long again as the queue has
 * stood still, and at most a second after it became free.
 */
export interface Lookout {
  /** Somebody begins to wait, or got a place: things move. Ms on the clock. */
  restart(now: number): void
  /** When to look next; asked after everybody has looked. Ms on the clock. */
  next(now: number): number
}

const FIRST_MS = 100
const MOST_MS = 1_000
const GROWTH = 1.5

export function createLookout(): Lookout {
  let pauseMs = FIRST_MS
  let at = -Infinity
  return {
    restart(now) {
      pauseMs = FIRST_MS
      at = now + pauseMs
    },
    next(now) {
      if (now < at) return at
      pauseMs = Math.min(MOST_MS, pauseMs * GROWTH)
      at = now + pauseMs
      return at
    },
  }
}
