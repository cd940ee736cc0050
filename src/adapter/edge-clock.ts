import type { Clock } from '../relay/clock.ts'

/**
 * The same clock for timers that others than the present request wait for, such as those of the queue: where
 * timers end with the request that set them, it stays alive until they have fired or are no longer wanted.
 */
export function deferredClock(clock: Clock, defer: (work: Promise<unknown>) => void): Clock {
  return {
    ...clock,
    after(ms, task) {
      let end = (): void => {}
      defer(new Promise<void>((resolve) => (end = resolve)))
      const prevent = clock.after(ms, () => {
        end()
        task()
      })
      return () => {
        prevent()
        end()
      }
    },
  }
}
