import { rendezvous, type Candidate, type PickContext, type Strategy } from './strategy.ts'

/** How a whole order is made. */
export interface OrderRule {
  readonly strategy: Strategy
  /** True for `random`: a key that nobody remembers takes rendezvous order, so that replicas agree. */
  readonly hashesUnseenKeys: boolean
  readonly context: PickContext
  /** The upstream that served this key before, where it is remembered. */
  readonly stickTo: string | undefined
}

/**
 * The whole order of a request: tier after tier of `priority` (lowest number first), each in the order
 * of the strategy, with the remembered upstream of the affinity key in front of its own tier.
 *
 * A remembered upstream never jumps a tier: the cheaper tier is used again as soon as it can be.
 */
export function orderOf(candidates: readonly Candidate[], rule: OrderRule): Candidate[] {
  const strategy = rule.hashesUnseenKeys && rule.context.key !== '' ? rendezvous : rule.strategy
  const order: Candidate[] = []
  for (const tier of tiersOf(candidates))
    order.push(...withStuckFirst(strategy(tier, rule.context), rule.stickTo))
  return order
}

function tiersOf(candidates: readonly Candidate[]): Candidate[][] {
  const tiers = new Map<number, Candidate[]>()
  for (const candidate of candidates) {
    const tier = tiers.get(candidate.upstream.priority)
    if (tier === undefined) tiers.set(candidate.upstream.priority, [candidate])
    else tier.push(candidate)
  }
  if (tiers.size < 2) return [...tiers.values()]
  return [...tiers].sort(([a], [b]) => a - b).map(([, tier]) => tier)
}

function withStuckFirst(order: Candidate[], stickTo: string | undefined): Candidate[] {
  if (stickTo === undefined) return order
  const at = order.findIndex(({ upstream }) => upstream.id === stickTo)
  if (at < 1) return order
  const [stuck] = order.splice(at, 1)
  if (stuck !== undefined) order.unshift(stuck)
  return order
}
