import { describe, expect, test } from 'vitest'
import { poisson } from '../../bench/sim/arrivals.ts'
import { uniform } from '../../bench/sim/dice.ts'
import { memoryless } from '../../bench/sim/memoryless.ts'
import { perfectYield } from '../../bench/sim/perfect.ts'
import { runRelay, runWith } from '../../bench/sim/run.ts'
import { freeTierDay, freeTiers, overloaded, shareOfBound, tenAMinute } from '../../bench/sim/scenarios.ts'
import type { VendorSpec } from '../../bench/sim/vendor.ts'

const HOUR_MS = 3_600_000
const MINUTE_MS = 60_000

describe('an upstream that enforces ten a minute, configured so, with twice that offered', () => {
  test.each([
    { minute: 'rolling', minutes: 60 },
    { minute: 'wall', minutes: 20 },
    { minute: 'bucket', minutes: 20 },
  ] as const)('is never run into and used to 97 % ($minute, $minutes min)', async ({ minute, minutes }) => {
    const scenario = overloaded(tenAMinute({ minute }), { spanMs: minutes * MINUTE_MS })
    const { answered, refused } = await runRelay(scenario, 'random')
    expect(refused).toBe(0)
    expect(answered).toBeGreaterThanOrEqual(0.97 * 10 * minutes)
  })

  test('loses no more than its latency when that is 5 s', async () => {
    const { answered, refused } = await runRelay(
      overloaded(tenAMinute({ latency: uniform(5_000, 5_000) })),
      'random',
    )
    expect(refused).toBe(0)
    expect(answered).toBeGreaterThanOrEqual(Math.floor(600 * (60 / 65.25)))
  })
})

describe('an upstream that enforces ten a minute and is not configured', () => {
  const told = (['openai', 'plain'] as const).flatMap((dialect) =>
    (['rolling', 'wall', 'bucket'] as const).map((minute) => ({ dialect, minute })),
  )
  test.each(told)(
    'is not run into once its headers ($dialect, $minute) have told the limit',
    async ({ dialect, minute }) => {
      const scenario = overloaded(tenAMinute({ dialect, minute }), {
        knows: 'nothing',
        spanMs: 20 * MINUTE_MS,
      })
      const { answered, refusedByVendor } = await runRelay(scenario, 'random')
      const refusedAt = refusedByVendor.get('ten') ?? []
      expect(refusedAt.length).toBeLessThanOrEqual(1)
      expect(refusedAt.filter((at) => at > scenario.start + MINUTE_MS)).toEqual([])
      // Who says "nothing before the minute is whole again" is taken at its word: that costs up to a third.
      expect(answered).toBeGreaterThanOrEqual(0.65 * 200)
    },
  )
})

describe('eight free tiers at 80 % of what they allow', () => {
  /** A day in two hours, with a twelfth of each day's quota. */
  const shortened = freeTiers.map((vendor): VendorSpec => ({
    ...vendor,
    day: 'UTC',
    limits: twelfthOf(vendor.limits),
  }))
  const load = freeTierDay({
    vendors: shortened,
    spanMs: 2 * HOUR_MS,
    arrivals: (spanMs) => poisson(shareOfBound(0.8, freeTiers), spanMs, 1),
  })

  function twelfthOf({ rpd, tpd, ...rest }: VendorSpec['limits']): VendorSpec['limits'] {
    return {
      ...rest,
      ...(rpd !== undefined && { rpd: Math.ceil(rpd / 12) }),
      ...(tpd !== undefined && { tpd: Math.ceil(tpd / 12) }),
    }
  }

  test('answer 99.5 % of all requests without a refusal', async () => {
    const { offered, answered, perfect, refused } = await runRelay(load, 'headroom')
    expect(refused).toBe(0)
    expect(answered / offered).toBeGreaterThanOrEqual(0.995)
    expect(answered / perfect).toBeGreaterThanOrEqual(0.97)
  })

  test('refuse a round robin without memory thousands of times', async () => {
    const { refused, answered, perfect } = await runWith(load, memoryless)
    expect(refused).toBeGreaterThan(1_000)
    expect(answered).toBeLessThanOrEqual(perfect)
  })
})

test('nobody beats the perfect yield, which knows of minutes and of days', () => {
  const vendors = [
    tenAMinute({ limits: { rpm: 10, rpd: 30 } }),
    tenAMinute({ name: 'other', limits: { rpm: 2 } }),
  ]
  const scenario = { ...overloaded(vendors[0]!, { spanMs: 10 * MINUTE_MS }), vendors }
  // 30 of the day; two in each of ten minutes, and the one that came in the last five seconds a little later.
  expect(perfectYield(scenario)).toBe(30 + 2 * 10 + 1)
})
