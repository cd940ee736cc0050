import { expect, test } from 'vitest'
import { createApp } from '../src/app.ts'
import { ask, askBare, errorOf } from './support/ask.ts'
import { answer, configOf, createTestApp, TOKEN } from './support/test-app.ts'

const create = (hosts = ['a.test', 'b.test']) => createTestApp(configOf(hosts), ({ host }) => answer(host))

test('the address itself tells a browser what this is, and nothing that the token protects', async () => {
  const response = await askBare(create(), '/')
  expect(response.status).toBe(200)
  expect(response.headers.get('content-type')).toBe('text/html; charset=utf-8')
  const page = await response.text()
  expect(page).toContain('/v1')
  for (const secret of [TOKEN, 'a.test', 'key-a.test']) expect(page).not.toContain(secret)
})

test.each(['/healthz', '/healthz/', '/readyz', '/metrics', '/admin/status', '/admin/status/?x=1'])(
  '%s answers with the token',
  async (path) => {
    expect((await ask(create(), path)).status).toBe(200)
  },
)

test.each([
  { method: 'GET', path: '/v1/chat/completions', allow: 'POST' },
  { method: 'HEAD', path: '/v1/chat/completions', allow: 'POST' },
  { method: 'PUT', path: '/v1/embeddings', allow: 'POST' },
  { method: 'DELETE', path: '/v1/models/a', allow: 'GET, HEAD' },
  { method: 'POST', path: '/healthz', allow: 'GET, HEAD' },
  { method: 'DELETE', path: '/', allow: 'GET, HEAD' },
  { method: 'POST', path: '/metrics', allow: 'GET, HEAD' },
  { method: 'PATCH', path: '/admin/status', allow: 'GET, HEAD' },
])('$method $path is 405 with $allow', async ({ method, path, allow }) => {
  const response = await ask(create(), path, { method })
  expect([response.status, response.headers.get('allow')]).toEqual([405, allow])
  if (method !== 'HEAD') expect((await errorOf(response)).code).toBe('method_not_allowed')
})

test('with a sole upstream 405 allows what would be passed on as well', async () => {
  const response = await ask(create(['a.test']), '/v1/chat/completions', { method: 'DELETE' })
  expect([response.status, response.headers.get('allow')]).toEqual([405, 'POST, GET'])
})

test.each([
  { path: '/chat/completions', hint: '/v1/chat/completions' },
  { path: '/api/v1/chat/completions/', hint: '/v1/chat/completions' },
  { path: '/openai/completions', hint: '/v1/completions' },
  { path: '/models', hint: '/v1/models' },
  { path: '/v1/v1/responses', hint: '/v1/responses' },
  { path: '/v1', hint: 'POST /v1/chat/completions' },
  { path: '/v1/', hint: 'POST /v1/chat/completions' },
])('$path is 404 with the hint $hint', async ({ path, hint }) => {
  const response = await ask(create(), path)
  expect(response.status).toBe(404)
  expect((await errorOf(response)).message).toContain(hint)
})

test.each([
  '/favicon.ico',
  '/.env',
  '/v2/chat',
  '/admin/nothing',
  '/admin',
  '/v%31/files',
  '/%68ealthz',
  '/a//b',
  '/v1models',
])('%s is 404 without a hint', async (path) => {
  const response = await ask(create(), path)
  expect(response.status).toBe(404)
  const { code, message } = await errorOf(response)
  expect([code, message]).toEqual(['not_found', 'There is nothing at this path.'])
})

test.each([
  { method: 'POST', path: '/v1beta/models/x:generateContent', status: 404 },
  { method: 'POST', path: '/v1/messages', status: 400 },
  { method: 'GET', path: '/v1/dashboard/billing', status: 404 },
  { method: 'DELETE', path: '/v1/files/f%00', status: 400 },
  { method: 'GET', path: '/v1/models/gpt-9', status: 404 },
  { method: 'PUT', path: '/v1/embeddings', status: 405 },
  { method: 'GET', path: '/favicon.ico', status: 404 },
  { method: 'POST', path: '/healthz', status: 405 },
  { method: 'POST', path: '/admin/nothing', status: 404 },
  { method: 'POST', path: '/v1/chat/completions', status: 400 },
])(
  'the event of $method $path, which is refused, has both and no query',
  async ({ method, path, status }) => {
    const gateway = create()
    expect((await ask(gateway, `${path}?key=SECRET#more`, { method })).status).toBe(status)
    expect(gateway.requests()).toMatchObject([{ method, path, status }])
    expect(JSON.stringify(gateway.events)).not.toContain('SECRET')
  },
)

test('so has that of a request without the token; of a path there are 200 characters at most', async () => {
  const gateway = create()
  await askBare(gateway, `/v1/files/${'x'.repeat(300)}`, { method: 'DELETE' })
  expect(gateway.requests()).toMatchObject([{ method: 'DELETE', path: `/v1/files/${'x'.repeat(190)}` }])
})

test('a token that stands in a path is not told of', async () => {
  const gateway = create()
  await ask(gateway, `/v2/${TOKEN}/chat/${TOKEN}`)
  expect(gateway.requests()).toMatchObject([{ path: '/v2/***/chat/***' }])
})

test('what is answered has neither', async () => {
  const gateway = create()
  await ask(gateway, '/v1/models')
  await gateway.chat()
  for (const event of gateway.requests()) expect(event).not.toHaveProperty('path')
})

test('while draining the API answers 503 and closes the connection', async () => {
  const gateway = create()
  gateway.drain()
  const response = await gateway.chat()
  expect([response.status, response.headers.get('connection')]).toEqual([503, 'close'])
  expect((await errorOf(response)).code).toBe('draining')
  expect(gateway.calls).toHaveLength(0)
})

test('a mistake of our own is a 500 in the envelope, a notice that says where, and no secret', async () => {
  const secret = 'sk-very-secret'
  const { deps, events } = create()
  const status = (): never => {
    throw new TypeError(`invalid header value ${secret}`)
  }
  const headers = { 'api-key': TOKEN, 'x-request-id': 'r1', origin: 'https://x.test' }
  const response = await createApp({ ...deps, status }).request('/admin/status', { headers }, {})
  expect(response.status).toBe(500)
  expect(response.headers.get('x-request-id')).toBe('r1')
  expect(response.headers.get('access-control-allow-origin')).toBeNull()
  const text = await response.text()
  expect(JSON.parse(text)).toMatchObject({ error: { code: 'internal_error', type: 'server_error' } })
  const told = JSON.stringify(events.filter(({ kind }) => kind === 'notice'))
  expect(told).toMatch(/"level":"error".*r1: TypeError at .*app\.test\.ts/)
  expect(text + JSON.stringify(events)).not.toContain(secret)
})

test('even a request that cannot be taken in gets the envelope', async () => {
  const { deps, events } = create()
  const receive = (): never => {
    throw new Error('no socket')
  }
  const response = await createApp({ ...deps, receive }).request('/v1/models', {}, {})
  expect([response.status, (await errorOf(response)).code]).toEqual([500, 'internal_error'])
  expect(events.filter(({ kind }) => kind === 'notice')).toHaveLength(1)
})
