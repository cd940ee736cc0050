import type { Clock } from '../relay/clock.ts'

/** The longest delay that a timer keeps; a longer one would fire at once. */
const LONGEST_MS = 2 ** 31 - 1

/**
 * The clock of any runtime: its start as epoch ms and the monotonic time since, so that setting the wall clock
 * moves nothing. On workerd to be made inside the first request: before that its clocks stand at 0.
 */
export function createClock(): Clock {
  const origin = Date.now() - performance.now()
  return {
    now: () => origin + performance.now(),
    wall: () => Date.now(),
    after(ms, task) {
      const timer = setTimeout(task, Math.max(0, Math.min(ms, LONGEST_MS)))
      return () => clearTimeout(timer)
    },
  }
}
