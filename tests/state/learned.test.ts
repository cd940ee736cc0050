import { expect, test } from 'vitest'
import type { MeterReading } from '../../src/pool/outcome.ts'
import { createMemoryStore } from '../../src/state/memory.ts'
import { createDice } from '../support/dice.ts'
import { ASK, at, claimOf, limited, OK, told } from './claims.ts'

const minute = 60_000

/** How a vendor enforces and tells of 10 requests a minute. */
interface Vendor {
  /** Takes a request, or refuses it. */
  take(now: number): boolean
  /** What its headers say after that. */
  says(now: number): Required<Pick<MeterReading, 'remaining' | 'resetMs'>>
}

const LIMIT = 10

function rollingVendor(): Vendor {
  let seen: number[] = []
  const live = (now: number): number[] => (seen = seen.filter((time) => time > now - minute))
  return {
    take: (now) => live(now).length < LIMIT && seen.push(now) > 0,
    says: (now) => ({ remaining: LIMIT - live(now).length, resetMs: (seen.at(-1) ?? now) + minute - now }),
  }
}

function wallMinuteVendor(): Vendor {
  let period = -1
  let used = 0
  const enter = (now: number): void => {
    if (Math.floor(now / minute) !== period) used = 0
    period = Math.floor(now / minute)
  }
  return {
    take: (now) => (enter(now), used < LIMIT && ++used > 0),
    says: (now) => (enter(now), { remaining: LIMIT - used, resetMs: minute - (now % minute) }),
  }
}

function bucketVendor(): Vendor {
  let level = LIMIT
  let since = 0
  const refill = (now: number): void => {
    level = Math.min(LIMIT, level + ((now - since) * LIMIT) / minute)
    since = now
  }
  return {
    take: (now) => (refill(now), level >= 1 && (level -= 1) >= 0),
    says: (now) => (
      refill(now),
      { remaining: Math.floor(level), resetMs: ((LIMIT - level) * minute) / LIMIT }
    ),
  }
}

/** An hour of Poisson arrivals at twice the limit; returns when the vendor refused, ms. */
function hourOf(vendor: Vendor, seed: number): { refusedAt: number[]; answered: number } {
  const store = createMemoryStore({ random: () => 0.5 })
  const claim = claimOf('a')
  const dice = createDice(seed)
  const due: { time: number; run: () => void }[] = []
  const refusedAt: number[] = []
  let answered = 0
  let arrives = 0
  for (let ms = 17_000; ms < 60 * minute; ms += 10) {
    for (const event of due.splice(0).sort((a, b) => a.time - b.time)) {
      if (event.time <= ms) event.run()
      else due.push(event)
    }
    if (ms < arrives) continue
    arrives = ms - Math.log(1 - dice()) * 3_000
    const lease = store.acquire([claim], { ...ASK, patienceMs: 5_000 }, at(ms))
    if (lease === undefined) continue
    // The vendor counts on arrival and tells how it stands right then.
    const isTaken = vendor.take(ms)
    const readings = [told({ limit: LIMIT, ...vendor.says(ms) })]
    const end = ms + 300 + 500 * dice()
    if (isTaken) answered += 1
    else refusedAt.push(ms)
    due.push({
      time: end,
      run() {
        if (!isTaken) return store.settle(lease, limited({ hintMs: 5_000, readings }), at(end))
        store.confirm(lease, { firstByteMs: end - ms, readings }, at(end))
        store.settle(lease, OK, at(end))
      },
    })
  }
  return { refusedAt, answered }
}

test.each([
  { kind: 'rolling', create: rollingVendor },
  { kind: 'wall-clock minute', create: wallMinuteVendor },
  { kind: 'token bucket', create: bucketVendor },
])('with headers alone a $kind limit is hardly ever met, and well used', ({ create }) => {
  for (const seed of [1, 2, 3, 4, 5]) {
    const { refusedAt, answered } = hourOf(create(), seed)
    expect(refusedAt.length).toBeLessThanOrEqual(0.03 * answered)
    expect(answered).toBeGreaterThanOrEqual(0.85 * 10 * 59)
  }
})
