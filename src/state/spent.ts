import type { Outcome } from '../pool/outcome.ts'
import type { Claim } from '../pool/upstream.ts'
import type { Answer } from './store.ts'

/** A request that was sent by the leave of another store, told when it is over. Plain data. */
export interface Spent {
  readonly claim: Claim
  /** Tokens that were reserved. */
  readonly tokens: number
  /** Ms on the clock. */
  readonly sentAt: number
  /** What it told before its body; undefined where it never began to answer. */
  readonly answer?: Answer | undefined
  readonly outcome: Outcome
  /** Ms on the clock. */
  readonly endedAt: number
}
