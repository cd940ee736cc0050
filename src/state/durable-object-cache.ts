import type { Claim } from '../pool/upstream.ts'
import type { ScopeState } from './scope-state.ts'

/** What this isolate has lately heard from the object. */
export interface StateCache {
  /** As they are worth believing now; undefined = nothing is known, and the object decides. */
  states(scopes: readonly string[]): (ScopeState | undefined)[]
  keepStates(scopes: readonly string[], states: readonly (ScopeState | null)[]): void
  /** A request has ended: what closed these scopes may be over. */
  loosen(claim: Claim): void
  /** Who served a key; null = nobody did; undefined = not known here. */
  upstream(key: string): string | null | undefined
  keepUpstream(key: string, upstream: string | null): void
}

/** As good as the object's own word: long enough for one request to look twice. */
const EXACT_MS = 50
/** How long anything heard is believed. */
const BELIEVED_MS = 1_000
/** Most things remembered of each sort; the oldest go first. */
const MOST = 10_000

export interface StateCacheOptions {
  /** Ms on the clock. */
  readonly now: () => number
  /** What this isolate itself has under way: of all isolates together it is at least that. */
  readonly ownInFlight: (scope: string) => number
}

interface Heard<T> {
  readonly value: T
  /** Ms on the clock; -Infinity = only good for comparing. */
  readonly at: number
}

/**
 * A state is exact for a moment. Up to a second old it still tells who rests, and who is quick or busy, but
 * not that a limit is reached: others may have freed it since, and the object, which is asked anyway before
 * anything is sent, says so if not. Older still, it is only good for comparing.
 */
export function createStateCache({ now, ownInFlight }: StateCacheOptions): StateCache {
  const states = new Map<string, Heard<ScopeState | undefined>>()
  const upstreams = new Map<string, Heard<string | null>>()

  function believed(scope: string, { value, at }: Heard<ScopeState | undefined>): ScopeState | undefined {
    const age = now() - at
    if (value === undefined || age <= EXACT_MS) return value
    const rests = age <= BELIEVED_MS && value.cooldown?.probe === undefined
    return {
      ...value,
      windows: {},
      inFlight: ownInFlight(scope),
      crowd: undefined,
      tooLarge: undefined,
      cooldown: rests ? value.cooldown : undefined,
    }
  }

  return {
    states: (scopes) =>
      scopes.map((scope) => {
        const heard = states.get(scope)
        return heard && believed(scope, heard)
      }),
    keepStates(scopes, heard) {
      for (const [index, scope] of scopes.entries())
        put(states, scope, { value: heard[index] ?? undefined, at: now() })
    },
    loosen({ draws }) {
      for (const { scope } of draws) {
        const heard = states.get(scope)
        if (heard !== undefined) states.set(scope, { ...heard, at: -Infinity })
      }
    },
    upstream(key) {
      const heard = upstreams.get(key)
      return heard === undefined || now() - heard.at > BELIEVED_MS ? undefined : heard.value
    },
    keepUpstream: (key, upstream) => put(upstreams, key, { value: upstream, at: now() }),
  }
}

function put<T>(map: Map<string, T>, key: string, value: T): void {
  map.delete(key)
  map.set(key, value)
  if (map.size > MOST) for (const oldest of map.keys()) return void map.delete(oldest)
}
