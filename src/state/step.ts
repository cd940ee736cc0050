import type { StateOf } from './availability.ts'
import type { DayEnd } from './calendar.ts'
import type { Instant } from './instant.ts'
import type { LeaseRecord } from './lease-record.ts'
import { draftOf, UNKNOWN, type ScopeState } from './scope-state.ts'
import type { WindowName, WindowState } from './window.ts'

/** New states of the scopes that a step moved. */
export type Changes = Map<string, ScopeState>

/** What a step is given besides its event. */
export interface Step {
  readonly stateOf: StateOf
  readonly at: Instant
  /** Uniform in [0, 1). */
  readonly draw: () => number
  readonly dayEndsAt: DayEnd
}

/** A step of one lease, and what it has changed so far. */
export interface Given {
  readonly changes: Changes
  readonly step: Step
  readonly record: LeaseRecord
}

/** The state of a scope as this step has left it so far. */
export function stateIn({ changes, step }: Given, scope: string): ScopeState {
  return changes.get(scope) ?? step.stateOf(scope) ?? UNKNOWN
}

/** Leaves a scope with one window changed. */
export function setWindow(given: Given, scope: string, [name, window]: [WindowName, WindowState]): void {
  const state = draftOf(stateIn(given, scope))
  state.windows = { ...state.windows, [name]: window }
  given.changes.set(scope, state)
}
