import { expect, test } from 'vitest'
import { mutableCopyOf, latencyOf, recordLatency, UNKNOWN_SCOPE } from '../../src/state/scope.ts'

test('a slower answer counts at once, quicker ones sink in', () => {
  const state = mutableCopyOf(UNKNOWN_SCOPE)
  recordLatency(state, 200, 0)
  recordLatency(state, 2_000, 100)
  expect(state.latency?.ms).toBe(2_000)
  recordLatency(state, 200, 10_100)
  expect(state.latency?.ms).toBeGreaterThan(200)
  expect(state.latency?.ms).toBeLessThan(1_000)
})

test('the latency of one that nobody asks fades, so that it gets its chance again', () => {
  const slow = mutableCopyOf(UNKNOWN_SCOPE)
  recordLatency(slow, 2_000, 0)
  expect(latencyOf(slow, 0)).toBe(2_000)
  expect(latencyOf(slow, 30_000)).toBeLessThan(200)
  slow.inFlight = 1
  expect(latencyOf(slow, 30_000)).toBe(2_000)
  expect(latencyOf(undefined, 0)).toBe(0)
})
