import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { proseWaitMs } from '../../src/vendors/retry-after.ts'

const wallNow = Date.UTC(2026, 6, 10, 3, 0, 0)

test.each([
  [
    'Limit 100000, Used 97829, Requested 6714. Please try again in 1h5m25.152s. Visit https://x.test',
    3_925_152,
  ],
  ['Rate limit reached for requests. Please try again in 20s.', 20_000],
  ['Please try again in 6ms', 6],
  ['Please retry in 38.205874123s.', 38_206],
  [
    'Rate limit of 50 per 86400s exceeded for UserByModelByDay. Please wait 5631 seconds before retrying.',
    5_631_000,
  ],
  ['Retry after 3 seconds', 3_000],
  ['Please retry after 1 minute', 60_000],
  ['try again in 1 hour and 5 minutes', 3_900_000],
  ['try again in 2 minutes, 30 seconds and 5 attempts are left', 150_000],
  ['Your quota will reset after 21h11m', 76_260_000],
  ['Limit resets in: 3 hours', 10_800_000],
  ['wait for 12 sec', 12_000],
  ['retry-after: 7', 7_000],
  ['try again in 30', 30_000],
  ['TRY AGAIN IN 2 MINUTES', 120_000],
  ['reset at 2026-07-10 04:00', 3_600_000],
  ['Your limit will reset at 2026-07-10 04:00:01.', 3_601_000],
  ['resets at 2026-07-10T12:00:00+08:00', 3_600_000],
  ['Please try again after 2026-07-10 03:00:05 UTC', 5_000],
  ['reset at 2026-07-09 04:00', 0],
  ['try again in 5s … or, on the free plan, try again in 2m', 120_000],
])('%j asks for %d ms', (text, ms) => {
  expect(proseWaitMs(text, wallNow)).toBe(ms)
})

test('the longest wait counts wherever it stands', () => {
  expect(proseWaitMs('try again in 2m, or retry in 5s', wallNow)).toBe(120_000)
  expect(proseWaitMs('try again in 2m; the limit will reset at 2026-07-10 03:01', wallNow)).toBe(120_000)
})

test('what stands behind the first 16 Ki characters is not read', () => {
  expect(proseWaitMs(`${'x '.repeat(8_000)} wait 5s`, wallNow)).toBe(5_000)
  expect(proseWaitMs(`${'x '.repeat(8_192)} wait 5s`, wallNow)).toBeUndefined()
})

test.each([
  '',
  'try again later',
  'Please wait',
  'wait 3 times',
  'try again in 1234567890123 seconds',
  'try again in -5s',
  'try again in 1.2.3',
  'try again after 12:30',
  'reset at 2026-13-10 04:00',
  'Limit 30000, Requested 40000 in 20s',
])('%j asks for nothing', (text) => {
  expect(proseWaitMs(text, wallNow)).toBeUndefined()
})

test.each([
  ['announcements', 'try again in '],
  ['digits', '9'],
  ['announced digits', 'retry in 9999999999999'],
  ['parts', 'wait 1h and 1h and 1h and 1h and 1h, '],
  ['blanks', 'wait   '],
  ['white space', '\n'],
  ['dates', 'reset at 2026-07-10 04:00:00.999999999'],
  ['letters', 'reretrytry'],
])('100 KB of %s are read without running back', (_, piece) => {
  const text = piece.repeat(Math.ceil(100_000 / piece.length))
  const quickest = Math.min(
    ...Array.from({ length: 5 }, () => {
      const start = performance.now()
      proseWaitMs(text, wallNow)
      return performance.now() - start
    }),
  )
  expect(quickest, 'a search that runs back takes seconds').toBeLessThan(500)
})

test('the answer is undefined or a finite number of ms from 0 on, whatever the text', () => {
  const words = fc.constantFrom(
    'try again in ',
    'wait ',
    'reset at ',
    '2026-07-10',
    ' 04:00',
    '1',
    '9'.repeat(12),
    '.',
    's',
    'h',
    ' days',
    ' and ',
    ', ',
    '-',
    'Z',
  )
  const prose = fc.oneof(
    fc.string(),
    fc.array(words, { maxLength: 30 }).map((list) => list.join('')),
  )
  fc.assert(
    fc.property(prose, fc.integer({ min: 0, max: 4e12 }), (text, now) => {
      const ms = proseWaitMs(text, now) ?? 0
      expect(Number.isFinite(ms) && ms >= 0).toBe(true)
    }),
    { numRuns: 3_000 },
  )
})
