import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { durationMs } from '../../src/lib/time.ts'

test.each([
  ['6m0s', 360_000],
  ['1h5m25.152s', 3_925_152],
  ['2m52.8s', 172_800],
  ['12ms', 12],
  ['547ms', 547],
  ['0s', 0],
  ['1.5h', 5_400_000],
  ['.5s', 500],
  ['5.s', 5_000],
  ['1d', 86_400_000],
  ['1d2h', 93_600_000],
  ['57', 57_000],
  ['11.38', 11_380],
  ['2.007', 2_007],
  ['2.007s', 2_007],
  ['0', 0],
  [' 20s ', 20_000],
])('%s is %d ms', (text, ms) => {
  expect(durationMs(text)).toBe(ms)
})

test.each(['1500us', '1500µs', '1500μs', '1500000ns'])('%s is rounded up to 2 ms', (text) => {
  expect(durationMs(text)).toBe(2)
})

test.each([
  '',
  ' ',
  '-1',
  '-5s',
  '+5s',
  '1e3',
  'NaN',
  'Infinity',
  '5 s',
  '5x',
  's',
  '.s',
  '.',
  '1:30',
  '0x10',
  '1_000',
])('%j is not a duration', (text) => {
  expect(durationMs(text)).toBeUndefined()
})

test('a duration of more than 64 characters is not read', () => {
  expect(durationMs('1s'.repeat(32))).toBe(32_000)
  expect(durationMs('1s'.repeat(33))).toBeUndefined()
})

test('what Go prints for a whole number of ms is read back exactly', () => {
  const parts = fc.record({ h: fc.nat(5_000), m: fc.nat(59), ms: fc.nat(59_999) })
  fc.assert(
    fc.property(parts, ({ h, m, ms }) => {
      expect(durationMs(`${h}h${m}m${ms / 1_000}s`)).toBe(h * 3_600_000 + m * 60_000 + ms)
    }),
  )
})

test('whatever the text, the answer is undefined or a whole number of ms that is not negative', () => {
  const pieces = fc.array(fc.constantFrom('1', '0', '.', 'm', 's', 'h', 'µ', '-', ' ', 'e', '999999999'), {
    maxLength: 40,
  })
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        pieces.map((list) => list.join('')),
      ),
      (text) => {
        const ms = durationMs(text) ?? 0
        expect(Number.isInteger(ms) && ms >= 0).toBe(true)
      },
    ),
    { numRuns: 2_000 },
  )
})
