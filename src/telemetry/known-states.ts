import type { Upstream } from '../pool/upstream.ts'
import type { StateOf } from '../state/availability.ts'
import type { ScopeState } from '../state/scope-state.ts'
import type { MaybePromise, StateStore } from '../state/store.ts'

/** Everything known of the upstreams on all their endpoints, with one question to the store. */
export function knownStates(
  upstreams: readonly Upstream[],
  store: Pick<StateStore, 'snapshot'>,
): MaybePromise<StateOf> {
  const scopes = scopesOf(upstreams)
  const states = store.snapshot(scopes)
  return states instanceof Promise ? states.then((known) => lookUp(scopes, known)) : lookUp(scopes, states)
}

function scopesOf(upstreams: readonly Upstream[]): string[] {
  const scopes = new Set<string>()
  for (const { claims } of upstreams) {
    for (const { draws } of Object.values(claims)) for (const { scope } of draws) scopes.add(scope)
  }
  return [...scopes]
}

function lookUp(scopes: readonly string[], states: readonly (ScopeState | undefined)[]): StateOf {
  const known = new Map(scopes.map((scope, at) => [scope, states[at]]))
  return (scope) => known.get(scope)
}
