import type { Outcome } from '../pool/outcome.ts'
import type { Lease, MaybePromise } from '../state/store.ts'
import { instantOf } from './clock.ts'
import type { RelayDeps } from './deps.ts'
import type { Traffic } from './turn.ts'

/** A lease, and who has to hear of its end. */
export interface Held {
  readonly lease: Lease
  readonly deps: RelayDeps
  readonly traffic: Traffic
}

/** Ends a lease; then the waiting try for its place. */
export function endLease({ lease, deps, traffic }: Held, outcome: Outcome): void {
  wakeAfter(deps.store.settle(lease, outcome, instantOf(deps.clock)), traffic)
}

/** Lets the waiting try, as soon as the store knows what has changed. */
export function wakeAfter(step: MaybePromise<void>, { queue }: Traffic): void {
  const wake = (): void => queue.wake()
  if (step instanceof Promise) void step.then(wake, wake)
  else wake()
}
