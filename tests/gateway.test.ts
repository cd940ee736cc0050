import { expect, test } from 'vitest'
import { answer, configOf, createTestApp, errorAnswer, TOKEN } from './support/test-app.ts'

test('a request is answered by an upstream, under its own key and model', async () => {
  const { chat, calls } = createTestApp(configOf(['a.test']), ({ host }) => answer(host))
  const response = await chat({ temperature: 1 })
  expect(response.status).toBe(200)
  expect(await response.json()).toMatchObject({ choices: [{ message: { content: 'from a.test' } }] })
  expect(calls).toHaveLength(1)
  expect(calls[0]!.url).toBe('https://a.test/v1/chat/completions')
  expect(calls[0]!.headers['authorization']).toBe('Bearer key-a.test')
  expect(JSON.parse(calls[0]!.text)).toMatchObject({ model: 'model-a.test', temperature: 1 })
  expect(response.headers.get('x-aiload-upstream')).toBe('a.test')
  expect(response.headers.get('x-model')).toBe('model-a.test')
  expect(response.headers.get('x-aiload-attempts')).toBe('1')
})

test('a request without the token is refused before an upstream hears of it', async () => {
  const { app, calls } = createTestApp(configOf(['a.test']), ({ host }) => answer(host))
  const response = await app.request('/v1/chat/completions', { method: 'POST', body: '{}' }, {})
  expect(response.status).toBe(401)
  expect(response.headers.get('www-authenticate')).toBe('Bearer')
  expect(await response.json()).toMatchObject({ error: { code: 'invalid_api_key' } })
  expect(calls).toHaveLength(0)
})

test.each([
  ['authorization', `bearer  ${TOKEN}`],
  ['x-api-key', TOKEN],
  ['api-key', TOKEN],
])('the token is taken from %s', async (name, value) => {
  const { app } = createTestApp(configOf(['a.test']), ({ host }) => answer(host))
  expect((await app.request('/v1/models', { headers: { [name]: value } }, {})).status).toBe(200)
})

test.each([
  { first: 429, calls: 2, status: 200, because: 'another upstream may have quota left' },
  { first: 401, calls: 2, status: 200, because: 'only this upstream has the bad key' },
  { first: 500, calls: 2, status: 200, because: 'another upstream may be well' },
  { first: 400, calls: 2, status: 200, because: 'a refusal of a sound body is one opinion' },
])('$first from the first upstream: $calls call(s), since $because', async ({ first, calls, status }) => {
  const test = createTestApp(
    configOf(['a.test', 'b.test'], { settings: { strategy: 'in_order' } }),
    ({ host }) => (host === 'a.test' ? errorAnswer(first) : answer(host)),
  )
  expect((await test.chat()).status).toBe(status)
  expect(test.calls).toHaveLength(calls)
})
