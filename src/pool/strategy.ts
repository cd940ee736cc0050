import { hash01 } from '../lib/hash.ts'
import { highest } from '../lib/highest.ts'
import { pairedHash01 } from '../lib/paired-hash.ts'
import type { Upstream } from './upstream.ts'
import type { StrategyName } from './vocabulary.ts'

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
  /** What smooth round robin has saved up for it; see `spendTurn`. */
  readonly credit: number
}

/** What a strategy may look at besides the candidates. */
export interface PickContext {
  /** Uniform in [0, 1). */
  readonly draw: () => number
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
  const places = highest(scoresOf(candidates, by), most, ties && scoresOf(candidates, ties))
  return places.map((at) => candidates[at]).filter((candidate) => candidate !== undefined)
}

function scoresOf(candidates: readonly Candidate[], scoreOf: Score): Float64Array {
  const scores = new Float64Array(candidates.length)
  let at = 0
  for (const candidate of candidates) scores[at++] = scoreOf(candidate)
  return scores
}

const drawn =
  ({ draw }: PickContext): Score =>
  ({ upstream }) =>
    chance(draw(), upstream.weight)

/** Each upstream in proportion to its weight, independently for every request. */
const random: Strategy = (candidates, context) => byScore(candidates, context, { score: drawn(context) })

/** The same key goes to the same upstream; when that one is away, only its keys move. */
export const rendezvous: Strategy = (candidates, context) => {
  const key = hash01(context.key)
  const score: Score = ({ upstream }) => chance(pairedHash01(key, upstream.place), upstream.weight)
  return byScore(candidates, context, { score })
}

/** Smooth weighted round robin: the one that has waited longest for its share. */
const roundRobin: Strategy = (candidates, context) =>
  byScore(candidates, context, { score: ({ upstream, credit }) => credit + upstream.weight })

/** Fewest under way for its weight; ties in proportion to the weights. */
const leastBusy: Strategy = (candidates, context) =>
  byScore(candidates, context, {
    score: ({ upstream, inFlight }) => -inFlight / upstream.weight,
    ties: drawn(context),
  })

/**
 * The quicker of two drawn by weight (power of two choices), judged by the time to the first byte times
 * the requests under way. Comparing two and not all keeps a fresh measurement from drawing everybody.
 */
const fastest: Strategy = (candidates, context) => {
  const [first, second, ...rest] = random(candidates, context)
  if (first === undefined) return []
  if (second === undefined) return [first]
  return load(second) < load(first) ? [second, first, ...rest] : [first, second, ...rest]
}

/** An unmeasured upstream counts as quick, so that it gets measured. */
const load = ({ latencyMs, inFlight }: Candidate): number => latencyMs * (inFlight + 1)

/** The largest free share of its tightest limit; ties in proportion to the weights. */
const headroom: Strategy = (candidates, context) =>
  byScore(candidates, context, { score: (candidate) => candidate.headroom, ties: drawn(context) })

/** As listed in the configuration. */
const inOrder: Strategy = (candidates, { most }) => candidates.slice(0, most)

/** The strategies by the names that the configuration knows. */
export const strategies: Readonly<Record<StrategyName, Strategy>> = {
  random,
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
export function spendTurn(
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
