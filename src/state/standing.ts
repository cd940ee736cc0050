import type { Claim } from '../pool/upstream.ts'
import type { Outlook } from './outlook.ts'
import type { ScopeState } from './scope-state.ts'

/** What is known of everything that a claim draws on. Replaced when any of it changes. */
export interface Standing {
  /** One state for each of the claim's draws, in their order. */
  readonly states: readonly (ScopeState | undefined)[]
  /** What was worked out of them when somebody last asked; see `claimOutlookOf`. */
  outlook: ClaimOutlook | undefined
}

/** What everything that a claim draws on leaves free together. */
export interface ClaimOutlook extends Outlook {
  readonly claim: Claim
  /** Nothing of it rests, is probed, or is limited in another way than by windows and a configured number at once. */
  readonly isPlain: boolean
}

/** States of which nothing has been worked out yet. */
export const standingOf = (states: Standing['states']): Standing => ({ states, outlook: undefined })
