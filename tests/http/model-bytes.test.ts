import { expect, test } from 'vitest'
import { ask } from '../support/ask.ts'
import { answer, configOf, createTestApp } from '../support/test-app.ts'

async function sentFor(body: string, model = 'other'): Promise<string> {
  const config = configOf(['a.test'], { models: { model }, settings: { unknown_model: 'auto' } })
  const gateway = createTestApp(config, ({ host }) => answer(host))
  const response = await ask(gateway, '/v1/chat/completions', { body })
  expect(response.status).toBe(200)
  return gateway.calls[0]!.text
}

test.each([
  '{"seed":12345678901234567890,"model":"auto"}',
  '{"a":1.0,"b":1e400,"c":-0.0,"d":1E+2,"model":"auto"}',
  '{"model":"auto","s":"\\u00e9\\/\\ud83d\\ude00 \\" é"}',
  ' {\n\t"z": 1,\r\n "model" : "auto" ,"a":{"model":"x","y":[{"model":"z"}]}} \n',
  '{"text":"\\"model\\":\\"auto\\"","model":"auto","Model":"kept","2":0,"1":0}',
])('only the value of the top-level model changes in %j', async (body) => {
  const at = body.lastIndexOf('"auto"')
  expect(await sentFor(body)).toBe(`${body.slice(0, at)}"other"${body.slice(at + 6)}`)
})

test.each([
  { body: '{"model":"auto","\\u006dodel":"x"}', sent: '{"model":"other","\\u006dodel":"other"}' },
  { body: '{"model":"x","model":"auto"}', sent: '{"model":"other","model":"other"}' },
  { body: '{"\\u006d\\u006fdel":"x"}', sent: '{"\\u006d\\u006fdel":"other"}' },
])('a client cannot name the upstream model by $body', async ({ body, sent }) => {
  expect(await sentFor(body)).toBe(sent)
})

test.each([
  { body: '{}', sent: '{"model":"other"}' },
  { body: ' { "a" : 1 } ', sent: ' {"model":"other", "a" : 1 } ' },
  { body: '{"model":null,"a":1}', sent: '{"model":"other","a":1}' },
  { body: '{"model":"","a":1}', sent: '{"model":"other","a":1}' },
])('$body names no model, and gets the upstream’s', async ({ body, sent }) => {
  expect(await sentFor(body)).toBe(sent)
})

test('a model may be any Unicode, quotes included', async () => {
  expect(await sentFor('{"model":"auto"}', '模型 "7b"\\n')).toBe(
    `{"model":${JSON.stringify('模型 "7b"\\n')}}`,
  )
})
