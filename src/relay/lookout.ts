/**
 * When the waiting look again for what nobody here tells them of: a place that became free in another process.
 *
 * Soon at first, then ever more rarely: what is found late is found after half as long again as the queue has
 * stood still, and at most a second after it became free.
 */
export interface Lookout {
  /** When to look next, ms on the clock. */
  readonly at: number
  /** Somebody begins to wait, or got a place: things move. */
  restart(now: number): void
  /** Everybody looks now, for whatever reason. */
  looked(now: number): void
}

const FIRST_MS = 100
const MOST_MS = 1_000
const GROWTH = 1.5

export function createLookout(): Lookout {
  let pauseMs = FIRST_MS
  let at = -Infinity
  return {
    get at() {
      return at
    },
    restart(now) {
      pauseMs = FIRST_MS
      at = now + pauseMs
    },
    looked(now) {
      if (now < at) return
      pauseMs = Math.min(MOST_MS, pauseMs * GROWTH)
      at = now + pauseMs
    },
  }
}
