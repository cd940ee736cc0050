import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import http from 'node:http'
import { createServer, type AddressInfo } from 'node:net'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { statusText } from '../../src/cli/status.ts'
import { durationText, tableLines } from '../../src/cli/terminal-text.ts'
import type { GatewayStatus, UpstreamStatus } from '../../src/telemetry/status.ts'
import type { UsageHistory } from '../../src/telemetry/usage.ts'
import { completion, errorBody } from '../support/believable.ts'
import { freePort } from '../support/free-port.ts'
import {
  runAiload,
  spawnAiload,
  startGateway,
  temporaryDirectory,
  testToken,
} from '../support/gateway-process.ts'
import { answer } from '../support/scripted-scenes.ts'
import { startScriptedUpstream } from '../support/scripted-upstream.ts'

/** A vendor that refuses its key until it is mended. */
async function startMendable() {
  let isMended = false
  const broken = answer({ status: 401, body: errorBody('invalid_api_key', 'Pay your bill for sk-the-key.') })
  const upstream = await startScriptedUpstream((exchange) =>
    (isMended ? answer({ body: completion() }) : broken)(exchange),
  )
  onTestFinished(() => upstream.close())
  return { url: `${upstream.url}/v1`, mend: () => (isMended = true) }
}

async function bed(more: object = {}, args: string[] = []) {
  const vendor = await startMendable()
  const models = [
    { name: 'groq', base_url: vendor.url, api_key: 'sk-the-key', model: 'm', limits: { rpm: 30 } },
  ]
  const gateway = await startGateway({ models, ...more }, { args })
  const { directory, port } = gateway
  const aiload = (...words: string[]) => runAiload([...words, '--port', String(port)], { directory })
  return { ...vendor, gateway, directory, port, aiload }
}

test('status shows how each upstream is and what it said, forget ends its rest, and the next request goes there', async () => {
  const { gateway, aiload, mend } = await bed()
  await gateway.chat()
  const { code, stdout, stderr } = await aiload('status')
  expect([code, stderr]).toEqual([0, ''])
  const lines = stdout.split('\n')
  expect(lines[0]).toMatch(
    new RegExp(
      `^AILoad [\\d.]+ at http://127\\.0\\.0\\.1:${gateway.port}, up \\d+ s; strategy \\w+, affinity ip$`,
    ),
  )
  expect(lines.slice(2, 4)).toEqual([
    expect.stringMatching(/^UPSTREAM  STATE +IN FLIGHT  LIMITS$/),
    expect.stringMatching(
      /^groq +needs attention: key refused \(all with its key\), for \d min(?: \d+ s)? +0 +requests per minute: 1 used, 29 left$/,
    ),
  ])
  expect(stdout).toMatch(/^groq, last error at \S+: status 401 at \S+: Pay your bill for \*\*\*\.$/m)
  expect(stdout).not.toContain('sk-the-key')

  mend()
  expect(await aiload('forget', 'groq')).toMatchObject({
    code: 0,
    stdout: 'groq rests no longer (what rested: key)\n',
  })
  expect((await aiload('status')).stdout).toMatch(/^groq +available/m)
  expect((await gateway.chat()).status).toBe(200)
  expect(await aiload('forget', 'groq')).toMatchObject({ code: 0, stdout: 'groq did not rest\n' })
})

test('a pause holds across a restart until it is resumed, and so do the sums of usage', async () => {
  const { gateway, aiload, mend, directory, url } = await bed()
  mend()
  expect((await gateway.chat()).status).toBe(200)
  expect(await aiload('pause', 'groq')).toMatchObject({
    code: 0,
    stdout: 'groq is paused until you resume it\n',
  })
  expect((await gateway.chat()).status).toBe(503)
  expect(await gateway.stop()).toMatchObject({ code: 0 })

  const models = [{ name: 'renamed', base_url: url, api_key: 'sk-the-key', model: 'm', limits: { rpm: 30 } }]
  const next = await startGateway({ models }, { directory })
  const again = (...words: string[]) => runAiload([...words, '--port', String(next.port)], { directory })
  expect((await again('status')).stdout).toMatch(/^renamed +paused +0/m)
  expect((await next.chat()).status).toBe(503)
  expect(await again('resume', 'renamed')).toMatchObject({
    code: 0,
    stdout: 'renamed is not paused any more\n',
  })
  expect((await next.chat()).status).toBe(200)
  const usage = (await (await next.fetch('/admin/usage')).json()) as ReturnType<UsageHistory['show']>
  expect(usage.days?.points.at(-1)).toMatchObject({ answered: 2, failed: 2 })
  await next.stop()
  expect(readFileSync(join(directory, 'data', 'state.json'), 'utf8')).not.toContain('sk-the-key')
}, 60_000)

test('status --json is what the gateway answers, and nothing else', async () => {
  const { gateway, aiload } = await bed()
  const { code, stdout } = await aiload('status', '--json')
  const status = JSON.parse(stdout) as GatewayStatus
  expect([code, status.upstreams.map(({ name }) => name)]).toEqual([0, ['groq']])
  expect(Object.keys(status)).toEqual(
    Object.keys((await (await gateway.fetch('/admin/status')).json()) as object),
  )
})

test('a name that there is not ends with 1 and names the near one', async () => {
  const { aiload, port } = await bed()
  expect(await aiload('forget', 'grok')).toMatchObject({
    code: 1,
    stdout: '',
    stderr: `http://127.0.0.1:${port} answers 404: There is no upstream "grok". Did you mean groq?\n`,
  })
})

test('where nothing listens, and where the token is refused, a line says so', async () => {
  const { aiload, gateway, directory, port } = await bed()
  const free = await freePort()
  const file = join(directory, 'data', 'config', 'config.json')
  for (const words of [['status'], ['forget', 'groq']]) {
    const { code, stderr } = await runAiload([...words, '--port', String(free)], { directory })
    const line = `nothing listens on http://127.0.0.1:${free}; is the gateway of ${file} started? One on another port is asked with --port\n`
    expect([code, stderr]).toEqual([1, line])
  }
  await gateway.stop()
  const other = http
    .createServer((_, response) => response.writeHead(401).end('{}'))
    .listen(port, '127.0.0.1')
  onTestFinished(() => void other.close())
  const { code, stderr } = await aiload('status')
  expect([code, stderr]).toEqual([
    1,
    `http://127.0.0.1:${port} refuses the token in ${file}; was it started with another configuration?\n`,
  ])
  expect(stderr).not.toContain(testToken)
})

test('another program at the address is told as such', async () => {
  const directory = temporaryDirectory()
  const other = http.createServer((_, response) => response.end('hello')).listen(0, '127.0.0.1')
  await once(other, 'listening')
  onTestFinished(() => void other.close())
  const { port } = other.address() as AddressInfo
  const where = ['--host', '127.0.0.1', '--port', String(port)]
  expect(await runAiload(['status', ...where], { directory })).toMatchObject({
    code: 1,
    stderr: `http://127.0.0.1:${port} answers, but not as AILoad does; is it another program?\n`,
  })
})

test.each(['127.0.0.1', '0.0.0.0', '::', '::1', 'localhost'])(
  'healthcheck finds a gateway that listens on %s by its configuration alone, and says when it is gone',
  async (host) => {
    const port = await freePort()
    const directory = temporaryDirectory()
    const file = join(directory, 'my.json')
    const models = [{ base_url: 'http://a.example/v1', model: 'm' }]
    writeFileSync(file, JSON.stringify({ auth_token: testToken, models, server: { host, port } }))
    const env = { AILOAD_CONFIG: file }
    const gateway = spawnAiload(['start'], { directory, env })
    await gateway.printed(/listens on/)
    const shown = host === '0.0.0.0' ? '127.0.0.1' : host.includes(':') ? '[::1]' : host
    expect(await runAiload(['healthcheck'], { directory, env })).toMatchObject({
      code: 0,
      stdout: `http://${shown}:${port} is well\n`,
      stderr: '',
    })
    await gateway.stop()
    const { code, stdout, stderr } = await runAiload(['healthcheck'], { directory, env })
    expect([code, stdout]).toEqual([1, ''])
    expect(stderr).toContain(`nothing listens on http://${shown}:${port}`)
  },
)

test('a change of the file that the gateway refuses does not make it unwell', async () => {
  const { gateway, aiload } = await bed()
  const file = gateway.configFile
  const text = readFileSync(file, 'utf8')
  for (const broken of [
    text.replace('"groq"', '7'),
    text.replace('"groq"', '"${AILOAD_NO_SUCH}"'),
    `${text},`,
  ]) {
    writeFileSync(file, broken)
    expect(await aiload('healthcheck')).toMatchObject({ code: 0 })
  }
})

test('one that says nothing is given 3 s', async () => {
  const silent = createServer(() => {}).listen(0, '127.0.0.1')
  await once(silent, 'listening')
  onTestFinished(() => void silent.close())
  const { port } = silent.address() as AddressInfo
  const where = ['--host', '127.0.0.1', '--port', String(port)]
  const { code, stderr } = await runAiload(['healthcheck', ...where], { directory: temporaryDirectory() })
  expect([code, stderr]).toEqual([1, `http://127.0.0.1:${port} gives no answer within 3 s\n`])
})

test('a configuration that cannot be read is told by place, and nothing is asked', async () => {
  const directory = temporaryDirectory()
  const missing = join(directory, 'none.json')
  expect(await runAiload(['healthcheck', '--config', missing], { directory })).toMatchObject({ code: 1 })
  writeFileSync(join(directory, 'my.json'), '{ "server": { "port": "many" } }')
  const { code, stderr } = await runAiload(['status', '--config', 'my.json'], { directory })
  expect([code, stderr]).toEqual([1, expect.stringMatching(/^my\.json:1:\d+: server\.port: /)])
})

test('states are sentences: what, whose, how long, and until when where that is far', () => {
  const upstream = (more: Partial<UpstreamStatus>) =>
    ({
      name: '中文',
      enabled: true,
      available: false,
      why: 'quota spent',
      blocked_by: 'upstream',
      until: '2026-11-23T00:00:00.000Z',
      for_ms: 43_200_000,
      resting_endpoints: [],
      in_flight: 2,
      windows: [],
      last_error: null,
      ...more,
    }) as unknown as UpstreamStatus
  const status = {
    version: '1.2.3',
    uptime_ms: 200_000_000,
    strategy: 'fastest',
    affinity: 'off',
    queue: { waiting: 1 },
    draining: true,
    last_reload: { ok: false, at: 'then', problems: ['my.json:1:1: models: is missing'] },
    config_warnings: ['odd'],
    needs_you: [
      { kind: 'config_warning', text: 'odd' },
      { kind: 'key_refused', text: 'the key of b was refused; do this' },
    ],
    upstreams: [
      upstream({}),
      upstream({ name: 'b', enabled: false }),
      upstream({
        name: 'c',
        why: null,
        resting_endpoints: [{ endpoint: 'audio', why: 'not there', until: null }],
      }),
      upstream({ name: 'd\u001b[2J', why: 'failure', for_ms: null, until: null, blocked_by: 'origin' }),
    ],
  } as unknown as GatewayStatus
  expect(statusText(status, { url: 'http://h:1' }))
    .toBe(`AILoad 1.2.3 at http://h:1, up 2 d 8 h; strategy fastest, affinity off
1 request waiting for an upstream
it is stopping: open answers may finish, new requests are refused
the configuration that was changed at then is refused:
  my.json:1:1: models: is missing
1 warning of the configuration:
  odd

UPSTREAM  STATE                                                  IN FLIGHT  LIMITS
中文      quota spent, for 12 h, until 2026-11-23T00:00:00.000Z  2
b         disabled                                               2
c         available; audio rests: not there                      2
d[2J      failure (all at its host)                              2

needs you:
  the key of b was refused; do this
`)
})

test.each([
  [0, '1 s'],
  [400, '1 s'],
  [1_001, '2 s'],
  [59_999, '1 min'],
  [90_000, '1 min 30 s'],
  [3_599_001, '1 h'],
  [3_600_000, '1 h'],
  [90_000_000, '1 d 1 h'],
])('%i ms are %s', (ms, text) => {
  expect(durationText(ms)).toBe(text)
})

test('cells stand below each other, wide characters counted as two', () => {
  expect(
    tableLines([
      ['a', '智谱', 'x'],
      ['bcd', 'e', 'y'],
    ]),
  ).toEqual(['a    智谱  x', 'bcd  e     y'])
})
