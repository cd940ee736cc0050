import { deflateRawSync, deflateSync, gzipSync } from 'node:zlib'
import { describe, expect, test } from 'vitest'
import { codingsOf } from '../../src/http/content-coding.ts'
import { ask, errorOf } from '../support/ask.ts'
import { answer, configOf, createTestApp } from '../support/test-app.ts'

/** Bodies on a runtime that has fetch and `DecompressionStream`; those of Node are in `faults/compressed-bodies`. */
const create = (server: object = {}) =>
  createTestApp(configOf(['a.test'], { server }), ({ host }) => answer(host))
const text = JSON.stringify({ model: 'auto', messages: [{ role: 'user', content: 'hi' }] })
const plain = Buffer.from(text)
const post = (
  gateway: ReturnType<typeof create>,
  coding: string,
  body: Uint8Array,
  path = 'chat/completions',
) => ask(gateway, `/v1/${path}`, { body, headers: { 'content-encoding': coding } })

test.each([
  { coding: 'gzip', body: gzipSync(plain) },
  { coding: 'X-GZip', body: gzipSync(plain) },
  { coding: 'deflate', body: deflateSync(plain) },
  { coding: 'deflate', body: deflateRawSync(plain) },
  { coding: 'gzip', body: Buffer.concat([gzipSync(plain.subarray(0, 9)), gzipSync(plain.subarray(9))]) },
  { coding: 'deflate, gzip', body: gzipSync(deflateSync(plain)) },
  { coding: ' gzip ,identity,, deflate', body: deflateSync(gzipSync(plain)) },
  { coding: 'identity', body: plain },
  { coding: '', body: plain },
])('$coding is undone, and the upstream reads it plain', async ({ coding, body }) => {
  const gateway = create()
  expect((await post(gateway, coding, body)).status).toBe(200)
  expect(gateway.calls[0]!.text).toBe(text.replace('"auto"', '"model-a.test"'))
  expect(gateway.calls[0]!.headers).not.toHaveProperty('content-encoding')
  expect(gateway.memory.held).toBe(0)
})

test.each([
  { coding: 'compress', named: 'compress' },
  { coding: 'gzip, compress', named: 'compress' },
  { coding: 'aes128gcm', named: 'aes128gcm' },
  { coding: 'gzip;q=1', named: 'gzip' },
  { coding: 'x'.repeat(3_000), named: `${'x'.repeat(40)}"` },
])('$coding is 415 that names it and says what is possible', async ({ coding, named }) => {
  const gateway = create()
  const response = await post(gateway, coding, plain)
  expect([response.status, response.headers.get('accept-encoding')]).toEqual([415, 'gzip, deflate, identity'])
  const { code, message } = await errorOf(response)
  expect(code).toBe('unsupported_encoding')
  expect(message).toContain(`"${named}`)
  expect(gateway.calls).toHaveLength(0)
})

test('more codings on top of each other than anybody means are 415', async () => {
  const thrice = gzipSync(gzipSync(gzipSync(plain)))
  expect((await post(create(), 'gzip, gzip, gzip', thrice)).status).toBe(200)
  expect((await post(create(), 'gzip, gzip, gzip, gzip', gzipSync(thrice))).status).toBe(415)
})

test.each([
  { coding: 'gzip', body: plain, named: 'gzip', because: 'it is not packed at all' },
  { coding: 'gzip', body: gzipSync(plain).subarray(0, -9), named: 'gzip', because: 'it is cut short' },
  {
    coding: 'deflate',
    body: deflateSync(plain).subarray(0, -2),
    named: 'deflate',
    because: 'it is cut short',
  },
  { coding: 'deflate', body: gzipSync(plain), named: 'deflate', because: 'it is another coding' },
  { coding: 'deflate, gzip', body: gzipSync(plain), named: 'deflate', because: 'the inner one is not there' },
  { coding: 'gzip, deflate', body: gzipSync(plain), named: 'deflate', because: 'the outer one is not there' },
])(
  '$coding that does not decode, since $because, is 400 that names $named',
  async ({ coding, body, named }) => {
    const gateway = create()
    const response = await post(gateway, coding, body)
    const { code, message } = await errorOf(response)
    expect([response.status, code]).toEqual([400, 'invalid_encoding'])
    expect(message).toContain(named)
    expect(gateway.calls).toHaveLength(0)
    expect(gateway.memory.held).toBe(0)
  },
)

test('a body of nothing is an empty one, whatever its coding', async () => {
  const response = await post(create(), 'gzip', new Uint8Array(0))
  expect((await errorOf(response)).code).toBe('invalid_json')
})

describe('max_body', () => {
  const padded = (bytes: number) => Buffer.from(`${text}${' '.repeat(bytes - text.length)}`)

  test.each(['gzip', 'deflate'])('counts the decoded bytes of %s, to the byte', async (coding) => {
    const pack = coding === 'gzip' ? gzipSync : deflateSync
    const gateway = create({ max_body: 1000 })
    expect((await post(gateway, coding, pack(padded(1000)))).status).toBe(200)
    const response = await post(gateway, coding, pack(padded(1001)))
    expect([response.status, (await errorOf(response)).code]).toEqual([413, 'request_too_large'])
    expect(gateway.memory.held).toBe(0)
  })

  test('lets a body through that packing has made longer', async () => {
    const gateway = create({ max_body: 1000 })
    const stored = gzipSync(padded(1000), { level: 0 })
    expect(stored.length).toBeGreaterThan(1000)
    expect((await post(gateway, 'gzip', stored)).status).toBe(200)
  })

  test('holds for what lies between two codings too', async () => {
    const inner = gzipSync(Buffer.alloc(500_000_000, 0x20))
    const response = await post(create({ max_body: 100_000 }), 'gzip, gzip', gzipSync(inner))
    expect(response.status).toBe(413)
  })

  test('holds for a body that says nothing, however it goes on', async () => {
    const empty = gzipSync(Buffer.alloc(0))
    const body = Buffer.concat(Array.from({ length: 1_000 }, () => empty))
    expect((await post(create({ max_body: 1000 }), 'gzip', body)).status).toBe(413)
  })
})

test('what is passed on goes on as it came, with its coding', async () => {
  const gateway = create()
  for (const coding of ['gzip', 'compress']) {
    const body = gzipSync(plain)
    expect((await post(gateway, coding, body, 'files')).status).toBe(200)
    const { body: sent = [], headers } = gateway.calls.at(-1)!
    expect(Buffer.concat(sent).equals(body)).toBe(true)
    expect(headers['content-encoding']).toBe(coding)
  }
})

test('a form is decoded like any other body', async () => {
  const gateway = create()
  const form = '--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nauto\r\n--b--\r\n'
  const response = await ask(gateway, '/v1/audio/transcriptions', {
    body: gzipSync(form),
    headers: { 'content-encoding': 'gzip', 'content-type': 'multipart/form-data; boundary=b' },
  })
  expect(response.status).toBe(200)
  expect(gateway.calls[0]!.text).toBe(form.replace('auto', 'model-a.test'))
})

test('what the runtime has is what is possible', () => {
  expect(codingsOf('br', ['gzip', 'br'])).toEqual(['br'])
  expect(() => codingsOf('br', ['gzip'])).toThrow(/"br".*gzip, identity/)
})
