import { describe, expect, test } from 'vitest'
import { createSimClock } from '../../src/cli/what-if/clock.ts'
import type { DialectName } from '../../bench/sim/dialect.ts'
import { createDice } from '../../bench/sim/dice.ts'
import { createCounter, createLedger, type Forgetting } from '../../src/cli/what-if/enforce.ts'
import { requests, tenAMinute, tokensOf } from '../../bench/sim/scenarios.ts'
import { createVendor } from '../../bench/sim/vendor.ts'
import type { HeaderBag } from '../../src/lib/headers.ts'
import type { UpstreamResponse } from '../../src/transport/transport.ts'

const MINUTE_MS = 60_000
const midnight = Date.UTC(2026, 10, 23)

interface Bed {
  /** Sends a request at a moment of the run. */
  at(ms: number): void
  /** Runs to the end; the answers in order of their sending. */
  run(): Promise<UpstreamResponse[]>
  /** How long it has had room, seen at a moment of the run. */
  roomAt(ms: number): void
  readonly rooms: number[]
}

function bedOf(how: Parameters<typeof tenAMinute>[0]): Bed {
  const clock = createSimClock(midnight)
  const tokens = { input: 600, output: 400 }
  const spec = tenAMinute({ latency: () => 500, ...how })
  const vendor = createVendor(spec, { clock, draw: () => 0.5, tokens, countedWithin: 1 })
  const answers: Promise<UpstreamResponse>[] = []
  const rooms: number[] = []
  const request = {
    method: 'POST',
    url: 'https://ten.sim/v1/chat/completions',
    headers: {},
    connectTimeoutMs: 1,
    timeoutMs: 1,
    gatherBytes: () => 1,
  }
  return {
    rooms,
    at: (ms) =>
      void clock.after(ms, () => void answers.push(vendor.send(request, new AbortController().signal))),
    roomAt: (ms) => void clock.after(ms, () => void rooms.push(vendor.roomForMs())),
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
    const bed = bedOf({ forgets: 'wall' })
    for (let second = 40; second <= 50; second++) bed.at(second * 1000)
    for (let second = 60; second <= 70; second++) bed.at(second * 1000)
    expect(statuses(await bed.run())).toEqual([...tenTaken, 429, ...tenTaken, 429])
  })

  test('refills a bucket by one every six seconds', async () => {
    const bed = bedOf({ forgets: 'bucket' })
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
    const bed = bedOf({ limits: [requests(30), tokensOf(2_500)] })
    for (let request = 0; request < 3; request++) bed.at(0)
    expect(statuses(await bed.run())).toEqual([200, 200, 429])
  })

  test('refuses what is too much at once, until one has ended', async () => {
    const bed = bedOf({ limits: [], concurrency: 2 })
    for (const ms of [0, 0, 0, 260]) bed.at(ms)
    expect(statuses(await bed.run())).toEqual([200, 200, 429, 200])
  })

  test('begins a new day at midnight in its zone', async () => {
    const bed = bedOf({
      limits: [requests(1, { spanMs: 24 * 60 * MINUTE_MS, forgets: { zone: 'America/Los_Angeles' } })],
    })
    const pacific = 8 * 60 * MINUTE_MS
    for (const ms of [0, 1_000, pacific - 1_000, pacific]) bed.at(ms)
    expect(statuses(await bed.run())).toEqual([200, 429, 429, 200])
  })

  test('opens a window with the first request where it does so, not before', async () => {
    const bed = bedOf({ forgets: 'first' })
    // Counted a quarter of a second after the sending: from 40.25 s to 100.25 s.
    for (let second = 40; second <= 50; second++) bed.at(second * 1000)
    bed.at(99_999)
    bed.at(100_000)
    expect(statuses(await bed.run())).toEqual([...tenTaken, 429, 429, 200])
  })

  test('lets no more through at once than a small burst, and then one in every sixth second', async () => {
    const bed = bedOf({ forgets: { burst: 3 } })
    for (let request = 0; request < 4; request++) bed.at(0)
    for (const ms of [5_999, 6_001, 6_002, 60_000, 60_000, 60_000, 60_000]) bed.at(ms)
    expect(statuses(await bed.run())).toEqual([200, 200, 200, 429, 429, 200, 429, 200, 200, 200, 429])
  })

  test('counts spans of any length', async () => {
    const bed = bedOf({ limits: [requests(2, { spanMs: 10_000 }), requests(3, { spanMs: 300_000 })] })
    for (const ms of [0, 0, 9_999, 10_000, 20_000, 299_999, 300_000]) bed.at(ms)
    expect(statuses(await bed.run())).toEqual([200, 200, 429, 200, 429, 429, 200])
  })

  test('changes its limit in the middle of a window', async () => {
    const changes = [
      { at: 5_000, limit: 3 },
      { at: 60_000, limit: 1 },
    ]
    const bed = bedOf({ limits: [requests(1, { forgets: 'wall', changes })] })
    for (const ms of [0, 1_000, 6_000, 7_000, 8_000, 61_000, 62_000]) bed.at(ms)
    expect(statuses(await bed.run())).toEqual([200, 429, 200, 200, 429, 200, 429])
  })

  test('lets others spend what is left', async () => {
    const bed = bedOf({ limits: [requests(3, { forgets: 'wall' })], others: [100, 200] })
    for (const ms of [1_000, 2_000]) bed.at(ms)
    expect(statuses(await bed.run())).toEqual([200, 429])
  })

  test('lives by its own clock, which its date shows', async () => {
    const bed = bedOf({ forgets: 'wall', dialect: 'epoch', clockOffMs: 90_000 })
    bed.at(0)
    const [answer] = await bed.run()
    expect(answer?.headers).toMatchObject({
      date: new Date(midnight + 90_000).toUTCString(),
      'x-ratelimit-remaining': '9',
      'x-ratelimit-reset': String((midnight + 120_000) / 1000),
    })
  })

  test('knows how long it has had room beside what is on its way to it', async () => {
    const bed = bedOf({ limits: [requests(1, { forgets: 'wall' })] })
    for (const ms of [10_000, 10_100, 59_999, 64_000]) bed.roomAt(ms)
    bed.at(10_050)
    await bed.run()
    expect(bed.rooms).toEqual([Infinity, 0, 0, 4_000])
  })
})

/** What a vendor of ten a minute says after its second request, and on its refusal of a third of two, in the 20th second. */
const spoken: readonly (readonly [DialectName, HeaderBag, HeaderBag])[] = [
  [
    'openai',
    { 'x-ratelimit-remaining-requests': '1', 'x-ratelimit-reset-requests': '1m0s' },
    { 'retry-after': '40', 'retry-after-ms': '40000', 'x-ratelimit-reset-requests': '50s' },
  ],
  [
    'azure',
    { 'x-ratelimit-reset-requests': '60' },
    { 'retry-after': '40', 'x-ratelimit-reset-requests': '50' },
  ],
  [
    'ietf',
    { 'ratelimit-policy': '"default";q=2;w=60', ratelimit: '"default";r=1;t=60' },
    { ratelimit: '"default";r=0;t=50' },
  ],
  ['ietf-6', { 'ratelimit-policy': '2;w=60', 'ratelimit-reset': '60' }, { 'ratelimit-remaining': '0' }],
  [
    'epoch',
    { 'x-ratelimit-reset': String(midnight / 1000 + 61) },
    { 'x-ratelimit-reset': String(midnight / 1000 + 71) },
  ],
  [
    'anthropic',
    { 'anthropic-ratelimit-requests-reset': '2026-11-23T00:01:01Z' },
    { 'anthropic-ratelimit-requests-remaining': '0', 'retry-after': '40' },
  ],
  [
    'mistral',
    { 'x-ratelimit-limit-req-minute': '2', 'x-ratelimit-remaining-req-minute': '1' },
    { 'x-ratelimit-remaining-req-minute': '0' },
  ],
  [
    'kong',
    { 'x-ratelimit-remaining-minute': '1', 'ratelimit-reset': '60' },
    { 'x-ratelimit-remaining-minute': '0', 'retry-after': '40' },
  ],
  ['soonest', { 'x-ratelimit-reset': '60' }, { 'x-ratelimit-reset': '40' }],
  ['retry-after', {}, { 'retry-after': '40' }],
  ['silent', {}, {}],
]

test.each(spoken)('a vendor speaks %s, and shows its clock', async (dialect, onFirst, onRefusal) => {
  const bed = bedOf({ limits: [requests(2)], dialect })
  for (const ms of [0, 10_000, 20_000]) bed.at(ms)
  const [first, , refused] = await bed.run()
  expect(first).toMatchObject({ status: 200, headers: onFirst })
  expect(refused).toMatchObject({ status: 429, headers: onRefusal })
  expect(first?.headers['date']).toBe('Mon, 23 Nov 2026 00:00:00 GMT')
  expect(refused?.headers['date']).toBe('Mon, 23 Nov 2026 00:00:20 GMT')
})

test.each([
  ['wait in words', 'Please try again in 40s.'],
  ['limit in words', 'limited to 2 API calls / minute'],
] as const)('a vendor tells only the %s, and only when it refuses', async (dialect, words) => {
  const bed = bedOf({ limits: [requests(2)], dialect })
  for (const ms of [0, 10_000, 20_000]) bed.at(ms)
  const [first, , refused] = await bed.run()
  expect(Object.keys(first?.headers ?? {})).toEqual(['content-type', 'date'])
  expect(Object.keys(refused?.headers ?? {})).toEqual(['content-type', 'date'])
  expect(new TextDecoder().decode(refused?.body as Uint8Array)).toContain(words)
})

const everyWay: readonly Forgetting[] = ['rolling', 'wall', 'first', 'bucket', { burst: 3 }, { zone: 'UTC' }]

test.each(everyWay)('a counter (%j) opens when it says so', (forgets) => {
  const counter = createCounter(3, { forgets, spanMs: MINUTE_MS })
  const now = midnight + 1_234
  for (let amount = 0; amount < 3; amount++) counter.count(1, now + amount)
  const opensIn = counter.opensIn(1, now + 2)
  expect(counter.left(now + 2 + opensIn - 1)).toBe(0)
  expect(counter.left(now + 2 + Math.ceil(opensIn))).toBeGreaterThan(0)
  expect(counter.opensIn(4, now + 2)).toBe(Infinity)
})

test.each(everyWay)(
  'a ledger (%j) never lets more through than its limit, and always what it allows',
  (forgets) => {
    const limit = requests(7, { forgets, spanMs: 10_000 })
    const ledger = createLedger({ limits: [limit] })
    const draw = createDice(3)
    const taken: number[] = []
    for (let at = midnight; at < midnight + 400_000; at += 2_000 * draw()) {
      if (ledger.opensIn({ requests: 1, tokens: 0 }, at) > 0) continue
      ledger.count({ requests: 1, tokens: 0 }, at)
      taken.push(at)
    }
    // In any span: a window's end and the next one's beginning let twice the limit through, a full bucket its level more.
    const most = { rolling: 7, burst: 3 + 7, other: 2 * 7 }
    const kind =
      forgets === 'rolling'
        ? 'rolling'
        : typeof forgets === 'object' && 'burst' in forgets
          ? 'burst'
          : 'other'
    const inSpan = taken.map((from) => taken.filter((at) => at >= from && at < from + 10_000).length)
    expect(Math.max(...inSpan)).toBeLessThanOrEqual(most[kind])
    // A day in UTC lets seven through, everything else seven every ten seconds, with a second's wait for somebody to come.
    const spans = typeof forgets === 'object' && 'zone' in forgets ? 1 : 40
    expect(taken.length).toBeGreaterThanOrEqual(spans === 1 ? 7 : 0.85 * 7 * spans)
  },
)
