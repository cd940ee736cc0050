import { expect, test } from 'vitest'
import { typedEntryOf, entryTitle, fieldOf, keysText, valuesOf } from '../../src/page/entry.ts'

/** As `GET /admin/config` shows one: null for what it does not say, and nothing of its secrets. */
const shown = {
  index: 3,
  vendor: null,
  base_url: 'http://192.168.1.5:8000/v1',
  model: 'qwen3-32b',
  models: null,
  name: 'cellar',
  weight: 2,
  priority: null,
  enabled: null,
  limits: { rpm: 30 },
  headers: [],
  query: null,
  proxy: null,
  tls: null,
  keys: [{ position: 1, last4: '…k3Qz', is_variable: null }],
}

test('what is shown and saved unchanged says the same', () => {
  const given = typedEntryOf(valuesOf(shown, []), shown)
  expect(given).toEqual({
    problems: [],
    entry: {
      base_url: 'http://192.168.1.5:8000/v1',
      model: 'qwen3-32b',
      name: 'cellar',
      weight: 2,
      limits: { rpm: 30 },
    },
  })
})

test('models are one name, or a list', () => {
  const values = valuesOf(shown, [])
  expect(typedEntryOf({ ...values, model: 'a, b' }, shown)).toMatchObject({ entry: { models: ['a', 'b'] } })
  const listed = { ...shown, model: null, models: ['a', 'b'] }
  expect(valuesOf(listed, []).model).toBe('a, b')
  expect(typedEntryOf({ ...valuesOf(listed, []), model: 'a' }, listed)).toMatchObject({
    entry: { models: ['a'] },
  })
})

test('models with limits of their own are changed as JSON', () => {
  const listed = { ...shown, model: null, models: [{ model: 'a', limits: { rpm: 1 } }] }
  const values = valuesOf(listed, [])
  expect(values.model).toBe('')
  expect(typedEntryOf(values, listed)).toMatchObject({
    entry: { models: [{ model: 'a', limits: { rpm: 1 } }] },
  })
})

test('a new entry of a vendor begins with the first of them', () => {
  const presets = [
    { vendor: 'groq', title: 'Groq', base_url: '', models: [], key_variable: null, key_optional: false },
  ]
  const values = valuesOf(undefined, presets)
  expect(typedEntryOf({ ...values, api_key: ' gsk-1\ngsk-2 ' }, undefined)).toEqual({
    problems: [],
    entry: { vendor: 'groq', api_key: ['gsk-1', 'gsk-2'] },
  })
})

test('one that is switched off says so, and one that is on says nothing', () => {
  expect(typedEntryOf({ ...valuesOf(shown, []), enabled: 'false' }, shown)).toMatchObject({
    entry: { enabled: false },
  })
  expect(valuesOf({ ...shown, enabled: false }, []).enabled).toBe('false')
})

test('what is no number and no JSON is told before anything is sent', () => {
  const given = typedEntryOf({ ...valuesOf(shown, []), weight: 'heavy', further: '[1]' }, shown)
  expect(given.problems).toEqual([
    { path: 'further', word: 'furtherBad' },
    { path: 'weight', word: 'numberBad' },
  ])
})

test.each([
  { problem: { path: 'models[3].weight', entry_path: 'weight' }, field: 'weight' },
  { problem: { path: 'models[3].limits.rpm', entry_path: 'limits.rpm' }, field: 'further' },
  { problem: { path: 'models[3].models[0]', entry_path: 'models[0]' }, field: 'model' },
  { problem: { path: 'models[3]', entry_path: '' }, field: undefined },
  { problem: { path: 'settings.strategy', entry_path: null }, field: undefined },
])('a problem at $problem.path is told at the field $field', ({ problem, field }) => {
  expect(fieldOf({ ...problem, message: 'is wrong' })).toBe(field)
})

test('keys are told apart by their places and ends, or by the variables that hold them', () => {
  expect(
    keysText([
      ...shown.keys,
      { position: 2, last4: null, is_variable: '${KEY}' },
      { position: 3, last4: null, is_variable: null },
    ]),
  ).toBe('…k3Qz, ${KEY}, •••')
  expect(entryTitle({ index: 4, keys: [] })).toBe('#5')
})
