import { afterAll, beforeAll, expect, test } from 'vitest'
import { healthy } from '../support/believable.ts'
import { startGateway, type GatewayProcess } from '../support/gateway-process.ts'
import { residentBytes } from '../support/process-facts.ts'
import { connectRaw, headOf, type RawClient } from '../support/raw-client.ts'
import { startScriptedUpstream, type ScriptedUpstream } from '../support/scripted-upstream.ts'

const MEBIBYTE = 1_048_576
const LIMIT = MEBIBYTE

let upstream: ScriptedUpstream
let gateway: GatewayProcess

beforeAll(async () => {
  upstream = await startScriptedUpstream(healthy())
  gateway = await startGateway({
    models: [{ base_url: `${upstream.url}/v1`, model: 'm' }],
    server: { max_body: LIMIT, max_buffered: 3 * LIMIT },
  })
})

afterAll(async () => {
  await gateway.stop()
  await upstream.close()
  expect(gateway.stderr).toBe('')
})

const paths = ['/v1/chat/completions', '/v1/files']

const headFor = (path: string, more: Record<string, string | number>): string =>
  headOf(`POST ${path} HTTP/1.1`, {
    authorization: `Bearer ${gateway.token}`,
    'content-type': 'application/json',
    ...more,
  })

function expectRefused(client: RawClient): void {
  expect(client.text).toMatch(/^HTTP\/1\.1 413 /)
  expect(client.text).toMatch(/\r\nconnection: close\r\n/i)
  expect(client.text).toContain('"code":"request_too_large"')
}

/** Sends zeros in chunks for as long as the gateway takes them; resolves with how many bytes. */
async function pour(client: RawClient, atMost: number): Promise<number> {
  const piece = Buffer.alloc(64 * 1024, 0x20)
  const chunk = Buffer.concat([Buffer.from(`${piece.length.toString(16)}\r\n`), piece, Buffer.from('\r\n')])
  let sent = 0
  while (sent < atMost && client.ending === undefined && !client.text.includes('\r\n\r\n')) {
    const goesOn = client.socket.write(chunk)
    sent += piece.length
    if (!goesOn)
      await Promise.race([
        new Promise((resolve) => client.socket.once('drain', resolve)),
        client.ended(60_000),
      ])
    await new Promise((resolve) => setImmediate(resolve))
  }
  return sent
}

test.each(paths)('a body declared above the limit is refused before it is sent: %s', async (path) => {
  const client = await connectRaw(gateway.port)
  client.send(headFor(path, { 'content-length': LIMIT + 1 }))
  await client.received(/request_too_large/)
  expectRefused(client)
  await client.ended()
  expect(upstream.requests).toHaveLength(0)
})

test('a client that sends its declared body without waiting sees the answer all the same', async () => {
  const client = await connectRaw(gateway.port)
  client.send(headFor(paths[0]!, { 'content-length': 4 * LIMIT }))
  client.send(Buffer.alloc(4 * LIMIT, 0x20))
  await client.received(/request_too_large/)
  expectRefused(client)
  await client.ended()
})

test.each(paths)(
  'an endless body is refused as soon as it passes the limit, in bounded memory: %s',
  async (path) => {
    const before = residentBytes(gateway.pid)
    const client = await connectRaw(gateway.port)
    client.send(headFor(path, { 'transfer-encoding': 'chunked' }))
    const sent = await pour(client, 500 * MEBIBYTE)
    await client.received(/request_too_large/)
    expectRefused(client)
    await client.ended()
    expect(sent, 'no more than fits into the buffers of both ends').toBeLessThan(64 * MEBIBYTE)
    expect(residentBytes(gateway.pid) - before).toBeLessThan(64 * MEBIBYTE)
    expect(upstream.requests).toHaveLength(0)
  },
)

test('a body of exactly the limit goes through', async () => {
  const frame = JSON.stringify({ model: 'auto', messages: [{ role: 'user', content: '' }] })
  const content = 'x'.repeat(LIMIT - frame.length)
  const answer = await gateway.chat({ messages: [{ role: 'user', content }] })
  expect(answer.status).toBe(200)
  expect((await upstream.request(1)).body.length).toBe(LIMIT - 'auto'.length + 'm'.length)
})

test('bodies that are too much together get 503 with retry-after, and those that fit are answered', async () => {
  const half = Buffer.alloc(LIMIT - 1000, 0x20)
  const clients = await Promise.all(Array.from({ length: 6 }, () => connectRaw(gateway.port)))
  for (const client of clients) {
    client.send(headFor(paths[0]!, { 'content-length': LIMIT }))
    client.send(half)
  }
  await Promise.race(clients.map((client) => client.received(/HTTP/)))
  const rest = Buffer.concat([Buffer.alloc(1000 - 2, 0x20), Buffer.from('{}')])
  for (const client of clients) if (!client.socket.destroyed) client.send(rest)
  await Promise.all(clients.map((client) => client.received(/\r\n\r\n/)))
  const refused = clients.filter(({ text }) => text.startsWith('HTTP/1.1 503'))
  expect(refused.length).toBeGreaterThan(0)
  for (const { text } of refused) {
    expect(text).toMatch(/\r\nretry-after: 1\r\n/i)
    expect(text).toContain('"code":"overloaded"')
  }
  expect(clients.filter(({ text }) => text.startsWith('HTTP/1.1 200')).length).toBeGreaterThan(0)
  for (const { socket } of clients) socket.destroy()
  expect((await gateway.chat()).status).toBe(200)
})

test('an endless body without the token gets its 401 and is not read on for long', async () => {
  const client = await connectRaw(gateway.port)
  client.send(headFor(paths[0]!, { 'transfer-encoding': 'chunked' }).replace(gateway.token, 'sk-wrong'))
  await pour(client, 500 * MEBIBYTE)
  await client.received(/"code":"invalid_api_key"/)
  await client.ended()
})
