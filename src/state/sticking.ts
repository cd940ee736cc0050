import type { Claim } from '../pool/upstream.ts'
import type { Ask } from './store.ts'

/** What sticks a request to an upstream; see `Ask`. */
export type Sticking = Pick<Ask, 'stickTo' | 'heldBy'>

/** Looks up who served a key; undefined = nobody. */
export type ServerOf = (key: string) => string | undefined

/**
 * The order of a request whose keys are first looked up where it is acquired: what `orderOf` would have made of it.
 *
 * Nobody is left where the holder of an earlier answer is not among the order: that answer exists nowhere else.
 */
export function stuckOrder(
  order: readonly Claim[],
  { stickTo, heldBy }: Sticking,
  serverOf: ServerOf,
): readonly Claim[] {
  const holder = heldBy === undefined ? undefined : firstServer(heldBy, serverOf)
  if (holder !== undefined) return order.filter(({ id }) => id === holder)
  const remembered = stickTo === undefined ? undefined : serverOf(stickTo)
  const stuck = order.find(({ id }) => id === remembered)
  if (stuck === undefined) return order
  const tierBegins = order.findIndex(({ priority }) => priority === stuck.priority)
  const others = order.filter((claim) => claim !== stuck)
  return [...others.slice(0, tierBegins), stuck, ...others.slice(tierBegins)]
}

function firstServer(keys: readonly string[], serverOf: ServerOf): string | undefined {
  for (const key of keys) {
    const server = serverOf(key)
    if (server !== undefined) return server
  }
  return undefined
}
