/** What a client may send before it is refused, and how: beside the shapes of http-shapes.test.ts. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { completion, healthy } from '../support/believable.ts'
import { startGateway, type GatewayProcess } from '../support/gateway-process.ts'
import { answersIn, postOf } from '../support/raw-answers.ts'
import { connectRaw, headOf, type RawClient } from '../support/raw-client.ts'
import { startScriptedUpstream, type ScriptedUpstream } from '../support/scripted-upstream.ts'

/** Well below the time after which half a head is given up. */
const AT_ONCE_MS = 5_000

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

const CHAT = '/v1/chat/completions'
const body = JSON.stringify({ model: 'auto', messages: [{ role: 'user', content: 'Hello' }] })
const smuggled = 'GET /v1/models HTTP/1.1\r\nhost: x\r\n\r\n'

type Fields = Readonly<Record<string, string | number>>

const chat = (headers: Fields = {}): string => postOf(gateway, CHAT, headers, body)
/** Something in place of the first text; what follows is the body. */
const chatWith = (search: string, replacement: string): string => {
  const text = chat()
  if (!text.includes(search)) throw new Error(`there is no ${search}`)
  return text.replace(search, () => replacement)
}
const chunked = (chunks: string, more: Fields = {}): string =>
  postOf(gateway, CHAT, { 'transfer-encoding': 'chunked', ...more }) + chunks
const framed = (trailers = ''): string => `${body.length.toString(16)}\r\n${body}\r\n0\r\n${trailers}\r\n`

async function sent(bytes: string | Uint8Array): Promise<RawClient> {
  const client = await connectRaw(gateway.port)
  client.send(typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes)
  return client
}

/** The only answer on the connection is a refusal in OpenAI's envelope, then it is closed. */
async function expectRefused(client: RawClient, status: number, code: string): Promise<void> {
  await client.ended(AT_ONCE_MS)
  const answers = answersIn(client.text)
  expect(
    answers.map((answer) => answer.status),
    client.text,
  ).toEqual([status])
  const [{ head, body: text }] = answers as [(typeof answers)[0]]
  expect(head).toMatch(/^content-type: application\/json/im)
  expect(head).toMatch(/^connection: close/im)
  expect(head).toMatch(new RegExp(`^content-length: ${text.length}`, 'im'))
  expect(JSON.parse(text)).toEqual({
    error: { message: expect.stringMatching(/\w/), type: 'invalid_request_error', param: null, code },
  })
}

/** Whatever was sent on has come before what is asked now. */
async function expectUnheard(before: number): Promise<void> {
  await (await gateway.chat()).text()
  expect(upstream.requests.length).toBe(before + 1)
}

const line = (value: string) => () => chatWith('\r\n\r\n', `\r\n${value}\r\n\r\n`)

describe('what breaks the rules of HTTP gets 400, is closed at once, and no upstream hears of it', () => {
  test.each([
    { what: 'a bare CR in a header', bytes: line('x-a: 1\r2') },
    { what: 'a bare LF behind a header', bytes: line('x-a: 1\nx-b: 2') },
    { what: 'a bare LF behind the request line', bytes: () => chatWith('1.1\r\n', '1.1\n') },
    { what: 'a bare CR behind the request line', bytes: () => chatWith('1.1\r\n', '1.1\r') },
    { what: 'a bare LF as blank line', bytes: () => chatWith('\r\n\r\n', '\r\n\n') },
    { what: 'a folded first header', bytes: () => chatWith('1.1\r\n', '1.1\r\n folded\r\n') },
    { what: 'a header folded with a tab', bytes: line('x-a: 1\r\n\t2') },
    { what: 'a folded length', bytes: () => chatWith('content-length: ', 'content-length:\r\n ') },
    { what: 'a blank before the colon', bytes: line('x-a : 1') },
    { what: 'a tab before the colon', bytes: line('x-a\t: 1') },
    { what: 'a header without a name', bytes: line(': 1') },
    { what: 'a header without a colon', bytes: line('x-a') },
    { what: 'a name that is no token', bytes: line('x(a): 1') },
    { what: 'a zero byte in a header', bytes: line('x-a: 1\u00002') },
    { what: 'a zero byte in a name', bytes: line('x\u0000a: 1') },
    { what: 'a zero byte in the target', bytes: () => chatWith('completions ', 'comple\u0000tions ') },
    { what: 'a control character', bytes: line('x-a: 1\u00012') },
    { what: 'a tab in the request line', bytes: () => chatWith('POST ', 'POST\t') },
    { what: 'a method in small letters', bytes: () => chatWith('POST', 'post') },
    { what: 'two hosts', bytes: line('host: other.test') },
    { what: 'a host with a path', bytes: () => chatWith('gateway.test', 'gateway.test/a') },
    { what: 'a length with a sign', bytes: () => chatWith('content-length: ', 'content-length: +') },
    { what: 'an empty length', bytes: () => chatWith(`length: ${body.length}`, 'length:') },
    { what: 'a length and another', bytes: line(`content-length: ${body.length + 1}`) },
    { what: 'a length beyond all numbers', bytes: () => chatWith('length: ', `length: ${'9'.repeat(30)}`) },
    { what: 'a length and chunks', bytes: () => chat({ 'transfer-encoding': 'chunked' }) + framed() },
    { what: 'chunks twice', bytes: () => chunked(framed(), { 'Transfer-Encoding': 'chunked' }) },
    { what: 'chunks in HTTP/1.0', bytes: () => chunked(framed()).replace('HTTP/1.1', 'HTTP/1.0') },
    { what: 'chunks with a control character', bytes: () => chunked('').replace('chunked', '\u000bchunked') },
    { what: 'a chunk size with 0x', bytes: () => chunked(`0x${framed()}`) },
    { what: 'a chunk size with a sign', bytes: () => chunked(`+${framed()}`) },
    { what: 'a chunk size behind a blank', bytes: () => chunked(` ${framed()}`) },
    { what: 'a chunk size beyond all numbers', bytes: () => chunked(`${'f'.repeat(20)}\r\n{}`) },
    { what: 'a bare LF behind a chunk size', bytes: () => chunked(framed().replace('\r\n', '\n')) },
    { what: 'a bare LF in a chunk extension', bytes: () => chunked(framed().replace('\r\n', ';a\nb\r\n')) },
    { what: 'a chunk without its end', bytes: () => chunked(framed().replace('\r\n0', '0')) },
    { what: 'no version', bytes: () => 'GET /healthz\r\n\r\n' },
  ])('$what', async ({ bytes }) => {
    const before = upstream.requests.length
    await expectRefused(await sent(bytes() + smuggled), 400, 'bad_request')
    await expectUnheard(before)
  })

  test.each(['HTTP/2.0', 'HTTP/1.2', 'HTTP/0.9', 'HTTP/3', 'http/1.1'])('%s', async (version) => {
    const before = upstream.requests.length
    const client = await sent(chat().replace('HTTP/1.1', version))
    await client.ended(AT_ONCE_MS)
    expect(client.text).toMatch(/^HTTP\/1\.1 (?:400|505) [^]*"type":"invalid_request_error"/)
    await expectUnheard(before)
  })
})

test.each([
  { what: 'a word', bytes: 'hello' },
  { what: 'a line', bytes: 'hello there\r\n' },
  { what: 'a line that ends with LF', bytes: 'hello there\n' },
  { what: 'a mail server’s client', bytes: 'EHLO example.test\r\n' },
  { what: 'an SSH client', bytes: 'SSH-2.0-OpenSSH_9.6\r\n' },
  { what: 'a SOCKS client', bytes: Buffer.from([5, 1, 0]) },
  { what: 'a zero byte', bytes: Buffer.from([0]) },
  { what: 'TLS', bytes: Buffer.from('160301013c01000138030391f2', 'hex') },
  { what: 'HTTP/2', bytes: 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\u0000\u0000\u0012\u0004' },
  { what: 'an answer', bytes: 'HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n' },
])('$what in place of HTTP gets 400 without waiting for more', async ({ bytes }) => {
  await expectRefused(await sent(bytes), 400, 'bad_request')
})

test('junk behind a request that was answered gets 400, and the answer stays', async () => {
  const client = await sent(chat())
  await client.received(/"choices"/)
  client.send('hello\r\n')
  await client.ended(AT_ONCE_MS)
  const answers = answersIn(client.text)
  expect(answers.map(({ status }) => status)).toEqual([200, 400])
  expect(answers[0]!.body).toBe(completion())
  expect(answers[1]!.body).toContain('"code":"bad_request"')
})

const many = (count: number, value = 'b'): Fields =>
  Object.fromEntries(Array.from({ length: count }, (_, nth) => [`x-${nth}`, value]))

describe('heads', () => {
  test.each([
    { what: 'a head of 31 KB', headers: { 'x-a': 'a'.repeat(31_000) } },
    { what: '990 headers', headers: many(990) },
  ])('$what is taken', async ({ headers }) => {
    const client = await sent(postOf(gateway, CHAT, { ...headers, connection: 'close' }, body))
    await client.ended()
    expect(client.statuses).toEqual([200])
  })

  test.each([
    { what: 'one header of 33 KB', headers: { 'x-a': 'a'.repeat(33_000) } },
    { what: 'headers of 33 KB together', headers: many(100, 'b'.repeat(330)) },
    { what: '1,001 headers beside the usual ones', headers: many(1_001) },
    { what: '1,400 headers', headers: many(1_400) },
  ])('$what get 431, and no upstream is asked', async ({ headers }) => {
    const before = upstream.requests.length
    await expectRefused(await sent(chat(headers)), 431, 'headers_too_large')
    await expectUnheard(before)
  })
})

describe('trailers never become headers', () => {
  test.each([
    { what: 'a field', trailers: 'x-trailer: 1\r\n', statuses: [200] },
    { what: 'a length', trailers: `content-length: 5\r\nx-trailer: 1\r\n`, statuses: [200, 400] },
    { what: 'another token', trailers: 'authorization: Bearer x-trailer\r\n', statuses: [200, 400] },
    { what: 'a line without a colon', trailers: 'x-trailer\r\n', statuses: [200, 400] },
    { what: 'a request', trailers: 'POST /x-trailer HTTP/1.1\r\nhost: x\r\n', statuses: [200, 400] },
    { what: 'a zero byte', trailers: 'x-trailer: 1\u0000\r\n', statuses: [200, 400] },
    { what: 'a bare LF', trailers: 'x-trailer: 1\nx-b: 2\r\n', statuses: [200, 400] },
    { what: 'a folded field', trailers: 'x-trailer: 1\r\n 2\r\n', statuses: [200, 400] },
    { what: '100 KB', trailers: `x-trailer: ${'a'.repeat(100_000)}\r\n`, statuses: [200, 400, 413, 431] },
  ])('$what', async ({ trailers, statuses }) => {
    const before = upstream.requests.length
    const client = await sent(chunked(framed(trailers), { connection: 'close' }))
    await client.ended()
    expect(client.statuses, client.text).toHaveLength(1)
    expect(statuses).toContain(client.statuses[0])
    for (const { rawHeaders, body: got } of upstream.requests.slice(before)) {
      expect(rawHeaders.join('\n')).not.toContain('x-trailer')
      expect(Buffer.from(got).toString()).toBe(body.replace('auto', 'm'))
    }
  })
})

test.each(['*', '/v1/models', 'http://gateway.test/v1/models'])(
  'OPTIONS %s gets 204 with the headers of CORS',
  async (target) => {
    const headers = { origin: 'https://app.example.com', 'access-control-request-method': 'POST' }
    const client = await sent(headOf(`OPTIONS ${target} HTTP/1.1`, { ...headers, connection: 'close' }))
    await client.ended()
    expect(client.statuses).toEqual([204])
    expect(client.text).toMatch(/\r\naccess-control-allow-origin: \*\r\n/i)
    expect(client.text).toMatch(/\r\naccess-control-allow-methods: [^\r]*POST/i)
  },
)

test.each([
  { what: 'its own host', authority: 'gateway.test' },
  { what: 'another host than the header, which it overrules', authority: 'other.test:8080' },
])('a target in absolute form is served by its path, with $what', async ({ authority }) => {
  const before = upstream.requests.length
  const client = await sent(
    postOf(gateway, CHAT, { connection: 'close' }, body).replace(CHAT, `http://${authority}${CHAT}`),
  )
  await client.ended()
  expect(answersIn(client.text)).toMatchObject([{ status: 200, body: completion() }])
  expect(upstream.requests[before]!.path).toBe(CHAT)
})

test('HTTP/1.0 without a host is served, and closed', async () => {
  const client = await sent(chat().replace('HTTP/1.1', 'HTTP/1.0').replace('host: gateway.test\r\n', ''))
  await client.ended()
  expect(answersIn(client.text)).toMatchObject([{ status: 200, body: completion() }])
})

test.each([
  { what: 'CONNECT', start: 'CONNECT example.test:443 HTTP/1.1', headers: {} },
  {
    what: 'an upgrade to WebSocket',
    start: 'GET /v1/realtime HTTP/1.1',
    headers: { connection: 'upgrade, close', upgrade: 'websocket', 'sec-websocket-version': 13 },
  },
])('$what is answered with 4xx, and nothing is tunnelled', async ({ start, headers }) => {
  const before = upstream.requests.length
  const client = await sent(headOf(start, headers))
  await client.received(/\r\n\r\n/)
  expect(client.statuses).toHaveLength(1)
  expect(client.text).toMatch(/^HTTP\/1\.1 4\d\d /)
  await expectUnheard(before)
  client.socket.destroy()
})
