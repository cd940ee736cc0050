/** How a request stands with a limit. */
export interface Allowance {
  readonly isAllowed: boolean
  /** Requests left in this window, this one taken off. */
  readonly left: number
  /** Until all of them are there again, in ms; never 0. */
  readonly resetMs: number
}

const MINUTE_MS = 60_000

/** Counts requests in windows of a minute, each begun by the first request after the last. `now` is in ms. */
export function createMinuteLimit(perMinute: number, now: () => number): () => Allowance {
  let opened = -Infinity
  let taken = 0
  return () => {
    if (now() >= opened + MINUTE_MS) {
      opened = now()
      taken = 0
    }
    const isAllowed = taken < perMinute
    if (isAllowed) taken += 1
    return { isAllowed, left: perMinute - taken, resetMs: opened + MINUTE_MS - now() }
  }
}
