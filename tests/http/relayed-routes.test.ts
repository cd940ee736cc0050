import { expect, test } from 'vitest'
import { ask } from '../support/ask.ts'
import { answer, configOf, createTestApp, jsonAnswer } from '../support/test-app.ts'

const JSON_ROUTES = [
  'chat/completions',
  'completions',
  'embeddings',
  'responses',
  'responses/compact',
  'responses/input_tokens',
  'moderations',
  'rerank',
  'images/generations',
  'audio/speech',
]
const FORM_ROUTES = ['images/edits', 'images/variations', 'audio/transcriptions', 'audio/translations']

test.each(JSON_ROUTES)('%s is relayed as JSON, with its query and the upstream model', async (route) => {
  const gateway = createTestApp(configOf(['a.test', 'b.test']), ({ host }) =>
    jsonAnswer(200, { data: [], from: host }),
  )
  const body = '{"model":"model-b.test","input":"hi"}'
  const response = await ask(gateway, `/v1/${route}?x=1&y=%20'`, { body })
  expect(response.status).toBe(200)
  expect(await response.json()).toEqual({ data: [], from: 'b.test' })
  expect(gateway.calls[0]).toMatchObject({
    method: 'POST',
    text: body,
    headers: { authorization: 'Bearer key-b.test' },
  })
  expect(gateway.calls[0]!.url).toMatch(new RegExp(`^https://b\\.test/v1/${route}\\?x=1&y=%20`))
})

test.each([...FORM_ROUTES, ...JSON_ROUTES])('%s is relayed as a form, files untouched', async (route) => {
  const gateway = createTestApp(configOf(['a.test']), () => jsonAnswer(200, { text: 'heard' }))
  const file = Buffer.from([0, 255, 13, 10, 45, 98, 13, 10, 45, 45, 128])
  const head = '--b\r\nContent-Disposition: form-data; name="file"; filename="a.mp3"\r\n\r\n'
  const model = (name: string): string =>
    `\r\n--b\r\nContent-Disposition: form-data; name="model"\r\n\r\n${name}\r\n--b--\r\n`
  const form = (name: string): Buffer => Buffer.concat([Buffer.from(head), file, Buffer.from(model(name))])
  const headers = { 'content-type': 'multipart/form-data; boundary=b' }
  const response = await ask(gateway, `/v1/${route}`, { body: form('auto'), headers })
  expect(response.status).toBe(200)
  const sent = Buffer.concat(gateway.calls[0]!.body ?? [])
  expect(sent.equals(form('model-a.test'))).toBe(true)
  expect(gateway.calls[0]!.headers['content-type']).toBe('multipart/form-data; boundary=b')
})

test('a form without a model gets one as its first part', async () => {
  const gateway = createTestApp(configOf(['a.test']), () => jsonAnswer(200, { text: 'heard' }))
  const body = '--b\r\nContent-Disposition: form-data; name="prompt"\r\n\r\nhi\r\n--b--\r\n'
  await ask(gateway, '/v1/audio/transcriptions', {
    body,
    headers: { 'content-type': 'multipart/form-data; boundary=b' },
  })
  expect(gateway.calls[0]!.text).toBe(
    `--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nmodel-a.test\r\n${body}`,
  )
})

test.each([
  '/v1/chat/completions/',
  '/v1//chat/completions',
  '/v1/chat//completions',
  '//v1/chat/completions',
  '/v1/chat%2Fcompletions',
  '/v1/%63hat/completions',
  '/v1/Chat/Completions',
  '/v1/CHAT/%43OMPLETIONS/',
  '/v1/chat/completions;x=1',
  '/v1/chat;a=b;c/completions;/',
  '/v1/chat/completions%3Bx=1',
  '/v1/chat/completions%20',
  '/v1/chat/completion%C5%BF',
  '/v1/chat/completions.',
  '/v1/chat%2E./completions. .',
  '/v1/chat%5Ccompletions',
  '/v1/chat/completions#fragment',
])('%s is the route that it spells oddly, so nobody gets past the choice of the model', async (path) => {
  const gateway = createTestApp(configOf(['a.test']), ({ host }) => answer(host))
  expect((await ask(gateway, path, { body: '{"model":"auto"}' })).status).toBe(200)
  expect(gateway.calls[0]!.url).toBe('https://a.test/v1/chat/completions')
  expect(gateway.calls[0]!.text).toBe('{"model":"model-a.test"}')
})

test.each([
  { type: undefined, sent: 'application/json' },
  { type: 'text/plain', sent: 'application/json' },
  { type: 'application/x-www-form-urlencoded', sent: 'application/json' },
  { type: 'application/json; charset=utf-8', sent: 'application/json; charset=utf-8' },
])('a body of type $type is read as JSON and sent as $sent', async ({ type, sent }) => {
  const gateway = createTestApp(configOf(['a.test']), ({ host }) => answer(host))
  const body = new TextEncoder().encode('{"model":"auto"}')
  const response = await ask(gateway, '/v1/chat/completions', {
    body,
    ...(type && { headers: { 'content-type': type } }),
  })
  expect(response.status).toBe(200)
  expect(gateway.calls[0]!.headers['content-type']).toBe(sent)
})
