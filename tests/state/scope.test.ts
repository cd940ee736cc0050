import { expect, test } from 'vitest'
import { draftOf, latencyOf, learnLatency, UNKNOWN } from '../../src/state/scope.ts'

test('a slower answer counts at once, quicker ones sink in', () => {
  const state = draftOf(UNKNOWN)
  learnLatency(state, 200, 0)
  learnLatency(state, 2_000, 100)
  expect(state.latency?.ms).toBe(2_000)
  learnLatency(state, 200, 10_100)
  expect(state.latency?.ms).toBeGreaterThan(200)
  expect(state.latency?.ms).toBeLessThan(1_000)
})

test('the latency of one that nobody asks fades, so that it gets its chance again', () => {
  const slow = draftOf(UNKNOWN)
  learnLatency(slow, 2_000, 0)
  expect(latencyOf(slow, 0)).toBe(2_000)
  expect(latencyOf(slow, 30_000)).toBeLessThan(200)
  slow.inFlight = 1
  expect(latencyOf(slow, 30_000)).toBe(2_000)
  expect(latencyOf(undefined, 0)).toBe(0)
})
