import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { isSpelt, jsonShape } from '../../../src/lib/json/walk.ts'

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)
const shape = (text: string, wanted: string[] = []): ReturnType<typeof jsonShape> =>
  jsonShape(bytes(text), wanted)

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

test('keys are those of the object itself, with the places of their values; of a repeated one the last', () => {
  const text = '{"a": {"error":1,"c":2}, "b":["error"], "error": 1, "error" : null}'
  const found = shape(text, ['c', 'a', 'error', 'err'])
  const places = found.kind === 'object' ? found.places : []
  expect(places).toEqual([-1, text.indexOf('{"error"'), text.indexOf('null'), -1])
  const spelt = places.map((place) => isSpelt(bytes(text), place, 'null'))
  expect(spelt).toEqual([false, false, true, false])
})

test('every object is whole, has its own keys, and every part of it is cut short', () => {
  const objects = fc.dictionary(fc.stringMatching(/^[a-z]{0,8}$/), fc.jsonValue())
  fc.assert(
    fc.property(objects, fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), (value, part) => {
      const text = bytes(JSON.stringify(value))
      const keys = Object.keys(value)
      const whole = jsonShape(text, [...keys, 'KEY OF NOBODY'])
      const has = whole.kind === 'object' && whole.places.map((place) => place > 0)
      expect(has).toEqual([...keys.map(() => true), false])
      expect(jsonShape(text.subarray(0, 1 + Math.floor(part * (text.length - 1))), keys).kind).toBe(
        'truncated',
      )
    }),
  )
})
