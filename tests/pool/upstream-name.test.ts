import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { uniqueNames, upstreamNames } from '../../src/pool/upstream.ts'

const root = 'https://api.example:8443/v1'

test('an upstream is called as configured, else model@host with its port', () => {
  expect(upstreamNames([{ model: 'm', root, apiKeys: ['a'] }])).toEqual(['m@api.example:8443'])
  expect(upstreamNames([{ name: 'n', model: 'm', root, apiKeys: ['a'] }])).toEqual(['n'])
})

test('the second key and the second entry of a name get a number', () => {
  const entry = { name: 'n', model: 'm', root }
  expect(
    upstreamNames([
      { ...entry, apiKeys: ['a', 'b'] },
      { ...entry, apiKeys: ['c'] },
    ]),
  ).toEqual(['n', 'n-2', 'n-3'])
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
