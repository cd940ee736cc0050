import { pairedHash01 } from '../lib/hash.ts'
import type { Upstream } from './upstream.ts'

/** An upstream that may take a request now, with what a choice can depend on. */
export interface Candidate {
  readonly upstream: Upstream
  /** Requests under way, streams included. */
  readonly inFlight: number
  /** Peak-sensitive average of the time to the first byte, ms; 0 = not measured yet. */
  readonly latencyMs: number
  /**
   * Share of its tightest limit that is still free, 0…1; 1 without limits. A limit by the day counts by what it
   * could give in every minute until it ends.
   */
  readonly headroom: number
  /** What smooth round robin has saved up for it; see `chargeRoundRobin`. */
  readonly credit: number
  /** How it stands to this request; the lower, the earlier. See `standings`. */
  readonly standing: number
}

/**
 * How a candidate stands to a request. Below `last` it stays in its tier of `priority`, and those that stand higher come
 * behind; from `last` on it is asked when all tiers have been.
 */
export const standings = {
  /** Nothing speaks against it. */
  fit: 0,
  /** Others are known to do what the request needs, and of this one nobody knows. */
  unknown: 1,
  /** It has the host, and the model, of one that refused this very request. */
  sameHost: 2,
  sameModel: 4,
  /** A guess speaks against it: an estimate, or other keys of its host. */
  last: 16,
  /** It is known to be unable to. */
  unable: 32,
} as const

/** What a strategy may look at besides the candidates. */
interface PickContext {
  /** Uniform in [0, 1). */
  readonly random: () => number
  /** `hash01` of the affinity key of the request; 0 where there is none. */
  readonly keyHash: number
  /** How many are wanted, for there may be a thousand and the first mostly serves; at least 2. All unless given. */
  readonly most?: number
}

/**
 * Puts the candidates in the order in which they are tried: all of them, or the first `most`. Pure. Who is unavailable
 * is not among them, so a dead upstream's share goes to all others by weight.
 */
export type Strategy = (candidates: readonly Candidate[], context: PickContext) => Candidate[]

/**
 * Weighted sampling without replacement (Efraimidis and Spirakis 2006): the higher, the earlier.
 * `u` is uniform in [0, 1); at 0 it is −∞, which still has a place in the order.
 */
const chance = (u: number, weight: number): number => Math.log(u) / weight

type Score = (candidate: Candidate, context: PickContext) => number

/** The highest score first; equal scores by their `ties`, else in their order. */
function byScore(score: Score, ties?: Score): Strategy {
  return (candidates, context) => {
    const scores = scoresOf(candidates, score, context)
    const indices = highest(scores, context.most ?? Infinity, ties && scoresOf(candidates, ties, context))
    return indices.map((at) => candidates[at]).filter((candidate) => candidate !== undefined)
  }
}

/** A loop: `Float64Array.from` takes several times as long. */
function scoresOf(candidates: readonly Candidate[], score: Score, context: PickContext): Float64Array {
  const scores = new Float64Array(candidates.length)
  let at = 0
  for (const candidate of candidates) scores[at++] = score(candidate, context)
  return scores
}

const randomScore: Score = ({ upstream }, { random }) => chance(random(), upstream.weight)

/** Each upstream in proportion to its weight, independently for every request. */
const weightedRandom = byScore(randomScore)

/** The same key goes to the same upstream; when that one is away, only its keys move. */
export const rendezvous: Strategy = (candidates, context) => {
  const { keyHash } = context
  const score: Score = ({ upstream }) =>
    chance(pairedHash01(keyHash, upstream.rendezvousHash), upstream.weight)
  return byScore(score)(candidates, context)
}

/**
 * The quicker of two drawn by weight (power of two choices), judged by the time to the first byte times
 * the requests under way. Comparing two and not all keeps a fresh measurement from drawing everybody.
 */
const fastest: Strategy = (candidates, context) => {
  const order = weightedRandom(candidates, context)
  const [first, second, ...rest] = order
  if (first === undefined || second === undefined) return order
  return load(second) < load(first) ? [second, first, ...rest] : order
}

/** An unmeasured upstream counts as quick, so that it gets measured. */
const load = ({ latencyMs, inFlight }: Candidate): number => latencyMs * (inFlight + 1)

/** The strategies by the names that the configuration knows, in the order in which they are explained to people. */
export const strategies = {
  random: weightedRandom,
  // Smooth weighted round robin: the one that has waited longest for its share.
  round_robin: byScore(({ upstream, credit }) => credit + upstream.weight),
  // Fewest under way for its weight.
  least_busy: byScore(({ upstream, inFlight }) => -inFlight / upstream.weight, randomScore),
  fastest,
  // The largest free share of its tightest limit.
  headroom: byScore(({ headroom }) => headroom, randomScore),
  // As listed in the configuration.
  in_order: (candidates, { most }) => candidates.slice(0, most),
} satisfies Record<string, Strategy>

export type StrategyName = keyof typeof strategies
export const strategyNames = Object.keys(strategies) as StrategyName[]

/**
 * Moves the credits of smooth weighted round robin after a pick: everybody who could have been picked
 * earns its weight, the picked one pays the sum. The credits of a set of candidates always sum to what
 * they summed to before, and over `sum of weights` turns each is picked as often as its weight.
 */
export function chargeRoundRobin(
  credits: Map<string, number>,
  candidates: readonly Candidate[],
  picked: Upstream,
): void {
  let sum = 0
  for (const { upstream, credit } of candidates) {
    sum += upstream.weight
    credits.set(upstream.id, credit + upstream.weight)
  }
  credits.set(picked.id, (credits.get(picked.id) ?? 0) - sum)
}

/** How an order is made. */
export interface OrderRule {
  readonly strategy: Strategy
  readonly context: PickContext
  /** The upstream that served this key before, where it is remembered. */
  readonly stickTo: string | undefined
  /** The upstream that made what the request brings along; undefined = nothing, or nobody knows. */
  readonly owner?: string | undefined
}

/**
 * The order of a request: tier after tier of `priority` (lowest number first), each in the order of the strategy, with
 * the remembered upstream of the affinity key first in its own tier: a cheaper one is used as soon as it can be. The owner
 * of what a request brings along goes first of all, and whom something speaks against stands behind; see `standings`.
 */
export function orderOf(candidates: readonly Candidate[], rule: OrderRule): Candidate[] {
  const { context, stickTo } = rule
  // A key that nobody remembers takes rendezvous order instead of dice, so that replicas agree.
  const strategy = rule.strategy === weightedRandom && context.keyHash > 0 ? rendezvous : rule.strategy
  const { most = Infinity } = context
  const order: Candidate[] = []
  const owner =
    rule.owner === undefined ? undefined : candidates.find(({ upstream }) => upstream.id === rule.owner)
  if (owner !== undefined) order.push(owner)
  for (const group of groupsOf(candidates)) {
    if (order.length >= most) break
    const ordered = strategy(group, context)
    const stuck = stickTo === undefined ? undefined : group.find(({ upstream }) => upstream.id === stickTo)
    if (stuck !== undefined && stuck !== owner) order.push(stuck)
    for (const candidate of ordered) if (candidate !== stuck && candidate !== owner) order.push(candidate)
  }
  return order.slice(0, most)
}

/** Who goes together: mostly all, else by what speaks against them and by `priority`, from the first to the last. */
function groupsOf(candidates: readonly Candidate[]): readonly (readonly Candidate[])[] {
  if (candidates.every(({ standing }) => standing === 0)) return tiersOf(candidates)
  const isLast = ({ standing }: Candidate): boolean => standing >= standings.last
  const tiers = tiersOf(candidates.filter((candidate) => !isLast(candidate)))
  const inTiers = tiers.flatMap((tier) => byKey(tier, ({ standing }) => standing))
  return [...inTiers, ...byKey(candidates.filter(isLast), ({ standing }) => standing).flatMap(tiersOf)]
}

function tiersOf(candidates: readonly Candidate[]): readonly (readonly Candidate[])[] {
  const first = candidates[0]?.upstream.priority
  if (candidates.every(({ upstream }) => upstream.priority === first)) return [candidates]
  return byKey(candidates, ({ upstream }) => upstream.priority)
}

/** Groups of those with the same number, the lowest first. */
function byKey(candidates: readonly Candidate[], keyOf: (candidate: Candidate) => number) {
  const groups = new Map<number, Candidate[]>()
  for (const candidate of candidates) {
    const group = groups.get(keyOf(candidate))
    if (group === undefined) groups.set(keyOf(candidate), [candidate])
    else group.push(candidate)
  }
  return [...groups].sort(([a], [b]) => a - b).map(([, group]) => group)
}

/**
 * The indices of the highest `scores`, the highest first; equal ones by `ties` (as many as scores), and by their order
 * where those are equal too. −∞ has a place, NaN has none to speak of.
 * Keeps a short sorted list while it passes over all: where `most` is a few of many, next to nothing has to be moved,
 * and no branch is hard to foresee. To sort a thousand whole it would be the wrong way.
 */
export function highest(scores: Float64Array, most: number, ties: Float64Array = scores): number[] {
  const scored = { scores, ties }
  const best: number[] = []
  for (let index = 0; index < scores.length; index++) {
    let at = best.length
    if (at >= most) {
      at -= 1
      if (!isAbove(scored, index, best[at])) continue
    }
    for (; at > 0 && isAbove(scored, index, best[at - 1]); at--) best[at] = best[at - 1] ?? 0
    best[at] = index
  }
  return best
}

type Scored = { readonly scores: Float64Array; readonly ties: Float64Array }

function isAbove({ scores, ties }: Scored, one: number, other: number | undefined): boolean {
  if (other === undefined) return false
  const a = scores[one] ?? 0
  const b = scores[other] ?? 0
  return a === b ? (ties[one] ?? 0) > (ties[other] ?? 0) : a > b
}
