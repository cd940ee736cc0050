import { expect, test } from 'vitest'
import { needsRestart, reloadProblem } from '../../src/config/config.ts'
import { readSource } from '../../src/config/source.ts'
import { configOf, fiveKeys, model, textOf } from './texts.ts'

test('only port and host need a restart', () => {
  const running = configOf(textOf())
  const moved = configOf(textOf({ server: { port: 1, host: '127.0.0.1' } }))
  const other = configOf(
    textOf({ models: [model({ weight: 2 })], server: { cors: false }, settings: { timeout: 1 } }),
  )
  expect(needsRestart(running, moved)).toEqual(['server.port', 'server.host'])
  expect(needsRestart(running, other)).toEqual([])
})

test('a reload without a token is refused at the place of the key', () => {
  expect(reloadProblem(configOf(fiveKeys), readSource(fiveKeys), 'c.json')).toMatchObject({
    file: 'c.json',
    line: 2,
    column: 17,
    path: 'auth_token',
  })
})

test('a reload with a token is not refused', () => {
  expect(reloadProblem(configOf(textOf()), readSource(textOf()), 'c.json')).toBeUndefined()
})
