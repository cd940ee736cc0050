import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { schemaText } from '../../config/generate-schema.ts'
import { configOf, warningsOf } from './texts.ts'

const shipped = (name: string) => readFileSync(new URL(`../../config/${name}`, import.meta.url), 'utf8')

test('config.schema.json is what the schema of today gives (npm run schema)', () => {
  expect(shipped('config.schema.json')).toBe(schemaText())
})

test('the template is valid, has no token yet, and warns of nothing but its placeholder key', () => {
  expect(configOf(shipped('config.json'))).toMatchObject({
    authTokens: [],
    models: [{ apiKeys: ['sk-xxx'] }],
  })
  const { strategy, affinity } = configOf(shipped('config.json')).settings
  expect([strategy, affinity]).toEqual(['headroom', { kind: 'conversation' }])
  expect(warningsOf(shipped('config.json'))).toEqual([expect.stringContaining('is still a placeholder')])
})

test('config.full.json is valid and warns of nothing but its placeholder keys', () => {
  expect(configOf(shipped('config.full.json')).models).toHaveLength(4)
  for (const warning of warningsOf(shipped('config.full.json')))
    expect(warning).toContain('is still a placeholder')
})
