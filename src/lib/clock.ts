/** The clocks and the timer that the core is given. */
export interface Clock {
  /** Epoch ms at process start plus monotonic time since: never jumps. */
  now(): number
  /** Wall-clock epoch ms, for dates and calendar days only. */
  wall(): number
  /** Calls `task` once after `ms`; the returned function prevents it. Delays over 24 days are cut to that. */
  after(ms: number, task: () => void): () => void
}

export const instantOf = (clock: Clock): Instant => ({ now: clock.now(), wall: clock.wall() })

/** One moment on both clocks, taken once for a step so that everything in it agrees. Deadlines are on `now`. */
export interface Instant {
  readonly now: number
  readonly wall: number
}
