import { once } from 'node:events'
import net, { type AddressInfo } from 'node:net'
import { expect, onTestFinished, test } from 'vitest'
import { refusedUrl } from '../support/dead-ends.ts'
import { startGateway } from '../support/gateway-process.ts'
import { upstreamStatus } from '../support/gateway-status.ts'
import { answer } from '../support/scripted-scenes.ts'
import { startScriptedUpstream, type Scene } from '../support/scripted-upstream.ts'

/*
 * What an operator reads of an upstream that does not work, on real processes: the log, the status, the metrics, and the
 * error that the client gets.
 */

const settings = { affinity: 'off', connect_timeout: 1, queue_timeout: 0 }

async function upstreamOf(scene: Scene): Promise<string> {
  const upstream = await startScriptedUpstream(scene)
  onTestFinished(() => upstream.close())
  return upstream.url
}

async function junkUrl(said: string): Promise<string> {
  const server = net.createServer((socket) => void socket.on('error', () => {}).end(said))
  onTestFinished(() => void server.close())
  await once(server.listen(0, '127.0.0.1'), 'listening')
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

test.each([
  { what: 'nobody listens', url: async () => refusedUrl(), reason: 'connection refused' },
  { what: 'no such name', url: async () => 'http://no-such-host.invalid', reason: 'host name not found' },
  {
    what: 'https to plain HTTP',
    url: async () => (await junkUrl('HTTP/1.1 400 Bad Request\r\n\r\n')).replace('http', 'https'),
    reason: 'speaks no TLS',
  },
  { what: 'junk', url: () => junkUrl('SSH-2.0-OpenSSH_9.2\r\n'), reason: 'sent no valid HTTP' },
])('$what: log, status, metrics and client are told that "$reason"', async ({ url, reason }) => {
  const base = await url()
  const models = [{ base_url: `${base}/v1?key=q-secret-5678`, api_key: 'k', model: 'm', name: 'lost' }]
  const gateway = await startGateway({ models, settings })
  const response = await gateway.chat()
  const { error } = (await response.json()) as { error: { message: string } }
  expect(response.status).toBe(502)
  expect(response.headers.get('x-aiload-attempts')).toBe('1')
  expect(error.message).toContain(`: ${reason}.`)
  expect(error.message).not.toMatch(/127\.0\.0\.1|invalid:|lost/)

  const address = `${base}/v1/chat/completions`
  await gateway.printed(new RegExp(`"outcome":"failure","reason":"${reason}","url":"${address}"`))
  expect(gateway.stdout).not.toContain('q-secret')
  const status = await upstreamStatus(gateway, 'lost')
  expect(status).toMatchObject({ available: false, last_error: { reason, url: address, status: null } })
  expect(status.why).toContain(reason)
  const metrics = await (await gateway.fetch('/metrics')).text()
  expect(metrics).toContain('aiload_available{upstream="lost"} 0')
  expect((await gateway.fetch('/readyz')).status).toBe(200)
})

test('an upstream that goes away and comes back is told once each, and is available with its first answer', async () => {
  let isUp = false
  const gone = answer({ status: 503, body: '{"error":{"message":"sk-the-key-1 is\\nnot served"}}' })
  const there = answer({
    headers: { 'content-type': 'application/json' },
    body: '{"choices":[{"message":{"content":"x"}}]}',
  })
  const url = await upstreamOf((exchange) => (isUp ? there : gone)(exchange))
  const models = [{ base_url: `${url}/v1`, api_key: 'sk-the-key-1', model: 'm', name: 'a' }]
  const gateway = await startGateway({ models, settings })
  for (let times = 0; times < 5; times++) {
    const response = await gateway.chat()
    expect([response.status, response.headers.get('x-aiload-attempts')]).toEqual([503, '1'])
  }
  expect(await upstreamStatus(gateway, 'a')).toMatchObject({
    available: false,
    why: expect.stringMatching(/^status 503/),
    last_error: { status: 503, reason: null, message: '*** is not served' },
  })
  isUp = true
  expect((await gateway.chat()).status).toBe(200)
  expect(await upstreamStatus(gateway, 'a')).toMatchObject({ available: true, why: null })
  await gateway.printed(/"upstream":"a","message":"upstream a: works again"/)
  const notices = gateway.stdout
    .split('\n')
    .filter((line) => line.includes('"event":"notice","upstream":"a"'))
  expect(notices.map((line) => (JSON.parse(line) as { message: string }).message)).toEqual([
    `upstream a: fails: status 503, 3 in a row at ${url}/v1/chat/completions`,
    'upstream a: works again',
  ])
  expect(gateway.stdout).not.toContain('sk-the-key-1')
})

test('an address that is not there stands in log and status', async () => {
  const url = await upstreamOf(
    answer({ status: 404, body: '{"error":{"message":"Invalid URL (POST /chat/completions)"}}' }),
  )
  const gateway = await startGateway({
    models: [{ base_url: url, api_key: 'k', model: 'm', name: 'a' }],
    settings,
  })
  await gateway.chat()
  const address = `${url}/chat/completions`
  await gateway.printed(new RegExp(`"status":404,"url":"${address}"`))
  const { last_error } = await upstreamStatus(gateway, 'a')
  expect(last_error).toMatchObject({ url: address, message: 'Invalid URL (POST /chat/completions)' })
})

test('failures say how many upstreams were asked, 0 where nobody was', async () => {
  const limited = answer({ status: 429, headers: { 'retry-after': '30' }, body: '{}' })
  const models = [
    { base_url: `${await upstreamOf(limited)}/v1`, api_key: 'k', model: 'm', name: 'a' },
    { base_url: `${await upstreamOf(limited)}/v1`, api_key: 'k', model: 'm', name: 'b' },
  ]
  const gateway = await startGateway({ models, settings })
  const attemptsOf = async (response: Promise<Response>) => {
    const { status, headers } = await response
    return [status, headers.get('x-aiload-attempts')]
  }
  expect(await attemptsOf(gateway.chat())).toEqual([429, '2'])
  expect(await attemptsOf(gateway.chat())).toEqual([429, '0'])
  expect(await attemptsOf(gateway.chat({ model: 'nobody' }))).toEqual([404, '0'])
  expect(
    await attemptsOf(gateway.fetch('/v1/chat/completions', { headers: { authorization: 'no' } })),
  ).toEqual([401, '0'])
})

test('a refused reload is counted', async () => {
  const models = [{ base_url: 'https://a.invalid/v1', api_key: 'k', model: 'm' }]
  const gateway = await startGateway({ models })
  const counts = async () =>
    (await (await gateway.fetch('/metrics')).text()).match(/^aiload_reloads_total.*$/gm)
  expect(await counts()).toEqual([
    'aiload_reloads_total{result="ok"} 0',
    'aiload_reloads_total{result="refused"} 0',
  ])
  gateway.writeConfig('{ broken')
  await gateway.printed(/the changed configuration was rejected/)
  gateway.writeConfig({ models: [{ ...models[0], model: 'other' }] })
  await gateway.printed(/the configuration was reloaded/)
  expect(await counts()).toEqual([
    'aiload_reloads_total{result="ok"} 1',
    'aiload_reloads_total{result="refused"} 1',
  ])
})
