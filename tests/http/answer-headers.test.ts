import { describe, expect, test } from 'vitest'
import { encodedWhereNeeded } from '../../src/relay/headers.ts'
import { ask } from '../support/ask.ts'
import { answer, configOf, createTestApp, errorAnswer, TOKEN } from '../support/test-app.ts'

const VENDOR = {
  'content-type': 'application/json',
  'cache-control': 'no-cache',
  'retry-after': '3',
  'retry-after-ms': '2500',
  'x-ratelimit-remaining-requests': '59',
  'openai-processing-ms': '12',
  'set-cookie': '__cf_bm=x',
  server: 'cloudflare',
  'openai-organization': 'org-secret',
  'openai-version': '2020-10-01',
  'x-request-id': 'req_vendor',
  location: 'https://elsewhere.test',
  'content-length': '5',
  'content-encoding': 'gzip',
  'transfer-encoding': 'chunked',
  connection: 'keep-alive',
  'access-control-allow-origin': '*',
  'x-model': 'forged',
  'x-aiload-attempts': '99',
}

test('a client sees what it may of an upstream’s headers, and ours', async () => {
  const gateway = createTestApp(configOf(['a.test']), ({ host }) => answer(host, { headers: VENDOR }))
  const response = await gateway.chat({}, { headers: { 'x-request-id': 'mine' } })
  expect(Object.fromEntries(response.headers)).toEqual({
    'content-type': 'application/json',
    'cache-control': 'no-cache',
    'retry-after': '3',
    'retry-after-ms': '2500',
    'x-ratelimit-remaining-requests': '59',
    'openai-processing-ms': '12',
    'x-request-id': 'mine',
    'x-aiload-request-id': 'id-1',
    'x-model': 'model-a.test',
    'x-aiload-upstream': 'a.test',
    'x-aiload-attempts': '1',
  })
})

test('the same goes for errors that are handed on, and for what is passed on', async () => {
  const gateway = createTestApp(configOf(['a.test']), () => errorAnswer(400, 'x', VENDOR))
  for (const response of [await gateway.chat(), await ask(gateway, '/v1/files')]) {
    expect(response.status).toBe(400)
    for (const name of [
      'set-cookie',
      'server',
      'openai-organization',
      'location',
      'content-encoding',
      'content-length',
    ]) {
      expect(response.headers.get(name)).toBeNull()
    }
    expect(response.headers.get('x-model')).toBe('model-a.test')
  }
})

test('a header value that a runtime would refuse is left out', async () => {
  const headers = {
    'retry-after': 'morgen früh ☕',
    'cache-control': 'a\r\nset-cookie: x',
    'x-ratelimit-reset': '\u0000',
    'openai-processing-ms': 'é',
  }
  const gateway = createTestApp(configOf(['a.test']), ({ host }) => answer(host, { headers }))
  const response = await gateway.chat()
  expect(response.status).toBe(200)
  expect(Object.keys(headers).filter((name) => response.headers.has(name))).toEqual(['openai-processing-ms'])
})

test.each(['text/event-stream', 'Text/Event-Stream; charset=utf-8'])(
  'a stream of type %s asks proxies not to hold it back',
  async (type) => {
    const body = new TextEncoder().encode('data: {"choices":[{"delta":{"content":"a"}}]}\n\ndata: [DONE]\n\n')
    const gateway = createTestApp(configOf(['a.test']), () => ({
      status: 200,
      headers: { 'content-type': type },
      body,
    }))
    const response = await gateway.chat({ stream: true })
    expect(await response.text()).toContain('[DONE]')
    expect(response.headers.get('x-accel-buffering')).toBe('no')
  },
)

test('names of any Unicode fit into headers', async () => {
  const model = '模型/7b 100%'
  const config = {
    auth_token: TOKEN,
    models: [{ base_url: 'https://a.test/v1', model, name: 'müller’s' }],
    settings: { affinity: 'off' },
  }
  const response = await createTestApp(config, ({ host }) => answer(host)).chat()
  expect(decodeURIComponent(response.headers.get('x-model') ?? '')).toBe(model)
  expect(decodeURIComponent(response.headers.get('x-aiload-upstream') ?? '')).toBe('müller’s')
})

test.each([
  ['openai/gpt-4o:free', 'openai/gpt-4o:free'],
  ['a b', 'a%20b'],
  ['100%', '100%25'],
  ['half \ud800', 'half%20%EF%BF%BD'],
])('%s is written as %s', (name, written) => {
  expect(encodedWhereNeeded(name)).toBe(written)
})

describe('the request id', () => {
  test.each(['a', 'req_1.B-2', 'x'.repeat(128)])('is the client’s when it is %s', async (id) => {
    const gateway = createTestApp(configOf(['a.test']), ({ host }) => answer(host))
    expect((await gateway.chat({}, { headers: { 'x-request-id': id } })).headers.get('x-request-id')).toBe(id)
    expect(gateway.requests()[0]!.id).toBe(id)
  })

  test.each(['', 'x'.repeat(129), 'a b', 'a,b', 'é', '<script>', '${jndi}'])(
    'is a new one instead of %j',
    async (id) => {
      const gateway = createTestApp(configOf(['a.test']), ({ host }) => answer(host))
      for (const path of ['/v1/models', '/nothing', '/healthz', '/v1/files']) {
        expect(
          (await ask(gateway, path, { headers: { 'x-request-id': id } })).headers.get('x-request-id'),
        ).toMatch(/^id-\d+$/)
      }
    },
  )
})
