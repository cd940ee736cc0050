import { afterAll, beforeAll, expect, test } from 'vitest'
import { healthy } from '../support/believable.ts'
import { startGateway, type GatewayProcess } from '../support/gateway-process.ts'
import { startScriptedUpstream, type ScriptedUpstream } from '../support/scripted-upstream.ts'

let upstream: ScriptedUpstream
let gateway: GatewayProcess

beforeAll(async () => {
  upstream = await startScriptedUpstream(healthy())
  gateway = await startGateway({
    models: [{ name: 'u', base_url: `${upstream.url}/v1`, model: 'the-real-one' }],
  })
})

afterAll(async () => {
  await gateway.stop()
  await upstream.close()
  expect(gateway.stderr).toBe('')
  expect(gateway.stdout).not.toContain('internal error')
})

const post = (body: string | Uint8Array<ArrayBuffer>, type = 'application/json'): Promise<Response> =>
  gateway.fetch('/v1/chat/completions', { method: 'POST', body, headers: { 'content-type': type } })

test.each([
  { what: 'nothing', body: '', code: 'invalid_json' },
  { what: 'a word', body: 'hello', code: 'invalid_json' },
  { what: 'a list', body: '[]', code: 'invalid_json' },
  { what: 'null', body: 'null', code: 'invalid_json' },
  { what: 'a string', body: '"auto"', code: 'invalid_json' },
  { what: 'an object without its end', body: '{"model":"auto"', code: 'invalid_json' },
  { what: 'an object with more behind it', body: '{"model":"auto"}}', code: 'invalid_json' },
  { what: 'two objects', body: '{"model":"auto"}{"model":"auto"}', code: 'invalid_json' },
  { what: 'a missing comma', body: '{"model":"auto" "a":1}', code: 'invalid_json' },
  { what: 'a missing colon', body: '{"model" "auto"}', code: 'invalid_json' },
  { what: 'an unclosed string', body: '{"model":"auto', code: 'invalid_json' },
  { what: 'brackets that do not match', body: '{"model":"auto","a":[}]', code: 'invalid_json' },
  { what: 'a literal that is none', body: '{"model":"auto","a":tru}', code: 'invalid_json' },
  {
    what: 'bytes that are not UTF-8',
    body: Buffer.from('{"model":"auto","a":"\xff\xfe"}', 'latin1'),
    code: 'invalid_json',
  },
  { what: 'a model that is a number', body: '{"model":1}', code: 'invalid_model' },
  { what: 'a model that is a list', body: '{"model":["auto"]}', code: 'invalid_model' },
  { what: 'a model that is an object', body: '{"model":{"a":1}}', code: 'invalid_model' },
])('$what is 400 $code, and no upstream hears of it', async ({ body, code }) => {
  const before = upstream.requests.length
  const answer = await post(body)
  expect(answer.status).toBe(400)
  expect(await answer.json()).toMatchObject({ error: { code, type: 'invalid_request_error' } })
  expect(upstream.requests.length).toBe(before)
})

test.each([
  { what: 'no boundary', type: 'multipart/form-data', body: 'x' },
  { what: 'a boundary that never comes', type: 'multipart/form-data; boundary=b', body: 'x' },
  {
    what: 'two models',
    type: 'multipart/form-data; boundary=b',
    body:
      ['auto', 'u']
        .map((name) => `--b\r\ncontent-disposition: form-data; name="model"\r\n\r\n${name}\r\n`)
        .join('') + '--b--\r\n',
  },
])('multipart with $what is 400 invalid_multipart', async ({ type, body }) => {
  const before = upstream.requests.length
  const answer = await gateway.fetch('/v1/audio/transcriptions', {
    method: 'POST',
    body,
    headers: { 'content-type': type },
  })
  expect(answer.status).toBe(400)
  expect(await answer.json()).toMatchObject({ error: { code: 'invalid_multipart' } })
  expect(upstream.requests.length).toBe(before)
})

const levels = 100_000

test.each([
  {
    what: '100,000 levels of lists',
    body: `{"model":"auto","a":${'['.repeat(levels)}${']'.repeat(levels)}}`,
  },
  {
    what: '100,000 levels of objects',
    body: `{"model":"auto","a":${'{"a":'.repeat(levels)}1${'}'.repeat(levels)}}`,
  },
  { what: '100,000 levels without an end', body: `{"model":"auto","a":${'['.repeat(levels)}` },
  {
    what: '100,000 keys',
    body: `{${Array.from({ length: 100_000 }, (_, nth) => `"k${nth}":${nth}`).join(',')},"model":"auto"}`,
  },
  { what: '100,000 times the same key', body: `{${'"a":1,'.repeat(100_000)}"model":"auto"}` },
  { what: 'a megabyte of escapes', body: `{"a":"${'\\u0041'.repeat(200_000)}","model":"auto"}` },
])('$what: answered within seconds, and the server lives', async ({ body }) => {
  const since = performance.now()
  const answer = await post(body)
  expect([200, 400]).toContain(answer.status)
  await answer.text()
  expect(performance.now() - since).toBeLessThan(5_000)
  expect((await gateway.fetch('/healthz')).status).toBe(200)
})

test.each([
  { what: 'twice', body: '{"model":"auto","messages":[],"model":"the-secret-one"}' },
  {
    what: 'spelt with escapes behind it',
    body: '{"model":"auto","messages":[],"\\u006dodel":"the-secret-one"}',
  },
  {
    what: 'spelt with escapes before it',
    body: '{"mod\\u0065l":"the-secret-one","messages":[],"model":"auto"}',
  },
  {
    what: 'spelt with escapes alone',
    body: '{"\\u006d\\u006f\\u0064\\u0065\\u006c":"the-secret-one","messages":[]}',
  },
])('a model $what cannot choose the model of the upstream', async ({ body }) => {
  const before = upstream.requests.length
  const { status } = await post(body)
  for (const request of upstream.requests.slice(before)) {
    expect(Buffer.from(request.body).toString()).not.toContain('the-secret-one')
    expect(JSON.parse(Buffer.from(request.body).toString())).toMatchObject({ model: 'the-real-one' })
  }
  expect([200, 400, 404]).toContain(status)
})
