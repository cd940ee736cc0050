import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { withToken } from '../../src/config/rewrite.ts'
import { configOf, fiveKeys, model, textOf } from './texts.ts'

test('an empty token is replaced and every other byte stays', () => {
  expect(withToken(fiveKeys, 'sk-new')).toBe(fiveKeys.replace('"auth_token": ""', '"auth_token": "sk-new"'))
})

test('comments, order, line ends and a byte order mark stay', () => {
  const text =
    '\uFEFF// top\r\n{\r\n\t"b": 1, // one\r\n\t/* t */ "auth_token" : "" /* here */,\r\n\t"a": [1,],\r\n}\r\n'
  expect(withToken(text, 'sk-new')).toBe(text.replace('""', '"sk-new"'))
})

test.each([
  ['{\n  "models": []\n}\n', '{\n  "auth_token": "t",\n  "models": []\n}\n'],
  ['{\r\n\t"models": []\r\n}', '{\r\n\t"auth_token": "t",\r\n\t"models": []\r\n}'],
  ['{}', '{\n  "auth_token": "t"\n}'],
])('a missing token becomes the first key of %j', (text, written) => {
  expect(withToken(text, 't')).toBe(written)
})

test('where the key stands twice the one that counts is filled', () => {
  const text = `{ "auth_token": "", "models": [${JSON.stringify(model())}], "auth_token": "" }`
  expect(configOf(withToken(text, 't')).authTokens).toEqual(['t'])
})

test('a comment before the first key survives the insertion of the token', () => {
  const text = `{ // first\n  /* second */ "models": [${JSON.stringify(model())},], // third\n}`
  const written = withToken(text, 't')
  expect(configOf(written).authTokens).toEqual(['t'])
  for (const comment of ['// first', '/* second */', '// third']) expect(written).toContain(comment)
})

test('whatever the file looks like, it reads the same afterwards but for the token', () => {
  const keys = fc.shuffledSubarray(
    ['"server": {}', '"auth_token": ""', '"settings": {}', `"models": [${JSON.stringify(model())}]`],
    {
      minLength: 4,
    },
  )
  const gap = fc.constantFrom('', ' ', '\n', '\r\n\t', ' // c\n', '/* } */')
  fc.assert(
    fc.property(
      keys,
      fc.array(gap, { minLength: 9, maxLength: 9 }),
      fc.boolean(),
      (parts, gaps, isMissing) => {
        const present = isMissing ? parts.filter((part) => !part.includes('auth')) : parts
        const text = `{${present.map((part, at) => `${gaps[at]}${part}${gaps[at + 4]}`).join(',')}${gaps[8]}}`
        expect(configOf(withToken(text, 'sk-x'))).toEqual({ ...configOf(text), authTokens: ['sk-x'] })
      },
    ),
  )
})

test('a text without an object is refused', () => {
  expect(() => withToken('[]', 't')).toThrow(TypeError)
  expect(() => withToken('', 't')).toThrow(TypeError)
})

test('a file that had a token keeps everything else', () => {
  expect(configOf(withToken(textOf(), 'new')).authTokens).toEqual(['new'])
})
