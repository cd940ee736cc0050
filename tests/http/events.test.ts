import { expect, onTestFinished, test } from 'vitest'
import { createApp } from '../../src/app.ts'
import type { RequestSummary } from '../../src/telemetry/live.ts'
import type { GatewayStatus } from '../../src/telemetry/status.ts'
import { settle } from '../support/fake-clock.ts'
import { ask, askBare, errorOf } from '../support/ask.ts'
import { answer, configOf, createTestApp, errorAnswer, type TestApp } from '../support/test-app.ts'

const bed = (models: object = {}) =>
  createTestApp(configOf(['a.test', 'b.test'], { settings: { strategy: 'in_order' }, models }), ({ host }) =>
    answer(host),
  )

/** Somebody who watches and reads all that comes. */
async function watch(gateway: TestApp, headers: Readonly<Record<string, string>> = {}) {
  const response = await ask(gateway, '/admin/events', { headers })
  expect(response.status).toBe(200)
  const reader = response.body!.getReader()
  onTestFinished(() => reader.cancel().catch(() => {}))
  const events: { event: string; data: Record<string, unknown> }[] = []
  const comments: string[] = []
  let isOver = false
  void (async () => {
    const decoder = new TextDecoder()
    for (;;) {
      const { done, value } = await reader.read()
      if (done) break
      for (const block of decoder.decode(value).split('\n\n').filter(Boolean)) {
        const [, event = '', data = ''] = /^event: (.*)\ndata: (.*)$/.exec(block) ?? []
        if (event === '') comments.push(block)
        else events.push({ event, data: JSON.parse(data) })
      }
    }
    isOver = true
  })()
  await settle()
  return {
    response,
    events,
    comments,
    isOver: () => isOver,
    leave: () => reader.cancel(),
    names: () => events.map(({ event }) => event),
    /** The last of a name. */
    last: (name: string) => events.findLast(({ event }) => event === name)?.data,
  }
}

test('first comes all of it, then what changes, and nothing that does not', async () => {
  const gateway = bed()
  await gateway.chat()
  const viewer = await watch(gateway)
  const headers = Object.fromEntries(viewer.response.headers)
  expect(headers).toMatchObject({
    'content-type': 'text/event-stream; charset=utf-8',
    'cache-control': 'no-store',
    'x-accel-buffering': 'no',
  })
  expect(viewer.names()).toEqual(['snapshot'])
  const { status, requests, usage } = viewer.last('snapshot') as {
    status: GatewayStatus
    requests: RequestSummary[]
    usage: object
  }
  expect(status).toEqual(await (await ask(gateway, '/admin/status')).json())
  expect(usage).toEqual(await (await ask(gateway, '/admin/usage')).json())
  expect(requests).toEqual([
    {
      id: 'id-1',
      client_request_id: null,
      at: '2026-11-22T12:00:00.000Z',
      endpoint: 'chat',
      model: 'auto',
      token: null,
      status: 200,
      code: null,
      upstream: 'a.test',
      stream: false,
      attempts: 1,
      queued_ms: 0,
      first_byte_ms: 0,
      duration_ms: 0,
      input_tokens: 5,
      output_tokens: 7,
    },
  ])
  await gateway.clock.advance(10_000)
  expect(viewer.names()).toEqual(['snapshot'])

  await gateway.chat()
  await gateway.chat({}, { headers: { 'x-request-id': 'of-the-client' } })
  await gateway.clock.advance(1_000)
  expect(viewer.names()).toEqual(['snapshot', 'status', 'requests'])
  expect(viewer.last('requests')).toMatchObject([
    { upstream: 'a.test', client_request_id: 'of-the-client' },
    { upstream: 'a.test', client_request_id: null },
  ])
  const changed = viewer.last('status') as unknown as GatewayStatus
  expect(Object.keys(changed).toSorted()).toEqual(['last_hour', 'upstreams'])
  expect(changed.upstreams).toMatchObject([{ name: 'a.test', attempts: 3, host: 'a.test', weight: 1 }])
})

test('what only follows from the time is told with the next change or minute, and not each second', async () => {
  const gateway = createTestApp(configOf(['a.test'], { models: { limits: { rpm: 5 } } }), () =>
    errorAnswer(503, 'x', { 'retry-after': '30' }),
  )
  await gateway.chat()
  const viewer = await watch(gateway)
  await gateway.clock.advance(10_000)
  expect(viewer.names().length).toBeLessThanOrEqual(2)
})

test('of many requests at once the newest are told, and how many are not', async () => {
  const gateway = bed()
  const viewer = await watch(gateway)
  for (let nth = 0; nth < 70; nth++) await gateway.chat()
  await gateway.clock.advance(1_000)
  expect(viewer.last('requests')).toHaveLength(50)
  expect(viewer.last('skipped')).toEqual({ skipped: 20 })
  const [newest] = viewer.last('requests') as unknown as RequestSummary[]
  expect(newest?.id).toBe(gateway.requests().at(-1)?.ownId)
})

test('the status is computed once a second for all who watch, and never while nobody does', async () => {
  let computed = 0
  const counted = createTestApp(configOf(['a.test']), ({ host }) => answer(host), {
    around: (store) => ({
      ...store,
      snapshot: (scopes) => {
        computed += 1
        return store.snapshot(scopes)
      },
    }),
  })
  await counted.clock.advance(60_000)
  expect([computed, counted.clock.timers]).toEqual([0, 0])
  const viewers = []
  for (let nth = 0; nth < 16; nth++) {
    viewers.push(await watch(counted))
    await counted.clock.advance(61)
  }
  computed = 0
  await counted.clock.advance(20_000)
  expect(computed).toBeLessThanOrEqual(21)
  expect(computed).toBeGreaterThanOrEqual(19)
  for (const viewer of viewers) await viewer.leave()
  await settle()
  expect([counted.live.viewers, counted.clock.timers]).toEqual([0, 0])
})

test('somebody who is quiet hears a ping every fifteen seconds', async () => {
  const gateway = bed()
  const viewer = await watch(gateway)
  await gateway.clock.advance(46_000)
  expect(viewer.comments).toEqual([': ping', ': ping', ': ping'])
})

test('sixteen may watch at once; the next one is refused until one has left', async () => {
  const gateway = bed()
  const viewers = []
  for (let nth = 0; nth < 16; nth++) viewers.push(await watch(gateway))
  const refused = await ask(gateway, '/admin/events')
  expect([refused.status, (await errorOf(refused)).code]).toEqual([429, 'too_many_viewers'])
  await viewers[3]?.leave()
  expect((await watch(gateway)).names()).toEqual(['snapshot'])
})

test('nobody watches without a token, and HEAD takes no place', async () => {
  const gateway = bed()
  expect((await askBare(gateway, '/admin/events')).status).toBe(401)
  for (let nth = 0; nth < 20; nth++)
    expect((await ask(gateway, '/admin/events', { method: 'HEAD' })).status).toBe(200)
  expect(gateway.live.viewers).toBe(0)
})

test('the stream ends with its token', async () => {
  const gateway = bed()
  const viewer = await watch(gateway)
  await gateway.clock.advance(5_000)
  expect(viewer.isOver()).toBe(false)
  gateway.apply({ ...configOf(['a.test']), auth_token: 'sk-another-token' })
  await settle()
  expect([viewer.isOver(), gateway.live.viewers]).toEqual([true, 0])
})

test('the stream ends with the word that nothing is served below /admin/', async () => {
  const gateway = bed()
  const viewer = await watch(gateway)
  gateway.apply({ ...configOf(['a.test', 'b.test']), server: { admin: 'off' } })
  await settle()
  expect([viewer.isOver(), gateway.live.viewers]).toEqual([true, 0])
})

test('a new configuration is told: which upstreams there are now, and those that are new', async () => {
  const gateway = bed()
  const viewer = await watch(gateway)
  const before = (viewer.last('snapshot') as { status: GatewayStatus }).status.upstreams
  gateway.apply(configOf(['b.test', 'c.test']))
  await gateway.clock.advance(1_000)
  const changed = viewer.last('status') as {
    upstreams: { id: string; name: string }[]
    upstream_ids: string[]
  }
  expect(changed.upstreams.map(({ name }) => name)).toEqual(['c.test'])
  expect(changed.upstream_ids).toEqual([before[1]?.id, changed.upstreams[0]?.id])
})

test('a drain ends all of them at once, and begins none', async () => {
  const gateway = bed()
  const viewers = [await watch(gateway), await watch(gateway)]
  gateway.drain()
  await settle()
  expect(viewers.map((viewer) => viewer.isOver())).toEqual([true, true])
  expect((await ask(gateway, '/admin/events')).status).toBe(503)
  await gateway.clock.advance(1_000)
  expect(gateway.clock.timers).toBe(0)
})

test('who takes nothing for half a minute loses his place, and nothing is kept for him meanwhile', async () => {
  const gateway = bed()
  const response = await ask(gateway, '/admin/events')
  const reader = response.body!.getReader()
  expect((await reader.read()).done).toBe(false)
  await gateway.chat()
  await gateway.clock.advance(29_000)
  expect(gateway.live.viewers).toBe(1)
  await gateway.clock.advance(2_000)
  expect([gateway.live.viewers, gateway.clock.timers]).toEqual([0, 0])
  expect((await reader.read()).done).toBe(true)
})

test('who prefers Chinese is told in Chinese what needs him, where the runtime has it', async () => {
  const gateway = createTestApp(configOf(['a.test']), () => errorAnswer(401, 'no'))
  await gateway.chat()
  const english = 'the key of a.test was refused'
  const inChinese = (sentence: string): string => sentence.replace(english, 'a.test 的密钥被拒绝')
  const app = createApp({ ...gateway.deps, inChinese: () => Promise.resolve(inChinese) })
  for (const { language, test = { ...gateway, app }, begins = english } of [
    { language: 'zh-CN,zh;q=0.9,en;q=0.8', begins: 'a.test 的密钥被拒绝' },
    { language: 'zh-CN,zh;q=0.9,en;q=0.8', test: gateway },
    { language: 'en,zh;q=0.5' },
    { language: 'zha' },
  ]) {
    const headers = { 'accept-language': language }
    const shown = (await (await ask(test, '/admin/status', { headers })).json()) as GatewayStatus
    expect(shown.needs_you.map(({ text }) => text.startsWith(begins))).toEqual([true])
    const viewer = await watch(test, headers)
    expect(viewer.last('snapshot')).toMatchObject({ status: { needs_you: shown.needs_you } })
  }
})

test('what changes is told in the same language', async () => {
  const gateway = createTestApp(configOf(['a.test']), () => errorAnswer(401, 'no'))
  const app = createApp({
    ...gateway.deps,
    inChinese: () => (sentence) => sentence.replace('the key', '密钥'),
  })
  const viewer = await watch({ ...gateway, app }, { 'accept-language': 'zh' })
  await gateway.chat()
  await gateway.clock.advance(1_000)
  expect((viewer.last('status') as unknown as GatewayStatus).needs_you[0]?.text).toMatch(/^密钥/)
})
