import { hash01 } from '../../src/lib/hash.ts'
import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  rendezvous,
  chargeRoundRobin,
  strategies,
  type Candidate,
  type Strategy,
} from '../../src/pool/strategy.ts'
import { createDice } from '../support/dice.ts'
import { isInProportion } from './chi-square.ts'
import { candidateOf, idsOf, upstreamOf } from './upstreams.ts'

const all = Object.entries({ ...strategies, rendezvous })

const candidate = fc.record({
  weight: fc.oneof(fc.constant(1), fc.double({ min: 1e-6, max: 1e6, noNaN: true })),
  inFlight: fc.nat(100),
  latencyMs: fc.oneof(fc.constant(0), fc.double({ min: 0, max: 1e5, noNaN: true })),
  headroom: fc.double({ min: 0, max: 1, noNaN: true }),
  credit: fc.double({ min: -1e6, max: 1e6, noNaN: true }),
})
/** What a strategy could change of its candidates, as text. */
const plainOf = (list: readonly Candidate[]): string => JSON.stringify(list)

const candidates = fc
  .array(candidate, { maxLength: 12 })
  .map((list) => list.map((more, nth) => candidateOf(`u${nth}`, more)))

describe.each(all)('%s', (_name, strategy) => {
  test('every candidate is in the order exactly once, and none for none', () => {
    fc.assert(
      fc.property(candidates, fc.string(), fc.integer(), (list, key, seed) => {
        const order = strategy(list, { random: createDice(seed), keyHash: hash01(key) })
        expect(idsOf(order).toSorted()).toEqual(idsOf(list).toSorted())
        expect(new Set(order).size).toBe(list.length)
      }),
    )
  })

  test('the first few are those that come first of all', () => {
    fc.assert(
      fc.property(candidates, fc.integer({ min: 2, max: 14 }), fc.integer(), (list, most, seed) => {
        const [few, whole] = [most, Infinity].map((wanted) =>
          idsOf(strategy(list, { random: createDice(seed), keyHash: hash01('k'), most: wanted })),
        )
        expect(few).toEqual(whole!.slice(0, most))
      }),
    )
  })

  test('the same dice give the same order, and nothing that was given is changed', () => {
    fc.assert(
      fc.property(candidates, fc.string(), fc.integer(), (list, key, seed) => {
        const before = plainOf(list)
        const [one, other] = [0, 1].map(() =>
          idsOf(strategy(list, { random: createDice(seed), keyHash: hash01(key) })),
        )
        expect(one).toEqual(other)
        const after = plainOf(list)
        expect(after).toEqual(before)
      }),
    )
  })

  test.each([0, 1 - 2 ** -53])('dice that always show %d do no harm', (u) => {
    fc.assert(
      fc.property(candidates, (list) => {
        expect(strategy(list, { random: () => u, keyHash: 0 })).toHaveLength(list.length)
      }),
    )
  })
})

const WEIGHTS = [1, 2, 3, 4]
const four = WEIGHTS.map((weight, nth) => upstreamOf(`u${nth}`, { weight }))

/** First picks of 10,000 requests, each of which is under way for as long as `busy` others are sent. */
function shares(strategy: Strategy, upstreams = four, busy = 0): number[] {
  const random = createDice(20_261_122)
  const credits = new Map<string, number>()
  const counts = new Map(upstreams.map(({ id }) => [id, 0]))
  const underWay: string[] = []
  for (let nth = 0; nth < 10_000; nth++) {
    if (underWay.length > busy) underWay.shift()
    const list = upstreams.map((upstream): Candidate => {
      const inFlight = underWay.filter((id) => id === upstream.id).length
      return {
        upstream,
        inFlight,
        latencyMs: 0,
        headroom: 1,
        credit: credits.get(upstream.id) ?? 0,
        standing: 0,
      }
    })
    const [first] = strategy(list, { random, keyHash: hash01(`client ${nth}`) })
    counts.set(first!.upstream.id, counts.get(first!.upstream.id)! + 1)
    if (busy > 0) underWay.push(first!.upstream.id)
    chargeRoundRobin(credits, list, first!.upstream)
  }
  return [...counts.values()]
}

const shared = Object.entries({
  random: strategies.random,
  round_robin: strategies.round_robin,
  least_busy: strategies.least_busy,
  rendezvous,
})

test.each(shared)('%s: 10,000 requests go to weights 1:2:3:4 in proportion', (_name, strategy) => {
  expect(isInProportion(shares(strategy), WEIGHTS)).toBe(true)
})

test.each(shared)('%s: with any one down the others keep their proportions', (_name, strategy) => {
  for (const down of four) {
    const up = four.filter((upstream) => upstream !== down)
    expect(
      isInProportion(
        shares(strategy, up),
        up.map(({ weight }) => weight),
      ),
    ).toBe(true)
  }
})

test('least_busy: requests under way are in proportion too', () => {
  expect(isInProportion(shares(strategies.least_busy, four, 50), WEIGHTS)).toBe(true)
})

test('the measure itself notices shares that are off by a seventh', () => {
  expect(isInProportion([1_150, 2_000, 2_850, 4_000], WEIGHTS)).toBe(false)
})

test('round_robin: over the sum of the weights each is picked as often as its weight, spread out', () => {
  const random = createDice(1)
  const credits = new Map<string, number>()
  const upstreams = [upstreamOf('a', { weight: 5 }), upstreamOf('b'), upstreamOf('c')]
  const picks = Array.from({ length: 14 }, () => {
    const list = upstreams.map((upstream) =>
      candidateOf(upstream.id, { ...upstream, credit: credits.get(upstream.id) ?? 0, standing: 0 }),
    )
    const [first] = strategies.round_robin(list, { random, keyHash: 0 })
    chargeRoundRobin(credits, list, first!.upstream)
    return first!.upstream.id
  })
  expect(picks.join('')).toBe('aabacaaaabacaa')
})

test('round_robin: nobody who was away floods when it comes back', () => {
  const credits = new Map<string, number>()
  const pick = (ids: string[]): string => {
    const list = ids.map((id) => candidateOf(id, { credit: credits.get(id) ?? 0 }))
    const [first] = strategies.round_robin(list, { random: () => 0, keyHash: 0 })
    chargeRoundRobin(credits, list, first!.upstream)
    return first!.upstream.id
  }
  for (let nth = 0; nth < 100; nth++) pick(['a', 'b'])
  const after = Array.from({ length: 9 }, () => pick(['a', 'b', 'c']))
  expect(['a', 'b', 'c'].map((id) => after.filter((picked) => picked === id).length)).toEqual([3, 3, 3])
})

test('rendezvous: of 1,000 keys only those of an upstream that goes move, and they spread', () => {
  const context = (nth: number) => ({ random: () => 0, keyHash: hash01(`10.0.${nth >> 8}.${nth & 255}`) })
  const list = four.map((upstream) => candidateOf(upstream.id, upstream))
  const pick = (from: Candidate[], nth: number): string => idsOf(rendezvous(from, context(nth)))[0]!
  const left = list.filter(({ upstream }) => upstream.id !== 'u3')
  const moved: string[] = []
  for (let nth = 0; nth < 1_000; nth++) {
    const before = pick(list, nth)
    if (before === 'u3') moved.push(pick(left, nth))
    else expect(pick(left, nth)).toBe(before)
  }
  const counts = ['u0', 'u1', 'u2'].map((id) => moved.filter((to) => to === id).length)
  expect(isInProportion(counts, [1, 2, 3])).toBe(true)
})

test('rendezvous: the fallbacks of a key are in the order in which it would move', () => {
  const list = four.map((upstream) => candidateOf(upstream.id, upstream))
  const context = { random: () => 0, keyHash: hash01('k') }
  const order = idsOf(rendezvous(list, context))
  const rest = list.filter(({ upstream }) => upstream.id !== order[0])
  expect(idsOf(rendezvous(rest, context))).toEqual(order.slice(1))
})

test('fastest: of two the one with less latency times load comes first', () => {
  const context = { random: createDice(1), keyHash: 0 }
  const slow = candidateOf('slow', { latencyMs: 900 })
  const quick = candidateOf('quick', { latencyMs: 200, inFlight: 2 })
  for (let nth = 0; nth < 50; nth++)
    expect(idsOf(strategies.fastest([slow, quick], context))[0]).toBe('quick')
})

test('fastest: one that was never measured is measured', () => {
  const context = { random: createDice(1), keyHash: 0 }
  const list = [candidateOf('known', { latencyMs: 1 }), candidateOf('new', { inFlight: 5 })]
  for (let nth = 0; nth < 50; nth++) expect(idsOf(strategies.fastest(list, context))[0]).toBe('new')
})

test('fastest: the slowest of many gets next to nothing, the quickest not everything', () => {
  const context = { random: createDice(1), keyHash: 0 }
  const list = [100, 200, 300, 400].map((latencyMs, nth) => candidateOf(`u${nth}`, { latencyMs }))
  const counts = new Map<string, number>()
  for (let nth = 0; nth < 1_200; nth++) {
    const [id] = idsOf(strategies.fastest(list, context))
    counts.set(id!, (counts.get(id!) ?? 0) + 1)
  }
  expect(counts.get('u0')).toBeGreaterThan(500)
  expect(counts.get('u0')).toBeLessThan(700)
  expect(counts.get('u3')).toBeUndefined()
})

test('headroom: the freest first, ties in proportion to the weights', () => {
  const list = [
    candidateOf('full', { headroom: 0.1, weight: 100 }),
    candidateOf('one', { headroom: 0.9 }),
    candidateOf('three', { headroom: 0.9, weight: 3 }),
  ]
  const random = createDice(5)
  const counts = { one: 0, three: 0 }
  for (let nth = 0; nth < 4_000; nth++) {
    const order = idsOf(strategies.headroom(list, { random, keyHash: 0 }))
    expect(order[2]).toBe('full')
    counts[order[0] as 'one' | 'three'] += 1
  }
  expect(isInProportion([counts.one, counts.three], [1, 3])).toBe(true)
})

test('in_order: as listed', () => {
  const list = ['c', 'a', 'b'].map((id) => candidateOf(id))
  expect(idsOf(strategies.in_order(list, { random: Math.random, keyHash: 0 }))).toEqual(['c', 'a', 'b'])
})
