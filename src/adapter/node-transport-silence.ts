/** Watches for silence while somebody waits. */
export interface Silence {
  /** Somebody waits from now on: the silence begins anew. */
  wait(): void
  /** Something came (or the upstream took something): the silence begins anew. */
  heard(): void
  /** Nobody waits: no silence is counted until the next `wait`. */
  rest(): void
  /** The end: `onSilent` is never called after it. */
  stop(): void
}

/** Node turns a longer delay into 1 ms. */
const longestTimerMs = 2 ** 31 - 1

/**
 * Calls `onSilent` once when `limitMs` pass between a `wait` and the next sign of life.
 *
 * One timer serves a whole stream: a sign of life is only a time stamp, and a timer that finds itself
 * early arms itself for what is left. `performance.now` does not jump when somebody sets the clock.
 */
export function createSilence(limitMs: number, onSilent: () => void): Silence {
  let timer: NodeJS.Timeout | undefined
  let since = 0
  let waiting = false

  const arm = (ms: number) => {
    timer = setTimeout(look, Math.min(Math.max(1, ms), longestTimerMs))
  }

  const look = () => {
    timer = undefined
    if (!waiting) return
    const leftMs = since + limitMs - performance.now()
    if (leftMs > 0) return arm(leftMs)
    waiting = false
    onSilent()
  }

  return {
    wait() {
      since = performance.now()
      waiting = true
      if (timer === undefined) arm(limitMs)
    },
    heard() {
      since = performance.now()
    },
    rest() {
      waiting = false
    },
    stop() {
      waiting = false
      clearTimeout(timer)
      timer = undefined
    },
  }
}
