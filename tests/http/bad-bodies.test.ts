import { expect, test } from 'vitest'
import { ask, errorOf } from '../support/ask.ts'
import { answer, configOf, createTestApp } from '../support/test-app.ts'

const create = () => createTestApp(configOf(['a.test']), ({ host }) => answer(host))
const bytes = (...values: number[]): Uint8Array => Uint8Array.from(values)

test.each([
  { body: '', code: 'invalid_json', says: /empty/ },
  { body: '  \n', code: 'invalid_json', says: /found the end/ },
  { body: 'model=auto', code: 'invalid_json', says: /byte 0/ },
  { body: '[{"model":"auto"}]', code: 'invalid_json', says: /not a JSON object/ },
  { body: '"auto"', code: 'invalid_json', says: /not a JSON object/ },
  { body: '{"model":"auto"', code: 'invalid_json', says: /comma or }.*byte 15/ },
  { body: '{"model":"auto"} x', code: 'invalid_json', says: /nothing more.*byte 17/ },
  { body: '{"model":"auto",}', code: 'invalid_json', says: /byte 16/ },
  { body: bytes(0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d), code: 'invalid_json', says: /UTF-8.*byte 2/ },
  { body: '{"model":5}', code: 'invalid_model', says: /string, not a number/ },
  { body: '{"model":true}', code: 'invalid_model', says: /string, not a boolean/ },
  { body: '{"model":["auto"]}', code: 'invalid_model', says: /string, not an array/ },
  { body: '{"model":{"id":"auto"}}', code: 'invalid_model', says: /string, not an object/ },
  { body: '{"model":"auto","model":5}', code: 'invalid_model', says: /string, not a number/ },
])('$body is refused as $code, and no upstream hears of it', async ({ body, code, says }) => {
  const gateway = create()
  const response = await ask(gateway, '/v1/chat/completions', { body })
  expect(response.status).toBe(400)
  const error = await errorOf(response)
  expect(error).toMatchObject({
    code,
    type: 'invalid_request_error',
    param: code === 'invalid_model' ? 'model' : null,
  })
  expect(error.message).toMatch(says)
  expect(gateway.calls).toHaveLength(0)
  expect(gateway.requests()).toMatchObject([{ endpoint: 'chat', status: 400, code, attempts: [] }])
  expect(gateway.memory.held).toBe(0)
})

const part = (name: string, value: string): string =>
  `--b\r\nContent-Disposition: form-data; name="${name}"\r\n\r\n${value}\r\n`

test.each([
  { type: 'multipart/form-data', body: part('model', 'auto'), because: 'it has no boundary' },
  { type: 'multipart/form-data; boundary=', body: part('model', 'auto'), because: 'its boundary is empty' },
  {
    type: 'multipart/form-data; boundary=c',
    body: `${part('model', 'auto')}--b--`,
    because: 'its boundary is another',
  },
  { type: 'multipart/mixed; boundary=b', body: `${part('model', 'auto')}--b--`, because: 'it is no form' },
  {
    type: 'multipart/form-data; boundary=b',
    body: part('model', 'auto') + part('model', 'auto') + '--b--',
    because: 'it has two models',
  },
  { type: 'multipart/form-data; boundary=b', body: part('model', 'auto'), because: 'it never ends' },
  { type: 'multipart/form-data; boundary=b', body: '', because: 'it is empty' },
])('a form of type $type is refused, since $because', async ({ type, body }) => {
  const gateway = create()
  const response = await ask(gateway, '/v1/audio/transcriptions', { body, headers: { 'content-type': type } })
  expect(response.status).toBe(400)
  expect(await errorOf(response)).toMatchObject({ code: 'invalid_multipart', type: 'invalid_request_error' })
  expect(gateway.calls).toHaveLength(0)
})

test.each([
  '{"model":'.repeat(100_000),
  `{"a":${'['.repeat(100_000)}${']'.repeat(100_000)}}`,
  `{${Array.from({ length: 100_000 }, (_, at) => `"k${at}":1`).join(',')}}`,
])('a monstrous document is answered within seconds (case %#)', async (body) => {
  const startedAt = performance.now()
  const response = await ask(create(), '/v1/chat/completions', { body })
  await response.text()
  expect([200, 400]).toContain(response.status)
  expect(performance.now() - startedAt).toBeLessThan(5000)
})
