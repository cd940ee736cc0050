import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import type { Instant } from '../../src/lib/clock.ts'
import { createMemoryStore, type MemoryStore } from '../../src/state/memory.ts'
import { ASK, at, claimOf, failed, limited, NOON, OK, told, tokens } from './claims.ts'

const hour = 3_600_000
const day = 24 * hour

const fresh = (): MemoryStore => createMemoryStore({ random: () => 0.5 })
/** The same through a file. */
const onDisk = (store: MemoryStore, then: Instant): unknown => JSON.parse(JSON.stringify(store.keep(then)))
/** A later process: its monotonic clock began anywhere, its wall clock tells the time. */
const later = (ms: number, origin = 12_345): Instant => ({ now: origin, wall: NOON + ms })

function spend(store: MemoryStore, claim: ReturnType<typeof claimOf>, ms: number, times = 1): void {
  for (let nth = 0; nth < times; nth++) {
    const lease = store.acquire([claim], ASK, at(ms))!
    store.confirm(lease, { firstByteMs: 1, readings: [] }, at(ms))
    store.settle(lease, OK, at(ms))
  }
}

/** A store in its second process, and what it would do at a moment of the wall clock. */
function restarted(store: MemoryStore, saved: number, started: number, origin = 12_345) {
  const second = fresh()
  second.restore(onDisk(store, at(saved)), later(started, origin))
  return {
    store: second,
    isOpen: (claim: ReturnType<typeof claimOf>, ms: number) =>
      second.acquire([claim], ASK, { now: origin + ms - started, wall: NOON + ms }) !== undefined,
  }
}

test('a restart in the middle of a spent day does not spend it again', () => {
  const store = fresh()
  const claim = claimOf('a', { limits: { rpd: 3 } })
  spend(store, claim, 0, 3)
  const { isOpen } = restarted(store, 1_000, hour)
  expect(isOpen(claim, hour)).toBe(false)
  expect(isOpen(claim, 12 * hour - 1)).toBe(false)
  expect(isOpen(claim, 12 * hour)).toBe(true)
})

test('deadlines mean the same moment, wherever the clock of the next process begins', () => {
  for (const origin of [0, 1, NOON * 3]) {
    const store = fresh()
    const claim = claimOf('a')
    store.settle(store.acquire([claim], ASK, at(0))!, limited({ hintMs: 600_000 }), at(0))
    const { isOpen } = restarted(store, 1_000, 300_000, origin)
    expect(isOpen(claim, 599_999)).toBe(false)
    expect(isOpen(claim, 600_000)).toBe(true)
  }
})

test('what was under way at the end counts as seen, and holds no place', () => {
  const store = fresh()
  const claim = claimOf('a', { limits: { rpm: 2, concurrency: 2 } })
  store.acquire([claim], ASK, at(0))
  store.acquire([claim], ASK, at(0))
  const second = restarted(store, 100, 200)
  expect(second.store.snapshot(['a'])[0]).toMatchObject({ inFlight: 0, unanswered: 0, reserved: 0 })
  expect(second.isOpen(claim, 60_199)).toBe(false)
  expect(second.isOpen(claim, 60_200)).toBe(true)
})

test('learned limits, abilities and who served whom come back', () => {
  const store = fresh()
  const claim = claimOf('a')
  const lease = store.acquire([claim], ASK, at(0))!
  store.confirm(lease, { firstByteMs: 1, readings: [told({ remaining: 0, resetMs: hour })] }, at(0))
  store.settle(lease, OK, at(0))
  const needs = { abilities: ['tools'], context: 101, output: 0, body: 9 } as const
  store.abilities.refused('b', needs, { lesson: { about: 'context', limit: 100 }, now: at(0).now })
  store.abilities.worked('b', { ...needs, context: 5 }, at(0).now)
  store.remember('k', 'a', { ttlMs: hour, at: at(0) })
  store.remember('answer x', 'a', { ttlMs: hour, at: at(0) })
  const second = restarted(store, 1_000, 2_000)
  expect(second.isOpen(claim, 2_000)).toBe(false)
  const { can, sizes } = second.store.abilities.of('b')
  expect(can.tools).toMatchObject({ can: true, source: 'worked', until: Infinity })
  expect(sizes.context).toMatchObject({ most: 100, source: 'refused' })
  expect(sizes.context!.until - sizes.context!.since).toBe(day)
  expect(second.store.recall('k', later(2_000))).toBe('a')
  expect(second.store.recall('answer x', { now: 12_345 + hour, wall: NOON + hour })).toBeUndefined()
})

test('a wall clock set back between two processes puts no deadline off', () => {
  const store = fresh()
  const claim = claimOf('a')
  store.settle(store.acquire([claim], ASK, at(0))!, failed(), at(0))
  const { store: second } = restarted(store, 100, -day)
  expect(second.acquire([claim], ASK, { now: 12_345 + 900, wall: NOON - day + 900 })).toBeDefined()
})

test('what is known already stays', () => {
  const store = fresh()
  const claim = claimOf('a')
  store.settle(store.acquire([claim], ASK, at(0))!, limited({ hintMs: 600_000 }), at(0))
  const second = fresh()
  second.settle(second.acquire([claim], ASK, at(5_000))!, limited({ hintMs: 2_000 }), at(5_000))
  second.restore(onDisk(store, at(1_000)), at(6_000))
  expect(second.acquire([claim], ASK, at(7_000))).toBeDefined()
})

test('being busy is not written down, and neither are probes', () => {
  const store = fresh()
  const [busy, probed] = [claimOf('a'), claimOf('b')]
  store.acquire([busy], ASK, at(0))
  store.settle(store.acquire([probed], ASK, at(0))!, failed(), at(0))
  store.acquire([probed], ASK, at(2_000))
  const text = JSON.stringify(store.keep(at(2_000)))
  expect(JSON.parse(text).scopes).toHaveLength(1)
  expect(text).not.toMatch(/probe|inFlight/)
})

test('a change that counts is told by a number that moves up, being busy is none', () => {
  const store = fresh()
  store.acquire([claimOf('a')], ASK, at(0))
  expect(store.changes).toBe(0)
  store.acquire([claimOf('b', { limits: { rpm: 3 } })], ASK, at(0))
  expect(store.changes).toBe(1)
})

test('a state that nobody touched for a day is dropped, at a restart and in a long life', () => {
  const store = fresh()
  const gone = claimOf('gone', { limits: { rpm: 5 } })
  const resting = claimOf('resting')
  spend(store, gone, 0)
  store.settle(
    store.acquire([resting], ASK, at(0))!,
    limited({ cause: 'quota', hintMs: 3 * day, scope: 'upstream' }),
    at(0),
  )
  const { store: second } = restarted(store, 100, day + 1_000)
  expect(second.snapshot(['gone', 'resting'])).toEqual([undefined, expect.anything()])
  store.acquire([claimOf('a')], ASK, at(day + 1_000))
  expect(store.snapshot(['gone', 'resting'])).toEqual([undefined, expect.anything()])
})

test('of an upstream that has left the configuration nothing outlives the day, however far its deadline', () => {
  const store = fresh()
  const [gone, resting] = [claimOf('gone'), claimOf('resting')]
  for (const claim of [gone, resting]) {
    const refusal = limited({ cause: 'quota', hintMs: 3 * day, scope: 'upstream' })
    store.settle(store.acquire([claim], ASK, at(0))!, refusal, at(0))
  }
  store.expect([{ claims: { chat: resting } }])
  const kept = (ms: number): string[] => store.keep(at(ms)).scopes.map(([scope]) => scope)
  expect(kept(day - 1_000)).toEqual(['gone', 'resting'])
  expect(kept(day + 1_000)).toEqual(['resting'])
  store.acquire([claimOf('a')], ASK, at(day + 1_000))
  expect(store.snapshot(['gone', 'resting'])).toEqual([undefined, expect.anything()])
})

test('a pause outlives any number of processes and days, and says since when it is', () => {
  const store = fresh()
  store.pause('a', true, at(0))
  const second = restarted(store, 100, 9 * day).store
  const since = second.snapshot(['a'])[0]?.pausedSince
  expect(since).toBe(12_345 - 9 * day)
  const third = fresh()
  third.restore(JSON.parse(JSON.stringify(second.keep(later(9 * day)))), later(10 * day, 77))
  expect(third.snapshot(['a'])[0]?.pausedSince).toBe(77 - 10 * day)
  third.pause('a', false, later(10 * day, 77))
  expect(third.keep(later(10 * day, 77)).scopes).toEqual([])
})

test('an upstream that comes back within the day finds its count', () => {
  const store = fresh()
  const claim = claimOf('a', { limits: { rpd: 1, dayResets: 'rolling' } })
  spend(store, claim, 0)
  const { isOpen } = restarted(store, 100, 23 * hour)
  expect(isOpen(claim, 23 * hour)).toBe(false)
})

test('the state file keeps its names, whatever the code calls a thing: other versions read it', () => {
  const store = fresh()
  const claim = claimOf('a')
  store.settle(store.acquire([claim], ASK, at(0))!, failed({ scope: 'upstream' }), at(0))
  store.settle(
    store.acquire([claimOf('b')], ASK, at(0))!,
    limited({ cause: 'overloaded', code: 'upstream_overloaded' }),
    at(0),
  )
  const scopes = new Map(store.keep(at(100)).scopes)
  expect(scopes.get('a')).toEqual({
    touched: NOON,
    windows: {},
    meters: {},
    walls: {},
    cooldown: { cause: 'failure', coolUntil: NOON + 1_000, coolSince: NOON, strikes: 1 },
  })
  expect(scopes.get('b')).toMatchObject({ crowd: { limit: 1, since: NOON } })

  const second = fresh()
  const written =
    '{"touched":0,"cooldown":{"cause":"auth","coolUntil":9000,"coolSince":0,"strikes":3},"windows":{},"crowd":{"limit":4,"since":0}}'
  second.restore(
    { version: 1, savedAt: NOON, now: 0, scopes: [['a', JSON.parse(written)]], affinity: [] },
    at(0),
  )
  expect(second.snapshot(['a'])[0]).toMatchObject({
    breaker: { cause: 'auth', openUntil: NOON + 9_000, consecutiveBackoffs: 3 },
    learnedConcurrency: { limit: 4 },
  })
})

test('a configured limit of any length is kept across a restart, with what was under way', () => {
  for (const [per, spanMs] of [
    ['90s', 90_000],
    ['5h', 5 * hour],
    ['10d', 10 * day],
  ] as const) {
    const store = fresh()
    const claim = claimOf('a', { limits: { windows: [{ requests: 3, per }] } })
    spend(store, claim, 0, 2)
    store.acquire([claim], ASK, at(0))
    const second = restarted(store, 100, 200)
    expect(second.isOpen(claim, spanMs - 1)).toBe(false)
    // What was under way at the end may have been counted up to then.
    expect(second.isOpen(claim, spanMs * 1.005 + 200)).toBe(true)
  }
})

test('what was under way in a week counts until a week later at most', () => {
  const store = fresh()
  const claim = claimOf('a', { limits: { windows: [{ requests: 1, per: 'week' }] } })
  store.acquire([claim], ASK, at(0))
  const second = restarted(store, 100, 200)
  expect(second.isOpen(claim, 6 * day)).toBe(false)
  expect(second.isOpen(claim, 7 * day + 200)).toBe(true)
})

test('what an older version learned is passed over, and what it counted is read', () => {
  const window = {
    pending: 1,
    buckets: [{ until: 30_000, amount: 2 }],
    learnedLimit: 3,
    learnedUntil: 9e6,
    left: 0,
    leftUntil: 9e6,
    closedUntil: 9e6,
  }
  const written = { touched: 0, windows: { 'requests:minute': window } }
  const store = fresh()
  store.restore({ version: 1, savedAt: NOON, now: 0, scopes: [['a', written]], affinity: [] }, at(0))
  expect(store.acquire([claimOf('a')], ASK, at(1))).toBeDefined()
  expect(store.acquire([claimOf('a', { limits: { rpm: 3 } })], ASK, at(1))).toBeUndefined()
})

test('what an upstream said of its limits means the same moment to the next process', () => {
  const store = fresh()
  const claim = claimOf('a')
  for (let nth = 0; nth < 3; nth++) {
    const lease = store.acquire([claim], ASK, at(nth * 1_000))!
    const reading = told({ limit: 20, remaining: 2 - nth, resetMs: (18 + nth) * 3_000 - nth * 1_000 })
    store.confirm(lease, { firstByteMs: 1, readings: [reading] }, at(nth * 1_000))
    store.settle(lease, OK, at(nth * 1_000))
  }
  const second = restarted(store, 2_100, 2_200)
  expect(second.isOpen(claim, 2_300)).toBe(false)
  expect(second.isOpen(claim, 5_100)).toBe(true)
})

test('anything at all can be restored, and plants nothing that is no number', () => {
  const junk = fc.oneof(
    fc.jsonValue(),
    fc.record({
      version: fc.constant(1),
      savedAt: fc.double(),
      now: fc.double(),
      scopes: fc.jsonValue(),
      affinity: fc.jsonValue(),
    }),
  )
  fc.assert(
    fc.property(junk, (value) => {
      const store = fresh()
      store.restore(value, at(0))
      expect(JSON.stringify(store.keep(at(0)).scopes)).not.toContain('null')
    }),
    { numRuns: 500 },
  )
})

test('of learned limits what can’t be read is left out, and what is configured stays counted', () => {
  const store = fresh()
  const claim = claimOf('a', { limits: { rpd: 1 } })
  const lease = store.acquire([claim], ASK, at(0))!
  const readings = [told({ limit: 4, remaining: 2, resetMs: 30_000 })]
  store.confirm(lease, { firstByteMs: 1, readings }, at(0))
  store.settle(lease, OK, at(0))
  const kept = JSON.stringify(store.keep(at(0))).replace('"saidAt"', '"askedAt"')
  const second = fresh()
  second.restore(JSON.parse(kept), at(1_000))
  expect(second.snapshot(['a'])[0]?.meters).toEqual({})
  expect(second.acquire([claim], ASK, at(1_000))).toBeUndefined()
})

/** A real state with one value replaced by anything: the rest must work on, and nothing rests for ever. */
test('a real state with any part of it damaged is harmless', () => {
  const store = fresh()
  const claim = claimOf('a', { limits: { rpm: 5, tpd: 1_000 } })
  spend(store, claim, 0, 2)
  store.settle(
    store.acquire([claim], ASK, at(0))!,
    limited({ hintMs: 9_000, readings: [told({ limit: 4, remaining: 2, resetMs: 30_000 })] }),
    at(0),
  )
  store.settle(store.acquire([claimOf('b')], ASK, at(0))!, limited({ cause: 'overloaded' }), at(0))
  store.remember('k', 'a', { ttlMs: hour, at: at(0) })
  const text = JSON.stringify(store.keep(at(1_000)))
  const places = [...text.matchAll(/(?<=[:[,])(?:-?\d[\d.]*|"[^"]*")(?=[,\]}])/g)]
  expect(places.length).toBeGreaterThan(20)
  const value = fc.oneof(
    fc.constantFrom(
      '1e999',
      '-1e999',
      'null',
      '""',
      '[]',
      '{}',
      '-1',
      '0',
      '1e300',
      'true',
      '"__proto__"',
      '0.5',
    ),
    fc.json(),
  )
  fc.assert(
    fc.property(fc.constantFrom(...places), value, (place, other) => {
      const damaged = text.slice(0, place.index) + other + text.slice(place.index + place[0].length)
      const second = fresh()
      second.restore(JSON.parse(damaged), at(2_000))
      const month = at(33 * day)
      for (const one of [claim, claimOf('b')]) {
        const lease = second.acquire([one], tokens(5), month)
        expect(lease).toBeDefined()
        second.confirm(lease!, { firstByteMs: 1, readings: [] }, month)
        second.settle(lease!, { kind: 'ok', tokens: 5 }, month)
        for (const window of Object.values(second.snapshot([one.id])[0]?.windows ?? {})) {
          expect(Number.isFinite(window!.counted + window!.pending)).toBe(true)
        }
      }
    }),
    { numRuns: 1_000 },
  )
})

test('who made an answer or an item of one is a change that counts, who served a client is none', () => {
  const store = fresh()
  const life = { ttlMs: day, at: at(0) }
  store.remember('client', 'a', life)
  expect(store.changes).toBe(0)
  store.remember('answer 1', 'a', life)
  store.remember('item 1', 'a', life)
  expect(store.changes).toBe(2)
  store.remember('answer 1', 'a', life)
  expect(store.changes).toBe(2)
  store.remember('answer 1', 'b', life)
  expect(store.changes).toBe(3)
})
