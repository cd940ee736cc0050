import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterAll, beforeAll, expect, test } from 'vitest'

const root = join(import.meta.dirname, '../..')
let directory = ''

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'aiload-package-'))
  execFileSync(process.execPath, ['--import', 'tsx', 'config/build.ts', join(directory, 'dist')], {
    cwd: root,
  })
  for (const path of ['package.json', 'config'])
    cpSync(join(root, path), join(directory, path), { recursive: true })
}, 60_000)

afterAll(() => rmSync(directory, { recursive: true, force: true }))

test('what is built starts where nothing else is installed, with its template beside it', async () => {
  const child = spawn(process.execPath, ['dist/cli/main.js', 'start', '--port', '0', '--host', '127.0.0.1'], {
    cwd: directory,
    env: { PATH: process.env['PATH'] ?? '' },
  })
  const url = await new Promise<string>((resolve, reject) => {
    let printed = ''
    const onOutput = (text: Buffer): void => {
      printed += text.toString()
      const port = /listens on http:\/\/127\.0\.0\.1:(\d+)/.exec(printed)?.[1]
      if (port !== undefined) resolve(`http://127.0.0.1:${port}`)
    }
    child.stdout.on('data', onOutput)
    child.stderr.on('data', onOutput)
    child.on('exit', () => reject(new Error(printed)))
  })
  const { auth_token: token } = JSON.parse(
    readFileSync(join(directory, 'data/config/config.json'), 'utf8').replaceAll(/^\s*\/\/.*$/gm, ''),
  ) as { auth_token: string }
  const models = await fetch(`${url}/v1/models`, { headers: { authorization: `Bearer ${token}` } })
  expect([models.status, await models.json()]).toMatchObject([200, { object: 'list' }])
  child.kill()
})

test('the built handler for edge runtimes answers in a process that has no other module', async () => {
  const file = join(directory, 'ask.mjs')
  const config = {
    auth_token: 'sk-own',
    models: [{ base_url: 'https://a.example/v1', model: 'm', api_key: 'k' }],
  }
  writeFileSync(
    file,
    `const { createEdgeHandler } = await import(${JSON.stringify(pathToFileURL(join(directory, 'dist/adapter/edge.js')).href)})
const handler = createEdgeHandler({ config: ${JSON.stringify(config)} })
const answer = await handler(new Request('http://edge.example/v1/models', { headers: { authorization: 'Bearer sk-own' } }))
process.exitCode = answer.status === 200 ? 0 : 1`,
  )
  expect(spawnSync(process.execPath, [file], { cwd: directory }).status).toBe(0)
})

test('the entry loads nothing before it has seen which Node this is, so that an old one can say so', () => {
  const text = readFileSync(join(directory, 'dist/cli/main.js'), 'utf8')
  expect(text).not.toMatch(/^import|await|\?\.|\?\?|#(?!!)/m)
})

test('goes with the licences of what it holds', () => {
  const text = readFileSync(join(directory, 'dist/LICENSES.txt'), 'utf8')
  for (const name of ['hono', '@hono/node-server', 'valibot', 'jsonc-parser', '@noble/hashes', 'undici']) {
    expect(text).toMatch(new RegExp(`^${name} \\d`, 'm'))
  }
  expect(text.match(/Permission is hereby granted/g)).toHaveLength(6)
})
