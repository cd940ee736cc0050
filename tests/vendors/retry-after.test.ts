import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { resetMs, retryAfterMs } from '../../src/vendors/retry-after.ts'

const wallNow = Date.UTC(2026, 10, 22, 12, 0, 0)
const second = 1_000

describe('a reset', () => {
  test.each([
    { text: '1h5m25.152s', ms: 3_925_152, because: 'it is a Go duration' },
    { text: '547ms', ms: 547, because: 'it is a Go duration' },
    { text: '57', ms: 57_000, because: 'small numbers are seconds' },
    { text: '11.38', ms: 11_380, because: 'seconds may have a fraction' },
    { text: '0', ms: 0, because: 'zero means now' },
    { text: '0s', ms: 0, because: 'zero means now' },
    { text: `${wallNow / second + 90}`, ms: 90_000, because: 'ten digits are epoch seconds' },
    { text: `${wallNow / second + 0.5}`, ms: 500, because: 'epoch seconds may have a fraction' },
    { text: `${wallNow + 1_234}`, ms: 1_234, because: 'thirteen digits are epoch ms' },
    { text: '2026-11-22T12:00:30Z', ms: 30_000, because: 'it is an ISO 8601 date' },
    { text: '2026-11-22T20:01:00+08:00', ms: 60_000, because: 'the offset counts' },
    { text: 'Sun, 22 Nov 2026 12:00:10 GMT', ms: 10_000, because: 'it is an HTTP date' },
    { text: `${wallNow / second - 90}`, ms: 0, because: 'the moment has passed' },
    { text: `${wallNow - 1}`, ms: 0, because: 'the moment has passed' },
    { text: '2026-11-22T11:00:00Z', ms: 0, because: 'the moment has passed' },
  ])('$text is $ms ms, since $because', ({ text, ms }) => {
    expect(resetMs(text, wallNow)).toBe(ms)
  })

  test.each([
    '',
    '-1',
    '-0.5',
    '-5s',
    'soon',
    'NaN',
    'Infinity',
    '1e9',
    '9'.repeat(400),
    '100000000000000',
    '1,5',
  ])('%j says nothing', (text) => {
    expect(resetMs(text, wallNow)).toBeUndefined()
  })

  test('is undefined or a finite whole number of ms from 0 on, whatever the text', () => {
    const forms = fc.oneof(
      fc.string(),
      fc.double().map(String),
      fc.bigInt().map(String),
      fc.date({ noInvalidDate: true }).map((date) => date.toISOString()),
      fc
        .array(fc.constantFrom('1', '9', '.', 'h', 'm', 's', '-', 'T', ':', 'Z', ' '))
        .map((list) => list.join('')),
    )
    fc.assert(
      fc.property(forms, fc.integer({ min: 0, max: 4e12 }), (text, now) => {
        const ms = resetMs(text, now) ?? 0
        expect(Number.isInteger(ms) && ms >= 0).toBe(true)
      }),
      { numRuns: 2_000 },
    )
  })
})

describe('the wait that headers ask for', () => {
  test.each([
    { headers: { 'retry-after': '3' }, ms: 3_000, because: 'RFC 9110 has seconds' },
    { headers: { 'retry-after': '0.25' }, ms: 250, because: 'some send fractions' },
    {
      headers: { 'retry-after': 'Sun, 22 Nov 2026 12:01:00 GMT' },
      ms: 60_000,
      because: 'RFC 9110 has dates',
    },
    { headers: { 'retry-after': 'Sun, 22 Nov 2026 11:00:00 GMT' }, ms: 0, because: 'a past date is now' },
    { headers: { 'retry-after-ms': '1200', 'retry-after': '2' }, ms: 1_200, because: 'ms are more precise' },
    { headers: { 'x-ms-retry-after-ms': '700', 'retry-after': '1' }, ms: 700, because: 'Azure sends ms' },
    {
      headers: { 'retry-after-ms': '5', 'x-ms-retry-after-ms': '9' },
      ms: 5,
      because: 'the first one counts',
    },
    {
      headers: { 'retry-after-ms': 'x', 'retry-after': '2' },
      ms: 2_000,
      because: 'the unreadable is skipped',
    },
    {
      headers: { 'retry-after-ms': '-1', 'retry-after': '2' },
      ms: 2_000,
      because: 'a negative says nothing',
    },
    {
      headers: { 'x-ratelimit-timeremaining': '5631' },
      ms: 5_631_000,
      because: 'GitHub Models sends seconds',
    },
    {
      headers: { 'retry-after': '0', 'x-ratelimit-timeremaining': '5631' },
      ms: 5_631_000,
      because: 'a zero gives way to what says more',
    },
    { headers: { 'retry-after': '0' }, ms: 0, because: 'zero alone is an answer' },
    { headers: { 'retry-after': '99999999' }, ms: 99_999_999_000, because: 'clamping is for the caller' },
  ])('$headers give $ms ms, since $because', ({ headers, ms }) => {
    expect(retryAfterMs(headers, wallNow)).toBe(ms)
  })

  test.each([
    {},
    { 'retry-after': '' },
    { 'retry-after': '-1' },
    { 'retry-after': 'soon' },
    { 'retry-after': '3, 5' },
    { 'retry-after-ms': '1e9' },
    { 'retry-after-ms': '9'.repeat(60) },
    { 'x-ratelimit-timeremaining': 'NaN' },
  ])('%j ask for nothing', (headers: Record<string, string>) => {
    expect(retryAfterMs(headers, wallNow)).toBeUndefined()
  })

  test('milliseconds are never read as a point in time', () => {
    expect(retryAfterMs({ 'retry-after-ms': '2000000000' }, wallNow)).toBe(2_000_000_000)
  })
})
