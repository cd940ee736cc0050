import type { Upstream } from '../pool/upstream.ts'
import { instantOf } from './clock.ts'
import type { RelayDeps } from './deps.ts'
import type { RelayRequest } from './relay-request.ts'

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
