import { expect, test } from 'vitest'
import { TransportError } from '../../src/transport/transport.ts'
import { askBare } from '../support/ask.ts'
import {
  answer,
  configOf,
  createTestApp,
  errorAnswer,
  type FakeAnswer,
  type FakeUpstream,
  type TestApp,
} from '../support/test-app.ts'

const readyStatus = async (gateway: TestApp): Promise<number> => (await askBare(gateway, '/readyz')).status

const refuse: FakeUpstream = () => {
  throw new TransportError('not-sent', 'refused')
}

test.each([
  { upstream: refuse, status: 200, because: 'one that fails is tried anyway' },
  { upstream: () => errorAnswer(500), status: 200, because: 'one that fails is tried anyway' },
  { upstream: () => errorAnswer(401), status: 503, because: 'a refused key waits for an operator' },
  { upstream: () => errorAnswer(403), status: 503, because: 'a refused key waits for an operator' },
  { upstream: () => errorAnswer(404), status: 503, because: 'a model that is missing waits for an operator' },
  {
    upstream: () => errorAnswer(429, 'slow_down', { 'retry-after': '3' }),
    status: 200,
    because: 'it opens within queue_timeout',
  },
  {
    upstream: () => errorAnswer(429, 'slow_down', { 'retry-after': '60' }),
    status: 503,
    because: 'all are out of quota for longer than queue_timeout',
  },
  { upstream: () => errorAnswer(402), status: 503, because: 'all are out of credits' },
])('after a request that failed it is $status, since $because', async ({ upstream, status }) => {
  const gateway = createTestApp(configOf(['a.test']), upstream)
  expect(await readyStatus(gateway)).toBe(200)
  const asked = gateway.chat()
  await gateway.clock.advance(5_000)
  await asked
  expect(await readyStatus(gateway)).toBe(status)
})

test('it says what keeps all of them', async () => {
  const wordsAfter = async (answers: Record<string, () => FakeAnswer>): Promise<unknown> => {
    const gateway = createTestApp(
      configOf(Object.keys(answers), { settings: { queue_timeout: 0 } }),
      ({ host }) => answers[host]!(),
    )
    await gateway.chat()
    return (await askBare(gateway, '/readyz')).json()
  }
  const limited = (): FakeAnswer => errorAnswer(429, 'x', { 'retry-after': '60' })
  const refused = (): FakeAnswer => errorAnswer(401)
  expect(await wordsAfter({ 'a.test': limited })).toEqual({ status: 'all upstreams are out of quota' })
  expect(await wordsAfter({ 'a.test': refused })).toEqual({ status: 'all upstreams need attention' })
  expect(await wordsAfter({ 'a.test': refused, 'b.test': limited })).toEqual({
    status: 'all upstreams are out of quota or need attention',
  })
})

test('who serves no chat is judged by what it serves', async () => {
  const vectors = { data: [{ embedding: [1] }] }
  let isMissing = false
  const embeddings: FakeUpstream = ({ url }) =>
    url.endsWith('/embeddings') && !isMissing
      ? { status: 200, headers: {}, body: new TextEncoder().encode(JSON.stringify(vectors)) }
      : errorAnswer(404)
  const ask = (gateway: TestApp, path: string) => gateway.chat({ input: 'x' }, { path })

  const untold = createTestApp(configOf(['a.test']), embeddings)
  await ask(untold, 'embeddings')
  await ask(untold, 'chat/completions')
  expect(await readyStatus(untold)).toBe(200)

  isMissing = true
  const told = createTestApp(configOf(['a.test'], { models: { endpoints: ['embeddings'] } }), embeddings)
  expect(await readyStatus(told)).toBe(200)
  await ask(told, 'embeddings')
  expect(await readyStatus(told)).toBe(503)
})

test('one upstream that is able is enough', async () => {
  const gateway = createTestApp(
    configOf(['a.test', 'b.test'], { settings: { strategy: 'in_order' } }),
    ({ host }) => (host === 'a.test' ? errorAnswer(429, 'x', { 'retry-after': '600' }) : answer(host)),
  )
  await gateway.chat()
  expect(await readyStatus(gateway)).toBe(200)
})

test('a day’s requests or tokens that are spent count as out of quota', async () => {
  for (const limits of [{ rpd: 1 }, { tpd: 40 }]) {
    const gateway = createTestApp(configOf(['a.test'], { models: { limits } }), ({ host }) =>
      answer(host, { usage: { prompt_tokens: 20, completion_tokens: 20, total_tokens: 40 } }),
    )
    expect(await readyStatus(gateway)).toBe(200)
    await (await gateway.chat({ max_tokens: 8 })).text()
    expect(await readyStatus(gateway)).toBe(503)
    await gateway.clock.advance(86_400_000)
    expect(await readyStatus(gateway)).toBe(200)
  }
})

test('with no upstream enabled, or while draining, it is 503 and says which', async () => {
  const gateway = createTestApp(configOf(['a.test'], { models: { enabled: false } }), ({ host }) =>
    answer(host),
  )
  const disabled = await askBare(gateway, '/readyz')
  expect([disabled.status, await disabled.json()]).toEqual([503, { status: 'no upstream is enabled' }])
  gateway.drain()
  const draining = await askBare(gateway, '/readyz')
  expect([draining.status, await draining.json()]).toEqual([503, { status: 'draining' }])
  expect((await askBare(gateway, '/healthz')).status).toBe(200)
})

test('to ask takes nothing: no upstream is called, no limit is spent', async () => {
  const gateway = createTestApp(configOf(['a.test'], { models: { limits: { rpm: 1 } } }), ({ host }) =>
    answer(host),
  )
  for (let at = 0; at < 10; at++) expect(await readyStatus(gateway)).toBe(200)
  expect((await gateway.chat()).status).toBe(200)
})
