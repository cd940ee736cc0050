import { afterAll, beforeAll, expect, test } from 'vitest'
import { chunkEvent, completion, healthy, streamEnd } from '../support/believable.ts'
import { startGateway, type GatewayProcess } from '../support/gateway-process.ts'
import { connectRaw, headOf } from '../support/raw-client.ts'
import { startScriptedUpstream, type ScriptedUpstream } from '../support/scripted-upstream.ts'

let upstream: ScriptedUpstream
let gateway: GatewayProcess

beforeAll(async () => {
  upstream = await startScriptedUpstream(healthy())
  gateway = await startGateway({ models: [{ base_url: `${upstream.url}/v1`, model: 'm' }] })
})

afterAll(async () => {
  await gateway.stop()
  await upstream.close()
  expect(gateway.stderr).toBe('')
})

const body = JSON.stringify({ model: 'auto', messages: [{ role: 'user', content: 'Hello' }] })
const streamBody = JSON.stringify({ model: 'auto', stream: true, messages: [] })

const head = (more: Record<string, string | number>, version = 'HTTP/1.1', method = 'POST'): string =>
  headOf(`${method} /v1/chat/completions ${version}`, {
    authorization: `Bearer ${gateway.token}`,
    'content-type': 'application/json',
    ...more,
  })

test('a client that expects 100-continue is told to go on, and the upstream never sees the word', async () => {
  const client = await connectRaw(gateway.port)
  client.send(head({ expect: '100-continue', 'content-length': body.length }))
  await client.received(/^HTTP\/1\.1 100 /)
  client.send(body)
  await client.received(/"choices"/)
  expect(client.statuses).toEqual([100, 200])
  const { headers } = upstream.requests.at(-1)!
  expect(headers).not.toHaveProperty('expect')
  client.socket.destroy()
})

test('a chunked request goes up with its length', async () => {
  const client = await connectRaw(gateway.port)
  client.send(head({ 'transfer-encoding': 'chunked' }))
  for (const piece of [body.slice(0, 7), body.slice(7)])
    client.send(`${piece.length.toString(16)};extension=1\r\n${piece}\r\n`)
  client.send('0\r\ntrailer: x\r\n\r\n')
  await client.received(/"choices"/)
  const { headers, body: sent } = upstream.requests.at(-1)!
  expect(headers).not.toHaveProperty('transfer-encoding')
  expect(headers['content-length']).toBe(String(sent.length))
  expect(Buffer.from(sent).toString()).toBe(body.replace('auto', 'm'))
  client.socket.destroy()
})

test.each([
  { what: 'an answer', sent: body, got: completion() },
  { what: 'a stream', sent: streamBody, got: chunkEvent('Hello') + streamEnd },
])('an HTTP/1.0 client gets $what that ends with its connection', async ({ sent, got }) => {
  const client = await connectRaw(gateway.port)
  client.send(head({ 'content-length': sent.length }, 'HTTP/1.0') + sent)
  await client.ended()
  expect(client.statuses).toEqual([200])
  expect(client.text).not.toMatch(/transfer-encoding/i)
  expect(client.text.endsWith(`\r\n\r\n${got}`)).toBe(true)
})

test('pipelined requests are answered in order', async () => {
  const client = await connectRaw(gateway.port)
  const withId = (id: string, sent: string): string =>
    head({ 'x-request-id': id, 'content-length': sent.length }) + sent
  client.send(
    withId('one', streamBody) +
      withId('two', body) +
      headOf('GET /healthz HTTP/1.1', { 'x-request-id': 'three' }),
  )
  await client.received(/x-request-id: three[^]*"ok"/i)
  expect([...client.text.matchAll(/x-request-id: (\w+)/gi)].map(([, id]) => id)).toEqual([
    'one',
    'two',
    'three',
  ])
  expect(client.statuses).toEqual([200, 200, 200])
  client.socket.destroy()
})

const smuggled = 'GET /v1/models HTTP/1.1\r\nhost: x\r\n\r\n'

test.each([
  {
    shape: 'a length and chunks',
    bytes: () => head({ 'content-length': 6, 'transfer-encoding': 'chunked' }) + `0\r\n\r\n${smuggled}`,
  },
  {
    shape: 'two lengths',
    bytes: () =>
      head({ 'content-length': 4 }).replace('\r\n\r\n', '\r\ncontent-length: 40\r\n\r\n') + smuggled,
  },
  { shape: 'a list of lengths', bytes: () => `${head({ 'content-length': '4, 40' })}{}${smuggled}` },
  { shape: 'a negative length', bytes: () => `${head({ 'content-length': -1 })}{}` },
  { shape: 'a length that is no number', bytes: () => `${head({ 'content-length': '0x10' })}{}` },
  { shape: 'a folded header', bytes: () => `${head({ 'x-a': '1\r\n folded: 2', 'content-length': 2 })}{}` },
  { shape: 'bare line feeds', bytes: () => `${head({ 'content-length': 2 }).replaceAll('\r\n', '\n')}{}` },
  {
    shape: 'a blank before the colon',
    bytes: () => `${head({ 'transfer-encoding ': 'chunked' })}0\r\n\r\n${smuggled}`,
  },
  {
    shape: 'an unknown transfer coding',
    bytes: () => `${head({ 'transfer-encoding': 'xchunked' })}0\r\n\r\n${smuggled}`,
  },
  {
    shape: 'chunked twice',
    bytes: () => `${head({ 'transfer-encoding': 'chunked, identity' })}0\r\n\r\n${smuggled}`,
  },
  {
    shape: 'a chunk size that is no number',
    bytes: () => `${head({ 'transfer-encoding': 'chunked' })}zz\r\n{}\r\n0\r\n\r\n`,
  },
  {
    shape: 'a chunk longer than its size',
    bytes: () => `${head({ 'transfer-encoding': 'chunked' })}2\r\n{}{}{}\r\n0\r\n\r\n`,
  },
  { shape: 'a zero byte in a header', bytes: () => `${head({ 'x-a': '1\u00002', 'content-length': 2 })}{}` },
  {
    shape: 'a transfer coding before chunked',
    bytes: () => `${head({ 'transfer-encoding': 'gzip, chunked' })}0\r\n\r\n${smuggled}`,
  },
  {
    shape: 'chunks in HTTP/1.0',
    bytes: () => `${head({ 'transfer-encoding': 'chunked' }, 'HTTP/1.0')}0\r\n\r\n${smuggled}`,
  },
  { shape: 'two hosts', bytes: () => 'GET /v1/models HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n' },
  { shape: 'HTTP/0.9', bytes: () => 'GET /v1/models\r\n\r\n' },
  { shape: 'no host', bytes: () => 'GET /v1/models HTTP/1.1\r\n\r\n' },
  { shape: 'no HTTP at all', bytes: () => 'hello?\r\n\r\n' },
  { shape: 'a TLS greeting', bytes: () => Buffer.from('16030100a5010000a10303', 'hex') },
  { shape: 'HTTP/2 without an upgrade', bytes: () => 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n' },
])('$shape: 4xx, the connection is closed, and no upstream is asked', async ({ bytes }) => {
  const before = upstream.requests.length
  const client = await connectRaw(gateway.port)
  client.send(bytes())
  await client.ended()
  expect(client.statuses.length, client.text).toBe(1)
  expect(client.statuses[0]).toBeGreaterThanOrEqual(400)
  expect(client.statuses[0]).toBeLessThan(500)
  expect(client.text).toMatch(/connection: close[^]*"type":"invalid_request_error"[^]*"code":"bad_request"/)
  expect(upstream.requests.length).toBe(before)
})

test.each([
  { what: 'one header of 100 KB', more: () => ({ 'x-a': 'a'.repeat(100_000) }) },
  {
    what: 'a thousand and one small headers',
    more: () => Object.fromEntries(Array.from({ length: 1_001 }, (_, nth) => [`x-${nth}`, 'a'])),
  },
])('$what: 431 and closed', async ({ more }) => {
  const client = await connectRaw(gateway.port)
  client.send(head(more()))
  await client.ended()
  expect(client.statuses).toEqual([431])
  expect(client.text).toContain('"code":"headers_too_large"')
})

test('an address of 100 KB is 4xx and closed', async () => {
  const client = await connectRaw(gateway.port)
  client.send(headOf(`GET /v1/models?${'a'.repeat(100_000)} HTTP/1.1`, {}))
  await client.ended()
  expect([414, 431]).toContain(client.statuses[0])
})

test('the gateway lives on', async () => {
  expect((await gateway.chat()).status).toBe(200)
})
