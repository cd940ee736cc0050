import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { presetOf } from '../../src/config/presets.ts'
import {
  portOf,
  runAiload,
  spawnAiload,
  startGateway,
  temporaryDirectory,
  type GatewayOptions,
  type GatewayProcess,
} from '../support/gateway-process.ts'
import { answer } from '../support/scripted-scenes.ts'
import { startScriptedUpstream, type Scene } from '../support/scripted-upstream.ts'
import { until } from '../support/until.ts'

/** Where a gateway connects to: the configured hosts, and nowhere else. */

const ELSEWHERE = 'elsewhere.invalid'

const json = (body: object): Scene => answer({ body: JSON.stringify(body) })
const chat = json({
  object: 'chat.completion',
  choices: [{ message: { role: 'assistant', content: `See https://${ELSEWHERE}/from-an-answer` } }],
})
const stream = answer({
  headers: { 'content-type': 'text/event-stream' },
  body: ['data: {"choices":[{"delta":{"content":"Hello"}}]}\n\n', 'data: [DONE]\n\n'],
})

/** Answers what is asked. */
const obliging: Scene = (exchange) => {
  const text = new TextDecoder().decode(exchange.request.body)
  return (text.includes('"stream":true') ? stream : chat)(exchange)
}

/** Names other places wherever an answer can name one. */
const luring: Scene = answer({
  status: 307,
  headers: { location: `https://${ELSEWHERE}/v1`, link: `<https://${ELSEWHERE}/next>; rel="next"` },
  body: JSON.stringify({ error: { message: `moved to https://${ELSEWHERE}/v1` } }),
})

interface Scenery {
  readonly gateway: GatewayProcess
  /** The ports of the configured upstreams; the last one is added by a reload. */
  readonly ports: readonly number[]
}

/** A gateway with everything that it does in its life, until it has stopped. */
async function live(options: GatewayOptions): Promise<Scenery> {
  const upstreams = await Promise.all(
    [obliging, luring, obliging].map((scene) => startScriptedUpstream(scene)),
  )
  const [first, second, third] = upstreams.map(({ port }) => port)
  const models = [
    { base_url: `http://127.0.0.1:${first}/v1`, model: 'a', api_key: 'k-a' },
    { base_url: `http://localhost:${second}/v1`, model: 'b', api_key: 'k-b', priority: -1 },
    { base_url: 'http://configured.invalid/v1', model: 'c', api_key: 'k-c', priority: -2 },
  ]
  const settings = { affinity: 'off', connect_timeout: 2 }
  const gateway = await startGateway({ models, settings }, options)
  const lure = {
    'x-forwarded-for': ELSEWHERE,
    'x-forwarded-host': ELSEWHERE,
    forwarded: `host=${ELSEWHERE}`,
    origin: `https://${ELSEWHERE}`,
  }
  const image = { type: 'image_url', image_url: { url: `https://${ELSEWHERE}/image.png` } }
  const ask = async (body: object): Promise<string> => (await gateway.chat(body, { headers: lure })).text()
  const askAll = async (): Promise<void> => {
    const bodies = [{}, { stream: true }, { messages: [{ role: 'user', content: [image] }] }]
    for (const body of bodies) expect(await ask(body)).not.toContain('"error"')
  }
  try {
    await askAll()
    for (const path of ['/metrics', '/admin/status', '/v1/models', '/v1/files', '/healthz', '/readyz', '/'])
      await (await gateway.fetch(path)).text()
    await (
      await gateway.fetch('/v1/embeddings', { method: 'POST', body: '{"model":"a","input":"x"}' })
    ).text()
    await (await gateway.fetch('/v1/chat/completions', { method: 'POST', body: '{' })).text()
    gateway.writeConfig({
      models: [...models, { base_url: `http://127.0.0.1:${third}/v1`, model: 'd', api_key: 'k-d' }],
      settings,
    })
    await gateway.printed(/the configuration was reloaded/)
    expect(await ask({ model: 'd' })).not.toContain('"error"')
    await askAll()
    gateway.signal('SIGHUP')
    await gateway.printed(/the configuration was reloaded[^]*the configuration was reloaded/)
    await askAll()
    expect(await gateway.stop()).toEqual({ code: 0, signal: null })
  } finally {
    await Promise.all(upstreams.map((upstream) => upstream.close()))
  }
  for (const upstream of upstreams) expect(upstream.requests.length).toBeGreaterThan(0)
  return { gateway, ports: upstreams.map(({ port }) => port) }
}

const recorder = new URL('../support/record-connections.mjs', import.meta.url).href
const recordingInto = (file: string): Record<string, string> => ({
  NODE_OPTIONS: `--import ${recorder}`,
  RECORD_CONNECTIONS: file,
})
const recorded = (file: string): string[] => readFileSync(file, 'utf8').trimEnd().split('\n')

test('it connects to configured hosts and to nobody else, from its start to its end', async () => {
  const file = join(temporaryDirectory(), 'connections')
  const { ports } = await live({ env: recordingInto(file) })
  const [first, second, third] = ports
  const places = [...new Set(recorded(file))].toSorted()
  // `localhost` may be either of two addresses; the upstream listens on one.
  expect(places.filter((place) => place !== `connect ::1:${second}`)).toEqual(
    [
      'recording',
      'lookup configured.invalid',
      'lookup localhost',
      `connect 127.0.0.1:${first}`,
      `connect 127.0.0.1:${second}`,
      `connect 127.0.0.1:${third}`,
    ].toSorted(),
  )
})

test('it connects to nobody before the first request, nor after the last', async () => {
  const file = join(temporaryDirectory(), 'connections')
  const models = [{ base_url: 'http://configured.invalid/v1', model: 'm', api_key: 'k' }]
  const gateway = await startGateway({ models }, { env: recordingInto(file) })
  for (const path of ['/v1/models', '/metrics', '/admin/status', '/readyz']) await gateway.fetch(path)
  await gateway.stop()
  expect(recorded(file)).toEqual(['recording'])
})

/** Finds no name, and writes down which was wanted: vendors are not to be troubled by a test. */
const nameless = `data:text/javascript,${encodeURIComponent(`
  import dns from 'node:dns'
  import { appendFileSync } from 'node:fs'
  import { syncBuiltinESMExports } from 'node:module'
  import { isIP } from 'node:net'
  const { lookup } = dns
  dns.lookup = (name, ...rest) => {
    if (isIP(name)) return lookup(name, ...rest)
    appendFileSync(process.env.RECORD_CONNECTIONS, 'lookup ' + name + '\\n')
    process.nextTick(rest.at(-1), Object.assign(new Error('no such name'), { code: 'ENOTFOUND' }))
  }
  syncBuiltinESMExports()`)}`

test('without a file it asks the vendors whose keys are in the environment, and nobody before it is asked', async () => {
  const directory = temporaryDirectory()
  const file = join(directory, 'connections')
  const env = {
    ...recordingInto(file),
    NODE_OPTIONS: `--import ${recorder} --import ${nameless}`,
    GROQ_API_KEY: 'gsk_not-a-real-one',
    GEMINI_API_KEY: 'AIza-not-a-real-one',
    AILOAD_TOKEN: 'sk-own',
  }
  const gateway = spawnAiload(['start', '--port', '0'], { directory, env })
  const url = `http://127.0.0.1:${await portOf(gateway)}`
  const headers = { authorization: 'Bearer sk-own', 'content-type': 'application/json' }
  await fetch(`${url}/admin/status`, { headers })
  expect(recorded(file)).toEqual(['recording'])
  const body = JSON.stringify({ model: 'auto', messages: [{ role: 'user', content: 'Hello' }] })
  const answered = await fetch(`${url}/v1/chat/completions`, { method: 'POST', headers, body })
  expect(answered.status).toBe(502)
  await gateway.stop()
  const hosts = ['groq', 'gemini'].map((vendor) => new URL(presetOf(vendor)?.base_url ?? '').host)
  const wanted = ['recording', ...hosts.map((host) => `lookup ${host}`)]
  expect([...new Set(recorded(file))].toSorted()).toEqual(wanted.toSorted())
})

test.each([['check'], ['token'], ['--help'], ['--version']])(
  '`aiload %s` connects to nobody',
  async (command) => {
    const directory = temporaryDirectory()
    const file = join(directory, 'connections')
    await runAiload([command], { directory, env: recordingInto(file) })
    expect(recorded(file)).toEqual(['recording'])
  },
)

test('what is recorded is what Node does, whatever interface is used', () => {
  const file = join(temporaryDirectory(), 'connections')
  const program = `
    fetch('http://fetched.invalid/').catch(() => {})
    require('node:http').get('http://127.0.0.1:1/').on('error', () => {})
    require('node:tls').connect(2, '127.0.0.1').on('error', () => {})
    require('node:dns').resolve4('resolved.invalid', () => {})
    require('node:dgram').createSocket('udp4').unref()
    require('node:child_process').spawn('true')`
  spawnSync(process.execPath, ['--eval', program], { env: { ...process.env, ...recordingInto(file) } })
  expect(recorded(file).toSorted()).toEqual([
    'connect 127.0.0.1:1',
    'connect 127.0.0.1:2',
    'datagram socket',
    'lookup fetched.invalid',
    'lookup resolved.invalid',
    'process',
    'recording',
  ])
})

const hasStrace = spawnSync('strace', ['-qq', '-o', '/dev/null', 'true']).status === 0

test.runIf(hasStrace)('the kernel saw it connect to nobody else either', async () => {
  const file = join(temporaryDirectory(), 'calls')
  const calls = 'trace=connect,sendto,sendmsg,sendmmsg'
  const { ports } = await live({ through: ['strace', '-D', '-f', '-q', '-e', calls, '-o', file] })
  const written = await until(
    () => readFileSync(file, 'utf8'),
    (text) => text.includes('+++ exited with 0 +++'),
  )
  const places = written.split('\n').flatMap((line) => {
    const [, port, address] = /sin6?_port=htons\((\d+)\).*?"([^"]+)"/.exec(line) ?? []
    return port === undefined ? [] : [`${address}:${port}`]
  })
  // Names are asked of the system's name server. A port of 0 asks the kernel for a route, and sends nothing.
  const others = places.filter((place) => !/:(?:53|0)$|^::1:/.test(place))
  expect([...new Set(others)].toSorted()).toEqual(ports.map((port) => `127.0.0.1:${port}`).toSorted())
})
