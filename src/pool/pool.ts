/*
 * pool: what there is to choose from, and how it is chosen. Pure functions and the words that everything above
 * shares; state, time and dice are arguments.
 *
 * upstream  one model at one endpoint with one key: its name, and the scopes that a request to it draws on
 * pool      which upstreams a requested model name stands for
 * strategy  orderings: candidates in, the order in which they are tried out
 * outcome   how an attempt ended, in the words that decide what happens next
 *
 * Whether an upstream is available is not decided here, but in `state/availability.ts`.
 */
import type { Endpoint, Upstream } from './upstream.ts'

/** The upstreams that a requested model name may go to. */
export interface Pool {
  /** Tells this pool from others: endpoint and name. Part of the affinity key. */
  readonly id: string
  readonly upstreams: readonly Upstream[]
}

/** Finds the pool of a requested name. */
export interface Pools {
  /**
   * The pool, or undefined when nobody has that name.
   *
   * `auto` and the empty name are all upstreams that serve the endpoint; then come groups, model names
   * and upstream names, in this order. A known name that nobody serves on this endpoint gives a pool
   * without upstreams, so that the caller can tell the two apart.
   */
  poolFor(name: string, endpoint: Endpoint): Pool | undefined
  /** `auto`, the groups and the model names, each once, in the order of the configuration. */
  readonly listedNames: readonly string[]
  readonly upstreams: readonly Upstream[]
}

/** Builds the look-up once for a configuration; asking it costs one map access. */
export function createPools(upstreams: readonly Upstream[], unknownModel: 'reject' | 'auto'): Pools {
  const members = new Map<string, Upstream[]>([['auto', [...upstreams]]])
  const groups = upstreams.flatMap((upstream) => upstream.groups)
  const models = upstreams.map(({ model }) => model)
  for (const name of new Set(groups)) addName(members, name, (upstream) => upstream.groups.includes(name))
  for (const name of new Set(models)) addName(members, name, (upstream) => upstream.model === name)
  for (const { name } of upstreams) addName(members, name, (upstream) => upstream.name === name)

  function addName(
    to: Map<string, Upstream[]>,
    name: string,
    isMember: (upstream: Upstream) => boolean,
  ): void {
    if (!to.has(name)) to.set(name, upstreams.filter(isMember))
  }

  const made = new Map<string, Pool>()
  return {
    upstreams,
    listedNames: [...new Set(['auto', ...groups, ...models])],
    poolFor(requestedModel, endpoint) {
      const known = members.has(requestedModel)
      if (!known && requestedModel !== '' && unknownModel === 'reject') return undefined
      const name = known ? requestedModel : 'auto'
      const id = `${endpoint} ${name}`
      const cached = made.get(id)
      if (cached !== undefined) return cached
      const pool = { id, upstreams: serving(members.get(name) ?? [], endpoint) }
      made.set(id, pool)
      return pool
    },
  }
}

/** Vectors of two models do not mix, so an embedding stays with the model that is listed first. */
function serving(upstreams: readonly Upstream[], endpoint: Endpoint): Upstream[] {
  const able = upstreams.filter((upstream) => upstream.enabled && upstream.endpoints.has(endpoint))
  if (endpoint !== 'embeddings') return able
  return able.filter(({ model }) => model === able[0]?.model)
}
