import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { upstreamsOf } from '../../src/config/upstreams.ts'
import { uniqueNames } from '../../src/pool/upstream.ts'
import { configOf } from '../config/texts.ts'

const base_url = 'https://api.example:8443/v1'
const namesOf = (...models: readonly object[]): string[] =>
  upstreamsOf(configOf(JSON.stringify({ models }))).map(({ name }) => name)

test('an upstream is called as configured, else model@host with its port', () => {
  expect(namesOf({ model: 'm', base_url, api_key: 'a' })).toEqual(['m@api.example:8443'])
  expect(namesOf({ name: 'n', model: 'm', base_url, api_key: 'a' })).toEqual(['n'])
})

test('the second key and the second entry of a name get a number', () => {
  const entry = { name: 'n', model: 'm', base_url }
  expect(namesOf({ ...entry, api_key: ['a', 'b'] }, { ...entry, api_key: 'c' })).toEqual(['n', 'n-2', 'n-3'])
})

test('a number never takes a name that another one wishes', () => {
  expect(uniqueNames(['a', 'a', 'a-2'])).toEqual(['a', 'a-3', 'a-2'])
})

test('names are always unique, and the first to wish a name has it', () => {
  const wished = fc.array(fc.constantFrom('a', 'a-2', 'a-3', 'a-2-2', 'b'), { maxLength: 12 })
  fc.assert(
    fc.property(wished, (names) => {
      const unique = uniqueNames(names)
      expect(new Set(unique).size).toBe(names.length)
      for (const name of new Set(names)) expect(unique[names.indexOf(name)]).toBe(name)
    }),
  )
})
