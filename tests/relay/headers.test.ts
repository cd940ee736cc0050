import { expect, test } from 'vitest'
import { chatAnswer, JSON_TYPE, play } from '../support/played.ts'
import { configOf, createTestApp, jsonAnswer, TOKEN } from '../support/test-app.ts'

const one = configOf(['a.test'])

test('an upstream sees what is allowed, its own key, and nothing else', async () => {
  const app = createTestApp(one, play(chatAnswer()))
  const secret = [
    'cookie',
    'x-api-key',
    'api-key',
    'forwarded',
    'x-forwarded-for',
    'x-forwarded-proto',
    'x-real-ip',
    'via',
    'referer',
    'origin',
    'sec-fetch-mode',
    'sec-ch-ua',
    'proxy-authorization',
    'openai-organization',
    'openai-project',
    'te',
    'x-custom',
    'accept-language',
    'cf-connecting-ip',
  ]
  const allowed = [
    'accept',
    'user-agent',
    'openai-beta',
    'x-stainless-lang',
    'idempotency-key',
    'traceparent',
  ]
  await app.chat({}, { headers: Object.fromEntries([...secret, ...allowed].map((name) => [name, 'value'])) })
  const { headers } = app.calls[0]!
  expect(Object.keys(headers).sort()).toEqual(
    [...allowed, 'authorization', 'accept-encoding', 'content-type'].sort(),
  )
  expect(headers).toMatchObject({
    authorization: 'Bearer key-a.test',
    'accept-encoding': 'identity',
    'content-type': 'application/json',
  })
  expect(JSON.stringify(app.calls[0])).not.toContain(TOKEN)
})

test('configured headers are added and replace', async () => {
  const config = configOf(['a.test'], {
    models: { headers: { 'X-Title': 'mine', Authorization: 'Basic eA==', 'User-Agent': 'own' } },
  })
  const app = createTestApp(config, play(chatAnswer()))
  await app.chat({}, { headers: { 'user-agent': 'client' } })
  expect(app.calls[0]!.headers).toMatchObject({
    'x-title': 'mine',
    authorization: 'Basic eA==',
    'user-agent': 'own',
  })
})

test('a server that wants no key gets none', async () => {
  const app = createTestApp(configOf(['a.test'], { models: { api_key: '' } }), play(chatAnswer()))
  await app.chat()
  expect(app.calls[0]!.headers).not.toHaveProperty('authorization')
})

test.each(['text/plain', 'application/x-www-form-urlencoded'])(
  'JSON that a client calls %s goes up as JSON',
  async (type) => {
    const app = createTestApp(one, play(chatAnswer()))
    await app.chat({}, { headers: { 'content-type': type } })
    expect(app.calls[0]!.headers['content-type']).toBe('application/json')
  },
)

test('the query of the configuration comes first, then that of the client', async () => {
  const config = configOf(['a.test'], {
    models: { base_url: 'https://a.test/v1/chat/completions?api-version=1' },
  })
  const app = createTestApp(config, play(chatAnswer()))
  await app.chat({}, { path: 'chat/completions?x=%20y' })
  expect(app.calls[0]!.url).toBe('https://a.test/v1/chat/completions?api-version=1&x=%20y')
})

test('a client sees what is allowed of an answer, and no stale length', async () => {
  const hidden = [
    'set-cookie',
    'server',
    'openai-organization',
    'cf-ray',
    'location',
    'x-powered-by',
    'x-ratelimit-organization',
    'x-ratelimit-api-key',
    'content-length',
    'transfer-encoding',
    'access-control-allow-origin',
    'alt-svc',
  ]
  const shown = [
    'cache-control',
    'openai-processing-ms',
    'x-ratelimit-remaining-requests',
    'x-ratelimit-limit-tokens-minute',
    'x-ratelimit-reset',
    'ratelimit-policy',
    'ratelimit',
    'retry-after',
    'retry-after-ms',
  ]
  const app = createTestApp(one, () =>
    jsonAnswer(
      200,
      { choices: [] },
      { ...Object.fromEntries([...hidden, ...shown].map((name) => [name, '7'])), ...JSON_TYPE },
    ),
  )
  const response = await app.chat()
  for (const name of shown) expect(response.headers.get(name)).toBe('7')
  for (const name of hidden) expect(response.headers.get(name)).not.toBe('7')
})
