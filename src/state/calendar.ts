import type { Instant } from '../lib/clock.ts'
import { midnightAfter } from '../lib/time.ts'

const DAY_MS = 86_400_000

/**
 * When the present day ends, on the monotonic clock.
 *
 * @param zone `UTC`, an IANA zone (daylight saving included), or `rolling`, which is 24 hours from now
 */
export type DayEnd = (zone: string, at: Instant) => number

/** A calendar that remembers the ends it has found: finding one costs tens of µs, and it is asked for every request. */
export function createCalendar(): DayEnd {
  const known = new Map<string, { from: number; end: number }>()

  function midnight(zone: string, wall: number): number {
    const last = known.get(zone)
    if (last !== undefined && wall >= last.from && wall < last.end) return last.end
    const end = midnightAfter(zone, wall)
    known.set(zone, { from: wall, end })
    return end
  }

  return (zone, at) => (zone === 'rolling' ? at.now + DAY_MS : at.now + (midnight(zone, at.wall) - at.wall))
}
