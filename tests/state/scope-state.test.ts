import { expect, test } from 'vitest'
import { latencyOf, UNKNOWN, withLatency } from '../../src/state/scope-state.ts'

test('a slower answer counts at once, quicker ones sink in', () => {
  const slow = withLatency(withLatency(UNKNOWN, 200, 0), 2_000, 100)
  expect(slow.latency?.ms).toBe(2_000)
  const after = withLatency(slow, 200, 10_100).latency?.ms ?? 0
  expect(after).toBeGreaterThan(200)
  expect(after).toBeLessThan(1_000)
})

test('the latency of one that nobody asks fades, so that it gets its chance again', () => {
  const slow = withLatency(UNKNOWN, 2_000, 0)
  expect(latencyOf(slow, 0)).toBe(2_000)
  expect(latencyOf(slow, 30_000)).toBeLessThan(200)
  expect(latencyOf({ ...slow, inFlight: 1 }, 30_000)).toBe(2_000)
  expect(latencyOf(undefined, 0)).toBe(0)
})
