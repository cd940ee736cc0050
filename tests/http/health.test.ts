import { expect, test } from 'vitest'
import { TransportError } from '../../src/transport/transport.ts'
import { askBare } from '../support/ask.ts'
import {
  answer,
  configOf,
  createTestApp,
  errorAnswer,
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
  { upstream: () => errorAnswer(401), status: 200, because: 'a refused key is tried once in a while' },
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
