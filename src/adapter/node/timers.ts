/** Something to be done later, unless it is cleared first. */
interface Alarm {
  /** On `performance.now`. */
  readonly due: number
  readonly task: () => void
  /** Its own timer, where the wait is a short one or nearly over. */
  timer: NodeJS.Timeout | undefined
  /** Its neighbours in the ring of long waits; undefined where it is not in it. */
  before: Alarm | undefined
  after: Alarm | undefined
}

/** Sets and clears alarms. */
export interface Alarms {
  /** Calls `task` once after `ms`. */
  set(ms: number, task: () => void): Alarm
  /** Its task is not called any more. */
  clear(alarm: Alarm): void
}

/** From here on a wait is a long one. */
const LONG_MS = 1_000
const LOOK_EVERY_MS = 250

/**
 * Alarms for waits that nearly always end before their time, such as those for an answer. All long ones hang on one
 * timer that walks along them four times a second and gives those a timer of their own that are nearly over: to enter
 * and leave a ring costs next to nothing, where the runtime makes, sorts and drops a timer for each. While none is set
 * there is no timer. Long ones keep no process alive.
 */
export function createAlarms(): Alarms {
  const ring = alarmOf(Infinity, () => {})
  ring.before = ring.after = ring
  let looking: NodeJS.Timeout | undefined

  function look(): void {
    const now = performance.now()
    for (let at = ring.after; at !== undefined && at !== ring;) {
      const alarm = at
      at = at.after
      if (alarm.due >= now + 2 * LOOK_EVERY_MS) continue
      leave(alarm)
      alarm.timer = setTimeout(alarm.task, alarm.due - now)
    }
    if (ring.after !== ring) return
    clearInterval(looking)
    looking = undefined
  }

  return {
    set(ms, task) {
      const alarm = alarmOf(performance.now() + ms, task)
      if (ms < LONG_MS) alarm.timer = setTimeout(task, ms)
      else {
        enter(alarm, ring)
        looking ??= setInterval(look, LOOK_EVERY_MS).unref()
      }
      return alarm
    },
    clear(alarm) {
      if (alarm.timer !== undefined) clearTimeout(alarm.timer)
      leave(alarm)
    },
  }
}

const alarmOf = (due: number, task: () => void): Alarm => ({
  due,
  task,
  timer: undefined,
  before: undefined,
  after: undefined,
})

function enter(alarm: Alarm, ring: Alarm): void {
  const last = ring.before ?? ring
  alarm.before = last
  alarm.after = ring
  last.after = alarm
  ring.before = alarm
}

/** What has left holds on to nobody, or old garbage would keep young garbage. */
function leave(alarm: Alarm): void {
  const { before, after } = alarm
  if (before === undefined || after === undefined) return
  before.after = after
  after.before = before
  alarm.before = alarm.after = undefined
}

/** What is watched, and how. */
interface SilenceTask {
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
