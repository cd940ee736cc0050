import { expect, test } from 'vitest'
import { createMemoryStore } from '../../src/state/memory.ts'
import type { Ask } from '../../src/state/store.ts'
import { ASK, at, claimOf, limited, OK, told, tokens } from './claims.ts'

const minute = 60_000
const claim = claimOf('a')

/** A store that is asked by requests which may wait for 5 s. */
function bed() {
  const store = createMemoryStore({ random: () => 0.5 })
  const acquire = (ms: number, ask: Ask = ASK, patienceMs = 5_000) =>
    store.acquire([claim], { ...ask, patienceMs }, at(ms))
  const serve = (ms: number, reading: ReturnType<typeof told>, ask: Ask = ASK): void => {
    const lease = acquire(ms, ask, 0)!
    store.confirm(lease, { firstByteMs: 1, readings: [reading] }, at(ms))
    store.settle(lease, OK, at(ms))
  }
  const refuse = (ms: number, more: Parameters<typeof limited>[0], ask: Ask = ASK): void =>
    store.settle(acquire(ms, ask, 0)!, limited(more), at(ms))
  return { store, acquire, serve, refuse, state: () => store.snapshot(['a'])[0]! }
}

test('a refusal does not make a sliding log look like a window, though its reset comes nearer', () => {
  const { store, serve, refuse, state } = bed()
  const says = (remaining: number, resetMs: number) => told({ limit: 10, remaining, resetMs })
  for (let nth = 0; nth < 9; nth++) serve(nth * 3_000, says(9 - nth, minute))
  expect(state().meters['x-ratelimit-*-requests']?.kind).toBe('log')
  refuse(40_000, { hintMs: 1_000, readings: [says(0, 44_000)] })
  expect(state().meters['x-ratelimit-*-requests']?.kind).toBe('log')
  expect(store.acquire([claim], ASK, at(40_500))).toBeUndefined()
})

test('a zero of a sliding log reopens when the first of what was sent is forgotten', () => {
  const { acquire, serve } = bed()
  // The first word alone is no log yet, so that the second is the first that is logged.
  for (let nth = 0; nth < 10; nth++)
    serve(nth * 2_000, told({ limit: 10, remaining: Math.max(0, 9 - nth), resetMs: minute }))
  expect(acquire(61_000)).toBeUndefined()
  expect(acquire(64_500)).toBeDefined()
})

test('tokens that an upstream has refused once are known not to fit, until some are answered', () => {
  const { acquire, serve, refuse } = bed()
  const says = (remaining: number) =>
    told({ counts: 'tokens', limit: 2_000, remaining, resetMs: minute, isDuration: false })
  serve(0, says(50), tokens(10))
  // Our estimate alone refuses nobody.
  expect(acquire(1, tokens(100))).toBeDefined()
  refuse(2, { hintMs: 1_000, readings: [says(50)] }, tokens(100))
  expect(acquire(2_000, tokens(100), 0)).toBeUndefined()
  expect(acquire(2_000, tokens(20), 0)).toBeDefined()
})

test('after a zero an own back-off is no longer than what the zero names', () => {
  const { acquire, refuse } = bed()
  refuse(0, { readings: [told({ limit: 20, remaining: 0, resetMs: 2_000 })] })
  expect(acquire(1_900, ASK, 0)).toBeUndefined()
  expect(acquire(2_500, ASK, 0)).toBeDefined()
})

test('whatever upstreams call their limits, 32 are remembered for each scope', () => {
  const { serve, refuse, state } = bed()
  for (let nth = 0; nth < 50; nth++)
    serve(nth, told({ meter: `ratelimit ${nth}`, remaining: 9, resetMs: minute }))
  for (let nth = 0; nth < 50; nth++) {
    const limit = { counts: 'requests', scope: 'upstream', limit: 900, spanMs: 1_000 * (nth + 1) } as const
    refuse(1_000 + nth * 2_000, { hintMs: 1_000, told: [limit] })
  }
  const { meters, walls } = state()
  expect([Object.keys(meters).length, Object.keys(walls).length]).toEqual([32, 32])
  expect(meters['ratelimit 49']).toBeDefined()
  expect(walls['requests:50000']).toBeDefined()
})
