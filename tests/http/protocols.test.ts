import { describe, expect, test } from 'vitest'
import { ask, askBare, errorOf } from '../support/ask.ts'
import { configOf, createTestApp, jsonAnswer } from '../support/test-app.ts'

const create = (hosts = ['a.test', 'b.test'], settings: object = {}) =>
  createTestApp(configOf(hosts, { settings }), () => jsonAnswer(200, {}))

const ANTHROPIC = [
  '/v1/messages',
  '/v1/messages?beta=true',
  '/v1/messages/',
  '/v1/messages/count_tokens',
  '/v1/messages/batches/b_1',
  '/v1/Messages',
  '/v1/v1/messages',
  '/v1/mess%61ges',
  '/anthropic/v1/messages',
  '/messages',
  '/v1//messages',
  '/v1/v1//messages//count_tokens',
  '//v1/%2Fmessages/',
]
const GEMINI = [
  '/v1beta/models/gemini-pro:generateContent?key=k',
  '/v1beta/models/gemini-pro:streamGenerateContent?alt=sse',
  '/v1beta/models',
  '/v1beta',
  '/v1alpha/models/x:bidiGenerateContent',
  '/upload/v1beta/files',
  '/gemini/v1beta/cachedContents',
  '/v1/v1beta/models/x:countTokens',
  '/v1/models/gemini-pro:generateContent',
  '/v1/models/gemini-pro%3AstreamGenerateContent/',
  '/v1/models/x:embedContent',
  '/v1//models//x:generateContent',
  '/v1//v1beta//models',
  '/v1/models/x:batchEmbedContents',
  '/v1beta1/projects/p/locations/l/publishers/google/models/x:rawPredict',
  '/v1/projects/p/locations/l/publishers/google/models/x:predictLongRunning',
]

describe.each([
  { name: 'several upstreams', hosts: ['a.test', 'b.test'] },
  { name: 'a sole one', hosts: ['a.test'] },
])('with $name', ({ hosts }) => {
  test.each(ANTHROPIC)("%s: 400 in Anthropic's form, which says what is spoken", async (path) => {
    const gateway = create(hosts)
    const response = await ask(gateway, path, { body: '{"model":"claude"}' })
    expect(response.status).toBe(400)
    const body = (await response.json()) as { error: { message: string } }
    expect(body).toEqual({
      type: 'error',
      error: { type: 'invalid_request_error', message: expect.stringContaining('/v1/chat/completions') },
    })
    expect(body.error.message).toMatch(/Anthropic.*OpenAI/)
    expect(gateway.calls).toHaveLength(0)
  })

  test.each(GEMINI)("%s: 404 in Gemini's form, which says what is spoken", async (path) => {
    const gateway = create(hosts)
    const response = await ask(gateway, path, { body: '{}' })
    expect(response.status).toBe(404)
    const body = (await response.json()) as { error: { message: string } }
    expect(body).toEqual({
      error: { code: 404, status: 'NOT_FOUND', message: expect.stringContaining('/v1/chat/completions') },
    })
    expect(body.error.message).toMatch(/Gemini.*OpenAI/)
    expect(gateway.calls).toHaveLength(0)
  })
})

test.each([
  { path: '/v1beta/openai/chat/completions', hint: '/v1/chat/completions' },
  { path: '/v1beta//openai/chat/completions', hint: '/v1/chat/completions' },
  { path: '/v1beta/openai/embeddings/', hint: '/v1/embeddings' },
])("$path is OpenAI's protocol at a wrong root: OpenAI's form and a hint", async ({ path, hint }) => {
  const response = await ask(create(), path, { body: '{}' })
  expect(response.status).toBe(404)
  const { code, message } = await errorOf(response)
  expect([code, message]).toEqual(['not_found', expect.stringContaining(`Did you mean ${hint}?`)])
})

test.each([
  'threads/t_1/messages',
  'chat/completions/c_1/messages',
  'files/messages',
  'conversations/v1/messages',
])('/v1/%s is no other protocol', async (path) => {
  const gateway = create(['a.test'])
  expect((await ask(gateway, `/v1/${path}`)).status).toBe(200)
  expect(gateway.hosts()).toEqual(['a.test'])
})

test.each(['GET', 'HEAD'])('%s of a model whose name has a colon is about a model', async (method) => {
  const gateway = create(['a.test'], { unknown_model: 'auto' })
  for (const id of ['x:free', 'x:generateContent', 'ft:gpt-4o:acme::count'])
    expect((await ask(gateway, `/v1/models/${id}`, { method })).status).toBe(200)
  expect(gateway.calls).toHaveLength(0)
})

test('a fine-tuned model whose name has colons can be deleted at the sole upstream', async () => {
  const gateway = create(['a.test'])
  const path = '/v1/models/ft:gpt-4o:acme:content:abc'
  expect((await ask(gateway, path, { method: 'DELETE' })).status).toBe(200)
  expect(gateway.calls).toHaveLength(1)
})

test.each(['/v1/messages', '/v1/models/x:generateContent', '/v1/messages/count_tokens'])(
  '%s goes to a sole upstream where every path does',
  async (path) => {
    const gateway = create(['a.test'], { passthrough_paths: 'all' })
    const body = '{"model":"claude"}'
    expect((await ask(gateway, path, { body })).status).toBe(200)
    expect(gateway.calls[0]).toMatchObject({ url: `https://a.test${path}`, text: body })
  },
)

test('below /v1 the token is asked for first, elsewhere nothing is told that it protects', async () => {
  const statuses = []
  for (const path of ['/v1/messages', '/v1beta/models/x:generateContent', '/anthropic/v1/messages'])
    statuses.push((await askBare(create(), path, { body: '{}' })).status)
  expect(statuses).toEqual([401, 404, 400])
})
