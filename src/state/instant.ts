/** One moment on both clocks, taken once for a step so that everything in it agrees. */
export interface Instant {
  /** Epoch ms at process start plus monotonic time since: never jumps. All deadlines are on this clock. */
  readonly now: number
  /** Wall-clock epoch ms. Asked only for dates and for the calendar. */
  readonly wall: number
}
