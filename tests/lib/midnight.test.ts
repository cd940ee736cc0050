import { expect, test } from 'vitest'
import { midnightAfter } from '../../src/lib/time.ts'

const pacific = 'America/Los_Angeles'

test.each([
  ['UTC', '2026-07-07T12:00:20Z', '2026-07-08T00:00:00Z', 'a day like any other'],
  ['UTC', '2026-07-08T00:00:00Z', '2026-07-09T00:00:00Z', 'midnight belongs to the day that it begins'],
  [pacific, '2026-07-07T12:00:20Z', '2026-07-08T07:00:00Z', 'summer'],
  [pacific, '2026-12-07T12:00:20Z', '2026-12-08T08:00:00Z', 'winter'],
  [pacific, '2026-03-08T08:30:00Z', '2026-03-09T07:00:00Z', 'a day of 23 hours'],
  [pacific, '2026-11-01T07:30:00Z', '2026-11-02T08:00:00Z', 'a day of 25 hours'],
  [pacific, '2026-07-08T06:59:59.999Z', '2026-07-08T07:00:00Z', 'the last millisecond'],
  ['Asia/Kathmandu', '2026-07-07T12:00:00Z', '2026-07-07T18:15:00Z', 'a zone on quarters of an hour'],
])('in %s, %s is followed by midnight at %s: %s', (zone, now, end) => {
  expect(new Date(midnightAfter(zone, Date.parse(now))).toISOString()).toBe(new Date(end).toISOString())
})

test('an unknown zone is an error', () => {
  expect(() => midnightAfter('Atlantis/Capital', 0)).toThrow(RangeError)
})
