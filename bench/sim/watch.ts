import type { Clock } from '../../src/lib/clock.ts'
import type { Figures } from './scenario.ts'
import type { Vendor } from './vendor.ts'

/** Room that has been there for so long is there to be used. */
const ROOM_MS = 3_000

/** Holds what a gateway refuses against what its upstreams would have taken. */
interface Watch {
  answered(): void
  refused(): void
  figures(): Pick<Figures, 'refusedWithRoom' | 'darkMs'>
}

/** Darkness begins with a refusal while there was room, and ends with the next answer, or with the run. */
export function createWatch(clock: Clock, vendors: readonly Vendor[]): Watch {
  let refusedWithRoom = 0
  let longestMs = 0
  let darkFrom: number | undefined

  function light(): void {
    if (darkFrom !== undefined) longestMs = Math.max(longestMs, clock.now() - darkFrom)
    darkFrom = undefined
  }

  return {
    answered: light,
    refused() {
      if (!vendors.some((vendor) => vendor.roomForMs() >= ROOM_MS)) return
      refusedWithRoom += 1
      darkFrom ??= clock.now()
    },
    figures() {
      light()
      return { refusedWithRoom, darkMs: longestMs }
    },
  }
}
