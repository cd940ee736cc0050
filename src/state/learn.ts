import type { QuotaSignal, Scope } from '../pool/outcome.ts'
import type { Draw } from '../pool/upstream.ts'
import { takenFrom } from './lease-record.ts'
import { setWindow, stateIn, type Given } from './step.ts'
import type { Lease } from './store.ts'
import { take } from './window-count.ts'
import { learn } from './window-said.ts'
import { countsRequests, windowNameOf } from './window.ts'

/** The draws of a lease that a scope names: the shared quotas, or the upstream itself where it has none. */
export function drawsOf(lease: Lease, scope: Scope): readonly Draw[] {
  if (scope === 'none') return []
  const named = lease.claim.draws.filter(({ role }) => role === scope)
  if (named.length > 0 || scope !== 'quota') return named
  return lease.claim.draws.filter(({ role }) => role === 'upstream')
}

/**
 * Opens the windows that an answer speaks of for the first time, holding what is under way: so the very
 * request that told of a limit is the first that is counted.
 */
export function openWindows(signals: readonly QuotaSignal[], given: Given): void {
  for (const signal of signals) {
    const name = windowNameOf(signal)
    for (const { scope } of drawsOf(given.record.lease, signal.scope)) {
      const state = stateIn(given, scope)
      if (state.windows[name] !== undefined) continue
      const pending = countsRequests(name) ? state.unanswered : state.reserved
      setWindow(given, scope, [name, take(undefined, pending)])
    }
  }
}

/** Puts what an upstream said of its limits into the windows of the scopes it spoke of. */
export function learnSignals(signals: readonly QuotaSignal[], own: 'held' | 'settled', given: Given): void {
  const { step, record } = given
  for (const signal of signals) {
    const name = windowNameOf(signal)
    for (const { scope, limits } of drawsOf(record.lease, signal.scope)) {
      const window = learn(stateIn(given, scope).windows[name], {
        signal,
        at: step.at,
        askedAt: record.lease.since,
        // Requests are counted by now, tokens are held until the answer ends.
        own: own === 'settled' || countsRequests(name) ? 0 : takenFrom(record, scope, name),
        dayResets: limits?.dayResets,
        dayEndsAt: step.dayEndsAt,
      })
      setWindow(given, scope, [name, window])
    }
  }
}
