import type { Instant } from '../state/instant.ts'

/** A moment of the monotonic clock as a date that people read, ISO 8601; null when it is none, such as never. */
export function wallIso(moment: number, at: Instant): string | null {
  return isoOf(at.wall + (moment - at.now))
}

/** Epoch ms of the wall clock, ISO 8601; null outside of what a date can say. */
export function isoOf(wall: number): string | null {
  return Math.abs(wall) <= 8.64e15 ? new Date(wall).toISOString() : null
}
