import type { Lease } from './store.ts'
import { countsRequests, type WindowName } from './window.ts'

/** A lease as the store keeps it. Plain data. */
export interface LeaseRecord {
  readonly lease: Lease
  /** Scopes in which it counts as under way. */
  readonly counted: readonly string[]
  /** Scopes that it probes. */
  readonly probing: readonly string[]
  /** The answer has begun: requests are counted, probes have ended. */
  readonly confirmed: boolean
}

/**
 * What a lease holds in a window of a scope until it is counted: a request, or the tokens reserved. Windows
 * that became known while it was under way hold it too.
 */
export function takenFrom({ lease, counted }: LeaseRecord, scope: string, window: WindowName): number {
  if (!counted.includes(scope)) return 0
  return countsRequests(window) ? 1 : lease.tokens
}
