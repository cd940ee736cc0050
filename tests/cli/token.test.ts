import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { runAiload, temporaryDirectory } from '../support/gateway-process.ts'

const model = '{ "base_url": "https://a.example/v1", "model": "m" }'

function written(authToken: string | readonly string[]) {
  const directory = temporaryDirectory()
  mkdirSync(join(directory, 'data'))
  const file = join(directory, 'data', 'config.json')
  writeFileSync(file, `{ "auth_token": ${JSON.stringify(authToken)}, "models": [${model}] }`)
  return { directory, file }
}

test('token names the file and keeps the token to itself', async () => {
  const { directory, file } = written('sk-the-secret')
  const { code, stdout, stderr } = await runAiload(['token'], { directory })
  expect([code, stdout, stderr]).toEqual([0, `the token is "auth_token" in ${file}; --show prints it\n`, ''])
})

test('token --show prints the token alone, with variables replaced', async () => {
  const { directory } = written('${OUR_TOKEN}')
  const run = await runAiload(['token', '--show'], { directory, env: { OUR_TOKEN: 'sk-from-outside' } })
  expect(run).toMatchObject({ code: 0, stdout: 'sk-from-outside\n', stderr: '' })
})

test('token needs none of the variables of the keys', async () => {
  const directory = temporaryDirectory()
  mkdirSync(join(directory, 'data'))
  const keyed = '{ "base_url": "https://a.example/v1", "model": "m", "api_key": "${NOT_SET_HERE}" }'
  writeFileSync(
    join(directory, 'data', 'config.json'),
    `{ "auth_token": "sk-the-secret", "models": [${keyed}] }`,
  )
  const run = await runAiload(['token', '--show'], { directory })
  expect(run).toMatchObject({ code: 0, stdout: 'sk-the-secret\n', stderr: '' })
})

test('of several tokens, token tells the first', async () => {
  const { directory, file } = written(['sk-new', 'sk-old'])
  const told = await runAiload(['token'], { directory })
  expect(told.stdout).toBe(`the token is the first of "auth_token" in ${file}; --show prints it\n`)
  expect(await runAiload(['token', '--show'], { directory })).toMatchObject({ code: 0, stdout: 'sk-new\n' })
})

test('token says so when there is none yet', async () => {
  const { directory } = written('')
  const { code, stdout, stderr } = await runAiload(['token', '--show'], { directory })
  expect([code, stdout]).toEqual([1, ''])
  expect(stderr).toMatch(/there is no token yet; the first start makes one, which is then "auth_token" in /)
})
