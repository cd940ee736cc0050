import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { schemaText } from '../../config/generate-schema.ts'
import { keyMeanings } from '../../config/key-meanings.ts'
import { readSource } from '../../src/config/source.ts'
import { knownPaths } from '../../src/config/checks.ts'
import { configOf, warningsOf } from './texts.ts'

const shipped = (name: string) => readFileSync(new URL(`../../config/${name}`, import.meta.url), 'utf8')

test('config.schema.json is what the schema of today gives (npm run schema)', () => {
  expect(shipped('config.schema.json')).toBe(schemaText())
})

test('every key has a meaning that editors show, and no meaning is of a key that is not there', () => {
  const listsAndNames = /\[\]$/
  const keys = knownPaths().filter((path) => !listsAndNames.test(path))
  expect(Object.keys(keyMeanings).toSorted()).toEqual(keys.toSorted())
  const shown = schemaText().match(/"description": /g) ?? []
  expect(shown).toHaveLength(keys.length)
})

test('the template is valid, has no token yet, and warns of nothing but its placeholder key', () => {
  expect(configOf(shipped('config.json'))).toMatchObject({ authToken: '', models: [{ apiKeys: ['sk-xxx'] }] })
  expect(warningsOf(shipped('config.json'))).toEqual([expect.stringContaining('is still a placeholder')])
})

test('config.full.json is valid and warns of nothing but its placeholder keys', () => {
  expect(configOf(shipped('config.full.json')).models).toHaveLength(2)
  for (const warning of warningsOf(shipped('config.full.json')))
    expect(warning).toContain('is still a placeholder')
})

test('config.full.json has every key that there is, but for second names, which it explains', () => {
  const text = shipped('config.full.json')
  const written = new Set(pathsIn(readSource(text).value))
  const secondNames = ['server.model', 'settings.ip_hash']
  expect(knownPaths().filter((path) => !written.has(path))).toEqual(secondNames)
  for (const name of ['"model"', '"ip_hash"']) expect(text).toContain(`Also written ${name}`)
})

test('every key of config.full.json has its default or says that it has none', () => {
  const { settings, server } = configOf(shipped('config.full.json'))
  const { passthrough: _, maxAttempts: __, ...defaulted } = settings
  const plain = configOf('{ "models": [{ "base_url": "https://a.example", "model": "m" }] }')
  expect({ settings: defaulted, server }).toEqual({ settings: plain.settings, server: plain.server })
})

/** All paths of a document, written as `knownPaths` writes them. */
function pathsIn(value: unknown, at = ''): string[] {
  if (Array.isArray(value)) return [`${at}[]`, ...value.flatMap((item) => pathsIn(item, `${at}[]`))]
  if (typeof value !== 'object' || value === null) return []
  return Object.entries(value).flatMap(([key, item]) => {
    const here = at === '' ? key : at === 'quotas' ? 'quotas[]' : `${at}.${key}`
    return [here, ...pathsIn(item, here)]
  })
}
