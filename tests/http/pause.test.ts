import { expect, test } from 'vitest'
import { ask, askBare, errorOf } from '../support/ask.ts'
import {
  answer,
  configOf,
  createTestApp,
  errorAnswer,
  jsonAnswer,
  type FakeUpstream,
  type TestApp,
} from '../support/test-app.ts'

const settings = { strategy: 'in_order', queue_timeout: 0 }
const two = ['a.test', 'b.test']
const bed = (hosts: readonly string[] = two, upstream: FakeUpstream = ({ host }) => answer(host)) =>
  createTestApp(configOf(hosts, { settings }), upstream)

const post = async (gateway: TestApp, what: 'pause' | 'resume' | 'forget', upstream = 'a.test') => {
  const response = await ask(gateway, `/admin/${what}`, { body: JSON.stringify({ upstream }) })
  return [response.status, await response.json()]
}
const paused = (upstream: string, is = true) => [200, { upstream, paused: is }]

test('a paused upstream is passed over until it is resumed, and each change is told once', async () => {
  const gateway = bed()
  expect(await post(gateway, 'pause')).toEqual(paused('a.test'))
  expect(await post(gateway, 'pause')).toEqual(paused('a.test'))
  await gateway.chat()
  await gateway.chat({ model: 'model-a.test' })
  expect(gateway.hosts()).toEqual(['b.test'])
  expect(await post(gateway, 'resume')).toEqual(paused('a.test', false))
  await gateway.chat()
  expect(gateway.hosts()).toEqual(['b.test', 'a.test'])
  const notices = gateway.events.flatMap((event) => (event.kind === 'notice' ? [event.message] : []))
  expect(notices).toEqual([
    'upstream a.test: paused by POST /admin/pause',
    'upstream a.test: resumed by POST /admin/resume',
  ])
})

test('where all that could take a request are paused, the client reads that the operator did so', async () => {
  const gateway = bed()
  for (const host of two) await post(gateway, 'pause', host)
  const refused = await gateway.chat()
  expect([refused.status, refused.headers.get('x-should-retry')]).toEqual([503, 'false'])
  expect(await errorOf(refused)).toMatchObject({
    code: 'no_upstream',
    message:
      'Every upstream of "auto" that could take the request is paused by the operator of this gateway, who can resume it.',
  })
  expect(gateway.calls).toEqual([])
  expect(
    gateway
      .requests()
      .at(-1)
      ?.passedOver?.unavailable.map(({ reason }) => reason.cause),
  ).toEqual(['paused', 'paused'])
})

test('one that fails is asked as a last resort, one that is paused besides is not', async () => {
  const gateway = bed(['a.test'], () => errorAnswer(500))
  await gateway.chat()
  await post(gateway, 'pause')
  expect((await gateway.chat()).status).toBe(503)
  expect(gateway.calls).toHaveLength(1)
  await post(gateway, 'resume')
  await gateway.chat()
  expect(gateway.calls).toHaveLength(2)
})

test.each([
  { status: 401, code: 'upstream_auth_failed', because: 'a refused key is what the operator has to mend' },
  { status: 429, code: 'rate_limit_exceeded', because: 'a limit is over in time' },
])('beside one that rests for $status the error is $code, since $because', async ({ status, code }) => {
  const gateway = bed(two, () => errorAnswer(status, 'x', { 'retry-after': '60' }))
  await post(gateway, 'pause')
  await gateway.chat()
  expect((await errorOf(await gateway.chat())).code).toBe(code)
})

test('what is under way goes on', async () => {
  let finish = (): void => {}
  const gateway = bed(['a.test'], async ({ host }) => {
    await new Promise<void>((go) => (finish = go))
    return answer(host)
  })
  const asked = gateway.chat()
  await gateway.clock.advance(1)
  await post(gateway, 'pause')
  finish()
  expect((await asked).status).toBe(200)
  expect((await gateway.chat()).status).toBe(503)
})

test('a request that waits for an upstream is told at once when that is paused', async () => {
  const gateway = createTestApp(
    configOf(['a.test'], { settings: { queue_timeout: 60 }, models: { limits: { rpm: 1 } } }),
    ({ host }) => answer(host),
  )
  await gateway.chat()
  const asked = gateway.chat()
  await gateway.clock.advance(1_000)
  await post(gateway, 'pause')
  await gateway.clock.advance(1)
  expect([(await asked).status, gateway.calls.length]).toEqual([503, 1])
})

test('a request that waits for another one goes to what is resumed', async () => {
  const gateway = createTestApp(
    configOf(two, { settings: { queue_timeout: 60 }, models: { limits: { rpm: 1 } } }),
    ({ host }) => answer(host),
  )
  await post(gateway, 'pause')
  await gateway.chat()
  const asked = gateway.chat()
  await gateway.clock.advance(1_000)
  expect(gateway.hosts()).toEqual(['b.test'])
  await post(gateway, 'resume')
  await gateway.clock.advance(1)
  expect([(await asked).status, gateway.hosts()]).toEqual([200, ['b.test', 'a.test']])
})

test('an answer that only a paused upstream has is told as such, whether it is built upon or asked for', async () => {
  const gateway = bed(two, ({ host }) =>
    jsonAnswer(200, { id: `resp_${host}`, object: 'response', status: 'completed', output: [{}] }),
  )
  await gateway.chat({ input: 'hi' }, { path: 'responses' })
  await post(gateway, 'pause')
  const built = await gateway.chat(
    { input: 'hi', previous_response_id: 'resp_a.test' },
    { path: 'responses' },
  )
  expect([built.status, (await errorOf(built)).message]).toEqual([
    503,
    'The upstream that alone has what the request builds on is paused by the operator of this gateway, who can resume it.',
  ])
  const asked = await ask(gateway, '/v1/responses/resp_a.test')
  expect([asked.status, (await errorOf(asked)).code]).toEqual([503, 'no_upstream'])
  expect(gateway.hosts()).toEqual(['a.test'])
})

test('what is passed on to the one account is not, while it is paused', async () => {
  const gateway = bed(['a.test'], () => jsonAnswer(200, {}))
  await post(gateway, 'pause')
  const refused = await ask(gateway, '/v1/files')
  expect([refused.status, (await errorOf(refused)).message]).toEqual([
    503,
    'The upstream that this path goes to is paused by the operator of this gateway, who can resume it.',
  ])
  expect([gateway.calls.length, gateway.openLeases]).toEqual([0, 0])
  await post(gateway, 'resume')
  expect((await ask(gateway, '/v1/files')).status).toBe(200)
})

test('probes and the status read it too, and who forgets a rest does not resume', async () => {
  const gateway = bed()
  for (const host of two) await post(gateway, 'pause', host)
  await post(gateway, 'forget')
  const ready = await askBare(gateway, '/readyz')
  expect([ready.status, await ready.json()]).toEqual([503, { status: 'all upstreams are paused' }])
  const status = await (await ask(gateway, '/admin/status')).json()
  const since = new Date(gateway.clock.wall()).toISOString()
  expect(status).toMatchObject({
    can_answer: { now: false, why: 'all upstreams are paused' },
    upstreams: [
      {
        available: false,
        why: 'paused',
        blocked_by: 'upstream',
        until: null,
        paused: true,
        paused_since: since,
      },
      { paused: true },
    ],
  })
})

test('a name that there is not is refused, with the near one', async () => {
  const gateway = bed()
  for (const what of ['pause', 'resume'] as const)
    expect(await post(gateway, what, 'c.test')).toMatchObject([404, { error: { code: 'not_found' } }])
})
