import { expect, test } from 'vitest'
import {
  clockText,
  amountText,
  msText,
  outcomeTone,
  shareText,
  spanText,
  sparkPoints,
  statusTone,
} from '../../src/page/format.ts'

test.each([
  [0, '0'],
  [999, '999'],
  [9_999, '9,999'],
  [10_000, '10k'],
  [12_345, '12.3k'],
  [999_499, '999k'],
  [999_500, '1M'],
  [31_300_000, '31.3M'],
  [2_000_000_000, '2G'],
])('a count of %d is written %s', (count, text) => expect(amountText(count)).toBe(text))

test.each([
  [1, '100 %'],
  [0.99999, '99.9 %'],
  [0.9976, '99.7 %'],
  [0, '0 %'],
])('a share of %d is written %s: what is not all is never 100', (share, text) =>
  expect(shareText(share)).toBe(text),
)

test.each([
  [0, '0 ms'],
  [0.42, '0.4 ms'],
  [42.4, '42 ms'],
  [999.4, '999 ms'],
  [1_000, '1.0 s'],
  [9_960, '10 s'],
  [59_900, '60 s'],
  [125_000, '2 min 5 s'],
])('%d ms are written %s', (ms, text) => expect(msText(ms)).toBe(text))

test.each([
  [0, 'en', '0 s'],
  [-5_000, 'en', '0 s'],
  [59_400, 'en', '59 s'],
  [3_600_000, 'en', '1 h'],
  [187_920_000, 'en', '2 d 4 h'],
  [187_920_000, 'zh-CN', '2 天 4 小时'],
  [64_000, 'zh-CN', '1 分 4 秒'],
])('a span of %d ms is %s: %s', (ms, lang, text) => expect(spanText(ms, lang)).toBe(text))

test('a moment is a time of the clock: with seconds where it is near, with its date on another day', () => {
  const now = new Date(2026, 10, 30, 14, 5, 9).getTime()
  const at = (ms: number): string => clockText(new Date(now + ms).toISOString(), 'en', now)
  expect(at(21_000)).toBe('14:05:30')
  expect(at(3_600_000)).toBe('15:05')
  expect(at(86_400_000)).toBe('Dec 1 14:05')
  expect(clockText('no moment', 'en', now)).toBe('no moment')
})

test('a status and an outcome have the tone of what an operator has to do', () => {
  expect([200, 304, 400, 404, 402, 408, 429, 499, 500, 504].map(statusTone)).toEqual([
    'good',
    'good',
    'quiet',
    'quiet',
    'wait',
    'wait',
    'wait',
    'quiet',
    'bad',
    'bad',
  ])
  expect(['ok', 'aborted', 'rate-limited', 'quota', 'failure', 'auth', 'broken'].map(outcomeTone)).toEqual([
    'good',
    'quiet',
    'wait',
    'wait',
    'bad',
    'bad',
    'bad',
  ])
})

test('a sparkline spans its box, and one value draws none', () => {
  expect(sparkPoints([0, 50, 100], 100, 20)).toBe('0.0,19.0 50.0,10.0 100.0,1.0')
  expect(sparkPoints([7], 100, 20)).toBe('')
})
