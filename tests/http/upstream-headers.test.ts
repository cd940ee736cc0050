import { expect, test } from 'vitest'
import { ask } from '../support/ask.ts'
import { answer, configOf, createTestApp, TOKEN } from '../support/test-app.ts'

const CLIENT = {
  accept: 'application/json',
  'user-agent': 'OpenAI/JS 6.49.0',
  'openai-beta': 'assistants=v2',
  'x-stainless-os': 'Linux',
  'idempotency-key': 'k1',
  traceparent: '00-a-b-01',
  'api-key': TOKEN,
  'x-api-key': TOKEN,
  cookie: 'session=1',
  'openai-organization': 'org-of-the-client',
  'openai-project': 'proj-of-the-client',
  'x-forwarded-for': '198.51.100.7',
  'x-real-ip': '198.51.100.7',
  forwarded: 'for=198.51.100.7',
  via: '1.1 proxy',
  referer: 'https://app.example/',
  origin: 'https://app.example',
  'sec-fetch-mode': 'cors',
  'proxy-authorization': 'Basic x',
  te: 'trailers',
  'accept-encoding': 'gzip, br',
  'accept-language': 'de',
  'x-request-id': 'mine',
  'x-custom': '1',
}

test.each(['/v1/chat/completions', '/v1/files'])(
  'an upstream sees the allowed headers and its own key on %s',
  async (path) => {
    const config = configOf(['a.test'], {
      models: { headers: { 'X-Team': 'a', 'User-Agent': 'configured' } },
    })
    const gateway = createTestApp(config, ({ host }) => answer(host))
    await ask(gateway, path, { body: '{}', headers: { ...CLIENT, 'content-type': 'application/json' } })
    expect(gateway.calls[0]!.headers).toEqual({
      'content-type': 'application/json',
      accept: 'application/json',
      'user-agent': 'configured',
      'openai-beta': 'assistants=v2',
      'x-stainless-os': 'Linux',
      'idempotency-key': 'k1',
      traceparent: '00-a-b-01',
      'accept-encoding': 'identity',
      authorization: 'Bearer key-a.test',
      'x-team': 'a',
    })
    expect(JSON.stringify(gateway.calls[0])).not.toContain(TOKEN)
  },
)

test('an own server without a key gets no authorization', async () => {
  const gateway = createTestApp(configOf(['a.test'], { models: { api_key: '' } }), ({ host }) => answer(host))
  await gateway.chat()
  expect(gateway.calls[0]!.headers).not.toHaveProperty('authorization')
})
