import { expect, test } from 'vitest'
import { ask, errorOf } from '../support/ask.ts'
import { answer, createTestApp, TOKEN } from '../support/test-app.ts'

const entry = (model: string, more: object = {}): object => ({
  base_url: 'https://a.test/v1',
  api_key: 'k',
  model,
  ...more,
})
const config = (settings: object = {}): object => ({
  auth_token: TOKEN,
  models: [
    entry('openai/gpt-4o', { groups: ['fast', 'big'] }),
    entry('mini', { groups: ['fast'], name: 'my mini' }),
    entry('模型 %1'),
    entry('mini', { base_url: 'https://b.test/v1' }),
  ],
  settings: { affinity: 'off', ...settings },
})
const create = (settings?: object) => createTestApp(config(settings), ({ host }) => answer(host))

test('the list is auto, the groups and the models, each once, and asks no upstream', async () => {
  const gateway = create()
  const response = await ask(gateway, '/v1/models')
  expect(response.status).toBe(200)
  const modelOf = (id: string): object => ({ id, object: 'model', created: 0, owned_by: 'aiload' })
  const ids = ['auto', 'fast', 'big', 'openai/gpt-4o', 'mini', '模型 %1']
  expect(await response.json()).toEqual({ object: 'list', data: ids.map(modelOf) })
  expect(gateway.calls).toHaveLength(0)
  expect(gateway.requests()).toMatchObject([{ endpoint: 'models', status: 200 }])
})

test.each([
  ['auto', 'auto'],
  ['AUTO', 'AUTO'],
  ['fast', 'fast'],
  ['openai/gpt-4o', 'openai/gpt-4o'],
  ['openai%2Fgpt-4o', 'openai/gpt-4o'],
  ['%6dini', 'mini'],
  ['mini/', 'mini'],
  ['/mini', 'mini'],
  ['/openai%2fgpt-4o//', 'openai/gpt-4o'],
  ['my%20mini', 'my mini'],
  [encodeURIComponent('模型 %1'), '模型 %1'],
])('GET /v1/models/%s is %s', async (path, id) => {
  const response = await ask(create(), `/v1/models/${path}`)
  expect(response.status).toBe(200)
  expect(await response.json()).toEqual({ id, object: 'model', created: 0, owned_by: 'aiload' })
})

test.each(['/v1/models/', '/v1//models', '/v1/models?x=1'])('%s is the list', async (path) => {
  expect(await (await ask(create(), path)).json()).toMatchObject({ object: 'list' })
})

test.each(['gpt-9', 'GPT-4O', '%ff', '%', `x${'y'.repeat(5000)}`])(
  'nobody has %s: 404 with the names',
  async (path) => {
    const response = await ask(create(), `/v1/models/${path}`)
    expect(response.status).toBe(404)
    const error = await errorOf(response)
    expect(error).toMatchObject({ code: 'model_not_found', type: 'invalid_request_error', param: 'model' })
    expect(error.message).toContain('auto, fast, big, openai/gpt-4o, mini, 模型 %1')
    expect(error.message.length).toBeLessThan(300)
  },
)

test.each(['/v1/Models/mini', '/v1//models//mini', '/v1/%6dodels%2Fmini'])(
  '%s is the model, however it is spelt',
  async (path) => {
    expect(await (await ask(create(), path)).json()).toMatchObject({ id: 'mini', object: 'model' })
  },
)

test('with unknown_model auto an unlisted id is an object with that id', async () => {
  const response = await ask(create({ unknown_model: 'auto' }), '/v1/models/gpt-9%2Fx')
  expect(await response.json()).toMatchObject({ id: 'gpt-9/x', object: 'model' })
})

test('HEAD answers as GET without a body', async () => {
  const response = await ask(create(), '/v1/models', { method: 'HEAD' })
  expect([response.status, await response.text()]).toEqual([200, ''])
})

test.each(['POST', 'PUT', 'DELETE'])('%s /v1/models is 405 with what is possible', async (method) => {
  const response = await ask(create(), '/v1/models', { method })
  expect([response.status, response.headers.get('allow')]).toEqual([405, 'GET, HEAD'])
})

test('of many models an unknown name is told the first, and where all of them are', async () => {
  const models = Array.from({ length: 120 }, (_, at) => entry(`m-${at}`))
  const gateway = createTestApp({ ...config(), models }, ({ host }) => answer(host))
  const { message } = await errorOf(await gateway.chat({ model: 'm' }))
  expect(message).toMatch(
    /^There is no model "m" here\. There are: auto, m-0, .*, m-48 and 71 more, see GET \/v1\/models\.$/,
  )
})
