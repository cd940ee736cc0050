import { expect, test } from 'vitest'
import type { ScopeState } from '../../src/state/scope.ts'
import { knownStates, upstreamGauges } from '../../src/telemetry/status.ts'
import { createBed, failure, model, NOW } from './status-bed.ts'

test('the gauges of an upstream agree with its status', async () => {
  const bed = createBed([model('a'), model('b', { enabled: false }), model('c')])
  bed.ask(0, { outcome: failure({ cause: 'rate-limited', hintMs: 30_000 }) })
  bed.lease(2)
  const stateOf = await knownStates(bed.upstreams, bed.store.snapshot)
  expect(upstreamGauges(bed.upstreams, stateOf, NOW)).toEqual([
    { name: 'a', inFlight: 0, available: false },
    { name: 'b', inFlight: 0, available: false },
    { name: 'c', inFlight: 1, available: true },
  ])
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
