import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { oneSpelt, stringValue } from '../../../src/lib/json/walk.ts'

const words = ['model', 'mode', 'n', 'user', 'stub']

test('a string is one of the words exactly when it reads so', () => {
  const letter = fc.constantFrom('m', 'o', 'd', 'e', 'l', 'n', 'u', 's', 'r', 't', 'b')
  const hex = (char: string) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`
  const spelling = (char: string) =>
    fc.constantFrom(char, char, char, hex(char), hex(char).toUpperCase().replace('U', 'u'), `\\${char}`)
  const word = fc.constantFrom(...words).chain((text) => fc.tuple(...[...text].map(spelling)))
  const junk = fc.array(
    fc.oneof(letter.chain(spelling), fc.constantFrom('\\u', '\\u00', '\\u00g', 'é', '\\\\', '\\"')),
  )
  let found = 0
  fc.assert(
    fc.property(word, junk, fc.nat(3), (word, junk, addsJunk) => {
      const json = `"${word.join('')}${addsJunk === 0 ? junk.join('') : ''}"`
      const bytes = new TextEncoder().encode(`${json}0000`)
      const span = { start: 0, end: bytes.length - 4 }
      const text = stringValue(bytes, span)
      const expected = words.find((word) => word === text)
      if (expected) found++
      expect(oneSpelt(bytes, span, words)).toBe(expected)
    }),
    { numRuns: 2000 },
  )
  expect(found).toBeGreaterThan(200)
})

test.each(['""', '"m"', '"models"', '"mode\\u006"', '"\\nodel"', '"Model"', '"mode\\"', '"é"'])(
  '%s is none of the words',
  (json) => {
    const bytes = new TextEncoder().encode(json)
    expect(oneSpelt(bytes, { start: 0, end: bytes.length }, ['model', 'n'])).toBeUndefined()
  },
)
