import { describe, expect, test } from 'vitest'
import { TransportError } from '../../src/transport/transport.ts'
import { ask, errorOf } from '../support/ask.ts'
import {
  answer,
  configOf,
  createTestApp,
  errorAnswer,
  jsonAnswer,
  type FakeAnswer,
  type FakeUpstream,
  type TestApp,
} from '../support/test-app.ts'

const settings = { strategy: 'in_order', queue_timeout: 0 }
const bed = (upstream: FakeUpstream, models: object = {}) =>
  createTestApp(configOf(['a.test', 'b.test'], { settings, models }), upstream)

async function trial(gateway: TestApp, upstream = 'a.test') {
  const response = await ask(gateway, '/admin/test', { body: JSON.stringify({ upstream }) })
  return { code: response.status, told: (await response.json()) as Record<string, unknown> }
}

test('an upstream that works is told as such, and how long it took; the other one is not asked', async () => {
  const gateway = bed(async ({ host }, _signal, clock) => {
    await clock.advance(120)
    return answer(host)
  })
  expect(await trial(gateway)).toEqual({
    code: 200,
    told: {
      upstream: 'a.test',
      ok: true,
      status: 200,
      first_byte_ms: 120,
      total_ms: 120,
      error: null,
      was_unavailable: false,
    },
  })
  expect(gateway.calls.map(({ url, text }) => [url, JSON.parse(text)])).toEqual([
    [
      'https://a.test/v1/chat/completions',
      { model: 'model-a.test', messages: [{ role: 'user', content: 'ping' }], max_tokens: 1 },
    ],
  ])
  expect(gateway.calls[0]?.headers).toMatchObject({
    authorization: 'Bearer key-a.test',
    'content-type': 'application/json',
  })
  expect(gateway.attempts()).toMatchObject([{ upstream: 'a.test', outcome: 'ok', why: 'trial' }])
  expect([gateway.openLeases, gateway.inFlight()]).toEqual([0, 0])
})

test.each([
  {
    upstream: () => errorAnswer(401),
    told: { status: 401, error: 'status 401: said some_code' },
    because: 'its key is refused',
  },
  {
    upstream: () => errorAnswer(503),
    told: { status: 503, error: 'status 503: said some_code' },
    because: 'it is down',
  },
  {
    upstream: () => jsonAnswer(401, { error: { message: 'no such key: key-a.test' } }),
    told: { status: 401, error: 'status 401: no such key: ***' },
    because: 'what it quotes is no key any more',
  },
  {
    upstream: () => {
      throw new TransportError('not-sent', 'x', 'connection refused')
    },
    told: { status: null, first_byte_ms: null, error: 'connection refused' },
    because: 'nobody is there',
  },
  {
    upstream: () => jsonAnswer(200, { choices: [] }),
    told: { status: 200, error: expect.any(String) },
    because: 'an answer without content is none',
  },
] satisfies { upstream: FakeUpstream; told: object; because: string }[])(
  'what is wrong is told: $because',
  async ({ upstream, told }) => {
    const gateway = bed(upstream)
    expect(await trial(gateway)).toMatchObject({ code: 200, told: { ok: false, ...told } })
    expect([gateway.openLeases, gateway.hosts()]).toEqual([0, ['a.test']])
  },
)

describe('the state of the upstream', () => {
  test('begins a rest by a failure, is no obstacle, and ends the rest by a success', async () => {
    const answers: (() => FakeAnswer)[] = [
      () => errorAnswer(429, 'x', { 'retry-after': '60' }),
      () => errorAnswer(401),
    ]
    const gateway = bed(({ host }) => (host === 'a.test' && answers.shift()?.()) || answer(host))
    await trial(gateway)
    await gateway.chat()
    expect(await trial(gateway)).toMatchObject({ told: { ok: false, was_unavailable: true } })
    await gateway.chat()
    expect(gateway.hosts()).toEqual(['a.test', 'b.test', 'a.test', 'b.test'])
    expect(await trial(gateway)).toMatchObject({ told: { ok: true, was_unavailable: true } })
    await gateway.chat()
    expect(gateway.hosts().slice(4)).toEqual(['a.test', 'a.test'])
  })

  test('counts the trial in its limits, and a limit that is reached does not keep it away', async () => {
    const gateway = bed(({ host }) => answer(host), { limits: { rpm: 1 } })
    for (const wasUnavailable of [false, true])
      expect(await trial(gateway)).toMatchObject({ told: { ok: true, was_unavailable: wasUnavailable } })
    const status = (await (await ask(gateway, '/admin/status')).json()) as { upstreams: object[] }
    expect(status.upstreams[0]).toMatchObject({ windows: [{ counts: 'requests', used: 2, left: 0 }] })
  })

  test('stays paused where it is, and is tried all the same', async () => {
    const gateway = bed(({ host }) => answer(host))
    await ask(gateway, '/admin/pause', { body: '{"upstream":"a.test"}' })
    expect(await trial(gateway)).toMatchObject({ told: { ok: true, was_unavailable: true } })
    await gateway.chat()
    expect(gateway.hosts()).toEqual(['a.test', 'b.test'])
  })
})

test.each([
  { endpoints: ['embeddings'], path: 'embeddings', body: { input: 'ping' } },
  {
    endpoints: ['responses'],
    path: 'responses',
    body: { input: 'ping', max_output_tokens: 16, store: false },
  },
  { endpoints: ['completions', 'embeddings'], path: 'completions', body: { prompt: 'ping', max_tokens: 1 } },
  { endpoints: ['rerank'], path: 'rerank', body: { query: 'ping', documents: ['ping'] } },
])('an upstream of $endpoints alone is asked at $path', async ({ endpoints, path, body }) => {
  const gateway = bed(() => jsonAnswer(200, { data: [{ embedding: [1] }], results: [{}], id: 'x' }), {
    endpoints,
  })
  await trial(gateway)
  expect(gateway.calls.map(({ url, text }) => [url, JSON.parse(text)])).toEqual([
    [`https://a.test/v1/${path}`, { model: 'model-a.test', ...body }],
  ])
})

test('one that does not know max_tokens is asked in the other way', async () => {
  const gateway = bed(({ host, text }) =>
    text.includes('"max_tokens"')
      ? jsonAnswer(400, {
          error: { message: "Unsupported parameter: 'max_tokens'", code: 'unsupported_parameter' },
        })
      : answer(host),
  )
  expect(await trial(gateway)).toMatchObject({ told: { ok: true } })
  expect(gateway.calls.map(({ text }) => /max\w+/.exec(text)?.[0])).toEqual([
    'max_tokens',
    'max_completion_tokens',
  ])
})

test('one for pictures alone is not asked, which is said', async () => {
  const gateway = bed(() => answer('x'), { endpoints: ['images'] })
  const response = await ask(gateway, '/admin/test', { body: '{"upstream":"a.test"}' })
  expect([response.status, (await errorOf(response)).message]).toEqual([
    400,
    'Upstream "a.test" serves pictures or sound alone, which no small request tries (models[].endpoints).',
  ])
  expect(gateway.calls).toEqual([])
})

test('what an upstream streams though nobody asked it to is read to its end', async () => {
  const gateway = bed(() => ({
    status: 200,
    headers: { 'content-type': 'text/event-stream' },
    body: new ReadableStream<Uint8Array>({
      start(controller) {
        const chunk = { choices: [{ index: 0, delta: { content: 'p' } }] }
        controller.enqueue(new TextEncoder().encode(`data: ${JSON.stringify(chunk)}\n\ndata: [DONE]\n\n`))
        controller.close()
      },
    }),
  }))
  await trial(gateway)
  expect([gateway.openLeases, gateway.requests().length]).toEqual([0, 1])
})

test('a trial is no request of a client: the share of answered ones does not know it', async () => {
  const gateway = bed(() => errorAnswer(500))
  await trial(gateway)
  const status = await (await ask(gateway, '/admin/status')).json()
  expect(status).toMatchObject({ last_hour: { requests: 0, answered_share: null } })
})
