import type { Alarm, Alarms } from './node-alarms.ts'

/** What is watched, and how. */
export interface SilenceTask {
  readonly alarms: Alarms
  readonly limitMs: number
  readonly onSilent: () => void
}

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

/**
 * Calls `onSilent` once when `limitMs` pass between a `wait` and the next sign of life.
 *
 * One alarm serves a whole stream: a sign of life is only a time stamp, and an alarm that finds itself
 * early is set for what is left. `performance.now` does not jump when somebody sets the clock.
 */
export function createSilence({ alarms, limitMs, onSilent }: SilenceTask): Silence {
  let alarm: Alarm | undefined
  let since = 0
  let waiting = false

  const look = () => {
    alarm = undefined
    if (!waiting) return
    const leftMs = since + limitMs - performance.now()
    if (leftMs > 0) {
      alarm = alarms.set(Math.max(1, leftMs), look)
      return
    }
    waiting = false
    onSilent()
  }

  return {
    wait() {
      since = performance.now()
      waiting = true
      alarm ??= alarms.set(limitMs, look)
    },
    heard() {
      since = performance.now()
    },
    rest() {
      waiting = false
    },
    stop() {
      waiting = false
      if (alarm !== undefined) alarms.clear(alarm)
      alarm = undefined
    },
  }
}
