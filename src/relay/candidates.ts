import { instantOf } from '../lib/clock.ts'
import { standings, type Candidate } from '../pool/strategy.ts'
import type { Endpoint, Upstream } from '../pool/upstream.ts'
import { remedyOf, claimAvailability, type UnavailableReason } from '../state/availability.ts'
import type { ClaimSnapshot } from '../state/headroom.ts'
import type { Abilities } from '../state/abilities.ts'
import { latencyOf } from '../state/scope.ts'
import type { Ask, MaybePromise, StateStore } from '../state/store.ts'
import { demandOn, type Demands } from './demand.ts'
import type { RelayDeps } from './deps.ts'
import type { Account, RelayState } from './request.ts'

/** An upstream that may not take the request now, and why. */
export interface Unavailable {
  readonly upstream: Upstream
  readonly reason: UnavailableReason
}

/** Who of a pool may take a request now, and what keeps the others. */
export interface Evaluation {
  readonly candidates: readonly Candidate[]
  readonly unavailable: readonly Unavailable[]
}

/** Looks at every upstream once, with one question to the store. */
export function evaluate(
  upstreams: readonly Upstream[],
  ask: Ask,
  given: {
    endpoint: Endpoint
    now: number
    credits: ReadonlyMap<string, number>
    store: StateStore
    /** How one stands to the request; all alike unless given. */
    standingOf?: ((upstream: Upstream) => number) | undefined
  },
): MaybePromise<Evaluation> {
  const { endpoint, now, credits, store, standingOf } = given
  const known = store.claimSnapshots(upstreams.map(({ claims }) => claims[endpoint]))
  return known instanceof Promise ? known.then(evaluationOf) : evaluationOf(known)

  function evaluationOf(claimSnapshots: readonly ClaimSnapshot[]): Evaluation {
    const candidates: Candidate[] = []
    const unavailable: Unavailable[] = []
    for (let at = 0; at < claimSnapshots.length; at++) {
      const upstream = upstreams[at]
      const claimSnapshot = claimSnapshots[at]
      if (upstream === undefined || claimSnapshot === undefined) continue
      const availability = claimAvailability(upstream.claims[endpoint], claimSnapshot, { ask, now })
      if (!availability.free) {
        unavailable.push({ upstream, reason: availability.reason })
        continue
      }
      const [state] = claimSnapshot.states
      candidates.push({
        upstream,
        inFlight: state?.inFlight ?? 0,
        latencyMs: latencyOf(state, now),
        headroom: availability.headroom,
        credit: credits.size === 0 ? 0 : (credits.get(upstream.id) ?? 0),
        standing:
          (standingOf === undefined ? 0 : standingOf(upstream)) +
          (availability.isDoubtful ? standings.last : 0),
      })
    }
    return { candidates, unavailable }
  }
}

/** The key under which the upstream of an answer is remembered. */
export const answerKey = (id: string): string => `answer ${id}`

/** The key under which it is remembered that an answer was made for a client token. Names of tokens have no blanks. */
export const ownAnswerKey = (token: string, id: string): string => `own ${token} ${id}`

/**
 * Whether a request may use an answer by its id: what was made for another client is as unknown as what nobody made. Who may
 * have other paths passed on sees the account, so that what is unknown here may be there.
 */
export async function mayUseAnswer(
  id: string,
  account: Account,
  { store, clock }: RelayDeps,
): Promise<boolean> {
  const { name, admin, passthrough } = account.token
  if (admin) return true
  const at = instantOf(clock)
  if ((await store.locate(ownAnswerKey(name, id), at)) !== undefined) return true
  return passthrough && (await store.locate(answerKey(id), at)) === undefined
}

/** An answer exists on one account: a request that builds on it goes there alone. */
export async function resolvePins(state: RelayState): Promise<void> {
  const { request, deps } = state
  const keys = request.answerIds.map(answerKey)
  state.unresolvedPins = []
  for (const [at, key] of keys.entries()) {
    const pinned = await deps.store.recall(key, instantOf(deps.clock))
    if (pinned === null) {
      state.unresolvedPins = keys.slice(at)
      return
    }
    const upstream = request.pool.upstreams.find(({ id }) => id === pinned)
    if (upstream !== undefined) {
      state.upstreams = [upstream]
      state.isPinned = true
      return
    }
  }
}

/** Finds out who made what a request brings along, where that is known on this side. */
export async function resolveOwner(state: RelayState): Promise<void> {
  const { request, deps } = state
  state.owner = (await deps.store.recall(request.ownerKey, instantOf(deps.clock))) ?? undefined
}

/** What stands behind how upstreams stand to a request. */
export interface StandingInput {
  readonly demands: Demands
  readonly abilities: Pick<Abilities, 'isTelling' | 'fit'>
  /** All that the request may go to. */
  readonly upstreams: readonly Upstream[]
  /** Those who refused its body. */
  readonly refusers: readonly Upstream[]
  /** Ms on the clock. */
  readonly now: number
}

/**
 * How each upstream stands to a request: who refused it, or is known to be unable, comes behind the others. Undefined
 * where all are alike. Nobody is held back for what is not known of it, unless somebody is known to be unable.
 */
export function standingFor({ demands, abilities, upstreams, refusers, now }: StandingInput) {
  const isTelling = abilities.isTelling(upstreams)
  if (!isTelling && refusers.length === 0) return undefined
  const fitOf = (upstream: Upstream) =>
    isTelling ? abilities.fit(upstream, demandOn(demands, upstream).needs, now) : 'yes'
  const isAbilityRare = upstreams.some((upstream) => fitOf(upstream) === 'no')
  return (upstream: Upstream): number => {
    const fit = fitOf(upstream)
    let standing: number = standings.fit
    if (fit === 'unknown' && isAbilityRare) standing += standings.unknown
    if (refusers.some(({ root }) => originOfRoot(root) === originOfRoot(upstream.root)))
      standing += standings.sameHost
    if (refusers.some(({ model }) => model === upstream.model)) standing += standings.sameModel
    return fit === 'no' ? standing + standings.unable : standing
  }
}

/** Scheme, host and port of a root. */
export const originOfRoot = (root: string): string => /^\w+:\/\/[^/]+/.exec(root)?.[0] ?? root

/**
 * When the first of those limits reopens that a wait is the remedy for; undefined when none stands in the way. `at` is
 * the soonest known moment, ms on the clock, Infinity where none is known; `onRelease`: it may also be any moment, with
 * the end of somebody else's request.
 */
export function retryAt(unavailable: readonly Unavailable[]) {
  const limits = unavailable.map(({ reason }) => reason).filter((reason) => remedyOf(reason) === 'wait')
  if (limits.length === 0) return undefined
  const times = limits.filter((reason) => !reason.onRelease).map(({ until }) => until)
  return { at: Math.min(...times), onRelease: times.length < limits.length }
}
