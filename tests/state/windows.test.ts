import { expect, test } from 'vitest'
import { createMemoryStore } from '../../src/state/memory.ts'
import { createDice } from '../support/dice.ts'
import { ASK, at, claimOf, LEFT, NOON, OK, told, tokens } from './claims.ts'
import { createWitness } from './seen-by-upstream.ts'

const minute = 60_000
const hour = 60 * minute

/** Sends whenever the store lets it, for a simulated hour; the upstream counts at the last moment. */
function busyHour(rpm: number, latencyOf: () => number) {
  const store = createMemoryStore({ random: () => 0.5 })
  const claim = claimOf('a', { limits: { rpm } })
  const witness = createWitness()
  const due: { time: number; run: () => void }[] = []
  for (let ms = 0; ms < hour; ms += 25) {
    for (const event of due.splice(0)) {
      if (event.time <= ms) event.run()
      else due.push(event)
    }
    const lease = store.acquire([claim], ASK, at(ms))
    if (lease === undefined) continue
    const end = ms + latencyOf()
    witness.count(end)
    due.push({
      time: end,
      run() {
        store.confirm(lease, { firstByteMs: end - ms, readings: [] }, at(end))
        store.settle(lease, OK, at(end))
      },
    })
  }
  return witness
}

test('10 a minute at 0.3–0.8 s latency: at least 97 % of limit × time is used, and never more than the limit', () => {
  const dice = createDice(7)
  const witness = busyHour(10, () => 300 + 500 * dice())
  expect(witness.total).toBeGreaterThanOrEqual(0.97 * 600)
  expect(witness.mostWithin(minute)).toBe(10)
})

test('at 5 s latency what is left is 60 of 65 seconds', () => {
  const witness = busyHour(10, () => 5_000)
  expect(witness.total).toBeGreaterThanOrEqual((60 / 65.5) * 600)
  expect(witness.mostWithin(minute)).toBeLessThanOrEqual(10)
})

function blockOf(claim: ReturnType<typeof claimOf>, spent: number, ms = 0): number {
  const store = createMemoryStore({ random: () => 0.5 })
  for (let nth = 0; nth < spent; nth++) {
    const lease = store.acquire([claim], ASK, at(ms))
    if (lease === undefined) throw new Error('no room')
    store.settle(lease, LEFT, at(ms))
  }
  for (let later = ms; later <= ms + 49 * hour; later += 15 * minute) {
    if (store.acquire([claim], ASK, at(later)) !== undefined) return NOON + later
  }
  return Infinity
}

test.each([
  { zone: 'UTC', spentAt: Date.UTC(2026, 10, 22, 12), opens: Date.UTC(2026, 10, 23) },
  { zone: 'America/Los_Angeles', spentAt: Date.UTC(2026, 10, 22, 12), opens: Date.UTC(2026, 10, 23, 8) },
  { zone: 'America/Los_Angeles', spentAt: Date.UTC(2026, 2, 8, 8), opens: Date.UTC(2026, 2, 9, 7) },
  { zone: 'America/Los_Angeles', spentAt: Date.UTC(2026, 10, 1, 7), opens: Date.UTC(2026, 10, 2, 8) },
  { zone: 'rolling', spentAt: Date.UTC(2026, 10, 22, 12), opens: Date.UTC(2026, 10, 23, 12) },
])('a day spent at $spentAt in $zone opens at $opens', ({ zone, spentAt, opens }) => {
  const claim = claimOf('a', { limits: { rpd: 3, dayResets: zone } })
  expect(blockOf(claim, 3, spentAt - NOON)).toBe(opens)
})

test.each([
  { limits: { rpm: 1_000_000, dayResets: 'UTC' }, name: 'requests:minute', most: 241 },
  { limits: { rpd: 1_000_000, dayResets: 'rolling' }, name: 'requests:day', most: 241 },
  { limits: { rpd: 1_000_000, dayResets: 'America/Los_Angeles' }, name: 'requests:day', most: 5 },
] as const)(
  '$name in $limits.dayResets keeps at most $most buckets, however many requests',
  ({ limits, name, most }) => {
    const store = createMemoryStore({ random: () => 0.5 })
    const claim = claimOf('a', { limits })
    const dice = createDice(3)
    const spanMs = name === 'requests:minute' ? 3 * minute : 50 * hour
    for (let nth = 0; nth < 5_000; nth++) {
      // The two clocks are read one after the other, and neither in whole ms.
      const now = NOON + (nth / 5_000) * spanMs + dice()
      const instant = { now, wall: Math.floor(now + 0.3 * dice()) }
      const lease = store.acquire([claim], ASK, instant)
      store.settle(lease!, LEFT, instant)
    }
    const window = store.snapshot(['a'])[0]?.windows[name]
    expect(window?.buckets.length).toBeLessThanOrEqual(most)
    const counted = window?.buckets.reduce((sum, { amount }) => sum + amount, window.newest?.amount ?? 0)
    expect(window?.counted).toBe(counted)
  },
)

test('what a vendor’s log tells of keeps a bounded number of buckets too', () => {
  const store = createMemoryStore({ random: () => 0.5 })
  const claim = claimOf('a')
  for (let nth = 0; nth < 5_000; nth++) {
    const instant = at(nth * 100)
    const lease = store.acquire([claim], ASK, instant)!
    const reading = told({ limit: 14_400, remaining: Math.max(1, 14_399 - nth), resetMs: minute })
    store.confirm(lease, { firstByteMs: 1, readings: [reading] }, instant)
    store.settle(lease, OK, instant)
  }
  const meter = store.snapshot(['a'])[0]?.meters['x-ratelimit-*-requests']
  expect(meter?.kind).toBe('log')
  expect(meter?.log?.buckets.length).toBeLessThanOrEqual(610)
})

test('a lost count is never negative, and an amount of nothing leaves no bucket', () => {
  const store = createMemoryStore({ random: () => 0.5 })
  const claim = claimOf('a', { limits: { tpm: 100 } })
  const lease = store.acquire([claim], tokens(50), at(0))!
  store.settle(lease, { kind: 'ok', tokens: 0 }, at(1))
  expect(store.snapshot(['a'])[0]?.windows['tokens:minute']).toMatchObject({
    pending: 0,
    counted: 0,
    buckets: [],
  })
})

test('nothing is forgotten before its span is over, and at most 0.5 % later', () => {
  for (const answeredAt of [1, 101, 249, 250, 251, 777]) {
    const store = createMemoryStore({ random: () => 0.5 })
    const claim = claimOf('a', { limits: { rpm: 1 } })
    store.settle(store.acquire([claim], ASK, at(0))!, LEFT, at(answeredAt))
    expect(store.acquire([claim], ASK, at(answeredAt + minute - 1))).toBeUndefined()
    expect(store.acquire([claim], ASK, at(answeredAt + minute + 250))).toBeDefined()
  }
})

test('a day spent after the wall clock was set back ends at the midnight that this clock shows', () => {
  const store = createMemoryStore({ random: () => 0.5 })
  const claim = claimOf('a', { limits: { rpd: 1, dayResets: 'America/Los_Angeles' } })
  const other = claimOf('b', { limits: { rpd: 1, dayResets: 'America/Los_Angeles' } })
  store.settle(store.acquire([claim], ASK, at(0))!, LEFT, at(0))
  const setBack = (ms: number) => ({ now: NOON + ms, wall: NOON + ms - 24 * hour })
  store.settle(store.acquire([other], ASK, setBack(1_000))!, LEFT, setBack(1_000))
  expect(store.acquire([other], ASK, setBack(20 * hour - 1))).toBeUndefined()
  expect(store.acquire([other], ASK, setBack(20 * hour))).toBeDefined()
})
