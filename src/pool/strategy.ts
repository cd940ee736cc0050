import { hash01, pairedHash01 } from '../lib/hash.ts'
import type { StrategyName, Upstream } from './upstream.ts'

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
}

/** What a strategy may look at besides the candidates. */
interface PickContext {
  /** Uniform in [0, 1). */
  readonly random: () => number
  /** The affinity key of the request; empty where there is none. */
  readonly key: string
  /** How many are wanted, for there may be a thousand and the first mostly serves; at least 2. All unless given. */
  readonly most?: number
}

/**
 * Puts the candidates in the order in which they are tried.
 *
 * Pure; returns every candidate exactly once, or the first `most` of them: the first is the pick, the rest its
 * fallbacks. Who is unavailable is not among them, so a dead upstream's share goes to all others by weight.
 */
export type Strategy = (candidates: readonly Candidate[], context: PickContext) => Candidate[]

/**
 * Weighted sampling without replacement (Efraimidis and Spirakis 2006): the higher, the earlier.
 * `u` is uniform in [0, 1); at 0 it is −∞, which still has a place in the order.
 */
const chance = (u: number, weight: number): number => Math.log(u) / weight

type Score = (candidate: Candidate) => number

/** The highest score first; equal scores by `ties`, else in their order. */
function byScore(
  candidates: readonly Candidate[],
  { most = Infinity }: PickContext,
  { score: by, ties }: { score: Score; ties?: Score },
): Candidate[] {
  const indices = highest(scoresOf(candidates, by), most, ties && scoresOf(candidates, ties))
  return indices.map((at) => candidates[at]).filter((candidate) => candidate !== undefined)
}

function scoresOf(candidates: readonly Candidate[], scoreOf: Score): Float64Array {
  const scores = new Float64Array(candidates.length)
  let at = 0
  for (const candidate of candidates) scores[at++] = scoreOf(candidate)
  return scores
}

const randomScore =
  ({ random }: PickContext): Score =>
  ({ upstream }) =>
    chance(random(), upstream.weight)

/** Each upstream in proportion to its weight, independently for every request. */
const weightedRandom: Strategy = (candidates, context) =>
  byScore(candidates, context, { score: randomScore(context) })

/** The same key goes to the same upstream; when that one is away, only its keys move. */
export const rendezvous: Strategy = (candidates, context) => {
  const key = hash01(context.key)
  const score: Score = ({ upstream }) => chance(pairedHash01(key, upstream.rendezvousHash), upstream.weight)
  return byScore(candidates, context, { score })
}

/** Smooth weighted round robin: the one that has waited longest for its share. */
const roundRobin: Strategy = (candidates, context) =>
  byScore(candidates, context, { score: ({ upstream, credit }) => credit + upstream.weight })

/** Fewest under way for its weight; ties in proportion to the weights. */
const leastBusy: Strategy = (candidates, context) =>
  byScore(candidates, context, {
    score: ({ upstream, inFlight }) => -inFlight / upstream.weight,
    ties: randomScore(context),
  })

/**
 * The quicker of two drawn by weight (power of two choices), judged by the time to the first byte times
 * the requests under way. Comparing two and not all keeps a fresh measurement from drawing everybody.
 */
const fastest: Strategy = (candidates, context) => {
  const [first, second, ...rest] = weightedRandom(candidates, context)
  if (first === undefined) return []
  if (second === undefined) return [first]
  return load(second) < load(first) ? [second, first, ...rest] : [first, second, ...rest]
}

/** An unmeasured upstream counts as quick, so that it gets measured. */
const load = ({ latencyMs, inFlight }: Candidate): number => latencyMs * (inFlight + 1)

/** The largest free share of its tightest limit; ties in proportion to the weights. */
const headroom: Strategy = (candidates, context) =>
  byScore(candidates, context, { score: (candidate) => candidate.headroom, ties: randomScore(context) })

/** As listed in the configuration. */
const inOrder: Strategy = (candidates, { most }) => candidates.slice(0, most)

/** The strategies by the names that the configuration knows. */
export const strategies: Readonly<Record<StrategyName, Strategy>> = {
  random: weightedRandom,
  round_robin: roundRobin,
  least_busy: leastBusy,
  fastest,
  headroom,
  in_order: inOrder,
}

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
  /** True for `random`: a key that nobody remembers takes rendezvous order, so that replicas agree. */
  readonly hashesUnseenKeys: boolean
  readonly context: PickContext
  /** The upstream that served this key before, where it is remembered. */
  readonly stickTo: string | undefined
}

/**
 * The order of a request: tier after tier of `priority` (lowest number first), each in the order of the
 * strategy, with the remembered upstream of the affinity key in front of its own tier.
 *
 * A remembered upstream never jumps a tier: the cheaper tier is used again as soon as it can be.
 */
export function orderOf(candidates: readonly Candidate[], rule: OrderRule): Candidate[] {
  const { most = Infinity } = rule.context
  const order: Candidate[] = []
  for (const tier of tiersOf(candidates)) {
    if (order.length >= most) break
    order.push(...withinTier(tier, rule))
  }
  return order.slice(0, most)
}

function tiersOf(candidates: readonly Candidate[]): readonly (readonly Candidate[])[] {
  const first = candidates[0]?.upstream.priority
  if (candidates.every(({ upstream }) => upstream.priority === first)) return [candidates]
  const tiers = new Map<number, Candidate[]>()
  for (const candidate of candidates) {
    const tier = tiers.get(candidate.upstream.priority)
    if (tier === undefined) tiers.set(candidate.upstream.priority, [candidate])
    else tier.push(candidate)
  }
  return [...tiers].sort(([a], [b]) => a - b).map(([, tier]) => tier)
}

function withinTier(tier: readonly Candidate[], rule: OrderRule): readonly Candidate[] {
  const { stickTo, context } = rule
  const strategy = rule.hashesUnseenKeys && context.key !== '' ? rendezvous : rule.strategy
  const order = strategy(tier, context)
  if (stickTo === undefined) return order
  const stuck = tier.find(({ upstream }) => upstream.id === stickTo)
  return stuck === undefined ? order : [stuck, ...order.filter((candidate) => candidate !== stuck)]
}

/** What candidates are sorted by. */
interface Scored {
  readonly scores: Float64Array
  readonly ties: Float64Array
}

/**
 * The indices of the highest `scores`, the highest first; equal ones by `ties`, and by their order where those
 * are equal too. −∞ has a place, NaN has none to speak of.
 *
 * Keeps a short sorted list while it passes over all: where a few of many are wanted, next to nothing has to be
 * moved, and no branch is hard to foresee. To sort a thousand whole it would be the wrong way.
 *
 * @param most how many are wanted; 0…scores.length, more are as good as all
 * @param ties as many as scores
 */
export function highest(scores: Float64Array, most: number, ties: Float64Array = scores): number[] {
  const scored = { scores, ties }
  const best: number[] = []
  for (let index = 0; index < scores.length; index++) {
    if (best.length < most) best.push(index)
    else if (isAbove(scored, index, best[best.length - 1])) best[best.length - 1] = index
    else continue
    moveUp(scored, best)
  }
  return best
}

/** Puts the last of a list that is sorted but for it where it belongs. */
function moveUp(scored: Scored, best: number[]): void {
  let at = best.length - 1
  const index = best[at] ?? 0
  for (; at > 0 && isAbove(scored, index, best[at - 1]); at--) best[at] = best[at - 1] ?? 0
  best[at] = index
}

function isAbove({ scores, ties }: Scored, one: number, other: number | undefined): boolean {
  if (other === undefined) return false
  const a = scores[one] ?? 0
  const b = scores[other] ?? 0
  return a === b ? (ties[one] ?? 0) > (ties[other] ?? 0) : a > b
}
