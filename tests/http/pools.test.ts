import { expect, test } from 'vitest'
import { ask, errorOf } from '../support/ask.ts'
import { answer, configOf, createTestApp, jsonAnswer, TOKEN } from '../support/test-app.ts'

const entry = (host: string, more: object): object => ({
  base_url: `https://${host}/v1`,
  api_key: 'k',
  ...more,
})
const MODELS = [
  entry('a.test', { model: 'big', name: 'first', groups: ['fast'] }),
  entry('b.test', { model: 'small', name: 'second', groups: ['fast', 'cheap'] }),
  entry('c.test', { model: 'big', name: 'third' }),
  entry('d.test', { model: 'vectors', name: 'fourth', endpoints: ['embeddings'] }),
  entry('e.test', { model: 'off', name: 'fifth', enabled: false, groups: ['cheap'] }),
]
const create = (settings: object = {}) =>
  createTestApp(
    {
      auth_token: TOKEN,
      models: MODELS,
      settings: { affinity: 'off', strategy: 'round_robin', ...settings },
    },
    ({ host, url }) => (url.includes('embeddings') ? jsonAnswer(200, { data: [] }) : answer(host)),
  )

async function hostsFor(model: unknown, settings?: object): Promise<string[]> {
  const gateway = create(settings)
  for (let at = 0; at < 8; at++) expect((await gateway.chat({ model })).status).toBe(200)
  return [...new Set(gateway.hosts())].sort()
}

test.each([
  { model: 'auto', hosts: ['a.test', 'b.test', 'c.test'] },
  { model: '', hosts: ['a.test', 'b.test', 'c.test'] },
  { model: undefined, hosts: ['a.test', 'b.test', 'c.test'] },
  { model: null, hosts: ['a.test', 'b.test', 'c.test'] },
  { model: 'fast', hosts: ['a.test', 'b.test'] },
  { model: 'cheap', hosts: ['b.test'] },
  { model: 'big', hosts: ['a.test', 'c.test'] },
  { model: 'third', hosts: ['c.test'] },
])('$model goes to $hosts', async ({ model, hosts }) => {
  expect(await hostsFor(model)).toEqual(hosts)
})

test('an unknown name is 404 model_not_found that lists the names', async () => {
  const gateway = create()
  const response = await gateway.chat({ model: 'bigg' })
  expect(response.status).toBe(404)
  const error = await errorOf(response)
  expect(error).toMatchObject({ code: 'model_not_found', param: 'model' })
  expect(error.message).toContain('"bigg"')
  expect(error.message).toContain('auto, fast, cheap, big, small, vectors')
  expect(gateway.requests()).toMatchObject([{ requestedModel: 'bigg', code: 'model_not_found', status: 404 }])
})

test('with unknown_model auto an unknown name goes to all', async () => {
  expect(await hostsFor('gpt-9', { unknown_model: 'auto' })).toEqual(['a.test', 'b.test', 'c.test'])
})

test('a name of four thousand characters is not kept for the log', async () => {
  const gateway = create({ unknown_model: 'auto' })
  await gateway.chat({ model: 'x'.repeat(4_000) })
  expect(gateway.requests()[0]!.requestedModel).toHaveLength(256)
})

test('a model that does not serve the endpoint is 404, with those that do', async () => {
  const gateway = create()
  const response = await gateway.chat({ model: 'vectors' })
  expect(response.status).toBe(404)
  const error = await errorOf(response)
  expect(error.code).toBe('unsupported_endpoint')
  expect(error.message).toContain('big, small')
})

test('a model whose upstreams are disabled is 503, and says so', async () => {
  const response = await create().chat({ model: 'off' })
  expect(response.status).toBe(503)
  const { code, message } = await errorOf(response)
  expect(code).toBe('no_upstream')
  expect(message).toContain('disabled')
})

test('an endpoint that nobody serves is 404 for auto', async () => {
  const config = configOf(['a.test'], { models: { endpoints: ['chat'] } })
  const gateway = createTestApp(config, ({ host }) => answer(host))
  const response = await ask(gateway, '/v1/rerank', { body: '{}' })
  expect([response.status, (await errorOf(response)).code]).toEqual([404, 'unsupported_endpoint'])
})

test('embeddings for auto stay with the first listed model that has them', async () => {
  const gateway = create()
  for (let at = 0; at < 6; at++)
    await ask(gateway, '/v1/embeddings', { body: '{"model":"auto","input":"x"}' })
  expect(gateway.calls).toHaveLength(6)
  expect(gateway.calls.every(({ text }) => text.startsWith('{"model":"big"'))).toBe(true)
})
