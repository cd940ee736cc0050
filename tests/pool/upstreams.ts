import { hash01 } from '../../src/lib/hash.ts'
import type { Candidate } from '../../src/pool/strategy.ts'
import { endpoints, type Claim, type Endpoint, type Upstream } from '../../src/pool/upstream.ts'

/** An upstream named as it is identified, with nothing about it but what a test says. */
export function upstreamOf(id: string, more: Partial<Upstream> = {}): Upstream {
  const claim: Claim = { id, priority: 0, draws: [{ scope: id, role: 'upstream' }] }
  return {
    id,
    rendezvousHash: hash01(id),
    name: id,
    model: `model-${id}`,
    root: `https://${id}.test/v1`,
    query: '',
    apiKey: '',
    keyPosition: 1,
    endpoints: new Set(endpoints),
    groups: [],
    weight: 1,
    priority: 0,
    headers: {},
    timeoutMs: 1_000,
    connectTimeoutMs: 1_000,
    enabled: true,
    claims: Object.fromEntries(endpoints.map((endpoint) => [endpoint, claim])) as Record<Endpoint, Claim>,
    ...more,
  }
}

/** An idle, unmeasured candidate without limits, unless told otherwise. */
export function candidateOf(id: string, more: Partial<Upstream> & Partial<Candidate> = {}): Candidate {
  const { inFlight = 0, latencyMs = 0, headroom = 1, credit = 0, standing = 0, upstream: _, ...rest } = more
  return { upstream: upstreamOf(id, rest), inFlight, latencyMs, headroom, credit, standing }
}

export const idsOf = (order: readonly Candidate[]): string[] => order.map(({ upstream }) => upstream.id)
