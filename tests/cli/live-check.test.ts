import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { chunkEvent, completion, errorBody, streamEnd } from '../support/believable.ts'
import { runAiload, temporaryDirectory, testToken } from '../support/gateway-process.ts'

interface Asked {
  readonly method: string
  readonly url: string
  readonly key: string
  readonly body: { model?: string; stream?: boolean; max_tokens?: number; max_completion_tokens?: number }
}
/** What a vendor of a test answers. */
interface Reply {
  readonly status?: number
  readonly headers?: Record<string, string>
  readonly body: string
}

const list = (...models: (string | object)[]): string =>
  JSON.stringify({ data: models.map((model) => (typeof model === 'string' ? { id: model } : model)) })
const whole: Reply = { body: completion('H') }
const streamed: Reply = {
  headers: { 'content-type': 'text/event-stream' },
  body: chunkEvent('H') + streamEnd,
}

/** A vendor on a socket, and everything that it was asked. */
async function startVendor(reply: (asked: Asked) => Reply | Promise<Reply>) {
  const asked: Asked[] = []
  const server = http.createServer(async (request, response) => {
    const pieces: Buffer[] = []
    for await (const piece of request) pieces.push(piece as Buffer)
    const text = Buffer.concat(pieces).toString()
    const question = {
      method: request.method ?? '',
      url: request.url ?? '',
      key: request.headers.authorization ?? '',
      body: (text === '' ? {} : JSON.parse(text)) as Asked['body'],
    }
    asked.push(question)
    const { status = 200, headers = {}, body } = await reply(question)
    response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(body)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => server.closeAllConnections())
  onTestFinished(() => void server.close())
  const { port } = server.address() as AddressInfo
  return { base_url: `http://127.0.0.1:${port}/v1`, asked }
}

/** One that has the models `a` and `b` and answers whatever is asked. */
const startGoodVendor = () =>
  startVendor(({ method, body }) => {
    if (method === 'GET') return { body: list('a', 'b') }
    return body.stream ? streamed : whole
  })

async function check(models: object[], ...words: string[]) {
  const directory = temporaryDirectory()
  writeFileSync(join(directory, 'my.json'), JSON.stringify({ auth_token: testToken, models }))
  const { code, stdout, stderr } = await runAiload(['check', '--config', 'my.json', ...words], { directory })
  return { code, stderr, stdout, lines: stdout.trimEnd().split('\n') }
}

/** The cells of a line of the table. */
const cellsOf = (line: string | undefined): string[] => (line ?? '').split(/ {2,}/)

test('each upstream is asked for its models, those of one key once, and nothing that costs', async () => {
  const { base_url, asked } = await startGoodVendor()
  const models = [
    { name: 'one', base_url, api_key: 'sk-first-key', model: 'a' },
    { name: 'two', base_url, api_key: 'sk-first-key', model: 'b' },
    { name: 'three', base_url, api_key: 'sk-other-key', model: 'a' },
    { name: 'off', base_url, api_key: 'sk-last-key', model: 'a', enabled: false },
  ]
  const { code, lines, stderr } = await check(models, '--live')
  expect([code, stderr]).toEqual([0, ''])
  expect(lines.map((line) => cellsOf(line).slice(0, 3))).toEqual([
    ['UPSTREAM', 'MODEL', 'RESULT'],
    ['one', 'a', 'has the model'],
    ['two', 'b', 'has the model'],
    ['three', 'a', 'has the model'],
    ['off', 'a', 'disabled, not asked'],
    ['3 of 3 upstreams could serve'],
  ])
  expect(cellsOf(lines[1])[3]).toMatch(/^connect \d+ ms, models \d+ ms$/)
  expect(asked.map(({ method, url, key }) => `${method} ${url} ${key}`).toSorted()).toEqual([
    'GET /v1/models Bearer sk-first-key',
    'GET /v1/models Bearer sk-other-key',
  ])
})

test('--spend asks for one token, and for one as a stream, and says what it heard of abilities and limits', async () => {
  const limits = {
    'x-ratelimit-limit-requests': '30',
    'x-ratelimit-remaining-requests': '28',
    'x-ratelimit-reset-requests': '4s',
  }
  const model = { id: 'a', context_window: 8192, capabilities: { function_calling: true, vision: false } }
  const { base_url, asked } = await startVendor(({ method, body }) => {
    if (method === 'GET') return { body: list(model) }
    return {
      ...(body.stream ? streamed : whole),
      headers: { ...(body.stream && streamed.headers), ...limits },
    }
  })
  const { code, lines } = await check([{ name: 'one', base_url, model: 'a' }], '--live', '--spend')
  expect([code, lines.at(-1)]).toEqual([0, '1 of 1 upstream could serve'])
  expect(cellsOf(lines[1])).toEqual([
    'one',
    'a',
    'answers, streams',
    expect.stringMatching(/^connect \d+ ms, models \d+ ms, chat \d+ ms, stream \d+ ms$/),
    'tools, no images, context 8192',
    'requests: 28 of 30 left',
  ])
  expect(asked.map(({ body }) => [body.max_tokens, body.stream])).toEqual([
    [undefined, undefined],
    [1, undefined],
    [1, true],
  ])
})

test('a vendor that knows no max_tokens, or can say nothing with one, is asked in the other way', async () => {
  const message = "Unsupported parameter: 'max_tokens' is not supported. Use 'max_completion_tokens' instead."
  const { base_url, asked } = await startVendor(({ method, body }) => {
    if (method === 'GET') return { body: list('a') }
    if (body.max_tokens !== undefined)
      return { status: 400, body: errorBody('unsupported_parameter', message) }
    return body.stream ? streamed : whole
  })
  const { code } = await check([{ base_url, model: 'a' }], '--live', '--spend')
  expect(code).toBe(0)
  expect(asked.at(-1)?.body).toMatchObject({ max_completion_tokens: 16, stream: true })
})

test('--spend sends what the gateway would send: params of the upstream change its bodies too', async () => {
  const { base_url, asked } = await startGoodVendor()
  const params = {
    set: { temperature: 0, stream_options: { include_usage: true } },
    default: { top_p: 0.5, seed: 7 },
    rename: { max_tokens: 'max_completion_tokens' },
  }
  const { code } = await check([{ base_url, model: 'a', params }], '--live', '--spend')
  const { set, default: absent } = params
  const messages = [{ role: 'user', content: 'Hi' }]
  const body = { model: 'a', messages, max_completion_tokens: 1, temperature: 0, ...absent }
  expect([code, ...asked.slice(1).map((one) => one.body)]).toEqual([
    0,
    body,
    { ...body, stream: true, stream_options: set.stream_options },
  ])
})

test('what fails is told by what it is, in the words of the vendor and with its key masked, and ends with 1', async () => {
  const good = await startGoodVendor()
  const refusing = await startVendor(() => ({
    status: 401,
    body: errorBody('invalid_api_key', 'No such key: sk-secret-key.'),
  }))
  const listless = await startVendor(() => ({ status: 404, body: '{"detail":"Not Found"}' }))
  const page = await startVendor(() => ({
    headers: { 'content-type': 'text/html' },
    body: '<html>Hi</html>',
  }))
  const limited = await startVendor(() => ({
    status: 429,
    body: errorBody('rate_limit_exceeded', 'Slow down.'),
  }))
  const models = [
    { name: 'good', ...good },
    { name: 'refusing', ...refusing, api_key: 'sk-secret-key' },
    { name: 'listless', ...listless },
    { name: 'page', ...page },
    { name: 'limited', ...limited },
    { name: 'unlisted', ...good, model: 'aa' },
    { name: 'gone', base_url: 'http://127.0.0.1:2/v1' },
    { name: 'nameless', base_url: 'https://nobody.invalid/v1' },
    { name: 'plain', base_url: good.base_url.replace('http:', 'https:') },
  ].map(({ name, base_url, ...more }) => ({ name, base_url, model: 'a', ...more, asked: undefined }))
  const { code, lines, stdout } = await check(models, '--live')
  expect(code).toBe(1)
  expect(stdout).not.toContain('sk-secret-key')
  const table = lines.slice(lines.findIndex((line) => line.startsWith('UPSTREAM')))
  expect(table.slice(1, 10).map((line) => cellsOf(line)[2])).toEqual([
    'has the model',
    'key refused (401)',
    'not found (404)',
    'has no list of models',
    'limited now (429)',
    'lists no such model',
    'connection refused',
    expect.stringMatching(/^host name/),
    'speaks no TLS',
  ])
  expect(table.slice(10)).toEqual([
    `refusing: ${refusing.base_url}/models says: No such key: ***.`,
    `listless: ${listless.base_url}/models says: Not Found; models[].base_url may be wrong, or it has no list: --spend asks the model itself`,
    'page: its /models is no list of models; --spend asks the model itself',
    `limited: ${limited.base_url}/models says: Slow down.`,
    'unlisted: its list of models has no "aa"; did you mean a?',
    'gone: http://127.0.0.1:2/v1/models: connection refused',
    expect.stringMatching(/^nameless: https:\/\/nobody\.invalid\/v1\/models: host name/),
    expect.stringMatching(/^plain: https:\/\/127\.0\.0\.1:\d+\/v1\/models: speaks no TLS$/),
    '1 of 9 upstreams could serve',
  ])
})

test.each([
  {
    chat: { body: errorBody('insufficient_quota', 'You have no credits.') },
    stream: streamed,
    result: 'quota spent',
    words: 'You have no credits.',
    because: 'an error in a success is one',
  },
  {
    chat: whole,
    stream: { ...streamed, body: `data: ${errorBody('server_error', 'It broke.')}\n\n` },
    result: 'answers; as a stream: fails',
    words: 'It broke.',
    because: 'an error in a stream is one',
  },
  {
    chat: { body: '<html>' },
    stream: streamed,
    result: 'a page (HTML) (200)',
    words: undefined,
    because: 'a page is no answer',
  },
])('an upstream that lists its model and answers wrong could not serve: $because', async (vendor) => {
  const { base_url } = await startVendor(({ method, body }) => {
    if (method === 'GET') return { body: list('a') }
    return body.stream ? vendor.stream : vendor.chat
  })
  const { code, lines } = await check([{ name: 'one', base_url, model: 'a' }], '--live', '--spend')
  expect([code, cellsOf(lines[1])[2]]).toEqual([1, expect.stringContaining(vendor.result)])
  if (vendor.words !== undefined)
    expect(lines[2]).toBe(`one: ${base_url}/chat/completions says: ${vendor.words}`)
})

test('with --spend the answer decides: a model that is not listed may answer, and one without a list too', async () => {
  const { base_url } = await startVendor(({ method, body }) => {
    if (method === 'GET') return { status: 404, body: '{}' }
    return body.stream ? streamed : whole
  })
  expect((await check([{ base_url, model: 'a' }], '--live', '--spend')).code).toBe(0)
})

test('Gemini lists models/x and is asked for x; one that serves no chats is asked for its list alone', async () => {
  const { base_url, asked } = await startVendor(() => ({ body: list('models/gemini-flash') }))
  const models = [{ base_url, model: 'gemini-flash', endpoints: ['embeddings'] }]
  expect((await check(models, '--live', '--spend')).code).toBe(0)
  expect(asked).toHaveLength(1)
})

test('models that globs find are upstreams, of which --spend asks one; globs that match none end with 1', async () => {
  const { base_url, asked } = await startVendor(({ method, body }) => {
    if (method === 'GET') return { body: list('text-embedding', 'big-chat', 'big-coder', 'small') }
    return body.stream ? streamed : whole
  })
  const found = { name: 'found', base_url, api_key: 'sk-first-key', models: ['big-*', '*embed*'] }
  const { code, lines } = await check([found], '--live', '--spend')
  expect([code, lines.at(-1)]).toEqual([0, '3 of 3 upstreams could serve'])
  expect(lines.slice(1, 4).map((line) => cellsOf(line).slice(0, 3))).toEqual([
    ['text-embedding@found', 'text-embedding', 'has the model'],
    ['big-chat@found', 'big-chat', 'answers, streams'],
    ['big-coder@found', 'big-coder', 'has the model'],
  ])
  expect(asked.map(({ body }) => body.model)).toEqual([undefined, 'big-chat', 'big-chat'])

  const none = { name: 'none', base_url, api_key: 'sk-first-key', models: ['huge-*'] }
  const failed = await check([found, none], '--live')
  expect([failed.code, failed.lines.at(-2)]).toEqual([
    1,
    'none: its list of models has no "huge-*"; it has text-embedding, big-chat, big-coder, small',
  ])
})

test('--json is for programs: what was found of the file and of each upstream', async () => {
  const { base_url } = await startGoodVendor()
  const models = [
    { name: 'one', base_url, model: 'a' },
    { name: 'gone', base_url: 'http://127.0.0.1:2/v1', model: 'a' },
  ]
  const { code, stdout } = await check(models, '--live', '--json')
  expect([code, JSON.parse(stdout)]).toMatchObject([
    1,
    {
      ok: false,
      file: 'my.json',
      problems: [],
      upstreams: [
        { name: 'one', ok: true, models: { listed: true, error: null }, chat: null, stream: null },
        {
          name: 'gone',
          ok: false,
          models: {
            listed: null,
            error: { at: 'connection', cause: 'failure', status: null, reason: 'connection refused' },
          },
        },
      ],
    },
  ])
  const checked = await check([{ base_url, model: 7 }], '--json')
  expect([checked.code, JSON.parse(checked.stdout)]).toEqual([
    1,
    { ok: false, file: 'my.json', problems: [expect.stringContaining('models[0].model')], warnings: [] },
  ])
})

test('many are asked at once, but not all: eight', async () => {
  let now = 0
  let most = 0
  const { base_url } = await startVendor(async () => {
    most = Math.max(most, (now += 1))
    await new Promise((resolve) => setTimeout(resolve, 20))
    now -= 1
    return { body: list('a') }
  })
  const api_key = Array.from({ length: 40 }, (_, nth) => `sk-key-number-${nth}`)
  const { code, lines } = await check([{ base_url, model: 'a', api_key }], '--live')
  expect([code, lines.at(-1)]).toEqual([0, '40 of 40 upstreams could serve'])
  expect(most).toBeLessThanOrEqual(8)
})

test('a file that could not be served asks nobody, and --spend alone means nothing', async () => {
  const { base_url, asked } = await startGoodVendor()
  expect((await check([{ base_url, model: 7 }], '--live')).code).toBe(1)
  const { code, stderr } = await check([{ base_url, model: 'a' }], '--spend')
  expect([code, stderr]).toEqual([2, 'aiload: --spend goes with --live\n'])
  expect(asked).toEqual([])
})
