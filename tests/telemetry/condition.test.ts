import { expect, test } from 'vitest'
import type { ScopeState } from '../../src/state/scope.ts'
import { createMetrics } from '../../src/telemetry/metrics.ts'
import { knownStates } from '../../src/telemetry/status.ts'
import { createBed, failure, model } from './status-bed.ts'

test('what the metrics show of an upstream is a part of its status', () => {
  const bed = createBed([model('a'), model('b', { enabled: false }), model('c')])
  bed.ask(0, { outcome: failure({ cause: 'rate-limited', hintMs: 30_000 }) })
  bed.lease(2)
  const status = bed.status()
  expect(status.upstreams).toMatchObject([
    { name: 'a', in_flight: 0, available: false },
    { name: 'b', in_flight: 0, available: false },
    { name: 'c', in_flight: 1, available: true },
  ])
  const text = createMetrics().text(status)
  expect(text).toContain('aiload_available{upstream="a"} 0\naiload_available{upstream="b"} 0\n')
  expect(text).toContain('aiload_in_flight{upstream="c"} 1\n')
})

test('a store is asked once for every scope, and one that answers later is waited for', async () => {
  const bed = createBed([model('a', { quota: 'shared' }), model('b', { quota: 'shared' })], {
    quotas: { shared: { rpd: 5 } },
  })
  const asked: (readonly string[])[] = []
  async function snapshot(scopes: readonly string[]): Promise<readonly (ScopeState | undefined)[]> {
    asked.push(scopes)
    return bed.store.snapshot(scopes)
  }
  bed.lease(1)
  const stateOf = await knownStates(bed.upstreams, snapshot)
  expect(asked).toHaveLength(1)
  expect(new Set(asked[0]).size).toBe(asked[0]?.length)
  expect(stateOf(bed.upstreams[1]!.id)?.inFlight).toBe(1)
  expect(stateOf('quota shared')?.inFlight).toBe(1)
  expect(stateOf('a scope of nobody')).toBeUndefined()
})
