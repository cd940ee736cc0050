import { expect, test } from 'vitest'
import { explanationOf } from '../../src/events/explain.ts'
import type { ReplayedChoice } from '../../src/events/replay.ts'
import { createRecordedDay, entryAt, replayed, SECRET, seenIn } from './recorded-day.ts'

const configOf = (models: readonly object[], settings: object): object => ({
  auth_token: 'sk-test-token',
  models,
  settings: { strategy: 'in_order', affinity: 'off', queue_timeout: 0, ...settings },
})

function choicesOf(day: ReturnType<typeof createRecordedDay>): ReplayedChoice[] {
  const { choices } = replayed(day.segments())
  const asked = choices.filter(({ frame }) => frame.isAsked)
  expect(
    asked.map(({ order, chosen }) => ({ order: order.map(({ id }) => id), granted: chosen?.id })),
  ).toEqual(day.live)
  expect(choices.filter(({ isSame }) => !isSame)).toEqual([])
  return choices
}

const MINUTE_MS = 60_000
const HOUR_MS = 60 * MINUTE_MS
/** The day begins at 12:00 UTC; in Los Angeles it is over 20 hours later. */
const MIDNIGHT_MS = 20 * HOUR_MS

test('a limit of the day is explained up to the midnight where it resets, and not behind it', async () => {
  const limits = { rpd: 4, day_resets: 'America/Los_Angeles' }
  const day = createRecordedDay(
    configOf([entryAt('daily.test', { limits }), entryAt('other.test')], {}),
    5,
    7,
  )
  for (let nth = -20; nth < 20; nth++)
    day.askIn(
      MIDNIGHT_MS + nth * 2 * MINUTE_MS,
      '10.0.0.1',
      { stream: nth % 5 === 0 },
      {
        ...(nth % 5 === 0 && { accept: 'text/event-stream' }),
      },
    )
  await day.run()
  choicesOf(day)
  const untils = new Map<string, number>()
  for (const segment of day.segments())
    for (const one of seenIn(segment)) {
      const { decisions, exact } = await explanationOf(
        { ...one, segments: [segment], isAlive: false },
        SECRET,
      )
      expect(exact).toBe(true)
      for (const { at, unavailable } of decisions)
        for (const { upstream, why, until, source } of unavailable)
          if (why === 'requests per day used up') {
            expect([upstream, source, (until ?? '') > at]).toEqual(['daily.test', 'configured', true])
            untils.set(until ?? '', (untils.get(until ?? '') ?? 0) + 1)
          }
    }
  const midnights = ['2026-11-23T08:00:00.000Z', '2026-11-24T08:00:00.000Z']
  expect([...untils.keys()].toSorted()).toEqual(midnights)
  expect(Math.min(...untils.values())).toBeGreaterThan(8)
})

test.each([3, 15])(
  'places of answers that last for longer than an hour are taken back, and every choice falls again as it had (%i)',
  async (seed) => {
    const models = [entryAt('endless.test', { limits: { concurrency: 2 } }), entryAt('other.test')]
    const day = createRecordedDay(configOf(models, { timeout: 7_200 }), seed, 9)
    for (let nth = 0; nth < 120; nth++)
      day.askIn(nth * 3 * MINUTE_MS, '10.0.0.1', { stream: true }, { accept: 'text/event-stream' })
    await day.run()
    const choices = choicesOf(day)
    const taken = choices.filter(({ chosen }) => chosen?.name === 'endless.test')
    const ats = taken.map(({ frame }) => frame.at.now)
    // Both places were taken for an hour, and then the first was free although its answer went on.
    const isBack = ats.some(
      (at, nth) => nth >= 2 && Math.floor((at - ats[nth - 2]!) / (3 * MINUTE_MS)) === 20,
    )
    expect(isBack).toBe(true)
  },
  60_000,
)
