import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { jsonText, lineText } from '../../src/telemetry/log.ts'

test.each([
  ['gpt-4o', '"gpt-4o"'],
  ['a"b\\c', String.raw`"a\"b\\c"`],
  ['a\nb\r\u2028\u0085\u007f', String.raw`"a\nb\r\u2028\u0085\u007f"`],
  ['\u001b[31mred', String.raw`"\u001b[31mred"`],
  ['abc\u202etxt', String.raw`"abc\u202etxt"`],
  ['通义千问 🦙', '"通义千问 🦙"'],
])('%j is told as %s', (text, told) => {
  expect(jsonText(text, 100)).toBe(told)
})

test.each([
  ['say "hi" \\o/', 'say "hi" \\o/'],
  ['a\nb', String.raw`a\nb`],
  ['\u001b]0;title\u0007', String.raw`\u001b]0;title\u0007`],
])('people read %j as %s', (text, told) => {
  expect(lineText(text, 100)).toBe(told)
})

test('a long text is cut, and a surrogate pair is never cut in two', () => {
  expect(lineText('abcdef', 5)).toBe('abcde…')
  expect(lineText('abcde', 5)).toBe('abcde')
  expect(jsonText('abcd🦙', 5)).toBe('"abcd…"')
})

test('whatever the text, JSON reads it back, and it holds no control, no line break and no change of direction', () => {
  const texts = fc.oneof(
    fc.string(),
    fc.string({ unit: 'binary' }),
    fc.string({ unit: fc.constantFrom('\n', '\u2029', '"', '\\', '\u001b', '\ud800', 'x') }),
  )
  fc.assert(
    fc.property(texts, (text) => {
      const told = jsonText(text, 1_000)
      expect(JSON.parse(told)).toBe(text)
      for (const one of [told, lineText(text, 1_000)]) {
        expect(one).not.toMatch(/[\p{Cc}\p{Zl}\p{Zp}\u200e\u200f\u202a-\u202e\u2066-\u2069]/u)
      }
    }),
    { numRuns: 2_000 },
  )
})
