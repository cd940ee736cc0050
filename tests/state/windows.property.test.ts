import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import type { Claim } from '../../src/pool/upstream.ts'
import { createMemoryStore } from '../../src/state/memory.ts'
import type { Ask, Lease } from '../../src/state/store.ts'
import { ASK, claimOf, failed, LEFT, OK, tokens } from './claims.ts'
import { createWitness, type Witness } from './seen-by-upstream.ts'

interface Arrival {
  /** Ms after the arrival before. */
  readonly after: number
  readonly latency: number
  /** Where between send and answer the upstream counts it, 0…1. */
  readonly countedAt: number
  readonly end: 'ok' | 'failed' | 'left'
  readonly bodyMs: number
}

const arrival = (longest: number): fc.Arbitrary<Arrival> =>
  fc.record({
    after: fc.oneof(fc.constant(0), fc.nat(500), fc.nat(longest)),
    latency: fc.oneof(fc.constant(0), fc.nat(800), fc.nat(90_000)),
    countedAt: fc.oneof(fc.constant(0), fc.constant(1), fc.double({ min: 0, max: 1, noNaN: true })),
    end: fc.constantFrom('ok', 'ok', 'ok', 'failed', 'left'),
    bodyMs: fc.nat(30_000),
  })

/** Plays arrivals in order of time; every request that the store lets through is counted somewhere on its way. */
function play(arrivals: readonly Arrival[], given: { claim: Claim; start: number; ask?: Ask }): Witness {
  const { claim, start, ask = ASK } = given
  const store = createMemoryStore({ random: () => 0.5 })
  const witness = createWitness()
  const due: { time: number; run: () => void }[] = []
  const instant = (now: number) => ({ now, wall: now })
  const runUntil = (time: number): void => {
    for (;;) {
      const next = due.filter((event) => event.time <= time).sort((a, b) => a.time - b.time)[0]
      if (next === undefined) return
      due.splice(due.indexOf(next), 1)
      next.run()
    }
  }
  const answer = (lease: Lease, { end, bodyMs }: Arrival, time: number): void => {
    if (end === 'left') return store.settle(lease, LEFT, instant(time))
    if (end === 'failed')
      return store.settle(lease, failed({ class: 'refused-body', scope: 'none' }), instant(time))
    store.confirm(lease, { firstByteMs: 1, readings: [] }, instant(time))
    due.push({ time: time + bodyMs, run: () => store.settle(lease, OK, instant(time + bodyMs)) })
  }
  let now = start
  for (const one of arrivals) {
    now += one.after
    runUntil(now)
    const lease = store.acquire([claim], ask, instant(now))
    if (lease === undefined) continue
    witness.count(now + one.latency * one.countedAt)
    const end = now + one.latency
    due.push({ time: end, run: () => answer(lease, one, end) })
  }
  runUntil(Infinity)
  return witness
}

test('no 60 seconds, as the upstream sees them, hold more than rpm, whatever the latencies', () => {
  const limit = fc.integer({ min: 1, max: 12 })
  fc.assert(
    fc.property(
      limit,
      fc.nat(60_000),
      fc.array(arrival(20_000), { maxLength: 120 }),
      (rpm, start, arrivals) => {
        const witness = play(arrivals, { claim: claimOf('a', { limits: { rpm } }), start: 1e12 + start })
        expect(witness.mostWithin(60_000)).toBeLessThanOrEqual(rpm)
      },
    ),
    { numRuns: 400 },
  )
})

test('upstreams that share a quota never pass it together', () => {
  fc.assert(
    fc.property(fc.array(arrival(10_000), { maxLength: 100 }), (arrivals) => {
      const claim = claimOf('a', { limits: { rpm: 8 }, quotas: { account: { rpm: 5, rpd: 40 } } })
      expect(play(arrivals, { claim, start: 1e12 }).mostWithin(60_000)).toBeLessThanOrEqual(5)
    }),
  )
})

const dateIn = (zone: string) => {
  const format = new Intl.DateTimeFormat('en-CA', { timeZone: zone, dateStyle: 'short' })
  return (time: number): string => format.format(time)
}

test.each([
  { zone: 'UTC', start: Date.UTC(2026, 10, 21, 6), because: 'days end at midnight UTC' },
  { zone: 'America/Los_Angeles', start: Date.UTC(2026, 2, 7, 12), because: 'a day of 23 hours lies in it' },
  { zone: 'America/Los_Angeles', start: Date.UTC(2026, 9, 31, 12), because: 'a day of 25 hours lies in it' },
  { zone: 'Asia/Kolkata', start: Date.UTC(2026, 10, 21, 6), because: 'its midnight is at half past' },
])('no day in $zone holds more than rpd: $because', ({ zone, start }) => {
  const claim = claimOf('a', { limits: { rpd: 20, dayResets: zone } })
  fc.assert(
    fc.property(fc.array(arrival(7_200_000), { maxLength: 150 }), (arrivals) => {
      expect(play(arrivals, { claim, start }).mostIn(dateIn(zone))).toBeLessThanOrEqual(20)
    }),
    { numRuns: 30 },
  )
})

test('no 24 hours hold more than a rolling rpd', () => {
  const claim = claimOf('a', { limits: { rpd: 20, dayResets: 'rolling' } })
  fc.assert(
    fc.property(fc.array(arrival(7_200_000), { maxLength: 150 }), (arrivals) => {
      expect(play(arrivals, { claim, start: 1e12 }).mostWithin(86_400_000)).toBeLessThanOrEqual(20)
    }),
    { numRuns: 50 },
  )
})

test('tokens reserved and not known to be fewer never pass tpm', () => {
  const claim = claimOf('a', { limits: { tpm: 1_000 } })
  fc.assert(
    fc.property(fc.array(arrival(10_000), { maxLength: 100 }), (all) => {
      const arrivals = all.filter(({ end }) => end !== 'failed')
      expect(play(arrivals, { claim, start: 1e12, ask: tokens(200) }).mostWithin(60_000)).toBeLessThanOrEqual(
        5,
      )
    }),
  )
})
