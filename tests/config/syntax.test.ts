import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { loadConfig, loadSource } from '../../src/config/load.ts'
import { readPlainSource } from '../../src/config/plain-source.ts'
import { problemLine } from '../../src/config/problem.ts'
import { brokenText, configOf, fiveKeys, model, problemsOf, textOf, warningsOf } from './texts.ts'

test.each([
  ['', '1:1: a value is expected here'],
  ['   \n', '2:1: a value is expected here'],
  ['{ "models": [ }', '1:15: a value is expected here'],
  ['{\n  "a": 1\n  "b": 2\n}', '3:3: a comma is missing here'],
  ['{\n  "a" 1 }', '2:7: a colon is missing here'],
  ['{\n  a: 1 }', '2:3: a word that JSON does not know'],
  ["{ 'a': 1 }", '1:3: a word that JSON does not know'],
  ['{\n  "a": "b\n}', '2:8: a text in quotes does not end on its line'],
  ['{ "a": 1 } }', '1:12: something follows after the end of the configuration'],
  ['{ "a": 1', '1:9: a closing } is missing'],
  ['{ "a": "\\x" }', '1:8: an escape that JSON does not know'],
  ['port = 2081', '1:1: a word that JSON does not know'],
])('%j is told in words with its place', (text, told) => {
  expect(problemsOf(text)[0]).toMatch(new RegExp(`^c\\.json:${told.replaceAll(/[{}()]/g, '\\$&')}`))
})

test('of the mistakes on one line only the first is told, since the rest follows from it', () => {
  expect(problemsOf('{ a: b: c }')).toHaveLength(1)
})

test('ten thousand open brackets are a problem and no crash', () => {
  expect(problemsOf('['.repeat(10_000))).not.toEqual([])
  expect(problemsOf(`{"models":${'['.repeat(100_000)}`)).not.toEqual([])
})

test('a key that stands twice is warned of, and the last one counts', () => {
  const text = '{ "models": [],\n  "models": [{ "base_url": "https://a.example/v1", "model": "m" }] }'
  expect(configOf(text).models).toHaveLength(1)
  expect(warningsOf(text)).toEqual([
    'c.json:2:3: models: stands here a second time, the last one counts; keep one of them',
  ])
})

test('a problem in a key that stands twice is told at the one that counts', () => {
  const text = `{ "server": { "port": 1 },\n  "server": { "port": -1 }, "models": [${JSON.stringify(model())}] }`
  expect(problemsOf(text)).toEqual([expect.stringMatching(/^c\.json:2:23: server\.port/)])
})

test('keys that reach for prototypes are harmless', () => {
  const evil =
    '"__proto__": { "polluted": true, "port": 1 }, "constructor": { "prototype": { "polluted": true } }'
  const text = `{ ${evil}, "server": { ${evil} }, "quotas": { ${evil}, "q": { ${evil} } },
    "models": [{ "base_url": "https://a.example/v1", "model": "m", ${evil}, "headers": { "__proto__": "x" } }] }`
  const config = configOf(text)
  expect(config.server.port).toBe(2081)
  expect(Object.keys(config.quotas)).toEqual(['q'])
  expect(config.models[0]?.headers).toEqual({})
  expect(({} as { polluted?: boolean }).polluted).toBeUndefined()
  expect(warningsOf(text)).toHaveLength(11)
})

test('columns count from the line, with any line end', () => {
  for (const end of ['\n', '\r\n', '\r'])
    expect(problemsOf(`{${end}  "models": 1${end}}`)).toEqual([
      expect.stringMatching(/^c\.json:2:13: models/),
    ])
})

test('no text makes the loader throw', () => {
  fc.assert(fc.property(brokenText, (text) => !loadConfig(text, {}, 'c.json').ok))
})

test('a valid file with one value replaced by anything never throws, and is refused or taken', () => {
  const document = JSON.parse(fiveKeys) as Record<string, unknown>
  fc.assert(
    fc.property(fc.constantFrom(...Object.keys(document), 'quotas'), fc.jsonValue(), (key, value) => {
      const loaded = loadConfig(textOf({ ...document, [key]: value }), {}, 'c.json')
      expect(loaded.ok || loaded.problems.length > 0).toBe(true)
    }),
  )
})

test.each([
  ['# keys of mine\n{ "models": [] }', '1:1'],
  ['{\n  # keys of mine\n  "models": [] }', '2:3'],
  ['{\n  "models": [], # keys of mine\n  "a": 1 }', '2:17'],
  ['{ "models": [] # keys of mine\n}', '1:16'],
  ['{ "models": [\n    #{ "model": "m" },\n ] }', '2:5'],
  ['{ "models": [] }\n# the end', '2:1'],
])('%j is told how comments are written, on every runtime', (text, place) => {
  const told = `c.json:${place}: # begins no comment here: write // before a comment`
  expect(problemsOf(text)[0]).toContain(told)
  const loaded = loadSource(readPlainSource(text), {}, 'c.json')
  expect(loaded.ok ? [] : loaded.problems.map(problemLine)).toEqual([expect.stringContaining(told)])
})

test('a # in a text is a sign like any other', () => {
  expect(configOf(textOf({ auth_token: '# x' })).authTokens).toEqual(['# x'])
  expect(problemsOf('{ "a": "#" 1 }')[0]).toContain('a comma is missing here')
})
