import { limitsFrom } from '../src/config/model-schema.ts'
import { hash01 } from '../src/lib/hash.ts'
import { orderOf, strategies } from '../src/pool/strategy.ts'
import { endpoints, type Claim, type Endpoint, type Upstream } from '../src/pool/upstream.ts'
import { evaluate, type Evaluation } from '../src/relay/candidates.ts'
import { MOST_IN_ORDER } from '../src/relay/select.ts'
import { createMemoryStore } from '../src/state/memory.ts'
import type { Ask, Lease } from '../src/state/store.ts'
import { createDice } from '../tests/support/dice.ts'

const limits = limitsFrom({ rpm: 1_000_000, rpd: 100_000_000, tpm: 1e12, tpd: 1e14 })
const ask: Ask = { inputTokens: 200, outputTokens: 300, probeMs: 1_000, lastResort: false }

function upstreamOf(nth: number): Upstream {
  const id = `${nth}`.padStart(32, '0')
  const scopes = [
    { scope: id, role: 'upstream', limits },
    { scope: `key ${id}`, role: 'key' },
    { scope: `origin https://api-${nth % 10}.example.com`, role: 'origin' },
    { scope: `quota account ${nth % 20}`, role: 'quota', limits },
  ] as const
  const claimOf = (endpoint: Endpoint): Claim => ({
    id,
    priority: 0,
    draws: [...scopes, { scope: `endpoint ${id} ${endpoint}`, role: 'endpoint' }],
  })
  return {
    id,
    rendezvousHash: hash01(id),
    name: `upstream ${nth}`,
    model: 'model',
    root: `https://api-${nth % 10}.example.com/v1`,
    query: '',
    apiKey: '',
    keyPosition: 1,
    endpoints: new Set(endpoints),
    groups: [],
    weight: 1 + (nth % 4),
    priority: 0,
    headers: {},
    timeoutMs: 1_000,
    connectTimeoutMs: 1_000,
    enabled: true,
    claims: Object.fromEntries(
      endpoints.map((endpoint) => [endpoint, claimOf(endpoint)]),
    ) as Upstream['claims'],
  }
}

/** Upstreams with windows full of buckets, and the steps of a choice among them. */
export function bedOf(size: number) {
  const random = createDice(1)
  const store = createMemoryStore({ random })
  const upstreams = Array.from({ length: size }, (_, nth) => upstreamOf(nth))
  const credits = new Map<string, number>()
  let now = Date.UTC(2026, 10, 22, 12)
  const at = () => ({ now, wall: now })
  const claimOf = ({ claims }: Upstream): Claim => claims.chat

  const evaluation = (): Evaluation => {
    const evaluated = evaluate(upstreams, ask, { endpoint: 'chat', now, credits, store })
    if (evaluated instanceof Promise) throw new Error('a memory store answers at once')
    return evaluated
  }
  const evaluated = { ...evaluation() }
  const order = (from: Evaluation, strategy: keyof typeof strategies, key = '') =>
    orderOf(from.candidates, {
      strategy: strategies[strategy],
      context: { random, keyHash: key === '' ? 0 : hash01(key), most: MOST_IN_ORDER },
      stickTo: undefined,
    })
  const choose = (strategy: keyof typeof strategies, key = ''): Lease | undefined =>
    store.acquire(
      order(evaluation(), strategy, key).map(({ upstream }) => claimOf(upstream)),
      ask,
      at(),
    )
  const finish = (lease: Lease | undefined): void => {
    if (lease === undefined) throw new Error('somebody is free')
    store.confirm(lease, { firstByteMs: 100, readings: [] }, at())
    store.settle(lease, { kind: 'ok', tokens: 400, outputTokens: 200 }, at())
  }
  // A minute of traffic fills the windows with as many buckets as they can have.
  for (let nth = 0; nth < size * 240; nth++) {
    now += 60_000 / (size * 240)
    finish(store.acquire([claimOf(upstreams[nth % size]!)], ask, at()))
  }
  return {
    evaluation,
    evaluated: { ...evaluated, ...evaluation() },
    order,
    choose,
    finish,
    pass: (ms = 1) => void (now += ms),
  }
}
