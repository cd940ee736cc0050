import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { isSpelt, jsonShape } from '../../src/lib/json-shape.ts'

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)
const shape = (text: string): ReturnType<typeof jsonShape> => jsonShape(bytes(text))

test.each([
  ['', 'empty'],
  [' \t\r\n', 'empty'],
  ['\uFEFF', 'empty'],
  ['{}', 'object'],
  ['\uFEFF {"a":1} \n', 'object'],
  ['{"a":"\\\\"}', 'object'],
  ['{"a":NaN}', 'object'],
  ['[]', 'other'],
  ['"a"', 'other'],
  ['hello', 'other'],
  ['{} {}', 'other'],
  ['{', 'truncated'],
  ['{"a', 'truncated'],
  ['{"a":"\\"}', 'truncated'],
  ['{"a":[{}]', 'truncated'],
])('%j is %s', (text, kind) => {
  expect(shape(text).kind).toBe(kind)
})

test('the keys are those of the object itself, with the places of their values', () => {
  const text = '{"a": {"error":1}, "b":["error"], "error" : null}'
  const found = shape(text)
  const keys = found.kind === 'object' ? found.keys : new Map<string, number>()
  expect([...keys.keys()]).toEqual(['a', 'b', 'error'])
  expect(isSpelt(bytes(text), keys.get('error'), 'null')).toBe(true)
  expect(isSpelt(bytes(text), keys.get('a'), 'null')).toBe(false)
  expect(isSpelt(bytes(text), keys.get('c'), 'null')).toBe(false)
})

test('every object is whole, has its own keys, and every part of it is cut short', () => {
  const objects = fc.dictionary(fc.stringMatching(/^[a-z]{0,8}$/), fc.jsonValue())
  fc.assert(
    fc.property(objects, fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), (value, part) => {
      const text = bytes(JSON.stringify(value))
      const whole = jsonShape(text)
      expect(whole.kind === 'object' && [...whole.keys.keys()].toSorted()).toEqual(
        Object.keys(value).toSorted(),
      )
      expect(jsonShape(text.subarray(0, 1 + Math.floor(part * (text.length - 1)))).kind).toBe('truncated')
    }),
  )
})
