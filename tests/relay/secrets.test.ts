import { expect, test } from 'vitest'
import { chunk, events, JSON_TYPE, play, readAll, refusal, SSE, type Play } from '../support/played.ts'
import { configOf, createTestApp } from '../support/test-app.ts'

const KEY = 'sk-up/AB+cd"0123456789'
/** JSON in which every character that `pattern` finds is escaped, as the writers of other languages do it. */
const escapedJson = (pattern: RegExp, hex: (code: string) => string = (code) => code): string =>
  JSON.stringify({ error: { message: `bad ${KEY}` } }).replace(
    `bad ${JSON.stringify(KEY).slice(1, -1)}`,
    `bad ${KEY.replaceAll(pattern, (sign) => `\\u00${hex(sign.charCodeAt(0).toString(16))}`)}`,
  )

/** One upstream with this key, which answers as played; the client's answer and what is told of the attempt. */
async function asked(answer: Play, more: object = {}, path?: string) {
  const app = createTestApp(configOf(['a.test'], { models: { api_key: KEY, ...more } }), play(answer))
  const response = await app.chat({}, path === undefined ? {} : { path })
  const { text } = await readAll(response)
  return { response, text, attempt: app.attempts()[0] }
}

const saying = (status: number, body: string, headers: Record<string, string> = JSON_TYPE): Play => ({
  status,
  headers,
  body: [body],
})

test.each([
  { spelling: 'as it is in a text', text: `no such key: ${KEY}` },
  { spelling: 'in JSON', text: JSON.stringify({ error: { message: `bad ${KEY}, ${KEY}` } }) },
  { spelling: 'in JSON of PHP', text: JSON.stringify({ error: { message: KEY } }).replaceAll('/', '\\/') },
  { spelling: 'in JSON with every sign escaped', text: escapedJson(/\W/g) },
  { spelling: 'the same in upper case', text: escapedJson(/\W/g, (code) => code.toUpperCase()) },
  {
    spelling: 'in JSON of .NET, + and quotes escaped',
    text: escapedJson(/[+"]/g, (code) => code.toUpperCase()),
  },
  { spelling: 'in JSON with one letter and quotes escaped', text: escapedJson(/[A"]/g) },
  { spelling: 'in a URL', text: JSON.stringify({ error: `?key=${encodeURIComponent(KEY)}` }) },
])('a key that comes back in an error is masked: $spelling', async ({ text: said }) => {
  const { response, text } = await asked(saying(400, said))
  expect(response.status).toBe(400)
  expect(text).toContain('***')
  expect(text).not.toMatch(/AB|0123456789/)
  expect(text.replaceAll('***', '').length).toBeGreaterThan(5)
})

test('a passed on error is masked too, whatever its type', async () => {
  const said = saying(403, `forbidden for ${KEY}`, { 'content-type': 'text/plain' })
  const { response, text } = await asked(said, {}, 'files')
  expect([response.status, text]).toEqual([403, 'forbidden for ***'])
})

test('a key in an error inside a stream that is handed on as it was is masked too', async () => {
  const body = [events({ error: { code: 'context_length_exceeded', message: `too long for ${KEY}` } })]
  const app = createTestApp(configOf(['a.test'], { models: { api_key: KEY } }), play({ headers: SSE, body }))
  const { text } = await readAll(await app.chat({ stream: true }))
  expect(text).toContain('too long for ***')
})

test('keys in configured headers and queries are masked', async () => {
  const said = saying(
    400,
    JSON.stringify({ error: { message: 'azure-key-1234 q-secret-5678 deployment-9' } }),
  )
  const { text } = await asked(said, {
    base_url: 'https://a.test/v1?api_key=q-secret-5678&api-version=deployment-9',
    headers: { 'api-key': 'azure-key-1234', 'x-title': 'deployment-9' },
  })
  expect(text).toBe('{"error":{"message":"*** *** deployment-9"}}')
})

test('a key in a header that clients get is masked', async () => {
  const { response } = await asked(refusal(400, 'x', { 'x-ratelimit-limit-requests': `10;key=${KEY}` }))
  expect(response.headers.get('x-ratelimit-limit-requests')).toBe('10;key=***')
})

test.each([
  { what: 'bytes that are no text', body: [Uint8Array.of(0xff, 0xfe, 0x7b)] },
  { what: 'a vendor’s own mask', body: ['{"error":{"message":"Not with sk-up***6789"}}'] },
])('what holds no key goes on byte by byte: $what', async ({ body }) => {
  const { text } = await asked({ status: 400, headers: { 'content-type': 'text/plain' }, body })
  expect(text).toBe(Buffer.concat(body.map((part) => Buffer.from(part))).toString())
})

test('an own server without a key, or with a word for one, has its errors as they are', async () => {
  for (const api_key of ['', 'none', 'EMPTY']) {
    const said = '{"error":{"message":"none of the EMPTY models"}}'
    expect((await asked(saying(400, said), { api_key })).text).toBe(said)
  }
})

test('of a failed attempt are told the address without its query, and the words on one line without the key', async () => {
  const words = `Invalid URL\n(POST  /x) for ${KEY} \u202e${'long '.repeat(200)}`
  const said = saying(404, JSON.stringify({ error: { message: words } }))
  const { attempt } = await asked(said, { base_url: 'https://a.test/v1?api_key=q-secret-5678' })
  expect(attempt?.failure).toMatchObject({ url: 'https://a.test/v1/chat/completions', isUnsent: false })
  const told = attempt?.failure?.words ?? ''
  expect(told).toMatch(/^Invalid URL \(POST \/x\) for \*\*\* long long/)
  expect(told.length).toBeLessThanOrEqual(300)
})

test('a passed on failure blames nobody and is told all the same', async () => {
  const said = saying(502, JSON.stringify({ error: { message: `no for ${KEY}` } }))
  const { attempt } = await asked(said, {}, 'files/file-1')
  expect(attempt).toMatchObject({
    outcome: 'failure',
    status: 502,
    failure: { url: 'https://a.test/v1/files/file-1', words: 'no for ***' },
  })
})

test.each([
  { end: 'reset', reason: 'connection lost in the middle of its answer' },
  { end: 'stall', reason: 'silent in the middle of its answer' },
] as const)('a stream that broke by a $end says so', async ({ end, reason }) => {
  const app = createTestApp(configOf(['a.test']), play({ headers: SSE, body: [events(chunk('hello'))], end }))
  const answered = app.chat({ stream: true }).then(readAll)
  await app.clock.advance(1_000_000)
  await answered
  expect(app.attempts()).toMatchObject([{ outcome: 'broken', failure: { reason, isUnsent: false } }])
})

test('a key that the cut would have halved is masked whole', async () => {
  const message = `${'x'.repeat(290)} ${KEY}`
  const { attempt } = await asked(saying(500, JSON.stringify({ error: { message } })))
  expect(attempt?.failure?.words).toMatch(/x \*\*\*$/)
})
