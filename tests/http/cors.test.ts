import { expect, test } from 'vitest'
import { ask, askBare } from '../support/ask.ts'
import { answer, configOf, createTestApp, errorAnswer } from '../support/test-app.ts'

const ORIGIN = 'https://app.example'
const create = (cors?: unknown) =>
  createTestApp(configOf(['a.test'], { server: cors === undefined ? {} : { cors } }), ({ host }) =>
    answer(host),
  )
const allowOrigin = (response: Response): string | null => response.headers.get('access-control-allow-origin')

test.each([
  { cors: undefined, origin: ORIGIN, allowed: '*' },
  { cors: '*', origin: 'null', allowed: '*' },
  { cors: [ORIGIN], origin: ORIGIN, allowed: ORIGIN },
  { cors: [ORIGIN], origin: 'https://evil.example', allowed: null },
  { cors: [ORIGIN], origin: `${ORIGIN}.evil.example`, allowed: null },
  { cors: [], origin: ORIGIN, allowed: null },
  { cors: false, origin: ORIGIN, allowed: null },
])('with server.cors $cors the origin $origin is told $allowed', async ({ cors, origin, allowed }) => {
  for (const method of ['GET', 'OPTIONS']) {
    const response = await ask(create(cors), '/v1/models', { method, headers: { origin } })
    expect(allowOrigin(response)).toBe(allowed)
    expect(response.headers.get('access-control-allow-credentials')).toBeNull()
    expect(response.headers.get('vary')).toBe(Array.isArray(cors) ? 'Origin' : null)
  }
})

test('without an origin there is nothing to allow, but caches are told that there could be', async () => {
  expect(allowOrigin(await ask(create(), '/v1/models'))).toBeNull()
  expect((await ask(create([ORIGIN]), '/v1/models')).headers.get('vary')).toBe('Origin')
})

test.each(['/v1/chat/completions', '/v1/anything', '/', '/nothing/here'])(
  'a preflight of %s is 204 without a token',
  async (path) => {
    const headers = {
      origin: ORIGIN,
      'access-control-request-method': 'POST',
      'access-control-request-headers': 'authorization,x-stainless-os',
    }
    const response = await askBare(create(), path, { method: 'OPTIONS', headers })
    expect(response.status).toBe(204)
    expect(response.body).toBeNull()
    expect(response.headers.get('access-control-allow-headers')).toBe('authorization,x-stainless-os')
    for (const method of ['GET', 'POST', 'DELETE'])
      expect(response.headers.get('access-control-allow-methods')).toContain(method)
    expect(response.headers.get('access-control-max-age')).toBe('86400')
  },
)

test('a preflight from elsewhere is 204 and allows nothing', async () => {
  const response = await askBare(create([ORIGIN]), '/v1/models', {
    method: 'OPTIONS',
    headers: { origin: 'https://evil.example' },
  })
  expect(response.status).toBe(204)
  expect([...response.headers.keys()].filter((name) => name.startsWith('access-control'))).toEqual([])
})

test('scripts may read our headers and the vendors’', async () => {
  const exposed = (await ask(create(), '/v1/models', { headers: { origin: ORIGIN } })).headers.get(
    'access-control-expose-headers',
  )
  for (const name of [
    'x-request-id',
    'x-model',
    'x-aiload-upstream',
    'x-aiload-attempts',
    'retry-after',
    '*',
  ]) {
    expect(exposed).toContain(name)
  }
})

test('errors carry CORS headers too, ours and the upstream’s', async () => {
  const headers = { origin: ORIGIN }
  expect(allowOrigin(await askBare(create(), '/v1/models', { headers }))).toBe('*')
  expect(allowOrigin(await askBare(create(), '/nothing', { headers }))).toBe('*')
  expect(allowOrigin(await ask(create(), '/v1/chat/completions', { headers, body: '{' }))).toBe('*')
  const gateway = createTestApp(configOf(['a.test']), () =>
    errorAnswer(400, 'x', { 'access-control-allow-origin': 'https://vendor.example' }),
  )
  expect(allowOrigin(await gateway.chat({}, { headers }))).toBe('*')
})

test.each(['GET', 'POST', 'OPTIONS'])(
  'no page of another origin reads what %s /admin/status answers, and no cache keeps it',
  async (method) => {
    const response = await ask(create(), '/admin/status', { method, headers: { origin: ORIGIN } })
    expect([...response.headers.keys()].filter((name) => /^access-control|^vary/.test(name))).toEqual([])
    expect(response.headers.get('cache-control')).toBe('no-store')
  },
)
