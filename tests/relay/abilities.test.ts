import { expect, test } from 'vitest'
import { instantOf } from '../../src/lib/clock.ts'
import { chatAnswer, JSON_TYPE, play, refusal, stagedBy, type Play } from '../support/played.ts'
import { configOf, createTestApp, type FakeUpstream, type TestApp } from '../support/test-app.ts'

/** Who can't do what a request needs is asked last, and never left out. */

const settings = { strategy: 'in_order', queue_timeout: 0, timeout: 10 }
const two = configOf(['a.test', 'b.test'], { settings })
const tools = [{ type: 'function', function: { name: 'f' } }]
const said = (status: number, message: string): Play => ({
  status,
  headers: JSON_TYPE,
  body: [JSON.stringify({ error: { message } })],
})
const parts = (type: string, value: object): object => ({
  messages: [{ role: 'user', content: [{ type, ...value }] }],
})

/** `a.test` refuses what `isRefused` holds for. */
const picky =
  (isRefused: (text: string) => boolean, refusing: Play): FakeUpstream =>
  (request, signal, clock) =>
    play(request.host === 'a.test' && isRefused(request.text) ? refusing : chatAnswer())(
      request,
      signal,
      clock,
    )

test.each([
  { need: 'tools', body: { tools }, words: 'This model does not support tools' },
  {
    need: 'functions',
    body: { functions: [{ name: 'f' }] },
    words: '"auto" tool choice requires --enable-auto-tool-choice',
  },
  {
    need: 'images',
    body: parts('image_url', { image_url: { url: 'https://x/y.png' } }),
    words: 'image input is not supported',
  },
  {
    need: 'images of responses',
    body: parts('input_image', {}),
    words: 'unknown variant `image_url`, expected `text`',
  },
  {
    need: 'audio',
    body: parts('input_audio', { input_audio: { data: 'AAAA' } }),
    words: 'This model cannot take audio',
  },
  {
    need: 'a JSON schema',
    body: { response_format: { type: 'json_schema', json_schema: {} } },
    words: 'This response_format type is unavailable now',
  },
])('who refused $need once is asked last for it, and first without', async ({ body, words }) => {
  const mark = /tools|functions|stream_options|image_url|input_image|input_audio|json_schema/.exec(
    JSON.stringify(body),
  )![0]
  const app = createTestApp(
    two,
    picky((text) => text.includes(mark), said(400, words)),
  )
  for (let turn = 0; turn < 3; turn++)
    expect((await app.chat(body)).headers.get('x-aiload-upstream')).toBe('b.test')
  expect(app.hosts()).toEqual(['a.test', 'b.test', 'b.test', 'b.test'])
  expect((await app.chat()).headers.get('x-aiload-upstream')).toBe('a.test')
  await app.clock.advance(86_400_001)
  await app.chat(body)
  expect(app.hosts().slice(5)).toEqual(['a.test', 'b.test'])
})

test('what nobody accepted teaches nothing: it may be the request', async () => {
  let isSick = true
  const app = createTestApp(two, (request, signal, clock) =>
    play(isSick ? said(400, 'no tools') : chatAnswer())(request, signal, clock),
  )
  await app.chat({ tools })
  isSick = false
  await app.chat({ tools })
  expect(app.hosts()).toEqual(['a.test', 'b.test', 'a.test'])
})

test('without words three refusals teach what they have in common, and a success wipes it', async () => {
  let isSick = true
  const app = createTestApp(
    two,
    picky((text) => isSick && text.includes('"tools"'), said(400, 'Bad Request')),
  )
  for (let turn = 0; turn < 4; turn++) await app.chat({ tools, seed: turn })
  expect(app.hosts()).toEqual(['a.test', 'b.test', 'a.test', 'b.test', 'a.test', 'b.test', 'b.test'])
  isSick = false
  const alone = await app.chat({ tools, model: 'a.test' })
  expect(alone.headers.get('x-aiload-upstream')).toBe('a.test')
  expect((await app.chat({ tools })).headers.get('x-aiload-upstream')).toBe('a.test')
})

const long = { messages: [{ role: 'user', content: 'words '.repeat(8_000) }] }

test.each([
  { what: 'too long', body: long, refusing: said(400, "This model's maximum context length is 8192 tokens") },
  {
    what: 'a 422 of too long',
    body: long,
    refusing: said(422, '`inputs` tokens + `max_new_tokens` must be <= 8193'),
  },
  {
    what: 'too much output',
    body: { max_tokens: 65_536 },
    refusing: said(
      400,
      'max_tokens is too large: 65536. This model supports at most 16384 completion tokens',
    ),
  },
  {
    what: 'more than is paid for',
    body: { max_tokens: 65_536 },
    refusing: said(402, 'You requested up to 65536 tokens, but can only afford 5338: fewer max_tokens'),
  },
  { what: 'too many bytes', body: long, refusing: refusal(413) },
])(
  '$what is remembered as a size: larger requests ask others first, smaller ones do not',
  async ({ body, refusing }) => {
    const app = createTestApp(
      two,
      picky((text) => text.includes('words words') || text.includes('65536'), refusing),
    )
    for (let turn = 0; turn < 2; turn++) expect((await app.chat(body)).status).toBe(200)
    await app.chat({ max_tokens: 100 })
    expect(app.hosts()).toEqual(['a.test', 'b.test', 'b.test', 'a.test'])
  },
)

test('the configuration says it beforehand, and never refuses', async () => {
  const entry = (host: string, more: object): object => ({
    base_url: `https://${host}/v1`,
    model: host,
    name: host,
    ...more,
  })
  const config = {
    ...configOf([], { settings }),
    models: [entry('a.test', { can: { tools: false }, context: 1_000 }), entry('b.test', { priority: 1 })],
  }
  const app = createTestApp(config, play(chatAnswer()))
  const by = async (body: object): Promise<string | null> =>
    (await app.chat(body)).headers.get('x-aiload-upstream')
  expect(await by({})).toBe('a.test')
  expect(await by({ tools })).toBe('b.test')
  expect(await by(long)).toBe('b.test')
  expect(await by({ tools, model: 'a.test' })).toBe('a.test')
  expect(await by({ ...long, model: 'a.test' })).toBe('a.test')
})

test('what is unknown is as good as known, until somebody is known to be unable', async () => {
  const app = createTestApp(
    configOf(['a.test', 'b.test', 'c.test'], { settings: { ...settings, strategy: 'round_robin' } }),
    stagedBy({ 'a.test': chatAnswer(), 'b.test': chatAnswer(), 'c.test': chatAnswer() }),
  )
  for (let turn = 0; turn < 6; turn++) await app.chat({ tools })
  expect(app.hosts().toSorted()).toEqual(['a.test', 'a.test', 'b.test', 'b.test', 'c.test', 'c.test'])
})

test('a list of models is read in the background of who has just refused, at most once an hour', async () => {
  const asked: string[] = []
  const list = {
    data: [
      { id: 'other', context_length: 5 },
      {
        id: 'model-b.test',
        context_length: 1_000,
        architecture: { input_modalities: ['text'] },
        supported_parameters: ['temperature'],
      },
    ],
  }
  const app = createTestApp(
    configOf(['a.test', 'b.test', 'c.test'], { settings }),
    stagedBy({
      'a.test': said(400, 'context window exceeded'),
      'b.test': said(400, 'context window exceeded'),
      'c.test': chatAnswer(),
    }),
    {
      modelList: ({ url, headers }) => {
        asked.push(`${url} ${headers['authorization']}`)
        return { status: 200, headers: JSON_TYPE, body: new TextEncoder().encode(JSON.stringify(list)) }
      },
    },
  )
  await app.chat(long)
  await app.clock.advance(3_000)
  expect(asked).toEqual([
    'https://a.test/v1/models Bearer key-a.test',
    'https://b.test/v1/models Bearer key-b.test',
  ])
  const [, b] = app.deps.runtimeConfig().pools.upstreams
  expect(app.deps.abilities.of(b!.id).can).toMatchObject({
    tools: { can: false, source: 'models' },
    images: { can: false, source: 'models' },
  })
  await app.chat({ ...long, n: 2 })
  await app.clock.advance(3_000)
  expect(asked).toHaveLength(2)
})

test('a learned limit of tokens puts an upstream last, and never refuses', async () => {
  const heard = {
    'x-ratelimit-limit-tokens': '9000',
    'x-ratelimit-remaining-tokens': '8000',
    'x-ratelimit-reset-tokens': '300ms',
  }
  const app = createTestApp(
    two,
    stagedBy({ 'a.test': { ...chatAnswer(), headers: { ...JSON_TYPE, ...heard } }, 'b.test': chatAnswer() }),
  )
  await app.chat()
  expect((await app.chat(long)).headers.get('x-aiload-upstream')).toBe('b.test')
  expect((await app.chat({ ...long, model: 'a.test' })).status).toBe(200)
})

test('an estimate above what is left waits for a reset that comes in time, and else is sent at once', async () => {
  const heard = (reset: string): Play => ({
    ...chatAnswer(),
    headers: {
      ...JSON_TYPE,
      'x-ratelimit-limit-tokens': '90000',
      'x-ratelimit-remaining-tokens': '100',
      'x-ratelimit-reset-tokens': reset,
    },
  })
  for (const { reset, waitsMs } of [
    { reset: '2', waitsMs: 2_000 },
    { reset: '40', waitsMs: 0 },
  ]) {
    const one = configOf(['a.test'], { settings: { ...settings, queue_timeout: 5 } })
    const app = createTestApp(one, stagedBy({ 'a.test': heard(reset) }))
    await app.chat()
    const asked = app.chat(long)
    await app.clock.advance(Math.max(0, waitsMs - 10))
    expect(app.calls).toHaveLength(waitsMs === 0 ? 2 : 1)
    await app.clock.advance(20)
    expect((await asked).status).toBe(200)
  }
})

test('keys of one host that are limited together are asked last, and never left out', async () => {
  const entry = (name: string): object => ({
    base_url: 'https://one.test/v1',
    api_key: name,
    model: name,
    name,
  })
  const config = { ...configOf([], { settings }), models: ['a', 'b', 'c'].map(entry) }
  const app = createTestApp(config, (request, signal, clock) =>
    play(request.text.includes('"c"') ? chatAnswer() : refusal(429))(request, signal, clock),
  )
  expect((await app.chat()).headers.get('x-aiload-upstream')).toBe('c')
  expect(app.calls).toHaveLength(3)
})

const refusing = (status: number, error: object): Play => ({
  status,
  headers: JSON_TYPE,
  body: [JSON.stringify({ error })],
})

test.each([
  { what: 'words about something else', refused: refusing(400, { message: 'seed is not allowed here' }) },
  {
    what: 'a code',
    refused: refusing(400, { message: 'Bad Request', code: 'decimal_above_max_value', param: 'seed' }),
  },
  { what: 'a code alone', refused: refusing(422, { code: 'integer_below_min_value' }) },
  { what: 'a filter', refused: refusing(403, { message: 'flagged by moderation', code: 'content_filter' }) },
])('$what is no suspicion of what the request needs', async ({ refused }) => {
  const app = createTestApp(
    two,
    picky((text) => text.includes('"seed"'), refused),
  )
  for (let turn = 0; turn < 4; turn++) await app.chat({ tools, seed: turn })
  expect((await app.chat({ tools })).headers.get('x-aiload-upstream')).toBe('a.test')
})

test.each([
  {
    what: 'a status in words',
    refused: refusing(400, { message: 'Bad Request', type: 'invalid_request_error' }),
  },
  {
    what: 'an error without words',
    refused: refusing(400, { message: '', type: 'None', param: 'None', code: 400 }),
  },
])(
  '$what is a suspicion, and plain traffic between such refusals takes none of it back',
  async ({ refused }) => {
    const app = createTestApp(
      two,
      picky((text) => text.includes('"tools"'), refused),
    )
    for (let turn = 0; turn < 3; turn++) {
      await app.chat({ tools })
      await app.chat()
    }
    const before = app.calls.length
    await app.chat({ tools })
    expect(app.hosts().slice(before)).toEqual(['b.test'])
  },
)

test('what has worked is not suspected', async () => {
  let isSick = false
  const app = createTestApp(
    two,
    picky((text) => isSick && text.includes('"tools"'), said(400, 'Bad Request')),
  )
  await app.chat({ tools })
  isSick = true
  for (let turn = 0; turn < 4; turn++) await app.chat({ tools })
  isSick = false
  expect((await app.chat({ tools })).headers.get('x-aiload-upstream')).toBe('a.test')
})

test('a limit that was named stands, however small the request was that it refused', async () => {
  const app = createTestApp(
    two,
    picky(
      (text) => text.includes('file_id'),
      said(400, "This model's maximum context length is 131072 tokens, yours has 204308"),
    ),
  )
  await app.chat(parts('file', { file: { file_id: 'file-1' } }))
  expect((await app.chat(long)).headers.get('x-aiload-upstream')).toBe('a.test')
})

test.each([
  { entry: { max_input_tokens: 1_000 } },
  { entry: { limits: { max_input_tokens: 1_000 } } },
  { entry: { context_length: null, top_provider: { context_length: 1_000 } } },
])('a list of models has its context in $entry', async ({ entry }) => {
  expect(await learnedFrom(entry)).toMatchObject({ sizes: { context: { most: 1_000, source: 'models' } } })
})

test.each([true, false])('a list of models says of its capabilities: %s', async (is) => {
  expect(await learnedFrom({ capabilities: { function_calling: is, completion_chat: true } })).toMatchObject({
    can: { tools: { can: is, source: 'models' } },
  })
})

/** What is known of an upstream whose list of models has been read. */
async function learnedFrom(entry: object) {
  const body = new TextEncoder().encode(JSON.stringify({ data: [{ id: 'model-a.test', ...entry }] }))
  const app = createTestApp(
    two,
    picky((text) => text.includes('image_url'), said(400, 'image input is not supported')),
    { modelList: () => ({ status: 200, headers: JSON_TYPE, body }) },
  )
  await app.chat(parts('image_url', { image_url: { url: 'https://x/y.png' } }))
  await app.clock.advance(3_000)
  return app.deps.abilities.of(app.deps.runtimeConfig().pools.upstreams[0]!.id)
}

test('keys of one host are asked behind other hosts as soon as two of them are limited', async () => {
  const entry = (name: string): object => ({
    base_url: `https://${name === 'd' ? 'two' : 'one'}.test/v1`,
    api_key: name,
    model: name,
    name,
  })
  const config = { ...configOf([], { settings }), models: ['a', 'b', 'c', 'd'].map(entry) }
  const app = createTestApp(config, (request, signal, clock) =>
    play(request.host === 'two.test' ? chatAnswer() : refusal(429))(request, signal, clock),
  )
  await app.chat()
  expect(app.hosts()).toEqual(['one.test', 'one.test', 'two.test'])
})

const embeddingsOf = (models: readonly string[], play: (host: string) => Play): TestApp =>
  createTestApp(
    {
      ...configOf([], { settings }),
      models: models.map((model, at) => ({
        base_url: `https://${'abc'[at]}.test/v1`,
        api_key: 'k',
        model,
        name: `${'abc'[at]}.test`,
      })),
    },
    stagedByHost(play),
  )
const stagedByHost =
  (script: (host: string) => Play): FakeUpstream =>
  (request, signal, clock) =>
    play(script(request.host))(request, signal, clock)
const vector: Play = { body: ['{"object":"list","data":[{"embedding":[1]}]}'] }
const missing: Play = { status: 404, body: ['{"detail":"Not Found"}'] }
const embed = (app: TestApp): Promise<Response> => app.chat({ input: 'x' }, { path: 'embeddings' })

test('embeddings do not leave a model that has answered them', async () => {
  let first = vector
  const app = embeddingsOf(['one', 'two'], (host) => (host === 'a.test' ? first : vector))
  await embed(app)
  first = missing
  for (let turn = 0; turn < 3; turn++) expect((await embed(app)).status).toBe(404)
  expect(app.hosts()).not.toContain('b.test')

  const next = embeddingsOf(['one', 'two'], (host) => (host === 'a.test' ? first : vector))
  next.store.restore(JSON.parse(JSON.stringify(app.store.keep(instantOf(app.clock)))), instantOf(next.clock))
  expect((await embed(next)).status).toBe(404)
  expect(next.hosts()).not.toContain('b.test')
})

test('embeddings stay with a model while one of its upstreams is not known to lack them', async () => {
  const app = embeddingsOf(['one', 'two', 'one'], (host) => (host === 'a.test' ? missing : vector))
  for (let turn = 0; turn < 3; turn++)
    expect((await embed(app)).headers.get('x-aiload-upstream')).toBe('c.test')
})

test('embeddings go to the first model whose upstream has them', async () => {
  const vectors: Play = { body: ['{"object":"list","data":[{"embedding":[1]}]}'] }
  const app = createTestApp(
    two,
    stagedBy({ 'a.test': { status: 404, body: ['{"detail":"Not Found"}'] }, 'b.test': vectors }),
  )
  for (let turn = 0; turn < 2; turn++)
    expect((await app.chat({ input: 'x' }, { path: 'embeddings' })).status).toBe(200)
  expect(app.hosts()).toEqual(['a.test', 'b.test', 'b.test'])
})
