import { describe, expect, test } from 'vitest'
import { createSimClock } from '../../bench/sim/clock.ts'
import { createCounter, type Forgetting } from '../../bench/sim/enforce.ts'
import { tenAMinute } from '../../bench/sim/scenarios.ts'
import { createVendor, type VendorSpec } from '../../bench/sim/vendor.ts'
import type { UpstreamResponse } from '../../src/transport/transport.ts'

const MINUTE_MS = 60_000
const midnight = Date.UTC(2026, 10, 23)

interface Bed {
  /** Sends a request at a moment of the run. */
  at(ms: number): void
  /** Runs to the end; the answers in order of their sending. */
  run(): Promise<UpstreamResponse[]>
}

function bedOf(how: Partial<VendorSpec>): Bed {
  const clock = createSimClock(midnight)
  const vendor = createVendor(tenAMinute({ latency: () => 500, ...how }), { clock, draw: () => 0.5 })
  const answers: Promise<UpstreamResponse>[] = []
  const body = [new TextEncoder().encode(JSON.stringify({ model: 'ten', input: 600, output: 400 }))]
  const request = {
    method: 'POST',
    url: 'https://ten.sim/v1/chat/completions',
    headers: {},
    body,
    connectTimeoutMs: 1,
    timeoutMs: 1,
    gatherBytes: () => 1,
  }
  return {
    at: (ms) =>
      void clock.after(ms, () => void answers.push(vendor.send(request, new AbortController().signal))),
    async run() {
      await clock.run()
      return Promise.all(answers)
    },
  }
}

const statuses = (answers: readonly UpstreamResponse[]): number[] => answers.map(({ status }) => status)
const tenTaken = Array<number>(10).fill(200)

describe('a vendor that lets ten requests through in a minute', () => {
  test('refuses the eleventh, and takes one again when the first is a minute old', async () => {
    const bed = bedOf({})
    for (let second = 0; second <= 10; second++) bed.at(second * 1000)
    bed.at(MINUTE_MS - 1)
    bed.at(MINUTE_MS)
    expect(statuses(await bed.run())).toEqual([...tenTaken, 429, 429, 200])
  })

  test('counts by the clock on its wall where it does so', async () => {
    const bed = bedOf({ minute: 'wall' })
    for (let second = 40; second <= 50; second++) bed.at(second * 1000)
    for (let second = 60; second <= 70; second++) bed.at(second * 1000)
    expect(statuses(await bed.run())).toEqual([...tenTaken, 429, ...tenTaken, 429])
  })

  test('refills a bucket by one every six seconds', async () => {
    const bed = bedOf({ minute: 'bucket' })
    for (let request = 0; request <= 10; request++) bed.at(0)
    bed.at(5_999)
    bed.at(6_001)
    bed.at(6_002)
    expect(statuses(await bed.run())).toEqual([...tenTaken, 429, 429, 200, 429])
  })

  test('counts nothing for what it refuses', async () => {
    const bed = bedOf({})
    for (let second = 0; second < 60; second++) bed.at(second * 1000)
    bed.at(MINUTE_MS)
    expect(statuses(await bed.run()).filter((status) => status === 200)).toHaveLength(11)
  })
})

describe('a vendor', () => {
  test('refuses by tokens as well as by requests', async () => {
    const bed = bedOf({ limits: { rpm: 30, tpm: 2_500 } })
    for (let request = 0; request < 3; request++) bed.at(0)
    expect(statuses(await bed.run())).toEqual([200, 200, 429])
  })

  test('refuses what is too much at once, until one has ended', async () => {
    const bed = bedOf({ limits: { concurrency: 2 } })
    for (const ms of [0, 0, 0, 260]) bed.at(ms)
    expect(statuses(await bed.run())).toEqual([200, 200, 429, 200])
  })

  test('begins a new day at midnight in its zone', async () => {
    const bed = bedOf({ limits: { rpd: 1 }, day: 'America/Los_Angeles' })
    const pacific = 8 * 60 * MINUTE_MS
    for (const ms of [0, 1_000, pacific - 1_000, pacific]) bed.at(ms)
    expect(statuses(await bed.run())).toEqual([200, 429, 429, 200])
  })

  test('says what is left in its own dialect, and when to come back', async () => {
    const bed = bedOf({ limits: { rpm: 2 }, dialect: 'openai', retryAfter: true })
    for (const ms of [0, 10_000, 20_000]) bed.at(ms)
    const [first, , last] = await bed.run()
    expect(first?.headers).toMatchObject({
      'x-ratelimit-limit-requests': '2',
      'x-ratelimit-remaining-requests': '1',
      'x-ratelimit-reset-requests': '1m0s',
    })
    expect(last).toMatchObject({
      status: 429,
      headers: { 'retry-after': '40', 'x-ratelimit-remaining-requests': '0' },
    })
  })
})

test.each<Forgetting>(['rolling', 'wall', 'bucket', { zone: 'UTC' }])(
  'a counter (%j) opens when it says so',
  (forgets) => {
    const counter = createCounter(3, { forgets, spanMs: MINUTE_MS })
    const now = midnight + 1_234
    for (let amount = 0; amount < 3; amount++) counter.count(1, now + amount)
    const opensIn = counter.opensIn(1, now + 2)
    expect(counter.left(now + 2 + opensIn - 1)).toBe(0)
    expect(counter.left(now + 2 + Math.ceil(opensIn))).toBeGreaterThan(0)
  },
)
