import { describe, expect, test } from 'vitest'
import { poisson, steady } from '../../bench/sim/arrivals.ts'
import { uniform } from '../../bench/sim/dice.ts'
import { limitRows } from '../../bench/sim/limits.ts'
import { memoryless } from '../../bench/sim/memoryless.ts'
import { perfectYield } from '../../bench/sim/perfect.ts'
import { runRelay, runWith, type Bed, type Client } from '../../bench/sim/run.ts'
import {
  freeTierDay,
  freeTiers,
  overloaded,
  requests,
  shareOfBound,
  tenAMinute,
} from '../../bench/sim/scenarios.ts'
import type { VendorSpec } from '../../bench/sim/vendor.ts'

const DAY_MS = 86_400_000
const HOUR_MS = 3_600_000
const MINUTE_MS = 60_000

describe('an upstream that enforces ten a minute, configured so, with twice that offered', () => {
  test.each([
    { forgets: 'rolling', minutes: 60 },
    { forgets: 'wall', minutes: 20 },
    { forgets: 'first', minutes: 20 },
    { forgets: 'bucket', minutes: 20 },
  ] as const)('is never run into and used to 97 % ($forgets, $minutes min)', async ({ forgets, minutes }) => {
    const scenario = overloaded(tenAMinute({ forgets }), { spanMs: minutes * MINUTE_MS })
    const { answered, met } = await runRelay(scenario, 'random')
    expect(met).toBe(0)
    expect(answered).toBeGreaterThanOrEqual(0.97 * 10 * minutes)
  })

  test.each([
    { limit: 10, spanMs: 10_000, forgets: 'rolling' },
    { limit: 10, spanMs: 10_000, forgets: 'first' },
    { limit: 100, spanMs: 300_000, forgets: 'wall' },
    { limit: 60, spanMs: HOUR_MS, forgets: 'bucket' },
  ] as const)('is never run into over other spans ($limit in $spanMs ms, $forgets)', async (counted) => {
    const { limit, ...how } = counted
    const runMs = 3 * how.spanMs
    const arrivals = poisson((2 * limit * MINUTE_MS) / how.spanMs, runMs, 1)
    const vendor = tenAMinute({ limits: [requests(limit, how)] })
    const { answered, met } = await runRelay(overloaded(vendor, { arrivals, spanMs: runMs }), 'random')
    expect(met).toBe(0)
    expect(answered).toBeGreaterThanOrEqual(2.5 * limit)
  })

  test('loses no more than its latency when that is 5 s', async () => {
    const { answered, met } = await runRelay(
      overloaded(tenAMinute({ latency: uniform(5_000, 5_000) })),
      'random',
    )
    expect(met).toBe(0)
    expect(answered).toBeGreaterThanOrEqual(Math.floor(600 * (60 / 65.25)))
  })
})

describe('an upstream that is not configured and tells its limit in headers', () => {
  const told = limitRows().filter(
    ({ kind, enforces, reports, load }) =>
      kind === limitRows()[0]?.kind &&
      ['token bucket', 'window of the clock'].includes(enforces) &&
      ['openai', 'epoch', 'anthropic'].includes(reports) &&
      load !== '1x',
  )
  test.each(told)('is used to it and seldom run into ($enforces, $reports, $load)', async (row) => {
    const { offered, answered, perfect, refusedWithRoom, darkMs, met } = await runRelay(
      row.scenario,
      'random',
    )
    expect(answered).toBeGreaterThanOrEqual(0.95 * perfect)
    expect(met).toBeLessThanOrEqual(2 + 0.08 * answered)
    if (row.load === '0.8x') expect(refusedWithRoom).toBeLessThanOrEqual(1 + 0.01 * offered)
    // Twice the time in which one of twenty a minute comes back, and 15 s.
    else expect(darkMs).toBeLessThanOrEqual(15_000 + 2 * 3_000)
  })
})

describe('what a gateway refuses', () => {
  /** Eight a minute, evenly, where ten are let through. */
  const scenario = overloaded(tenAMinute({ forgets: 'wall' }), {
    spanMs: 10 * MINUTE_MS,
    arrivals: steady(8, 10 * MINUTE_MS),
  })
  /** Refuses from one ms of the run to another, and sends all the others. */
  const refusing =
    (from: number, to: number) =>
    (bed: Bed): Client => {
      const send = memoryless(bed)
      return () => {
        const at = bed.clock.now() - scenario.start
        return at >= from && at < to ? Promise.resolve(undefined) : send()
      }
    }

  test('is counted, and makes it dark to the next answer, where there was room', async () => {
    const figures = await runWith(scenario, refusing(60_000, 120_000))
    expect(figures).toMatchObject({ offered: 80, answered: 72, perfect: 80, refusedWithRoom: 8, met: 0 })
    expect(figures.darkMs).toBeGreaterThan(60_000)
    expect(figures.darkMs).toBeLessThan(61_000)
  })

  test('makes it dark to the end where nothing is answered any more', async () => {
    const { refusedWithRoom, darkMs } = await runWith(scenario, refusing(300_000, Infinity))
    expect(refusedWithRoom).toBe(40)
    expect(darkMs).toBe(39 * 7_500)
  })

  test('is not, where there is none, or only just', async () => {
    const full = { ...scenario, arrivals: [...steady(60, 10_000), 55_000, 61_000, 62_999] }
    const figures = await runWith(full, refusing(50_000, Infinity))
    expect(figures).toMatchObject({ answered: 10, refusedWithRoom: 0, darkMs: 0 })
    const later = { ...full, arrivals: [...full.arrivals, 63_000] }
    expect(await runWith(later, refusing(50_000, Infinity))).toMatchObject({ refusedWithRoom: 1 })
  })

  test('is not, where what has room for one waits for that one already', async () => {
    const slow = tenAMinute({ limits: [requests(1)], latency: () => 20_000 })
    const two = { ...scenario, vendors: [slow], arrivals: [0, 4_000] }
    expect(await runWith(two, refusing(1, Infinity))).toMatchObject({ answered: 1, refusedWithRoom: 0 })
  })
})

test('two runs are the same, and another seed is another run', async () => {
  const row = limitRows().find(({ reports, load }) => reports === 'retry-after' && load === '2x')
  if (row === undefined) throw new Error('no such row')
  const once = await runRelay(row.scenario, 'random')
  expect(await runRelay(row.scenario, 'random')).toEqual(once)
  expect(await runRelay({ ...row.scenario, seed: 2 }, 'random')).not.toEqual(once)
})

test('every way to enforce is played with every way to report, below, at and above the limit', () => {
  const rows = limitRows()
  const names = rows.map((row) => `${row.kind} / ${row.enforces} / ${row.reports} / ${row.load}`)
  expect(new Set(names).size).toBe(rows.length)
  const grid = rows.filter(({ kind }) => kind === rows[0]?.kind)
  const sizes = (['enforces', 'reports', 'load'] as const).map(
    (key) => new Set(grid.map((row) => row[key])).size,
  )
  expect(sizes).toEqual([5, 12, 3])
  expect(grid).toHaveLength(5 * 12 * 3)
  for (const { scenario } of rows) expect(scenario.knows).toBe('nothing')
})

describe('eight free tiers at 80 % of what they allow', () => {
  /** A day in two hours, with a twelfth of each day's quota. */
  const shortened = freeTiers.map((vendor): VendorSpec => ({
    ...vendor,
    limits: vendor.limits.map((limit) =>
      limit.spanMs < DAY_MS
        ? limit
        : { ...limit, limit: Math.ceil(limit.limit / 12), forgets: { zone: 'UTC' } },
    ),
  }))
  const load = freeTierDay({
    vendors: shortened,
    spanMs: 2 * HOUR_MS,
    arrivals: (spanMs) => poisson(shareOfBound(0.8, freeTiers), spanMs, 1),
  })

  test('answer 99.5 % of all requests without a refusal', async () => {
    const { offered, answered, perfect, met } = await runRelay(load, 'headroom')
    expect(met).toBe(0)
    expect(answered / offered).toBeGreaterThanOrEqual(0.995)
    expect(answered / perfect).toBeGreaterThanOrEqual(0.97)
  })

  test('refuse a round robin without memory thousands of times', async () => {
    const { met, answered, perfect } = await runWith(load, memoryless)
    expect(met).toBeGreaterThan(1_000)
    expect(answered).toBeLessThanOrEqual(perfect)
  })
})

describe('the perfect yield', () => {
  test('of several upstreams is a bound that knows of minutes and of days', () => {
    const vendors = [
      tenAMinute({ limits: [requests(10), requests(30, { spanMs: DAY_MS, forgets: { zone: 'UTC' } })] }),
      tenAMinute({ name: 'other', limits: [requests(2)] }),
    ]
    const scenario = { ...overloaded(tenAMinute(), { spanMs: 10 * MINUTE_MS }), vendors }
    // 30 of the day; two in each of ten minutes, and the one that came in the last five seconds a little later.
    expect(perfectYield(scenario)).toBe(30 + 2 * 10 + 1)
  })

  test.each([
    // Ten in each minute, and those who came in the last five seconds of the last one wait for the next.
    { forgets: 'wall' as const, perfect: 10 * 10 + 1 },
    { forgets: 'bucket' as const, perfect: 10 + 10 * 10 },
    { forgets: { burst: 1 }, perfect: 1 + 10 * 10 },
  ])('of one upstream is what its own books allow ($forgets)', ({ forgets, perfect }) => {
    expect(perfectYield(overloaded(tenAMinute({ forgets }), { spanMs: 10 * MINUTE_MS }))).toBe(perfect)
  })

  test('knows of limits that change while a request waits, and of what others spend', () => {
    const changes = [{ at: 63_000, limit: 12 }]
    const limits = [requests(10, { forgets: 'first', spanMs: HOUR_MS, changes })]
    const vendor = tenAMinute({ limits, others: [1_000, 2_000, 64_000] })
    const scenario = overloaded(vendor, { arrivals: [...steady(20, 57_000), 59_000, 65_000] })
    // Ten, less two of the others; then two more, of which the others take one while nobody waits.
    expect(perfectYield(scenario)).toBe(10 - 2 + 1)
  })
})
