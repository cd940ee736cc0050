import type { Clock } from '../../src/lib/clock.ts'

/** A clock that moves only when told to; timers fire in order as it passes them. */
export interface FakeClock extends Clock {
  /** Moves both clocks, firing what is due, and lets promises settle between the timers. */
  advance(ms: number): Promise<void>
  /** Timers that were set and neither fired nor prevented. */
  readonly timers: number
  /** Sets the wall clock alone, as an operator or NTP would. */
  setWall(ms: number): void
}

/** @param start epoch ms on both clocks */
export function createFakeClock(start = Date.UTC(2026, 10, 22, 12)): FakeClock {
  let now = start
  let wallShift = 0
  let timers: { at: number; order: number; task: () => void }[] = []
  let order = 0
  return {
    now: () => now,
    wall: () => now + wallShift,
    get timers() {
      return timers.length
    },
    after(ms, task) {
      const timer = { at: now + Math.max(0, ms), order: order++, task }
      timers.push(timer)
      return () => {
        timers = timers.filter((other) => other !== timer)
      }
    },
    async advance(ms) {
      const end = now + ms
      for (;;) {
        await settle()
        const next = timers.filter(({ at }) => at <= end).sort((a, b) => a.at - b.at || a.order - b.order)[0]
        if (next === undefined) break
        now = Math.max(now, next.at)
        timers = timers.filter((other) => other !== next)
        next.task()
      }
      now = end
      await settle()
    },
    setWall(ms) {
      wallShift = ms - now
    },
  }
}

/** Lets everything that is ready run: promise callbacks and web streams. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve))
}
