import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { healthy } from '../support/believable.ts'
import {
  portOf,
  spawnAiload,
  startGateway,
  temporaryDirectory,
  testToken,
  type GatewayProcess,
} from '../support/gateway-process.ts'
import { startScriptedUpstream } from '../support/scripted-upstream.ts'

const isRoot = process.getuid?.() === 0

async function upstreamUrl(): Promise<string> {
  const upstream = await startScriptedUpstream(healthy())
  onTestFinished(upstream.close)
  return `${upstream.url}/v1`
}

/** A file as somebody writes it, with comments. */
const textFor = (url: string): string => `{
  "auth_token": "${testToken}", // for everybody
  "models": [
    // the first
    { "name": "first", "base_url": "${url}", "model": "m", "api_key": "key-of-the-first-one" },
  ],
  "server": { "host": "127.0.0.1", "port": 0, "admin": "write" },
  "settings": { "affinity": "off", "strategy": "in_order" },
}
`

async function send(gateway: GatewayProcess, path: string, body: object, method = 'POST') {
  const { etag } = (await (await gateway.fetch('/admin/config')).json()) as { etag: string }
  const told = await gateway.fetch(path, { method, body: JSON.stringify({ etag, ...body }) })
  return { status: told.status, body: (await told.json()) as Record<string, unknown> }
}
const upstreamOf = async (gateway: GatewayProcess): Promise<string | null> =>
  (await gateway.chat()).headers.get('x-aiload-upstream')

test('an upstream that is added over HTTP takes the next request, and the file keeps its comments', async () => {
  const gateway = await startGateway(textFor(await upstreamUrl()))
  await gateway.printed(/server\.admin: lets every client with auth_token edit this configuration/)
  chmodSync(gateway.configFile, 0o600)
  expect(await upstreamOf(gateway)).toBe('first')
  const entry = {
    name: 'second',
    base_url: await upstreamUrl(),
    model: 'm',
    api_key: 'key-of-the-second-one',
  }
  expect(await send(gateway, '/admin/config/upstreams', { entry, at: 0 })).toMatchObject({ status: 200 })
  expect(await upstreamOf(gateway)).toBe('second')
  const text = readFileSync(gateway.configFile, 'utf8')
  for (const kept of ['// for everybody', '// the first', '"key-of-the-first-one"'])
    expect(text).toContain(kept)
  expect(statSync(gateway.configFile).mode & 0o777).toBe(0o600)
  const status = (await (await gateway.fetch('/admin/status')).json()) as { reloads: object }
  expect(status.reloads).toEqual({ ok: 1, refused: 0 })

  expect(await send(gateway, '/admin/config/upstreams', { index: 0 }, 'DELETE')).toMatchObject({
    status: 200,
  })
  expect(await upstreamOf(gateway)).toBe('first')
  await gateway.stop()
  // The watcher has seen both writes, and none of them was news.
  expect(gateway.stdout).not.toContain('the configuration was reloaded')
  expect(gateway.stdout).toMatch(
    /upstream second was added by POST \/admin\/config\/upstreams \(request [\w-]+\)/,
  )
  for (const key of ['key-of-the-second-one', 'key-of-the-first-one'])
    expect(gateway.stdout).not.toContain(key)
})

test('a file that somebody edits by hand at the same time is not overwritten', async () => {
  const url = await upstreamUrl()
  const gateway = await startGateway(textFor(url))
  const { etag } = (await (await gateway.fetch('/admin/config')).json()) as { etag: string }
  const byHand = textFor(url).replace('// the first', '// by hand')
  writeFileSync(gateway.configFile, byHand)
  const body = JSON.stringify({ etag, entry: { vendor: 'groq', api_key: 'k' } })
  const told = await gateway.fetch('/admin/config/upstreams', { method: 'POST', body })
  expect(told.status).toBe(409)
  expect(readFileSync(gateway.configFile, 'utf8')).toBe(byHand)
})

test.runIf(isRoot)(
  'a file in a directory that takes no other is written in place; one that is read-only is told',
  async () => {
    const directory = mkdtempSync(join(tmpdir(), 'aiload-edit-'))
    onTestFinished(() => rmSync(directory, { recursive: true, force: true }))
    chmodSync(directory, 0o777)
    const file = join(directory, 'data', 'config', 'config.json')
    mkdirSync(dirname(file), { recursive: true })
    const gateway = await startGateway(textFor(await upstreamUrl()), { directory, uid: 65_534 })
    chmodSync(file, 0o666)
    const { ino } = statSync(file)
    const entry = { vendor: 'groq', name: 'new', api_key: 'key-of-the-second-one' }
    expect(await send(gateway, '/admin/config/upstreams', { entry })).toMatchObject({ status: 200 })
    expect(statSync(file).ino).toBe(ino)
    expect(readFileSync(file, 'utf8')).toContain('key-of-the-second-one')
    chmodSync(file, 0o644)
    const text = readFileSync(file, 'utf8')
    const shown = (await (await gateway.fetch('/admin/config')).json()) as object
    expect(shown).toMatchObject({ writable: false, why: expect.stringContaining('EACCES') as string })
    expect(await send(gateway, '/admin/config/order', { order: [1, 0] })).toMatchObject({
      status: 403,
      body: {
        error: {
          code: 'config_not_writable',
          message: expect.stringContaining('nothing was changed') as string,
        },
      },
    })
    // Nor is it replaced where its directory would allow that.
    chmodSync(dirname(file), 0o777)
    expect(await send(gateway, '/admin/config/order', { order: [1, 0] })).toMatchObject({ status: 403 })
    expect(readFileSync(file, 'utf8')).toBe(text)
  },
)

test('the right that a changed file takes away is gone at once', async () => {
  const url = await upstreamUrl()
  const gateway = await startGateway(textFor(url))
  gateway.writeConfig(textFor(url).replace('"write"', '"off"'))
  await gateway.printed(/the configuration was reloaded/)
  expect((await gateway.fetch('/admin/config')).status).toBe(404)
  expect(await upstreamOf(gateway)).toBe('first')
})

test('a gateway that runs on the keys of the environment cannot be edited, and says what would help', async () => {
  const env = { GROQ_API_KEY: 'gsk_from-the-environment', AILOAD_TOKEN: testToken }
  const directory = temporaryDirectory()
  const child = spawnAiload(['start', '--port', '0'], { directory, env })
  const url = `http://127.0.0.1:${await portOf(child)}`
  const headers = { authorization: `Bearer ${testToken}` }
  const shown = await (await fetch(`${url}/admin/config`, { headers })).json()
  expect(shown).toMatchObject({
    etag: null,
    file: null,
    writable: false,
    why: expect.stringContaining('Write a file') as string,
  })
  expect(JSON.stringify(shown)).not.toContain('gsk_')
})
