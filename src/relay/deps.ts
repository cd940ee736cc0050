import type { StateStore } from '../state/store.ts'
import type { Clock } from './clock.ts'
import type { Report } from './event.ts'
import type { Send } from './transport.ts'

/** Everything impure that the relay uses. Made in exactly one file for each runtime. */
export interface RelayDeps {
  readonly send: Send
  readonly store: StateStore
  readonly clock: Clock
  /** Uniform in [0, 1). */
  readonly draw: () => number
  readonly report: Report
}
