/** Sets and clears timers. */
export type TimerWheel = ReturnType<typeof createTimerWheel>

/** Something to be done later, unless it is cleared first. */
interface WheelTimer {
  /** On `performance.now`. */
  readonly due: number
  readonly task: () => void
  /** Its own timer, where the wait is a short one or nearly over. */
  timeout: NodeJS.Timeout | undefined
  /** Its neighbours in the ring of long waits; undefined where it is not in it. */
  before: WheelTimer | undefined
  after: WheelTimer | undefined
}

/** From here on a wait is a long one. */
const LONG_MS = 1_000
const TICK_MS = 250

/**
 * Timers for waits that nearly always end before their time, such as those for an answer. All long ones hang on one
 * timer of the runtime that walks along them four times a second and gives those a timer of their own that are nearly
 * over: to enter and leave a ring costs next to nothing, where the runtime makes, sorts and drops a timer for each.
 * While none is set there is no timer. Long ones keep no process alive.
 */
export function createTimerWheel() {
  const wheel = timerOf(Infinity, () => {})
  wheel.before = wheel.after = wheel
  let ticking: NodeJS.Timeout | undefined

  function tick(): void {
    const now = performance.now()
    for (let at = wheel.after; at !== undefined && at !== wheel;) {
      const timer = at
      at = at.after
      if (timer.due >= now + 2 * TICK_MS) continue
      unlink(timer)
      timer.timeout = setTimeout(timer.task, timer.due - now)
    }
    if (wheel.after !== wheel) return
    clearInterval(ticking)
    ticking = undefined
  }

  return {
    /** Calls `task` once after `ms`. */
    set(ms: number, task: () => void): WheelTimer {
      const timer = timerOf(performance.now() + ms, task)
      if (ms < LONG_MS) timer.timeout = setTimeout(task, ms)
      else {
        link(timer, wheel)
        ticking ??= setInterval(tick, TICK_MS).unref()
      }
      return timer
    },
    /** Its task is not called any more. */
    clear(timer: WheelTimer): void {
      if (timer.timeout !== undefined) clearTimeout(timer.timeout)
      unlink(timer)
    },
  }
}

const timerOf = (due: number, task: () => void): WheelTimer => ({
  due,
  task,
  timeout: undefined,
  before: undefined,
  after: undefined,
})

function link(timer: WheelTimer, wheel: WheelTimer): void {
  const last = wheel.before ?? wheel
  timer.before = last
  timer.after = wheel
  last.after = timer
  wheel.before = timer
}

/** What has left holds on to nobody, or old garbage (such as the tables of a `Set`) would keep young garbage. */
function unlink(timer: WheelTimer): void {
  const { before, after } = timer
  if (before === undefined || after === undefined) return
  before.after = after
  after.before = before
  timer.before = timer.after = undefined
}

/** Watches for silence while somebody waits. */
export type IdleTimeout = ReturnType<typeof createIdleTimeout>

/**
 * Calls `onSilent` once when `limitMs` pass between an `arm` and the next sign of life.
 *
 * One alarm serves a whole stream: a sign of life is only a time stamp, and an alarm that finds itself
 * early is set for what is left. `performance.now` does not jump when somebody sets the clock.
 */
export function createIdleTimeout(timers: TimerWheel, limitMs: number, onSilent: () => void) {
  let timer: WheelTimer | undefined
  let since = 0
  let waiting = false

  function tick(): void {
    timer = undefined
    if (!waiting) return
    const leftMs = since + limitMs - performance.now()
    if (leftMs > 0) timer = timers.set(Math.max(1, leftMs), tick)
    else {
      waiting = false
      onSilent()
    }
  }

  return {
    /** Somebody waits from now on: the silence begins anew. */
    arm(): void {
      since = performance.now()
      waiting = true
      timer ??= timers.set(limitMs, tick)
    },
    /** Something came (or the upstream took something): the silence begins anew. */
    refresh(): void {
      since = performance.now()
    },
    /** Nobody waits: no silence is counted until the next `arm`. */
    disarm(): void {
      waiting = false
    },
    /** The end: `onSilent` is never called after it. */
    stop(): void {
      waiting = false
      if (timer !== undefined) timers.clear(timer)
      timer = undefined
    },
  }
}
