import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import type { Claim } from '../../src/pool/upstream.ts'
import {
  availabilityOf,
  remedyOf,
  claimAvailability,
  type UnavailableReason,
} from '../../src/state/availability.ts'
import { lastResortOf } from '../../src/state/circuit-breaker.ts'
import { createMemoryStore } from '../../src/state/memory.ts'
import { claimSnapshotOf } from '../../src/state/headroom.ts'
import type { Ask } from '../../src/state/store.ts'
import { ASK, at, claimOf, failed, limited, NOON, OK, told, tokens } from './claims.ts'

function bedOf() {
  const store = createMemoryStore({ random: () => 0.5 })
  const look = (claim: Claim, ms: number, ask: Ask = ASK) =>
    availabilityOf(claim, (scope) => store.snapshot([scope])[0], { ask, now: at(ms).now })
  return {
    store,
    take: (claim: Claim, ms: number, ask: Ask = ASK) => store.acquire([claim], ask, at(ms))!,
    reasonOf(claim: Claim, ms: number, ask: Ask = ASK): UnavailableReason | undefined {
      const found = look(claim, ms, ask)
      return found.free ? undefined : found.reason
    },
    headroomOf(claim: Claim, ms: number, ask: Ask = ASK): number | undefined {
      const found = look(claim, ms, ask)
      return found.free ? found.headroom : undefined
    },
  }
}

test('a full minute opens when its first request is forgotten, to the ms', () => {
  const { store, take, reasonOf } = bedOf()
  const claim = claimOf('a', { limits: { rpm: 2 } })
  for (const ms of [0, 10_000]) {
    const lease = take(claim, ms)
    store.confirm(lease, { firstByteMs: 1, readings: [] }, at(ms + 250))
    store.settle(lease, OK, at(ms + 250))
  }
  expect(reasonOf(claim, 20_000)).toEqual({
    scope: 'a',
    cause: 'requests:minute',
    until: NOON + 60_250,
    onRelease: false,
  })
})

test('requests under way are forgotten a span from now at the earliest, and their end opens nothing', () => {
  const { take, reasonOf } = bedOf()
  const claim = claimOf('a', { limits: { rpm: 1 } })
  take(claim, 0)
  expect(reasonOf(claim, 5_000)).toMatchObject({ until: NOON + 65_000, onRelease: false })
})

test('tokens under way may turn out to be fewer, so their end may open the window', () => {
  const { take, reasonOf } = bedOf()
  const claim = claimOf('a', { limits: { tpm: 100 } })
  take(claim, 0, tokens(90))
  expect(reasonOf(claim, 5_000, tokens(20))).toMatchObject({ cause: 'tokens:minute', onRelease: true })
})

test('what is larger than the limit never fits', () => {
  const { reasonOf } = bedOf()
  const reason = reasonOf(claimOf('a', { limits: { tpm: 100 } }), 0, tokens(101))
  expect(reason).toMatchObject({ until: Infinity, onRelease: false })
  expect(remedyOf(reason!)).toBe('never')
})

test('a spent day is told before a full minute, and both before a failure', () => {
  const { store, take, reasonOf } = bedOf()
  const claim = claimOf('a', { limits: { rpm: 1, rpd: 1 } })
  store.settle(take(claim, 0), failed(), at(0))
  expect(reasonOf(claim, 100)).toMatchObject({ cause: 'requests:day', until: NOON + 12 * 3_600_000 })
})

test.each([
  { outcome: failed(), remedy: 'retry', resort: 'always' },
  { outcome: failed({ cause: 'auth', scope: 'key' }), remedy: 'operator', resort: 'sometimes' },
  { outcome: failed({ cause: 'not-found', scope: 'endpoint' }), remedy: 'operator', resort: 'sometimes' },
  { outcome: limited({ cause: 'quota', code: 'insufficient_quota' }), remedy: 'wait', resort: 'sometimes' },
  { outcome: limited({ cause: 'quota' }), remedy: 'wait', resort: 'never' },
  { outcome: limited(), remedy: 'wait', resort: 'never' },
  { outcome: limited({ cause: 'overloaded' }), remedy: 'wait', resort: 'never' },
])('$outcome.cause ($outcome.code): $remedy, and forced $resort', ({ outcome, remedy, resort }) => {
  const { store, take, reasonOf } = bedOf()
  const claim = claimOf('a')
  store.settle(take(claim, 0), outcome, at(0))
  const reason = reasonOf(claim, 100)!
  expect([remedyOf(reason), lastResortOf(reason)]).toEqual([remedy, resort])
})

test.each([
  {
    limits: { rpd: 100 },
    quotas: {},
    opens: Date.UTC(2026, 10, 23),
    because: 'its limits end at midnight UTC',
  },
  {
    limits: { rpm: 10 },
    quotas: { project: { rpd: 20, dayResets: 'America/Los_Angeles' } },
    opens: Date.UTC(2026, 10, 23, 8),
    because: 'the quota that counts days ends in California',
  },
  {
    limits: { rpd: 100, dayResets: 'rolling' },
    quotas: {},
    opens: NOON + 3_600_000,
    because: 'a rolling day has no end',
  },
  { limits: undefined, quotas: {}, opens: NOON + 3_600_000, because: 'nothing is configured' },
])('a spent quota without a reset: $because', ({ limits, quotas, opens }) => {
  const { store, take, reasonOf } = bedOf()
  const claim = claimOf('a', { ...(limits && { limits }), quotas })
  store.settle(take(claim, 0), limited({ cause: 'quota', scope: 'upstream' }), at(0))
  expect(reasonOf(claim, 100)?.until).toBe(opens)
})

test('headroom is the free share of the tightest limit, shared quotas and places included', () => {
  const { store, take, headroomOf } = bedOf()
  const claim = claimOf('a', { limits: { rpm: 10, concurrency: 4 }, quotas: { account: { rpm: 4 } } })
  expect(headroomOf(claim, 0)).toBe(1)
  const lease = take(claim, 0)
  expect(headroomOf(claim, 0)).toBe(0.75)
  store.settle(lease, OK, at(0))
  store.settle(take(claim, 0), OK, at(0))
  expect(headroomOf(claim, 0)).toBe(0.5)
})

test('headroom follows what the upstream says is left', () => {
  const { store, take, headroomOf } = bedOf()
  const claim = claimOf('a', { limits: { rpm: 10 } })
  const lease = take(claim, 0)
  store.confirm(
    lease,
    { firstByteMs: 1, readings: [told({ limit: 10, remaining: 2, resetMs: 30_000 })] },
    at(0),
  )
  expect(headroomOf(claim, 1)).toBe(0.2)
  expect(headroomOf(claim, 30_001)).toBe(0.9)
})

test('an upstream that says what is left and not of how much is not taken for a spent one', () => {
  const { store, take, headroomOf } = bedOf()
  const claim = claimOf('a')
  const readings = [told({ meter: 'ratelimit trial', remaining: 999, resetMs: 30_000 })]
  store.confirm(take(claim, 0), { firstByteMs: 1, readings }, at(0))
  expect(headroomOf(claim, 1)).toBe(1)
})

test('what is remembered of a state between two choices never changes an answer', () => {
  const step = fc.record({ after: fc.nat(40_000), ends: fc.boolean(), amount: fc.nat(400), says: fc.nat(30) })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const { store } = bedOf()
      const claim = claimOf('a', { limits: { rpm: 9, tpm: 2_000 }, quotas: { q: { rpm: 12 } } })
      let ms = 0
      for (const { after, ends, amount, says } of steps) {
        ms += after
        const given = { ask: tokens(amount), now: at(ms).now }
        for (const standing of store.claimSnapshots([claim])) {
          const unseen = claimSnapshotOf(structuredClone(standing.states))
          expect(claimAvailability(claim, standing, given)).toEqual(claimAvailability(claim, unseen, given))
        }
        const lease = store.acquire([claim], tokens(amount), at(ms))
        if (lease === undefined) continue
        const readings =
          says < 10 ? [told({ limit: 10, remaining: says, resetMs: says * 3_000 || undefined })] : []
        store.confirm(lease, { firstByteMs: 1, readings }, at(ms))
        if (ends) store.settle(lease, { kind: 'ok', tokens: amount / 2 }, at(ms))
      }
    }),
  )
})
