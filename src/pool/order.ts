import { rendezvous, type Candidate, type PickContext, type Strategy } from './strategy.ts'

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
