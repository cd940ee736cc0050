import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { readPlainSource } from '../../src/config/plain-source.ts'
import type { Path } from '../../src/config/problem.ts'
import { readSource } from '../../src/config/source.ts'
import { brokenText } from './texts.ts'

const NESTED = `\uFEFF{
  // a "comment", with 中文
  "models": [ /* two, */ { "a": "x // no comment", "b": [1, 2,], }, { "a": "\\"}, ]" } ],
  "quotas": { "__proto__": { "rpm": 1 }, },
}`

test.each<{ path: Path }>([
  { path: [] },
  { path: ['models'] },
  { path: ['models', 0, 'b', 1] },
  { path: ['models', 1, 'a'] },
  { path: ['models', 2] },
  { path: ['models', 0, 'missing', 7] },
  { path: ['quotas', '__proto__', 'rpm'] },
])('reads comments and trailing commas, and finds $path where the other reader finds it', ({ path }) => {
  const [plain, full] = [readPlainSource(NESTED), readSource(NESTED)]
  expect(JSON.stringify(plain.value)).toBe(JSON.stringify(full.value))
  expect(plain.syntaxErrors).toEqual([])
  expect(plain.positionOf(path)).toEqual(full.positionOf(path))
})

test.each([
  ['', '1:1 expected a value, found the end'],
  ['{ "models": [ }', '1:15 expected a value, found something else'],
  ['{\n  "a": 1\n  "b": 2\n}', '3:3 expected a comma or }, found something else'],
  ['{\n  "é" 1 }', '2:7 expected a colon, found something else'],
  ['{ "a": 1 } }', '1:12 expected nothing more, found something else'],
  ['{ "a": "b', '1:8 a string never ends'],
  ['{ "a": 1 /* ', '1:10 expected a comma or }, found something else'],
  ['[,]', '1:2 expected a value, found something else'],
  ['{ "a": "\\x" }', '1:1 a text in it has an escape or a character that JSON does not know'],
  ['['.repeat(100_000) + ']'.repeat(100_000), '1:1 brackets in brackets without end'],
])('tells the first mistake of %j in words that hold nothing of the text', (text, told) => {
  const { value, syntaxErrors } = readPlainSource(text)
  expect(value).toBeUndefined()
  expect(
    syntaxErrors.map(({ position, message }) => `${position.line}:${position.column} ${message}`),
  ).toEqual([told])
})

test('what JSON.parse reads is read the same', () => {
  fc.assert(
    fc.property(fc.json({ maxDepth: 4 }), (text) => {
      expect(readPlainSource(text)).toMatchObject({ value: JSON.parse(text) as unknown, syntaxErrors: [] })
    }),
  )
})

test('no text makes it throw', () => {
  fc.assert(
    fc.property(brokenText, (text) => {
      const { value, syntaxErrors } = readPlainSource(text)
      expect(value === undefined).toBe(syntaxErrors.length > 0)
    }),
  )
})
