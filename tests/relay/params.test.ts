import { describe, expect, test } from 'vitest'
import { chatAnswer, JSON_TYPE, play, type Play } from '../support/played.ts'
import {
  answer,
  createTestApp,
  jsonAnswer,
  TOKEN,
  type FakeUpstream,
  type TestApp,
} from '../support/test-app.ts'

/** What `models[].params` changes in a body, and that an upstream is judged by what it would really get. */

const entry = (host: string, more: object = {}): object => ({
  base_url: `https://${host}/v1`,
  api_key: `key-${host}`,
  model: `model-${host}`,
  name: host,
  ...more,
})
const config = (models: object[], settings: object = {}): object => ({
  auth_token: TOKEN,
  models,
  settings: { affinity: 'off', strategy: 'in_order', queue_timeout: 0, ...settings },
})
const well: FakeUpstream = ({ host }) => answer(host)

async function sentFor(params: object, body: string, path = 'chat/completions'): Promise<string> {
  const app = createTestApp(config([entry('a.test', { model: 'm', params })]), ({ host, url }) =>
    url.endsWith('embeddings') ? jsonAnswer(200, { data: [{ embedding: [1] }] }) : answer(host),
  )
  const response = await app.chat({}, { body, path })
  expect(response.status).toBe(200)
  return app.calls[0]!.text
}

describe('the bytes', () => {
  test.each([
    {
      params: { set: { temperature: 0.5, logit_bias: { 50256: -100 } } },
      body: '{"model":"auto", "temperature":1.0,"messages":[ {} ]}',
      sent: '{"logit_bias":{"50256":-100},"model":"m", "temperature":0.5,"messages":[ {} ]}',
      because: 'what stands there is replaced, what does not is added',
    },
    {
      params: { set: { top_p: null, stop: ['a"\\'], on: true } },
      body: '{}',
      sent: '{"model":"m","top_p":null,"stop":["a\\"\\\\"],"on":true}',
      because: 'a value may be any JSON, and the object may be empty',
    },
    {
      params: { default: { max_tokens: 5, seed: 1 } },
      body: '{"model":"auto","seed":null}',
      sent: '{"max_tokens":5,"model":"m","seed":null}',
      because: 'null was sent too',
    },
    {
      params: { drop: ['seed', 'tools'] },
      body: '{"model":"auto","tools":[{"seed":1}] ,"n":1, "seed" : 2}',
      sent: '{"model":"m","n":1 }',
      because: 'members go with their commas',
    },
    {
      params: { drop: ['model_x', 'a'] },
      body: '{"a":1}',
      sent: '{"model":"m"}',
      because: 'nothing is left but the model',
    },
    {
      params: { rename: { max_completion_tokens: 'max_tokens' } },
      body: '{"max_completion_tokens" : 9,"model":"auto"}',
      sent: '{"max_tokens" : 9,"model":"m"}',
      because: 'the key changes alone',
    },
    {
      params: { rename: { max_completion_tokens: 'max_tokens' } },
      body: '{"max_completion_tokens":9,"model":"auto","max_tokens":3}',
      sent: '{"model":"m","max_tokens":3}',
      because: 'the name that the upstream knows was sent by the client itself',
    },
    {
      params: { rename: { a: 'b' }, set: { b: 2 }, default: { c: 3 } },
      body: '{"a":1,"model":"auto"}',
      sent: '{"c":3,"b":2,"model":"m"}',
      because: 'set and default know the new names',
    },
    {
      params: { drop: ['a'], set: { b: 0 }, rename: { c: 'd' } },
      body: '{"\\u0061":1,"b":1,"model":"auto","\\u0062":2,"c":1,"a":3,"c":2}',
      sent: '{"b":0,"model":"m","\\u0062":0,"d":1,"d":2}',
      because: 'each occurrence counts, however it is spelt',
    },
  ])('$params makes $sent of $body, since $because', async ({ params, body, sent }) => {
    expect(await sentFor(params, body)).toBe(sent)
  })

  test('fields inside of others are none of it', async () => {
    const body = '{"model":"auto","metadata":{"seed":1},"messages":[{"seed":"\\"seed\\":1,"}]}'
    expect(await sentFor({ drop: ['seed'] }, body)).toBe(body.replace('auto', 'm'))
  })

  test.each(['completions', 'embeddings', 'responses'])('they change on %s too', async (path) => {
    expect(await sentFor({ set: { user: 'u' } }, '{"model":"auto","input":"a","prompt":"b"}', path)).toBe(
      '{"user":"u","model":"m","input":"a","prompt":"b"}',
    )
  })

  test('stream_options go only to who asked for a stream', async () => {
    const params = { set: { stream_options: { include_usage: true } } }
    expect(await sentFor(params, '{"model":"auto"}')).toBe('{"model":"m"}')
    expect(await sentFor(params, '{"model":"auto","stream":true}')).toBe(
      '{"stream_options":{"include_usage":true},"model":"m","stream":true}',
    )
  })

  test('a form goes on as it is', async () => {
    const app = createTestApp(config([entry('a.test', { params: { set: { language: 'en' } } })]), well)
    const body = '--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nauto\r\n--b--\r\n'
    const headers = { 'content-type': 'multipart/form-data; boundary=b' }
    await app.chat({}, { body, headers, path: 'audio/transcriptions' })
    expect(app.calls[0]?.text).toBe(body.replace('auto', 'model-a.test'))
  })

  test('each upstream gets its own, and one without params what the client sent', async () => {
    const models = [
      entry('a.test', { params: { drop: ['seed'] } }),
      entry('b.test', { params: { rename: { seed: 'random_seed' } } }),
      entry('c.test'),
    ]
    const app = createTestApp(config(models), ({ host }) => {
      if (host !== 'c.test') return jsonAnswer(503, { error: { message: 'busy' } })
      return answer(host)
    })
    await app.chat({}, { body: '{"seed":7,"model":"auto"}' })
    expect(app.calls.map(({ text }) => text)).toEqual([
      '{"model":"model-a.test"}',
      '{"random_seed":7,"model":"model-b.test"}',
      '{"seed":7,"model":"model-c.test"}',
    ])
  })
})

const tools = [{ type: 'function', function: { name: 'f' } }]
const served = async (app: TestApp, body: object): Promise<string | null> =>
  (await app.chat(body)).headers.get('x-aiload-upstream')

describe('what an upstream has to be able to do', () => {
  test.each([
    { need: 'tools', can: { tools: false }, params: { drop: ['tools'] }, body: { tools } },
    { need: 'tools', can: { tools: false }, params: { set: { tools: [] } }, body: { tools } },
    {
      need: 'a JSON schema',
      can: { json_schema: false },
      params: { set: { response_format: { type: 'json_object' } } },
      body: { response_format: { type: 'json_schema', json_schema: {} } },
    },
    {
      need: 'stream_options',
      can: { stream_usage: false },
      params: { drop: ['stream_options'] },
      body: { stream_options: { include_usage: true } },
    },
  ])('who does not get $need is not passed over for lacking it', async ({ can, params, body }) => {
    const second = entry('b.test', { can: { tools: true, json_schema: true, stream_usage: true } })
    const without = createTestApp(config([entry('a.test', { can }), second]), well)
    expect(await served(without, body)).toBe('b.test')
    const app = createTestApp(config([entry('a.test', { can, params }), second]), well)
    expect(await served(app, body)).toBe('a.test')
  })

  test('what params add is needed too', async () => {
    const params = { default: { tools } }
    const models = [
      entry('a.test', { can: { tools: false }, params }),
      entry('b.test', { can: { tools: true } }),
    ]
    expect(await served(createTestApp(config(models), well), {})).toBe('b.test')
  })

  test('a success without the dropped tools does not prove that an upstream takes tools', async () => {
    const models = [
      entry('a.test', { params: { drop: ['tools'] } }),
      entry('a.test', { name: 'other', model: 'other' }),
    ]
    const app = createTestApp(config(models), well)
    await app.chat({ tools })
    const [upstream] = app.deps.runtimeConfig().pools.upstreams
    expect(app.store.abilities.of(upstream!.id).can).toEqual({})
  })

  test('the size of a request is that of what is sent', async () => {
    const long = { metadata: { note: 'words '.repeat(8_000) } }
    const models = [
      entry('a.test', { context: 2_000, params: { drop: ['metadata'] } }),
      entry('b.test', { context: 100_000 }),
    ]
    expect(await served(createTestApp(config(models), well), long)).toBe('a.test')
    const reversed = [entry('a.test', { context: 2_000 }), entry('b.test', { context: 100_000 })]
    expect(await served(createTestApp(config(reversed), well), long)).toBe('b.test')
  })

  test('a maximum of output that params set is what a limit of tokens reserves', async () => {
    const limits = { tpm: 1_000 }
    const models = [
      entry('a.test', { limits, params: { set: { max_tokens: 100 } } }),
      entry('b.test', { limits, params: { rename: { max_tokens: 'max_new' } } }),
      entry('c.test'),
    ]
    const app = createTestApp(config(models), () => new Promise(() => {}))
    for (let turn = 0; turn < 9; turn++) void app.chat({ max_tokens: 900 })
    await app.clock.advance(0)
    // Of the second one nothing is known, so what answers usually have is reserved.
    expect(app.hosts().filter((host) => host === 'a.test')).toHaveLength(8)
    expect(app.hosts().filter((host) => host === 'b.test')).toHaveLength(1)
  })
})

test('what a refusal teaches is of what was sent', async () => {
  const refusing: Play = {
    status: 400,
    headers: JSON_TYPE,
    body: [JSON.stringify({ error: { message: 'This model does not support tools' } })],
  }
  const models = [entry('a.test', { params: { drop: ['tools'] } }), entry('b.test')]
  const app = createTestApp(config(models), (request, signal, clock) =>
    play(request.host === 'a.test' ? refusing : chatAnswer())(request, signal, clock),
  )
  await app.chat({ tools })
  const [upstream] = app.deps.runtimeConfig().pools.upstreams
  expect(app.store.abilities.of(upstream!.id).can).toEqual({})
})
