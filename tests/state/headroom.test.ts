import { expect, test } from 'vitest'
import { availabilityOf } from '../../src/state/availability.ts'
import { createMemoryStore } from '../../src/state/memory.ts'
import type { WrittenLimits } from '../../src/config/model-schema.ts'
import { ASK, at, claimOf, OK } from './claims.ts'

const hour = 3_600_000

/** The headroom of an upstream after `used` answered requests, `ms` after noon UTC. */
function headroomAfter(used: number, limits: WrittenLimits, ms = 0): number {
  const claim = claimOf('a', { limits })
  const store = createMemoryStore({ random: () => 0.5 })
  for (let request = 0; request < used; request++) {
    const lease = store.acquire([claim], ASK, at(ms))
    if (lease === undefined) throw new Error('no room')
    store.confirm(lease, { firstByteMs: 1, readings: [] }, at(ms))
    store.settle(lease, OK, at(ms))
  }
  const found = availabilityOf(claim, (scope) => store.snapshot([scope])[0], { ask: ASK, now: at(ms).now })
  return found.free ? found.headroom : 0
}

test('of a minute is the free share of it', () => {
  expect(headroomAfter(4, { rpm: 10 })).toBeCloseTo(0.6)
})

test('of several windows is that of the tightest', () => {
  expect(headroomAfter(4, { rpm: 10, tpm: 1e9 })).toBeCloseTo(0.6)
  expect(headroomAfter(4, { rpm: 100, rpd: 1e6 })).toBeLessThan(0.01)
})

test('of a day with less left is smaller', () => {
  expect(headroomAfter(5, { rpd: 100 })).toBeGreaterThan(headroomAfter(6, { rpd: 100 }))
})

test('of a whole day is less than that of a minute which is almost full: a minute’s rest is lost, a day’s is not', () => {
  expect(headroomAfter(1, { rpd: 1000 })).toBeLessThan(headroomAfter(9, { rpm: 10 }))
})

test('of a day that ends within the minute counts in full', () => {
  expect(headroomAfter(50, { rpd: 100 }, 12 * hour - 30_000)).toBeCloseTo(0.5)
})
