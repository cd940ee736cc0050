import { existsSync, mkdirSync, readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs'
import { chmodSync } from 'node:fs'
import { createServer } from 'node:net'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import type { GatewayStatus } from '../../src/telemetry/status.ts'
import { countedByDay } from '../support/kept-counts.ts'
import { healthy } from '../support/believable.ts'
import { startScriptedUpstream } from '../support/scripted-upstream.ts'
import { until } from '../support/until.ts'
import {
  portOf,
  runAiload,
  spawnAiload,
  startGateway,
  temporaryDirectory,
  testToken,
} from '../support/gateway-process.ts'

const model = { api_key: 'sk-secret-of-a-vendor', base_url: 'https://a.example/v1', model: 'm' }
const listenOnLoopback = ['--host', '127.0.0.1', '--port', '0']

const tokenIn = (file: string): string =>
  /"auth_token": "([^"]*)"/.exec(readFileSync(file, 'utf8'))?.[1] ?? ''

function written(text: string) {
  const directory = temporaryDirectory()
  const file = join(directory, 'my.json')
  writeFileSync(file, text)
  return { directory, file }
}

test('a first start makes the configuration and a token, mode 0600, tells where and never what', async () => {
  const directory = temporaryDirectory()
  const file = join(directory, 'data', 'config', 'config.json')
  const first = spawnAiload(['start', ...listenOnLoopback], { directory })
  const port = await portOf(first)
  await first.printed(/is still a placeholder/)
  const token = tokenIn(file)
  expect(token).toMatch(/^sk-[\w-]{32,}$/)
  expect((statSync(file).mode & 0o777).toString(8)).toBe('600')
  expect(first.stdout).toContain(`a new token for your clients was made; it is \\"auth_token\\" in ${file}`)
  expect(first.stdout).toContain('models[0].api_key: is still a placeholder')

  const ask = (bearer: string) =>
    fetch(`http://127.0.0.1:${port}/v1/models`, { headers: { authorization: `Bearer ${bearer}` } })
  expect([(await ask(token)).status, (await ask('sk-')).status]).toEqual([200, 401])
  await first.stop()

  const second = spawnAiload([...listenOnLoopback], { directory })
  await portOf(second)
  expect(second.stdout).toContain(`the token for your clients is \\"auth_token\\" in ${file}`)
  await second.stop()
  expect(tokenIn(file)).toBe(token)
  expect(first.stdout + first.stderr + second.stdout + second.stderr).not.toContain(token)
})

test('the lines of a start name the address, the upstreams, the strategy and what ip affinity means, as JSON away from a terminal', async () => {
  const gateway = await startGateway({
    models: [
      { ...model, name: 'first' },
      { ...model, model: 'n', enabled: false },
    ],
    settings: { strategy: 'fastest' },
  })
  const lines = gateway.stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as { message: string; level: string })
  expect(lines.map(({ message }) => message.replaceAll(gateway.directory, ''))).toEqual([
    expect.stringMatching(
      new RegExp(`^AILoad \\d+\\.\\d+\\.\\d+ listens on http://127\\.0\\.0\\.1:${gateway.port}/v1$`),
    ),
    '2 upstreams:',
    'first: model m at a.example',
    'n@a.example: model n at a.example (not enabled)',
    expect.stringMatching(
      /^strategy fastest, affinity ip: one client address means one upstream at a time; .*"conversation"/,
    ),
    'the token for your clients is "auth_token" in /data/config/config.json',
  ])
  expect(lines.every(({ level }) => level === 'info')).toBe(true)
  expect(gateway.stdout).not.toContain(model.api_key)
  expect(gateway.stdout).not.toContain(testToken)
})

test('a broken configuration ends with 1, a line for each problem and no secret', async () => {
  const { directory, file } = written(
    `{ "auth_token": "t", "models": [{ "api_key": "sk-secret", "base_url": "x" }], "server": { "port": "sk-secret" } }`,
  )
  const { code, stdout, stderr } = await runAiload(['start', '--config', file], { directory })
  expect([code, stdout]).toEqual([1, ''])
  const lines = stderr.trimEnd().split('\n')
  expect(lines).toHaveLength(3)
  expect(lines.every((line) => line.startsWith(`${file}:1:`))).toBe(true)
  expect(stderr).not.toContain('sk-secret')
})

test('without a place to write a first configuration it does not serve', async () => {
  const directory = temporaryDirectory()
  writeFileSync(join(directory, 'data'), 'a file where the directory should be')
  const { code, stderr } = await runAiload(['start', ...listenOnLoopback], { directory })
  expect([code, stderr]).toEqual([
    1,
    expect.stringMatching(/the first one cannot be written \(\w+\); make the directory writable/),
  ])
})

test('an empty token that cannot be written keeps it from serving; with a token a read-only directory is fine', async () => {
  const directory = temporaryDirectory()
  const data = join(directory, 'data')
  const file = join(data, 'config.json')
  const put = (authToken: string): void => {
    for (const path of [data, file]) if (existsSync(path)) chmodSync(path, 0o755)
    mkdirSync(data, { recursive: true })
    writeFileSync(file, JSON.stringify({ auth_token: authToken, models: [model] }))
    chmodSync(file, 0o444)
    for (const path of [data, directory]) chmodSync(path, 0o555)
  }
  onTestFinished(() => [directory, data].forEach((path) => chmodSync(path, 0o755)))
  // Modes mean nothing to root.
  const other = { directory, ...(process.getuid?.() === 0 ? { uid: 65_534 } : {}) }

  put('')
  const refused = await runAiload(['start', ...listenOnLoopback], other)
  expect([refused.code, refused.stderr]).toEqual([
    1,
    expect.stringContaining('auth_token is empty and a new one cannot be written (EACCES)'),
  ])

  put('t')
  const served = spawnAiload(['start', ...listenOnLoopback], other)
  await portOf(served)
  expect(await served.stop()).toEqual({ code: 0, signal: null })
  expect(served.stdout.match(/state is not kept across a restart/g)).toHaveLength(1)
  expect(readdirSync(data)).toEqual(['config.json'])
})

test('a port that is taken is one clear line and exit 1', async () => {
  const taken = createServer().listen(0, '127.0.0.1')
  onTestFinished(() => void taken.close())
  await once(taken, 'listening')
  const { port } = taken.address() as AddressInfo
  const { directory, file } = written(
    JSON.stringify({ auth_token: 't', models: [model], server: { port, host: '127.0.0.1' } }),
  )
  const { code, stdout, stderr } = await runAiload(['start', '--config', file], { directory })
  expect([code, stdout]).toEqual([1, ''])
  expect(stderr).toBe(
    `port ${port} is taken by another program; free it, or choose another with --port or server.port\n`,
  )
})

test('an address that this machine does not have is one clear line and exit 1', async () => {
  const { directory, file } = written(JSON.stringify({ auth_token: 't', models: [model] }))
  const { code, stderr } = await runAiload(['start', '--config', file, '--host', '192.0.2.1'], { directory })
  expect([code, stderr]).toEqual([
    1,
    'this machine has no address 192.0.2.1; correct --host or server.host\n',
  ])
})

test('state is kept in data/ for the usual place, and beside a file that was named', async () => {
  const usual = await startGateway({ models: [model] })
  await usual.stop()
  for (const name of ['state.json', 'events.log'])
    expect(existsSync(join(usual.directory, 'data', name))).toBe(true)

  const { directory, file } = written(JSON.stringify({ auth_token: 't', models: [model] }))
  const named = spawnAiload(['start', ...listenOnLoopback], { directory, env: { AILOAD_CONFIG: file } })
  await portOf(named)
  await named.stop()
  expect(readdirSync(directory).toSorted()).toEqual([
    'events-my.log',
    'events.key',
    'my.json',
    'state-my.json',
  ])
  expect(readFileSync(join(directory, 'state-my.json'), 'utf8')).not.toContain(model.api_key)
})

test('two gateways whose configurations lie in one folder keep their state apart, also where both are killed', async () => {
  const upstream = await startScriptedUpstream(healthy())
  onTestFinished(() => upstream.close())
  const directory = temporaryDirectory()
  const start = async (name: string) => {
    const file = join(directory, `${name}.json`)
    const limited = { api_key: name, base_url: `${upstream.url}/v1`, model: 'm', limits: { rpd: 9 } }
    writeFileSync(file, JSON.stringify({ auth_token: 't', models: [limited], settings: { affinity: 'off' } }))
    const child = spawnAiload(['start', ...listenOnLoopback, '--config', file], { directory })
    const port = await portOf(child)
    const ask = (path: string, init: RequestInit = {}) =>
      fetch(`http://127.0.0.1:${port}${path}`, { ...init, headers: { authorization: 'Bearer t' } })
    return {
      child,
      chat: async () =>
        (await ask('/v1/chat/completions', { method: 'POST', body: '{"messages":[]}' })).status,
      used: async () => {
        const { upstreams } = (await (await ask('/admin/status')).json()) as GatewayStatus
        return upstreams[0]?.windows.map(({ used }) => used)
      },
    }
  }
  const asked = { one: 2, two: 3 }
  const first = await Promise.all([start('one'), start('two')])
  for (const [at, count] of [asked.one, asked.two].entries())
    for (let times = 0; times < count; times++) expect(await first[at]?.chat()).toBe(200)
  for (const name of ['one', 'two'] as const) {
    await until(
      () =>
        readdirSync(directory).includes(`state-${name}.json`) &&
        readFileSync(join(directory, `state-${name}.json`), 'utf8'),
      (text) => text !== false && countedByDay(text) === asked[name],
    )
  }
  for (const { child } of first) {
    child.signal('SIGKILL')
    await child.exit
  }
  const second = await Promise.all([start('one'), start('two')])
  expect([await second[0]?.used(), await second[1]?.used()]).toEqual([[2], [3]])
  for (const { child } of second) await child.stop()
})

test('state that an earlier version kept beside the configuration is taken over, with one line', async () => {
  const { directory, file } = written(JSON.stringify({ auth_token: 't', models: [model] }))
  const kept = { version: 1, savedAt: Date.now(), now: Date.now(), scopes: [], affinity: [] }
  writeFileSync(join(directory, 'state.json'), JSON.stringify(kept))
  const start = () => spawnAiload(['start', ...listenOnLoopback, '--config', file], { directory })
  const first = start()
  await first.printed(/state was read from \S+state\.json; it is kept in \S+state-my\.json now/)
  await portOf(first)
  await first.stop()
  const second = start()
  await portOf(second)
  await second.stop()
  expect(second.stdout).not.toContain('state was read')
})

test('a port and a flag out of the environment are taken, and the warnings of the file stand in the status until it is better', async () => {
  const { directory, file } = written(
    JSON.stringify({
      auth_token: 't',
      models: [{ ...model, api_key: '"${KEY}"' }],
      server: { host: '127.0.0.1', port: '${PORT}', metrics_public: '${OPEN}' },
    }),
  )
  const env = { PORT: '0', OPEN: 'true', KEY: 'hunter2' }
  const child = spawnAiload(['start', '--config', file], { directory, env })
  const port = await portOf(child)
  const get = (path: string) =>
    fetch(`http://127.0.0.1:${port}${path}`, { headers: { authorization: 'Bearer t' } })
  const warnings = async () => ((await (await get('/admin/status')).json()) as GatewayStatus).config_warnings
  expect((await fetch(`http://127.0.0.1:${port}/metrics`)).status).toBe(200)
  expect(await warnings()).toEqual([
    expect.stringContaining('models[0].api_key: stands in quotes of its own'),
  ])
  expect(await child.printed(/models\[0\]\.api_key: stands in quotes/)).toBeTruthy()
  expect(child.stdout).not.toContain('hunter2')

  writeFileSync(file, '{ broken')
  await child.printed(/was rejected/)
  expect(await warnings()).toHaveLength(1)
  writeFileSync(file, JSON.stringify({ auth_token: 't', models: [model] }))
  await child.printed(/was reloaded/)
  expect(await warnings()).toEqual([])
  await child.stop()
})

test('a reader of its output that has gone does not end it', async () => {
  const directory = temporaryDirectory()
  const child = spawnAiload(['start', ...listenOnLoopback], { directory })
  const port = await portOf(child)
  child.hangUpOutput()
  for (let request = 0; request < 3; request += 1) {
    expect(
      (await fetch(`http://127.0.0.1:${port}/v1/none`, { headers: { authorization: 'Bearer no' } })).status,
    ).toBe(401)
  }
  child.signal('SIGHUP')
  expect((await fetch(`http://127.0.0.1:${port}/healthz`)).status).toBe(200)
  expect(await child.stop()).toEqual({ code: 0, signal: null })
})

test('it serves from the sources as it does from what is built of them', async () => {
  const gateway = await startGateway({ models: [model] }, { from: 'sources' })
  expect((await gateway.fetch('/v1/models')).status).toBe(200)
  expect((await gateway.stop()).code).toBe(0)
})
