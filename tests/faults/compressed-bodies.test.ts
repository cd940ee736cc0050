/** Bodies that come packed, on real processes: what Node decodes, and what it costs. */
import { brotliCompressSync, constants, deflateRawSync, deflateSync, gzipSync } from 'node:zlib'
import * as zlib from 'node:zlib'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { healthy } from '../support/believable.ts'
import { startGateway, type GatewayProcess } from '../support/gateway-process.ts'
import { residentBytes } from '../support/process-facts.ts'
import { connectRaw, headOf } from '../support/raw-client.ts'
import { startScriptedUpstream, type ScriptedUpstream } from '../support/scripted-upstream.ts'

const MEBIBYTE = 1_048_576
const LIMIT = 4 * MEBIBYTE

let upstream: ScriptedUpstream
let gateway: GatewayProcess

beforeAll(async () => {
  upstream = await startScriptedUpstream(healthy())
  gateway = await startGateway({
    models: [{ base_url: `${upstream.url}/v1`, model: 'm' }],
    server: { max_body: LIMIT, max_buffered: 2 * LIMIT },
  })
})

afterAll(async () => {
  await gateway.stop()
  await upstream.close()
  expect(gateway.stderr).toBe('')
})

const bodyOf = (content: string): string =>
  JSON.stringify({ model: 'auto', messages: [{ role: 'user', content }] })
const small = bodyOf('hi')
const large = bodyOf('word '.repeat(300_000))

const post = (coding: string, body: Uint8Array, path = '/v1/chat/completions') =>
  gateway.fetch(path, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'content-encoding': coding },
    body,
  })
const codeOf = async (response: Response): Promise<string> =>
  (JSON.parse(await response.text()) as { error: { code: string } }).error.code

test.each([
  { coding: 'gzip', pack: gzipSync },
  { coding: 'x-gzip', pack: gzipSync },
  { coding: 'deflate', pack: deflateSync },
  { coding: 'deflate', pack: deflateRawSync },
  { coding: 'br', pack: brotliCompressSync },
  { coding: 'gzip, br', pack: (text: string) => brotliCompressSync(gzipSync(text)) },
])('$coding ($pack.name) goes up plain, a small body and a large one', async ({ coding, pack }) => {
  for (const text of [small, large]) {
    expect((await post(coding, pack(text))).status).toBe(200)
    const { body, headers } = upstream.requests.at(-1)!
    expect(Buffer.from(body).toString()).toBe(text.replace('"auto"', '"m"'))
    expect(JSON.stringify(headers)).not.toMatch(/content-encoding/i)
  }
})

test('zstd is decoded where Node can, else 415 names it', async () => {
  const { zstdCompressSync } = zlib as { zstdCompressSync?: (text: string) => Uint8Array }
  const response = await post('zstd', zstdCompressSync?.(small) ?? Buffer.from(small))
  expect(response.status).toBe(zstdCompressSync === undefined ? 415 : 200)
  if (response.status === 415) expect(await response.text()).toContain('zstd')
})

test.each([
  { coding: 'gzip', body: gzipSync(large).subarray(0, 900) },
  { coding: 'br', body: Buffer.from(small) },
  { coding: 'br, gzip', body: gzipSync(small) },
])('$coding that does not decode is 400, and the next request is served', async ({ coding, body }) => {
  const calls = upstream.requests.length
  const response = await post(coding, body)
  expect([response.status, await codeOf(response)]).toEqual([400, 'invalid_encoding'])
  expect(upstream.requests).toHaveLength(calls)
  expect((await gateway.chat()).status).toBe(200)
})

test.each([
  { coding: 'gzip', bomb: () => gzipSync(Buffer.alloc(500 * MEBIBYTE, 0x20)) },
  {
    coding: 'br',
    bomb: () =>
      brotliCompressSync(Buffer.alloc(500 * MEBIBYTE, 0x20), {
        params: { [constants.BROTLI_PARAM_QUALITY]: 1 },
      }),
  },
  { coding: 'gzip, gzip', bomb: () => gzipSync(gzipSync(Buffer.alloc(500 * MEBIBYTE, 0x20))) },
])('what unpacks to 500 MB is 413 and is not unpacked: $coding', async ({ coding, bomb }) => {
  const body = bomb()
  const before = residentBytes(gateway.pid)
  const responses = await Promise.all(Array.from({ length: 4 }, () => post(coding, body)))
  for (const response of responses) {
    // Those that are too much together come back in a second.
    expect([413, 503]).toContain(response.status)
  }
  expect(responses.map(({ status }) => status)).toContain(413)
  expect(residentBytes(gateway.pid) - before).toBeLessThan(64 * MEBIBYTE)
})

test('a client that leaves in the middle of a packed body is no mistake of ours', async () => {
  const body = gzipSync(large)
  const client = await connectRaw(gateway.port)
  const head = headOf('POST /v1/chat/completions HTTP/1.1', {
    authorization: `Bearer ${gateway.token}`,
    'content-encoding': 'gzip',
    'content-length': body.length,
  })
  client.send(head)
  client.send(body.subarray(0, 500))
  client.socket.end()
  await client.ended()
  await gateway.printed(/client_closed_request/)
  expect((await gateway.chat()).status).toBe(200)
})

test('what is passed on goes on as it came, with its coding', async () => {
  const body = gzipSync(small)
  expect((await post('gzip', body, '/v1/files')).status).toBe(200)
  const request = upstream.requests.at(-1)!
  expect(Buffer.from(request.body).equals(body)).toBe(true)
  expect(JSON.stringify(request.headers)).toMatch(/content-encoding/i)
})

test('a body in chunks of a few bytes takes about the memory that it has, and is answered', async () => {
  const before = residentBytes(gateway.pid)
  const client = await connectRaw(gateway.port)
  client.send(
    headOf('POST /v1/chat/completions HTTP/1.1', {
      authorization: `Bearer ${gateway.token}`,
      'transfer-encoding': 'chunked',
    }),
  )
  const text = bodyOf('x'.repeat(2 * MEBIBYTE))
  const chunks: string[] = []
  for (let at = 0; at < text.length; at += 5) {
    const piece = text.slice(at, at + 5)
    chunks.push(`${piece.length}\r\n${piece}\r\n`)
  }
  client.send(`${chunks.join('')}0\r\n\r\n`)
  await client.received(/^HTTP\/1\.1 200 /)
  expect(residentBytes(gateway.pid) - before).toBeLessThan(96 * MEBIBYTE)
  client.socket.destroy()
})
