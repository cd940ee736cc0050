import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { wallDateMs } from '../../src/lib/time.ts'

const now = Date.UTC(2026, 10, 22)

test.each([
  ['2026-07-10T04:00:00Z', '2026-07-10T04:00:00.000Z'],
  ['2026-07-10T04:00:00.25Z', '2026-07-10T04:00:00.250Z'],
  ['2026-07-10T04:00:00.000000001Z', '2026-07-10T04:00:00.001Z'],
  ['2026-07-10 04:00', '2026-07-10T04:00:00.000Z'],
  ['2026-07-10 04:00:07', '2026-07-10T04:00:07.000Z'],
  ['2026-07-10 04:00 UTC', '2026-07-10T04:00:00.000Z'],
  ['2026-07-10', '2026-07-10T00:00:00.000Z'],
  ['2026-07-10T04:00:00+08:00', '2026-07-09T20:00:00.000Z'],
  ['2026-07-10T04:00:00-0730', '2026-07-10T11:30:00.000Z'],
  ['2028-02-29T00:00:00Z', '2028-02-29T00:00:00.000Z'],
  ['2026-12-31T23:59:60Z', '2027-01-01T00:00:00.000Z'],
  ['Sun, 06 Nov 1994 08:49:37 GMT', '1994-11-06T08:49:37.000Z'],
  ['Sunday, 06-Nov-94 08:49:37 GMT', '1994-11-06T08:49:37.000Z'],
  ['Sun Nov  6 08:49:37 1994', '1994-11-06T08:49:37.000Z'],
  ['Sun Nov 16 08:49:37 1994', '1994-11-16T08:49:37.000Z'],
])('%s is %s', (text, expected) => {
  expect(new Date(wallDateMs(text, now) ?? NaN).toISOString()).toBe(expected)
})

test('a two-digit year is at most 50 years ahead', () => {
  expect(new Date(wallDateMs('Sunday, 06-Nov-76 08:49:37 GMT', now) ?? NaN).getUTCFullYear()).toBe(2076)
  expect(new Date(wallDateMs('Sunday, 06-Nov-77 08:49:37 GMT', now) ?? NaN).getUTCFullYear()).toBe(1977)
})

test('a two-digit year just past the turn of the century is not a hundred years ago', () => {
  const december1999 = Date.UTC(1999, 11, 31)
  expect(new Date(wallDateMs('Saturday, 01-Jan-00 00:00:05 GMT', december1999) ?? NaN).getUTCFullYear()).toBe(
    2000,
  )
})

test.each([
  '',
  'tomorrow',
  '2026-02-30T00:00:00Z',
  '2027-02-29',
  '2026-13-01',
  '2026-00-10',
  '2026-07-10T24:00:00Z',
  '2026-07-10T04:60:00Z',
  '2026-07-10T04:00:61Z',
  '2026-07-10T04:00:00+99:00',
  'Sun, 06 Foo 1994 08:49:37 GMT',
  'Sun, 31 Feb 2027 08:49:37 GMT',
  'Sun, 06 Nov 1994 08:49:37 PST',
  '0000-01-01T00:00:00Z',
])('%j is no date', (text) => {
  expect(wallDateMs(text, now)).toBeUndefined()
})

test('what JavaScript prints as ISO 8601 or as an HTTP date is read back exactly', () => {
  const times = fc.date({ min: new Date('1000-01-01'), max: new Date('9999-12-31'), noInvalidDate: true })
  fc.assert(
    fc.property(times, (time) => {
      expect(wallDateMs(time.toISOString(), now)).toBe(time.getTime())
      expect(wallDateMs(time.toUTCString(), now)).toBe(Math.floor(time.getTime() / 1_000) * 1_000)
    }),
  )
})
