import type { Clock } from '../relay/clock.ts'

/** The longest delay that a timer keeps; a longer one would fire at once. */
const LONGEST_MS = 2 ** 31 - 1

/**
 * The clock of any runtime: its start as epoch ms and the monotonic time since, so that setting the wall clock
 * moves nothing. On workerd to be made inside the first request: before that its clocks stand at 0.
 *
 * @param after calls a task later, where the runtime has a better way than a timer each
 */
export function createClock(after: Clock['after'] = afterTimer): Clock {
  const origin = Date.now() - performance.now()
  return {
    now: () => origin + performance.now(),
    wall: () => Date.now(),
    after,
  }
}

function afterTimer(ms: number, task: () => void): () => void {
  const timer = setTimeout(task, Math.max(0, Math.min(ms, LONGEST_MS)))
  return () => clearTimeout(timer)
}
