import { instantOf } from '../lib/clock.ts'
import type { Candidate } from '../pool/strategy.ts'
import type { Endpoint, Upstream } from '../pool/upstream.ts'
import { cureOf, judged, type Block } from '../state/availability.ts'
import type { Standing } from '../state/headroom.ts'
import { latencyOf } from '../state/scope.ts'
import type { Ask, MaybePromise, StateStore } from '../state/store.ts'
import type { RelayDeps } from './deps.ts'
import type { RelayRequest } from './request.ts'

/** An upstream that may not take the request now, and why. */
export interface Resting {
  readonly upstream: Upstream
  readonly block: Block
}

/** Who of a pool may take a request now, and what keeps the others. */
export interface Survey {
  readonly candidates: readonly Candidate[]
  readonly resting: readonly Resting[]
}

/** Looks at every upstream once, with one question to the store. */
export function surveyOf(
  upstreams: readonly Upstream[],
  ask: Ask,
  given: {
    readonly endpoint: Endpoint
    readonly now: number
    readonly credits: ReadonlyMap<string, number>
    readonly store: StateStore
  },
): MaybePromise<Survey> {
  const { endpoint, now, credits, store } = given
  const known = store.standings(upstreams.map(({ claims }) => claims[endpoint]))
  return known instanceof Promise ? known.then(surveyed) : surveyed(known)

  function surveyed(standings: readonly Standing[]): Survey {
    const candidates: Candidate[] = []
    const resting: Resting[] = []
    for (let at = 0; at < standings.length; at++) {
      const upstream = upstreams[at]
      const standing = standings[at]
      if (upstream === undefined || standing === undefined) continue
      const found = judged(upstream.claims[endpoint], standing, { ask, now })
      if (!found.free) {
        resting.push({ upstream, block: found.block })
        continue
      }
      const [state] = standing.states
      candidates.push({
        upstream,
        inFlight: state?.inFlight ?? 0,
        latencyMs: latencyOf(state, now),
        headroom: found.headroom,
        credit: credits.size === 0 ? 0 : (credits.get(upstream.id) ?? 0),
      })
    }
    return { candidates, resting }
  }
}

/** Who may answer a request, as far as that is known here. */
export interface Eligible {
  readonly upstreams: readonly Upstream[]
  /** Keys whose holder only the next `acquire` finds out; empty = all is known. */
  readonly unheard: readonly string[]
}

/** No key; the same list each time. */
export const NOTHING: readonly string[] = []

/** The key under which the upstream of an answer is remembered. */
export const answerKey = (id: string): string => `answer ${id}`

/** An answer exists on one account: a request that builds on it goes there alone. */
export async function eligibleFor(
  { pool, answerIds }: Pick<RelayRequest, 'pool' | 'answerIds'>,
  { store, clock }: RelayDeps,
): Promise<Eligible> {
  const keys = answerIds.map(answerKey)
  for (const [at, key] of keys.entries()) {
    const holder = await store.recall(key, instantOf(clock))
    if (holder === null) return { upstreams: pool.upstreams, unheard: keys.slice(at) }
    const upstream = pool.upstreams.find(({ id }) => id === holder)
    if (upstream !== undefined) return { upstreams: [upstream], unheard: NOTHING }
  }
  return { upstreams: pool.upstreams, unheard: NOTHING }
}

/** When limits reopen. */
interface RetryAt {
  /** The soonest known moment, ms on the clock; Infinity = none is known. */
  readonly at: number
  /** It may be any moment: with the end of somebody else's request. */
  readonly onRelease: boolean
}

/** When the first of those reopens that waiting cures; undefined when no limit stands in the way. */
export function retryAt(resting: readonly Resting[]): RetryAt | undefined {
  const limits = resting.map(({ block }) => block).filter((block) => cureOf(block) === 'wait')
  if (limits.length === 0) return undefined
  const times = limits.filter((block) => !block.onRelease).map(({ until }) => until)
  return { at: Math.min(...times), onRelease: times.length < limits.length }
}
