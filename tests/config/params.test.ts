import { describe, expect, test } from 'vitest'
import { upstreamsOf } from '../../src/config/upstreams.ts'
import { configOf, model, problemsOf, textOf, warningsOf } from './texts.ts'

const withParams = (params: unknown): string => textOf({ models: [model({ params })] })

describe('what params may not do is said', () => {
  test.each([
    {
      params: { set: { model: 'x' } },
      says: /params\.set\.model: is the name of the model, which models\[\]\.model/,
    },
    { params: { drop: ['model'] }, says: /params\.drop\[0\]: is the name of the model/ },
    { params: { rename: { model: 'm' } }, says: /params\.rename\.model: is the name of the model/ },
    { params: { rename: { m: 'model' } }, says: /params\.rename\.m: is the name of the model/ },
    {
      params: { default: { stream: true } },
      says: /params\.default\.stream: decides whether the answer is a stream/,
    },
    { params: { drop: ['stream'] }, says: /which is up to the client/ },
    { params: { rename: { stream: 's' } }, says: /decides whether the answer is a stream/ },
    { params: { set: { messages: [] } }, says: /params\.set\.messages: is the question itself/ },
    { params: { drop: ['input'] }, says: /is the question itself/ },
    { params: { default: { prompt: '' } }, says: /is the question itself/ },
    { params: { set: { 'a b': 1 } }, says: /is not the name of a field/ },
    { params: { set: { ключ: 1 } }, says: /is not the name of a field/ },
    { params: { drop: [''] }, says: /is not the name of a field/ },
    { params: { drop: 'seed' }, says: /params\.drop: must be a list/ },
    { params: { set: ['a'] }, says: /params\.set: must be an object/ },
    { params: [], says: /params: must be an object/ },
    { params: { rename: { a: 1 } }, says: /params\.rename\.a: must be a string/ },
    { params: { set: { a: 1 }, drop: ['a'] }, says: /has one field in two of set, default, drop and rename/ },
    { params: { set: { a: 1 }, default: { a: 2 } }, says: /has one field in two/ },
    { params: { set: { a: 1 }, rename: { a: 'b' } }, says: /has one field in two/ },
    { params: { rename: { a: 'c', b: 'c' } }, says: /renames two fields to the same name/ },
    { params: { rename: { a: 'b' }, drop: ['b'] }, says: /renames a field to one that it drops or renames/ },
    { params: { rename: { a: 'b', b: 'c' } }, says: /renames a field to one that it drops or renames/ },
    { params: { rename: { a: 'a' } }, says: /renames a field to one that it drops or renames/ },
  ])('$params', ({ params, says }) => {
    const problems = problemsOf(withParams(params))
    expect(problems).toHaveLength(1)
    expect(problems[0]).toMatch(says)
  })
})

test.each([
  { set: { stream_options: { include_usage: true } } },
  { rename: { messages: 'history' } },
  { rename: { a: 'b' }, set: { b: 1 } },
  { drop: ['a', 'a'] },
  { set: { chat_template_kwargs: { enable_thinking: false }, 'x-y.z': [null] } },
])('%j is fine, and no key inside a value is called unknown', (params) => {
  expect(problemsOf(withParams(params))).toEqual([])
  expect(warningsOf(withParams(params))).toEqual([])
})

test('a misspelt key beside them is called unknown', () => {
  expect(warningsOf(withParams({ sets: {} })).join()).toMatch(/params\.sets: unknown key/)
})

test('params without anything in them are none, and the keys of one entry share theirs', () => {
  const of = (params: unknown) =>
    upstreamsOf(configOf(textOf({ models: [model({ api_key: ['a', 'b'], params })] })))
  expect(of({}).map(({ edits }) => edits)).toEqual([undefined, undefined])
  const [first, second] = of({ drop: ['seed'] })
  expect(first?.edits).toBeDefined()
  expect(first?.edits).toBe(second?.edits)
})

test('a variable in a value is text', () => {
  const text = withParams({ set: { user: '${TEAM}' } })
  const [upstream] = upstreamsOf(configOf(text, { TEAM: 'a "b"' }))
  const edit = upstream?.edits?.whole.get('user')
  expect(edit && 'json' in edit && new TextDecoder().decode(edit.json)).toBe('"a \\"b\\""')
})
