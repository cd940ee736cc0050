import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { outlineOf } from '../../../src/lib/json/walk.ts'

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)
const outline = (text: string): ReturnType<typeof outlineOf> => outlineOf(bytes(text))

test.each([
  ['', 'empty'],
  [' \t\r\n', 'empty'],
  ['\uFEFF', 'empty'],
  ['{}', 'value'],
  ['\uFEFF {"a":1} \n', 'value'],
  ['{"a":"\\\\"}', 'value'],
  ['{"a":NaN,"b":-Infinity}', 'value'],
  ['[]', 'value'],
  ['"a"', 'value'],
  ['hello', 'other'],
  ['{} {}', 'other'],
  ["{'a': 1}", 'other'],
  ['{"a":1,}', 'other'],
  ['{"a":busy}', 'other'],
  ['{', 'truncated'],
  ['[1,', 'truncated'],
  ['{"a', 'truncated'],
  ['{"a":"\\"}', 'truncated'],
  ['{"a":[{}]', 'truncated'],
])('%j is %s', (text, kind) => {
  expect(outline(text).kind).toBe(kind)
})

test('what is small is the value itself, and every part of it is cut short', () => {
  const text = fc.string({ maxLength: 20 })
  const { tree } = fc.letrec((tie) => ({
    leaf: fc.oneof(text, fc.integer(), fc.boolean(), fc.constant(null)),
    tree: fc.oneof(
      { maxDepth: 4 },
      tie('leaf'),
      fc.array(tie('tree'), { maxLength: 8 }),
      fc.dictionary(fc.stringMatching(/^[a-z]{1,8}$/), tie('tree'), { maxKeys: 6 }),
    ),
  }))
  const object = fc.dictionary(fc.stringMatching(/^[a-z]{1,8}$/), tree)
  fc.assert(
    fc.property(object, fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), (value, part) => {
      const whole = bytes(JSON.stringify(value))
      expect(outlineOf(whole)).toEqual({ kind: 'value', value: JSON.parse(JSON.stringify(value)) as unknown })
      const cut = whole.subarray(0, 1 + Math.floor(part * (whole.length - 1)))
      if (cut.length < whole.length) expect(outlineOf(cut).kind).toBe('truncated')
    }),
  )
})

test('long texts, long lists and deep places are cut, and still not empty', () => {
  const deep = '[['.repeat(6) + '1' + ']]'.repeat(6)
  const value = outline(
    `{"text":"${'x'.repeat(100_000)}","list":[${'1,'.repeat(999)}1],"deep":${deep},"end":1}`,
  )
  if (value.kind !== 'value') throw new Error(value.kind)
  const { text, list, deep: cut, end } = value.value as Record<string, unknown>
  expect((text as string).length).toBeLessThan(3_000)
  expect(list).toHaveLength(16)
  expect(JSON.stringify(cut)).toContain('…')
  expect(end).toBe(1)
})
