/*
 * pool: what there is to choose from, and how it is chosen. Pure functions and the words that everything above
 * shares; state, time and dice are arguments.
 *
 * upstream  one model at one endpoint with one key: its name, and the scopes that a request to it draws on
 * route     how connections to one are made where that is not straight: a proxy, certificates
 * pool      which upstreams a requested model name stands for
 * strategy  orderings: candidates in, the order in which they are tried out
 * outcome   how an attempt ended: whether another upstream is tried, what rests, what the client reads in the end
 */
import type { Endpoint, Upstream } from './upstream.ts'

/** The upstreams that a requested model name may go to. */
export interface Pool {
  /** Tells this pool from others: endpoint and name. Part of the affinity key. */
  readonly id: string
  readonly upstreams: readonly Upstream[]
  /** The longest of their timeouts, ms. */
  readonly longestTimeoutMs: number
  /** Whether one of them gets another body than the client's. */
  readonly hasEdits: boolean
}

export type Pools = ReturnType<typeof createPools>

/**
 * Builds the look-up once for a configuration; asking it costs one map access.
 * @param part tells the pools of some upstreams from those of others; empty = those of all
 */
export function createPools(upstreams: readonly Upstream[], unknownModel: 'reject' | 'auto', part = '') {
  const members = new Map<string, readonly Upstream[]>([['auto', upstreams]])
  function addNames(namesOf: (upstream: Upstream) => readonly string[]): void {
    const named = new Map<string, Upstream[]>()
    for (const upstream of upstreams)
      for (const name of new Set(namesOf(upstream))) {
        const bearers = named.get(name)
        if (bearers === undefined) named.set(name, [upstream])
        else bearers.push(upstream)
      }
    for (const [name, bearers] of named) if (!members.has(name)) members.set(name, bearers)
  }
  addNames(({ groups }) => groups)
  addNames(({ model }) => [model])
  const listedNames = [...members.keys()]
  addNames(({ name }) => [name])

  const made = new Map<string, Pool>()
  return {
    upstreams,
    /** `auto`, the groups and the model names, each once, in the order of the configuration. */
    listedNames: listedNames as readonly string[],
    /** Those that a name stands for, whatever they serve; undefined when nobody has it. */
    named: (name: string): readonly Upstream[] | undefined => members.get(isAuto(name) ? 'auto' : name),
    /**
     * The pool of a requested name: for `auto` in any case and the empty name all upstreams that serve the endpoint; then come
     * groups, model names and upstream names, in this order. Undefined when nobody has that name; without upstreams
     * when nobody who has it serves the endpoint.
     */
    poolFor(requestedModel: string, endpoint: Endpoint): Pool | undefined {
      const requested = isAuto(requestedModel) ? 'auto' : requestedModel
      const known = members.has(requested)
      if (!known && requested !== '' && unknownModel === 'reject') return undefined
      const name = known ? requested : 'auto'
      const id = `${endpoint} ${name}${part}`
      const cached = made.get(id)
      if (cached !== undefined) return cached
      const all = serving(members.get(name) ?? [], endpoint)
      const upstreams = name === 'auto' ? fitting(all, endpoint) : all
      const longestTimeoutMs = Math.max(0, ...upstreams.map(({ timeoutMs }) => timeoutMs))
      const hasEdits = upstreams.some(({ edits }) => edits !== undefined)
      const pool = { id, upstreams, longestTimeoutMs, hasEdits }
      made.set(id, pool)
      return pool
    },
  }
}

/** In any case: some clients write names with a capital. */
const isAuto = (name: string): boolean => name.length === 4 && name.toLowerCase() === 'auto'

/** Those that are not presumed to be for something else, where there are any. */
function fitting(upstreams: readonly Upstream[], endpoint: Endpoint): readonly Upstream[] {
  const fit = upstreams.filter(({ presumed }) => presumed?.endpoints?.has(endpoint) ?? true)
  return fit.length > 0 ? fit : upstreams
}

const serving = (upstreams: readonly Upstream[], endpoint: Endpoint): Upstream[] =>
  upstreams.filter((upstream) => upstream.enabled && upstream.endpoints.has(endpoint))
