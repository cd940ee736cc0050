/** The clocks and the timer that the core is given. */
export interface Clock {
  /** Epoch ms at process start plus monotonic time since: never jumps. */
  now(): number
  /** Wall-clock epoch ms, for dates and calendar days only. */
  wall(): number
  /** Calls `task` once after `ms`; the returned function prevents it. Delays over 24 days are cut to that. */
  after(ms: number, task: () => void): () => void
}

/** This moment on both clocks. */
export function instantOf(clock: Clock): Instant {
  return { now: clock.now(), wall: clock.wall() }
}

/** One moment on both clocks, taken once for a step so that everything in it agrees. */
export interface Instant {
  /** Epoch ms at process start plus monotonic time since: never jumps. All deadlines are on this clock. */
  readonly now: number
  /** Wall-clock epoch ms. Asked only for dates and for the calendar. */
  readonly wall: number
}
