import { expect, test } from 'vitest'
import { askBare, errorOf } from '../support/ask.ts'
import { answer, configOf, createTestApp, type TestApp } from '../support/test-app.ts'

const withToken = (token: string | readonly string[]) =>
  createTestApp({ ...configOf(['a.test']), auth_token: token }, ({ host }) => answer(host))
const latin1 = (text: string): string => Buffer.from(text, 'utf8').toString('latin1')

test.each([
  { token: 'My API Key', headers: { authorization: 'Bearer My API Key' } },
  { token: 'My API Key', headers: { authorization: 'bEaReR   My API Key ' } },
  { token: 'My API Key', headers: { 'x-api-key': 'My API Key' } },
  { token: 'My API Key', headers: { 'api-key': 'My API Key' } },
  { token: 'k', headers: { authorization: 'Basic dXNlcjpwYXNz', 'x-api-key': 'k' } },
  { token: 'k', headers: { authorization: 'Bearer dummy', 'api-key': 'k' } },
  { token: 'Bearer x', headers: { authorization: 'Bearer Bearer x' } },
  { token: 'clé', headers: { authorization: 'Bearer clé' } },
  { token: 'clé', headers: { authorization: `Bearer ${latin1('clé')}` } },
  { token: 'ключ 钥匙', headers: { 'x-api-key': latin1('ключ 钥匙') } },
])('$headers opens the door of $token', async ({ token, headers }) => {
  expect((await askBare(withToken(token), '/v1/models', { headers })).status).toBe(200)
})

test.each([
  {},
  { authorization: '' },
  { authorization: 'Bearer' },
  { authorization: 'Bearer ' },
  { authorization: 'secret token' },
  { authorization: 'Basic secret token' },
  { authorization: 'Bearer secret  token' },
  { authorization: 'Bearer secret tokens' },
  { authorization: 'Bearer Secret token' },
  { authorization: 'Bearer \u00ff\u00fe' },
  { 'x-api-key': '' },
  { 'api-key': 'wrong-guess' },
  { cookie: 'token=secret token' },
])('%j does not', async (headers) => {
  const response = await askBare(withToken('secret token'), '/v1/models', { headers })
  expect(response.status).toBe(401)
  expect(response.headers.get('www-authenticate')).toBe('Bearer')
  const text = await response.text()
  expect(JSON.parse(text)).toMatchObject({
    error: { code: 'invalid_api_key', type: 'invalid_request_error' },
  })
  for (const secret of ['secret', 'wrong-guess']) expect(text).not.toContain(secret)
})

test('a wrong token is refused before a byte of the body is read', async () => {
  let pulls = 0
  const pull = (): void => void (pulls += 1)
  const body = new ReadableStream<Uint8Array>({ pull }, { highWaterMark: 0 })
  const response = await askBare(withToken('k'), '/v1/chat/completions', {
    body,
    headers: { 'x-api-key': 'no' },
  })
  expect(response.status).toBe(401)
  expect(pulls).toBe(0)
})

test.each([
  '/v1',
  '/v1/',
  '/v1/models',
  '/v1/files',
  '/v1/nothing',
  '/admin',
  '/admin/status',
  '/admin/forget',
  '/admin/pause',
  '/admin/resume',
  '/admin/test',
  '/admin/usage',
  '/admin/events',
  '/admin/x',
  '/metrics',
])('%s needs the token whatever the method, and says nothing without it', async (path) => {
  const gateway = withToken('k')
  for (const method of ['GET', 'HEAD', ...(path === '/metrics' ? [] : ['POST', 'DELETE'])]) {
    expect((await askBare(gateway, path, { method })).status).toBe(401)
  }
})

test.each(['/', '/healthz', '/readyz'])('%s needs none', async (path) => {
  expect((await askBare(withToken('k'), path)).status).toBe(200)
})

test('metrics need none where the configuration says so', async () => {
  const gateway = createTestApp(configOf(['a.test'], { server: { metrics_public: true } }), ({ host }) =>
    answer(host),
  )
  const response = await askBare(gateway, '/metrics')
  expect(response.status).toBe(200)
  expect(response.headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8')
})

test('a reload with another token shuts the old one out', async () => {
  const gateway = withToken('old')
  gateway.apply({ ...configOf(['a.test']), auth_token: 'new' })
  const statusWith = async (token: string) =>
    (await askBare(gateway, '/v1/models', { headers: { 'api-key': token } })).status
  expect([await statusWith('old'), await statusWith('new')]).toEqual([401, 200])
})

const statusesOf = (gateway: TestApp, tokens: readonly string[]): Promise<number[]> =>
  Promise.all(
    tokens.map(
      async (token) => (await askBare(gateway, '/v1/models', { headers: { 'api-key': token } })).status,
    ),
  )

test('each token of a list opens the door, until a reload takes it out', async () => {
  const gateway = withToken(['sk-new', 'sk-old'])
  expect(await statusesOf(gateway, ['sk-new', 'sk-old', 'sk-none', ''])).toEqual([200, 200, 401, 401])
  gateway.apply({ ...configOf(['a.test']), auth_token: ['sk-new'] })
  expect(await statusesOf(gateway, ['sk-new', 'sk-old'])).toEqual([200, 401])
})

test('no token of a list stands in the log when somebody puts it into the path', async () => {
  const gateway = withToken(['sk-new', 'sk-old'])
  for (const token of ['sk-new', 'sk-old']) await askBare(gateway, `/nothing/${token}`)
  expect(gateway.requests()).toMatchObject([{ path: '/nothing/***' }, { path: '/nothing/***' }])
})

test('a token that is a word leaves paths readable, and is not given away by what is masked in them', async () => {
  const gateway = withToken(['chat', 't'])
  await askBare(gateway, '/v2/chat/completions')
  expect(gateway.requests()).toMatchObject([{ path: '/v2/chat/completions' }])
})

test('what was refused is told to the log, without what was shown', async () => {
  const gateway = withToken('k')
  const response = await askBare(gateway, '/v1/chat/completions', {
    body: '{}',
    headers: { 'api-key': 'guess-1' },
  })
  expect((await errorOf(response)).code).toBe('invalid_api_key')
  expect(gateway.requests()).toMatchObject([
    { endpoint: 'chat', status: 401, code: 'invalid_api_key', requestedModel: '' },
  ])
  expect(JSON.stringify(gateway.events)).not.toContain('guess-1')
})

const NO_WORD = 'The word "Bearer" is missing before the token in the authorization header.'
const EMPTY = 'There is no token after the word "Bearer".'
test.each([
  [{}, 'No token was sent.'],
  [{ authorization: ' ' }, 'No token was sent.'],
  [{ authorization: 'sk-guess' }, NO_WORD],
  [{ authorization: '"sk-guess"' }, NO_WORD],
  [{ authorization: 'sk-guess two' }, NO_WORD],
  [{ authorization: 'bear sk-guess' }, NO_WORD],
  [{ authorization: 'Bearer' }, EMPTY],
  [{ authorization: 'Bearer ' }, EMPTY],
  [{ authorization: 'Bearer: sk-guess' }, 'Only a blank may stand between the word "Bearer" and the token.'],
  [{ authorization: 'Bearer=sk-guess' }, 'Only a blank may stand between the word "Bearer" and the token.'],
  [{ authorization: 'Basic sk-guess' }, 'The scheme of the authorization header is "Basic" instead of'],
  [{ authorization: 'Token sk-guess' }, 'The scheme of the authorization header is "Token" instead of'],
  [{ authorization: 'Api-Key sk-guess' }, 'The scheme of the authorization header is "Api-Key" instead of'],
  [{ authorization: 'Bearer Bearer sk-guess' }, 'The word "Bearer" stands twice before the token.'],
  [{ authorization: 'Bearer "sk-guess"' }, 'The token is wrong: it stands in quotes.'],
  [{ 'x-api-key': "'sk-guess'" }, 'The token is wrong: it stands in quotes.'],
  [{ authorization: 'Bearer undefined' }, 'The token is wrong: it is a placeholder'],
  [{ authorization: 'Bearer $SK_GUESS' }, 'The token is wrong: it is a placeholder'],
  [{ 'api-key': '<sk-guess>' }, 'The token is wrong: it is a placeholder'],
  [{ authorization: 'Bearer sk-guess' }, 'The token is wrong. Send'],
  [{ authorization: 'sk-guess', 'x-api-key': 'other' }, NO_WORD],
])('the answer to %j says: %s', async (headers, words) => {
  const response = await askBare(withToken('k'), '/v1/models', { headers })
  const { message } = await errorOf(response)
  expect(message).toContain(words)
  expect(message).toContain('Send the gateway\'s auth_token as "Authorization: Bearer …".')
  expect(message).not.toMatch(/sk-guess|SK_GUESS|other\b/)
})
