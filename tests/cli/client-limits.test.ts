import { once } from 'node:events'
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { expect, onTestFinished, test, vi } from 'vitest'
import { runAiload, startGateway, temporaryDirectory } from '../support/gateway-process.ts'
import { createLoadClient } from '../support/load-client.ts'
import { until } from '../support/until.ts'

/** The tokens of clients with real processes on real sockets: each starts some, and asks hundreds of times. */
vi.setConfig({ testTimeout: 90_000 })

const secret = `sk-alice-${'x'.repeat(40)}`
const usage = { prompt_tokens: 500, completion_tokens: 500, total_tokens: 1_000 }
const body = JSON.stringify({
  id: 'x',
  choices: [{ message: { role: 'assistant', content: 'Hello' } }],
  usage,
})

/** An upstream that answers after some ms, and counts what it has under way; `hold` streams until it is told to end. */
async function startUpstream(ms: number) {
  const seen = { requests: 0, underWay: 0, most: 0 }
  const streams: http.ServerResponse[] = []
  const server = http.createServer((request, response) => {
    seen.requests += 1
    seen.underWay += 1
    seen.most = Math.max(seen.most, seen.underWay)
    let text = ''
    request.on('data', (chunk: Buffer) => (text += chunk.toString()))
    request.on('end', () => {
      if (text.includes('"stream":true')) {
        response.writeHead(200, { 'content-type': 'text/event-stream' })
        response.write(`data: ${JSON.stringify({ id: 'x', choices: [{ delta: { content: 'Hel' } }] })}\n\n`)
        streams.push(response)
      } else
        setTimeout(() => {
          // From the first byte of the answer on the gateway may let the next one in.
          seen.underWay -= 1
          response.writeHead(200, { 'content-type': 'application/json' }).end(body)
        }, ms)
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => server.closeAllConnections())
  onTestFinished(() => void server.close())
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, seen, streams }
}

const configWith = (url: string, limits: object) => ({
  models: [{ base_url: `${url}/v1`, model: 'm', api_key: 'k', name: 'up' }],
  tokens: [{ name: 'alice', token: secret, limits }],
})

const CLIENTS = 50

/** The statuses that 50 clients get who each ask some times, all at once. */
async function storm(
  { port }: { port: number },
  times: number,
  ask: object = {},
): Promise<Map<number, number>> {
  const statuses = new Map<number, number>()
  const client = createLoadClient({ port, token: secret })
  onTestFinished(() => client.close())
  const one = async (): Promise<void> => {
    for (let nth = 0; nth < times; nth++) {
      const { status } = await client.chat(ask)
      statuses.set(status, (statuses.get(status) ?? 0) + 1)
    }
  }
  await Promise.all(Array.from({ length: CLIENTS }, one))
  return statuses
}

test('requests: of 50 clients at once never more than the limit get through, after a restart too', async () => {
  const upstream = await startUpstream(5)
  const directory = temporaryDirectory()
  const config = configWith(upstream.url, { rpd: 101, day_resets: 'rolling' })
  const first = await startGateway(config, { directory })
  const statuses = await storm(first, 4)
  expect([statuses.get(200), statuses.get(429), statuses.size]).toEqual([101, 99, 2])
  expect(upstream.seen.requests).toBe(101)
  // Whose own limits are none is not held up.
  expect((await first.chat()).status).toBe(200)
  await first.stop()
  const second = await startGateway(config, { directory })
  expect([...(await storm(second, 1)).keys()]).toEqual([429])
  const { tokens } = (await (await second.fetch('/admin/tokens')).json()) as {
    tokens: { limits: { used: number; left: number }[]; usage: { day: object; since_start: object } }[]
  }
  expect(tokens[0]?.limits[0]).toMatchObject({ used: 101, left: 0 })
  expect(tokens[0]?.usage).toMatchObject({
    day: { requests: 101, input_tokens: 50_500, output_tokens: 50_500 },
    since_start: { requests: 0 },
  })
  const metrics = await (await second.fetch('/metrics')).text()
  expect(metrics).toContain('aiload_token_limit_left{token="alice",limit="requests:day"} 0')
  const log = second.stdout.split('\n').find((line) => line.includes('"token":"alice"')) ?? ''
  expect(JSON.parse(log)).toMatchObject({ status: 429, code: 'rate_limit_exceeded', token: 'alice' })
  expect(first.stdout + second.stdout + first.stderr + second.stderr).not.toContain(secret)
})

test('at once: 50 clients never have more under way than the limit', async () => {
  const upstream = await startUpstream(20)
  const gateway = await startGateway(configWith(upstream.url, { concurrency: 7 }))
  const statuses = await storm(gateway, 4)
  expect(upstream.seen.most).toBe(7)
  expect(new Set(statuses.keys())).toEqual(new Set([200, 429]))
  expect(upstream.seen.requests).toBe(statuses.get(200))
  // Nothing is held any more.
  const inFlight = async () => {
    const { tokens } = (await (await gateway.fetch('/admin/tokens')).json()) as {
      tokens: { in_flight: number }[]
    }
    return tokens[0]?.in_flight
  }
  await until(inFlight, (count) => count === 0)
})

test('tokens: what 50 clients reserve and use never passes the limit', async () => {
  const upstream = await startUpstream(5)
  const gateway = await startGateway(configWith(upstream.url, { tpd: 20_500, day_resets: 'rolling' }))
  const statuses = await storm(gateway, 3, { max_tokens: 1_000 })
  // Each uses 1,000.
  expect(upstream.seen.requests).toBe(statuses.get(200))
  expect(statuses.get(200)).toBeLessThanOrEqual(20)
  expect(statuses.get(200)).toBeGreaterThanOrEqual(15)
})

test('a token that is added serves, and one that is revoked is refused from the reload on while its answer under way ends', async () => {
  const upstream = await startUpstream(1)
  const { tokens: _, ...config } = configWith(upstream.url, {})
  const gateway = await startGateway(config)
  const { directory, port, url } = gateway
  const run = (...args: string[]) => runAiload(['token', ...args], { directory })
  const made = await run('add', 'bob', '--models', 'up')
  expect(made.code).toBe(0)
  const token = made.stdout.trim()
  const statusOf = async () =>
    (await fetch(`${url}/v1/models`, { headers: { authorization: `Bearer ${token}` } })).status
  await until(statusOf, (status) => status === 200)
  const stream = await fetch(`${url}/v1/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    body: JSON.stringify({ model: 'auto', stream: true, messages: [{ role: 'user', content: 'hi' }] }),
  })
  expect(stream.status).toBe(200)

  const listed = await run('list', '--port', String(port))
  expect(listed.stdout).toMatch(
    /^TOKEN +MODELS +TODAY +THIS MONTH +LIMITS\nbob +up +0 requests, 0 tokens +0 requests, 0 tokens\n$/,
  )
  const shown = JSON.parse((await run('list', '--json', '--port', String(port))).stdout) as {
    tokens: object[]
  }
  expect(shown.tokens).toEqual([expect.objectContaining({ name: 'bob', models: ['up'], limits: [] })])

  expect(await run('revoke', 'bob')).toMatchObject({ code: 0, stderr: '' })
  await gateway.printed(/reloaded[^]*reloaded/)
  expect(await statusOf()).toBe(401)
  const [answering] = upstream.streams
  answering?.write(
    `data: ${JSON.stringify({ id: 'x', choices: [{ delta: { content: 'lo' }, finish_reason: 'stop' }] })}\n\n`,
  )
  answering?.end('data: [DONE]\n\n')
  expect(await stream.text()).toMatch(/Hel[^]*lo[^]*\[DONE\]/)
  await gateway.stop()
  const alone = await run('list', '--port', String(port))
  expect([alone.code, alone.stdout]).toEqual([
    0,
    'there is no token of a client; make one with: aiload token add NAME\n',
  ])
  expect(alone.stderr).toContain('no gateway answers at')
})

test('who watches with a token that is revoked sees no more from the reload on', async () => {
  const { url } = await startUpstream(1)
  const config = configWith(url, {})
  const gateway = await startGateway({ ...config, tokens: [{ ...config.tokens[0], admin: true }] })
  const look = (path: string) =>
    fetch(`${gateway.url}${path}`, { headers: { authorization: `Bearer ${secret}` } })
  const watching = await look('/admin/events')
  expect(watching.status).toBe(200)
  const { directory } = gateway
  expect(await runAiload(['token', 'revoke', 'alice'], { directory })).toMatchObject({ code: 0 })
  await gateway.printed(/the configuration was reloaded/)
  for (const path of ['/admin/events', '/admin/status', '/v1/models'])
    expect((await look(path)).status).toBe(401)
  expect(await watching.text()).toMatch(/^event: snapshot\n/)
})
