import type { AbortSignalLike } from '../../lib/abort.ts'
import type { Clock } from '../../lib/clock.ts'
import { TransportError } from '../../transport/transport.ts'

/** A clock for simulated days: it jumps from one timer to the next. */
export interface SimClock extends Clock {
  /** Fires every timer in order, also those that are set on the way, until none is left. */
  run(): Promise<void>
}

interface Timer {
  readonly at: number
  /** Breaks ties: first set, first fired. */
  readonly order: number
  task: (() => void) | undefined
}

/**
 * An event loop of its own: a heap of timers, and between two of them everything that promises have made ready.
 * About a million timers in five seconds.
 *
 * @param start epoch ms on both clocks
 */
export function createSimClock(start: number): SimClock {
  const heap = createHeap()
  let now = start
  let order = 0
  return {
    now: () => now,
    wall: () => now,
    after(ms, task) {
      const timer: Timer = { at: now + Math.max(0, ms), order: order++, task }
      heap.push(timer)
      return () => {
        timer.task = undefined
      }
    },
    async run() {
      await settled()
      for (let timer = heap.pop(); timer !== undefined; timer = heap.pop()) {
        const { at, task } = timer
        // A cancelled timer must not move the clock: the run ends with the last thing that happened.
        if (task === undefined) continue
        now = at
        task()
        await settled()
      }
    },
  }
}

/** Lets `ms` pass. @throws TransportError `aborted` when the signal ends it before */
export function passTime(clock: Clock, ms: number, signal: AbortSignalLike): Promise<void> {
  return new Promise((resolve, reject) => {
    const onAbort = (): void => {
      cancel()
      reject(new TransportError('aborted', 'aborted'))
    }
    const cancel = clock.after(ms, () => {
      signal.removeEventListener('abort', onAbort)
      resolve()
    })
    signal.addEventListener('abort', onAbort)
  })
}

/** One turn of the real loop runs all promise callbacks, and those that they make ready. */
const settled = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve))

interface Heap {
  push(timer: Timer): void
  /** The earliest; undefined = empty. */
  pop(): Timer | undefined
}

function createHeap(): Heap {
  const timers: Timer[] = []

  function isBefore(a: number, b: number): boolean {
    const [one, other] = [timers[a], timers[b]]
    if (one === undefined || other === undefined) return false
    return one.at < other.at || (one.at === other.at && one.order < other.order)
  }

  function smallestOf(parent: number): number {
    const [left, right] = [2 * parent + 1, 2 * parent + 2]
    const best = isBefore(left, parent) ? left : parent
    return isBefore(right, best) ? right : best
  }

  function swap(a: number, b: number): void {
    const [one, other] = [timers[a], timers[b]]
    if (one === undefined || other === undefined) return
    timers[a] = other
    timers[b] = one
  }

  return {
    push(timer) {
      let at = timers.push(timer) - 1
      while (at > 0) {
        const parent = (at - 1) >> 1
        if (!isBefore(at, parent)) return
        swap(at, parent)
        at = parent
      }
    },
    pop() {
      const top = timers[0]
      const last = timers.pop()
      if (top === undefined || last === undefined || timers.length === 0) return top
      timers[0] = last
      for (let at = 0, next = smallestOf(0); next !== at; next = smallestOf(at)) {
        swap(at, next)
        at = next
      }
      return top
    },
  }
}
