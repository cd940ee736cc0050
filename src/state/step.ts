import type { StateOf } from './availability.ts'
import type { DayEnd } from './calendar.ts'
import type { Draft } from './draft.ts'
import type { Instant } from './instant.ts'
import type { LeaseRecord } from './lease-record.ts'
import { draftOf, UNKNOWN, type ScopeState } from './scope-state.ts'
import type { WindowName, WindowState } from './window.ts'

/** A scope that a step moved, and its state as the step leaves it: a copy that nobody else holds yet. */
export interface Change {
  readonly scope: string
  readonly state: Draft<ScopeState>
}

/** A handful, each scope once: a search is quicker than a map would be made. */
export type Changes = Change[]

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
  return changeIn(changes, scope)?.state ?? step.stateOf(scope) ?? UNKNOWN
}

function changeIn(changes: Changes, scope: string): Change | undefined {
  for (const change of changes) if (change.scope === scope) return change
  return undefined
}

/** The state of a scope to be changed further in this step; a copy of what it was before, the first time. */
export function draftIn({ changes, step }: Given, scope: string): Draft<ScopeState> {
  const before = changeIn(changes, scope)
  if (before !== undefined) return before.state
  const state = draftOf(step.stateOf(scope) ?? UNKNOWN)
  changes.push({ scope, state })
  return state
}

/** Leaves a scope with one window changed. */
export function setWindow(given: Given, scope: string, [name, window]: [WindowName, WindowState]): void {
  const state = draftIn(given, scope)
  const windows = { ...state.windows }
  windows[name] = window
  state.windows = windows
}
