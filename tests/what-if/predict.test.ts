import { describe, expect, test } from 'vitest'
import { bursts, poisson, steady } from '../../bench/sim/arrivals.ts'
import { requests, tenAMinute } from '../../bench/sim/scenarios.ts'
import type { VendorSpec } from '../../bench/sim/vendor.ts'
import { predict, type Prediction } from '../../src/cli/what-if/predict.ts'
import { checked } from '../support/test-app.ts'
import { NOON, runWorld, SECRET, type World } from './recorded-world.ts'

/**
 * Predictions held against the truth: a world whose vendors are known is run under configuration A and recorded; from that
 * record alone it is predicted what B makes of the same requests; and then B is run in the very same world.
 */

const HOUR_MS = 3_600_000
const POINT = 0.01

const entry = (host: string, more: object = {}): object => ({
  base_url: `https://${host}.sim/v1`,
  api_key: `key-${host}`,
  model: `model-${host}`,
  name: host,
  ...more,
})
const config = (models: readonly object[], settings: object = {}): object => ({
  auth_token: 'sk-test-token',
  models,
  settings: { affinity: 'off', strategy: 'random', ...settings },
})
const vendor = (name: string, perMinute: number, how: Parameters<typeof tenAMinute>[0] = {}) =>
  tenAMinute({ name, limits: [requests(perMinute, { forgets: how.forgets ?? 'rolling' })], ...how })

interface Scene {
  readonly of: string
  readonly world: World
  readonly present: object
  readonly next: object
  /** What the log shows of the first upstream's limit. */
  readonly seen?: { readonly limit: number; readonly source: string }
  /** An upstream whose share changes, where the answered share does not. */
  readonly moves?: string
}

const two = [entry('one'), entry('two')]
const scenes: readonly Scene[] = [
  {
    of: 'another key where the limits of the configuration are too tight',
    world: { vendors: [vendor('one', 10)], arrivals: poisson(15, HOUR_MS, 3), seed: 5 },
    present: config([entry('one', { limits: { rpm: 10 } })]),
    next: config([entry('one', { limits: { rpm: 10 }, api_key: ['key-one', 'key-two'] })]),
  },
  {
    of: 'another key of a vendor that never says a number and refuses',
    world: { vendors: [vendor('one', 10)], arrivals: poisson(15, HOUR_MS, 3), seed: 5 },
    present: config([entry('one')]),
    next: config([entry('one', { api_key: ['key-one', 'key-two'] })]),
    seen: { limit: 10, source: 'refusals' },
  },
  {
    of: 'another key of a vendor that tells of its limit in headers, a token bucket',
    world: {
      vendors: [vendor('one', 10, { dialect: 'openai', forgets: 'bucket' })],
      arrivals: poisson(15, HOUR_MS, 3),
      seed: 5,
    },
    present: config([entry('one')]),
    next: config([entry('one', { api_key: ['key-one', 'key-two'] })]),
    seen: { limit: 10, source: 'headers' },
  },
  {
    of: 'a third upstream on a day with an outage at noon',
    world: {
      vendors: [vendor('one', 20), vendor('two', 14)],
      arrivals: poisson(22, HOUR_MS, 3),
      outages: [{ host: 'one', from: 0.4 * HOUR_MS, to: 0.7 * HOUR_MS }],
      failing: 0.02,
      seed: 5,
    },
    present: config(two),
    next: config([...two, entry('two', { name: 'three', api_key: 'key-three' })]),
  },
  {
    of: 'round_robin to headroom',
    world: {
      vendors: [
        vendor('one', 20, { dialect: 'openai', forgets: 'bucket' }),
        vendor('two', 8, { dialect: 'openai', forgets: 'bucket' }),
      ],
      arrivals: poisson(14, HOUR_MS, 3),
      seed: 5,
    },
    present: config(two, { strategy: 'round_robin' }),
    next: config(two, { strategy: 'headroom' }),
    moves: 'two',
  },
  {
    of: 'an upstream less, whose limits were never met',
    world: {
      vendors: [vendor('one', 12, { dialect: 'openai', forgets: 'bucket' }), vendor('two', 12)],
      arrivals: poisson(16, HOUR_MS, 3),
      seed: 5,
    },
    present: config(two),
    next: config([entry('one')]),
  },
]

const gcra = (perMinute: number, burst: number) => requests(perMinute, { forgets: { burst } })
const extra = entry('one', { name: 'extra', api_key: 'key-extra' })
/** The first has another key in the new configuration. */
function overloaded(
  of: string,
  vendors: readonly VendorSpec[],
  how: Pick<World, 'arrivals'> & Partial<World> & { settings?: object; seen?: Scene['seen'] },
): Scene {
  const { settings, seen, ...world } = how
  const models = vendors.map(({ name }) => entry(name))
  return {
    of,
    world: { vendors, seed: 5, ...world },
    present: config(models, settings),
    next: config([...models, extra], settings),
    ...(seen && { seen }),
  }
}
const overloads = [
  overloaded(
    'a bucket smaller than its minute, which says nothing',
    [tenAMinute({ name: 'one', limits: [gcra(20, 3)] })],
    { arrivals: poisson(25, HOUR_MS, 3), seen: { limit: 20, source: 'refusals' } },
  ),
  overloaded(
    'three ways to count by turns, asked for one and a half times what they let through',
    [
      vendor('one', 15),
      vendor('two', 9, { forgets: 'wall', dialect: 'retry-after' }),
      tenAMinute({ name: 'three', limits: [gcra(24, 3)] }),
    ],
    { arrivals: poisson(72, HOUR_MS, 3), settings: { strategy: 'round_robin' } },
  ),
  overloaded(
    'heaps into a bucket smaller than its minute, beside ten seconds whose words speak of a minute',
    [
      tenAMinute({ name: 'one', limits: [gcra(7, 5)], dialect: 'wait in words' }),
      tenAMinute({ name: 'two', limits: [requests(3, { spanMs: 10_000 })], dialect: 'openai' }),
    ],
    { arrivals: bursts(20, 20_000, HOUR_MS / 2), settings: { queue_timeout: 0, strategy: 'round_robin' } },
  ),
  overloaded(
    'headers that tell what is left of a small bucket, and when the minute is over instead of when more comes',
    [tenAMinute({ name: 'one', limits: [gcra(13, 4)], dialect: 'mistral' }), vendor('two', 10)],
    { arrivals: poisson(60, HOUR_MS / 2, 3), settings: { strategy: 'round_robin' } },
  ),
  overloaded(
    'words that speak of a limit which is another than the one that was met',
    [
      tenAMinute({ name: 'one', limits: [], concurrency: 2, dialect: 'limit in words' }),
      vendor('two', 10, { forgets: 'first' }),
    ],
    { arrivals: bursts(8, 15_000, HOUR_MS / 2), settings: { queue_timeout: 0 } },
  ),
  overloaded(
    'failures by chance and an outage where most are refused',
    [vendor('one', 14), vendor('two', 10)],
    {
      arrivals: poisson(60, HOUR_MS, 3),
      failing: 0.1,
      outages: [{ host: 'two', from: 0.4 * HOUR_MS, to: 0.5 * HOUR_MS }],
      settings: { queue_timeout: 0, strategy: 'round_robin' },
    },
  ),
]

async function predicted(
  segments: Parameters<typeof predict>[0]['segments'],
  { present, next }: Pick<Scene, 'present' | 'next'>,
): Promise<Prediction> {
  const prediction = await predict({
    segments,
    secret: SECRET,
    present: checked(present),
    next: checked(next),
    since: NOON,
    runs: 2,
  })
  if ('count' in prediction) throw new Error(`only ${prediction.count} requests`)
  return prediction
}

describe('the answered share that is predicted', () => {
  test.each([...scenes, ...overloads])(
    'is within a point of the truth, and the simulated present within one of what was recorded: $of',
    async ({ world, present, next, seen, moves }) => {
      const before = await runWorld(world, present)
      const truth = await runWorld(world, next)
      const prediction = await predicted(before.segments, { present, next })
      expect(prediction.recorded.answered_share).toBeCloseTo(before.share, 10)
      expect(Math.abs((prediction.present.answered_share ?? 0) - before.share)).toBeLessThanOrEqual(POINT)
      expect(Math.abs((prediction.new.answered_share ?? 0) - truth.share)).toBeLessThanOrEqual(POINT)
      for (const { name } of prediction.upstreams)
        expect(Math.abs((prediction.new.upstreams[name] ?? 0) - truth.shareOf(name))).toBeLessThan(5 * POINT)
      // What is predicted is a change, and not that all stays as it was.
      const changed =
        moves === undefined ? truth.share - before.share : truth.shareOf(moves) - before.shareOf(moves)
      expect(Math.abs(changed)).toBeGreaterThan(2 * POINT)
      if (seen !== undefined)
        expect(prediction.upstreams[0]?.limits).toMatchObject([
          { counts: 'requests', span_ms: 60_000, ...seen },
        ])
    },
    60_000,
  )
})

/** So many minutes after noon the log begins: shortly before some day of ours might end, at another time, and over a midnight. */
test.each([19, 34, 58, 12 * 60 - 5])(
  'a limit of a minute is not taken for one of a day, where the log begins %i min after noon',
  async (minutes) => {
    const start = NOON + minutes * 60_000
    const own = config([entry('one')])
    const world = { vendors: [vendor('one', 10)], arrivals: steady(12, 17 * 60_000), seed: 1 }
    const { segments } = await runWorld(world, own, start)
    const both = { present: checked(own), next: checked(own) }
    const told = (await predict({ ...both, segments, secret: SECRET, since: start })) as Prediction
    expect(told.upstreams[0]?.limits).toMatchObject([{ limit: 10, span_ms: 60_000 }])
  },
)
