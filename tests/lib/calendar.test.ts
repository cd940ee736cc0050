import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { calendarEndAfter, durationMs, midnightAfter } from '../../src/lib/time.ts'

const pacific = 'America/Los_Angeles'
const iso = (epochMs: number): string => new Date(epochMs).toISOString().replace('.000', '')

const dayMs = 86_400_000
const longest: Readonly<Record<string, number>> = { week: 7 * dayMs, month: 31 * dayMs }
const spanMsOf = (per: string): number => longest[per] ?? durationMs(per) ?? NaN
const endOf = (per: string, zone: string, now: number): number =>
  calendarEndAfter({ zone, per, spanMs: spanMsOf(per) }, now)

test.each([
  ['UTC', '2026-07-07T12:00:20Z', '2026-07-08T00:00:00Z', 'a day like any other'],
  ['UTC', '2026-07-08T00:00:00Z', '2026-07-09T00:00:00Z', 'midnight belongs to the day that it begins'],
  [pacific, '2026-07-07T12:00:20Z', '2026-07-08T07:00:00Z', 'summer'],
  [pacific, '2026-12-07T12:00:20Z', '2026-12-08T08:00:00Z', 'winter'],
  [pacific, '2026-03-08T08:30:00Z', '2026-03-09T07:00:00Z', 'a day of 23 hours'],
  [pacific, '2026-11-01T07:00:00Z', '2026-11-02T08:00:00Z', 'a day of 25 hours'],
  [pacific, '2026-07-08T06:59:59.999Z', '2026-07-08T07:00:00Z', 'the last millisecond'],
  ['Asia/Kathmandu', '2026-07-07T12:00:00Z', '2026-07-07T18:15:00Z', 'a zone on quarters of an hour'],
  ['Australia/Lord_Howe', '2026-04-04T14:00:00Z', '2026-04-05T13:30:00Z', 'a day of 24 hours and a half'],
  ['Asia/Beirut', '2026-03-28T12:00:00Z', '2026-03-28T22:00:00Z', 'a day that begins at 01:00'],
  ['Africa/Cairo', '2026-10-29T12:00:00Z', '2026-10-29T22:00:00Z', 'a day whose last hour comes twice'],
  [
    'Pacific/Apia',
    '2011-12-30T09:00:00Z',
    '2011-12-30T10:00:00Z',
    'a day that the calendar left out follows',
  ],
])('in %s, %s is followed by midnight at %s: %s', (zone, now, end) => {
  expect(iso(midnightAfter(zone, Date.parse(now)))).toBe(end)
  expect(endOf('1d', zone, Date.parse(now))).toBe(Date.parse(end))
})

test('an unknown zone is an error', () => {
  expect(() => midnightAfter('Atlantis/Capital', 0)).toThrow(RangeError)
})

// 6 July 2026 was a Monday.
test.each([
  ['week', 'UTC', '2026-07-05T23:59:59Z', '2026-07-06T00:00:00Z', 'Sunday is the last day'],
  ['week', 'UTC', '2026-07-06T00:00:00Z', '2026-07-13T00:00:00Z', 'Monday is the first day'],
  ['week', 'UTC', '2026-12-30T00:00:00Z', '2027-01-04T00:00:00Z', 'over the end of a year'],
  ['week', pacific, '2026-07-06T06:00:00Z', '2026-07-06T07:00:00Z', 'it is Sunday there'],
  ['week', pacific, '2026-10-26T07:00:00Z', '2026-11-02T08:00:00Z', 'a week with an hour more'],
  ['month', 'UTC', '2026-07-01T00:00:00Z', '2026-08-01T00:00:00Z', 'a month of 31 days'],
  ['month', 'UTC', '2026-02-28T23:59:59Z', '2026-03-01T00:00:00Z', 'a month of 28 days'],
  ['month', 'UTC', '2028-02-28T23:59:59Z', '2028-03-01T00:00:00Z', 'a month of 29 days'],
  ['month', 'UTC', '2026-12-31T12:00:00Z', '2027-01-01T00:00:00Z', 'the last of a year'],
  ['month', 'Asia/Kathmandu', '2026-07-31T19:00:00Z', '2026-08-31T18:15:00Z', 'it is August there'],
  ['month', pacific, '2026-03-01T08:00:00Z', '2026-04-01T07:00:00Z', 'a month with an hour less'],
  ['2d', 'UTC', '1970-01-01T00:00:00Z', '1970-01-03T00:00:00Z', 'days are counted from 1970'],
  ['7d', 'UTC', '2026-07-06T00:00:00Z', '2026-07-09T00:00:00Z', 'seven days begin on a Thursday'],
  ['31d', pacific, '2026-07-05T12:00:00Z', '2026-07-12T07:00:00Z', 'the 666th of them ends'],
  ['5h', 'UTC', '2026-07-06T05:00:00Z', '2026-07-06T10:00:00Z', 'hours are counted from midnight'],
  ['5h', 'UTC', '2026-07-06T23:00:00Z', '2026-07-07T00:00:00Z', 'midnight cuts the last ones off'],
  ['6h', pacific, '2026-07-06T12:00:00Z', '2026-07-06T13:00:00Z', 'it is 05:00 there'],
  ['6h', pacific, '2026-03-08T08:00:00Z', '2026-03-08T14:00:00Z', 'the morning of a day of 23 hours'],
  ['6h', pacific, '2026-03-09T06:00:00Z', '2026-03-09T07:00:00Z', 'the evening of a day of 23 hours'],
  ['6h', pacific, '2026-03-09T07:30:00Z', '2026-03-09T13:00:00Z', 'soon after a day of 23 hours'],
  ['6h', pacific, '2026-11-02T07:30:00Z', '2026-11-02T08:00:00Z', 'the 25th hour of a day'],
  ['90m', 'Asia/Kathmandu', '2026-07-06T18:15:00Z', '2026-07-06T19:45:00Z', 'a zone on quarters'],
  ['7m', 'UTC', '2026-07-06T00:13:59.999Z', '2026-07-06T00:14:00Z', 'minutes'],
  ['1s', 'Asia/Beirut', '2026-03-28T22:00:00.500Z', '2026-03-28T22:00:01Z', 'a second'],
])('%s in %s, asked at %s, ends at %s: %s', (per, zone, now, end) => {
  expect(iso(endOf(per, zone, Date.parse(now)))).toBe(end)
})

describe('at any moment in any zone', () => {
  const zone = fc.constantFrom(
    'UTC',
    pacific,
    'Asia/Kathmandu',
    'Pacific/Chatham',
    'Australia/Lord_Howe',
    // They change their clocks at midnight, or did.
    'Asia/Beirut',
    'Africa/Cairo',
    'America/Havana',
    'America/Sao_Paulo',
    'America/Asuncion',
  )
  const from = Date.parse('2012-01-01T00:00:00Z')
  // Mostly close to a midnight somewhere, where it is easy to be wrong.
  const now = fc.oneof(
    fc.nat(9000 * dayMs).map((ms) => from + ms),
    fc.tuple(fc.nat(9000 * 96), fc.constantFrom(-1, 0, 1)).map(([at, ms]) => from + at * 900_000 + ms),
  )
  const per = fc.constantFrom('1s', '7m', '1h', '5h', '6h', '23h', '1d', '2d', '7d', '31d', 'week', 'month')

  const partsOf = (timeZone: string, at: number) => {
    const form = new Intl.DateTimeFormat('en', {
      timeZone,
      hourCycle: 'h23',
      weekday: 'short',
      day: 'numeric',
      hour: 'numeric',
      minute: 'numeric',
      second: 'numeric',
    })
    return Object.fromEntries(form.formatToParts(at).map(({ type, value }) => [type, value]))
  }

  test('a span ends after now, at one moment for all that lies in it, and is no longer than it says', () => {
    fc.assert(
      fc.property(
        per,
        zone,
        now,
        fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
        (span, where, at, share) => {
          const end = endOf(span, where, at)
          expect(end).toBeGreaterThan(at)
          const longestMs = spanMsOf(span) + (spanMsOf(span) < dayMs ? 0 : 3_600_000)
          expect(end - at).toBeLessThanOrEqual(longestMs)
          for (const other of [at + Math.floor(share * (end - at)), end - 1])
            expect(endOf(span, where, other)).toBe(end)
        },
      ),
    )
  })

  test('a week ends where Monday begins, a month where a first day does, every other one at midnight at the latest', () => {
    fc.assert(
      fc.property(per, zone, now, (span, where, at) => {
        const end = endOf(span, where, at)
        const [last, first] = [partsOf(where, end - 1), partsOf(where, end)]
        if (span === 'week') expect([last['weekday'], first['weekday']]).toEqual(['Sun', 'Mon'])
        if (span === 'month') expect(first['day']).toBe('1')
        if (spanMsOf(span) >= dayMs) expect(last['day']).not.toBe(first['day'])
        else expect(end).toBeLessThanOrEqual(midnightAfter(where, at))
      }),
    )
  })
})
