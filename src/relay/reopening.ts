import { cureOf } from '../state/availability.ts'
import type { Resting } from './survey.ts'

/** When limits reopen. */
export interface Reopening {
  /** The soonest known moment, ms on the clock; Infinity = none is known. */
  readonly at: number
  /** It may be any moment: with the end of somebody else's request. */
  readonly onRelease: boolean
}

/** When the first of those reopens that waiting cures; undefined when no limit stands in the way. */
export function reopeningOf(resting: readonly Resting[]): Reopening | undefined {
  const limits = resting.map(({ block }) => block).filter((block) => cureOf(block) === 'wait')
  if (limits.length === 0) return undefined
  const times = limits.filter((block) => !block.onRelease).map(({ until }) => until)
  return { at: Math.min(...times), onRelease: times.length < limits.length }
}
