import { getEventListeners } from 'node:events'
import { expect, test } from 'vitest'
import { chatAnswer, play, refusal, stagedBy, type Play } from '../support/played.ts'
import { settle } from '../support/fake-clock.ts'
import { configOf, createTestApp, type TestApp } from '../support/test-app.ts'

const base = { strategy: 'in_order', timeout: 10 }
const limited = (seconds: number): Play => refusal(429, 'x', { 'retry-after': String(seconds) })
const one = (settings: object = {}, models: object = {}) =>
  configOf(['a.test'], { settings: { ...base, ...settings }, models })
const slow: Play = { afterMs: 1_000, ...chatAnswer() }
const atOnce = { limits: { concurrency: 1 } }

/** Statuses in the order in which they came. */
function watch(app: TestApp) {
  const log: string[] = []
  const ask = (name: string, init = {}, body = {}) =>
    void app.chat(body, init).then(
      (response) => log.push(`${name} ${response.status}`),
      () => log.push(`${name} failed`),
    )
  return { log, ask }
}

test('a request waits for the soonest limit within queue_timeout, and is answered', async () => {
  const app = createTestApp(one(), stagedBy({ 'a.test': [limited(4), chatAnswer()] }))
  const pending = app.chat()
  await app.clock.advance(3_999)
  expect(app.calls).toHaveLength(1)
  await app.clock.advance(1)
  expect((await pending).status).toBe(200)
  expect(app.requests()).toMatchObject([{ status: 200, queuedMs: 4_000 }])
})

test('a limit that reopens at the very end of queue_timeout is waited for', async () => {
  const app = createTestApp(one(), stagedBy({ 'a.test': [limited(5), chatAnswer()] }))
  const pending = app.chat()
  await app.clock.advance(5_000)
  expect((await pending).status).toBe(200)
})

test('nobody waits for a limit that reopens later, nor with queue_timeout 0', async () => {
  for (const [config, seconds] of [
    [one(), 6],
    [one({ queue_timeout: 0 }), 1],
  ] as const) {
    const app = createTestApp(config, stagedBy({ 'a.test': limited(seconds) }))
    expect((await app.chat()).status).toBe(429)
    expect((await app.chat()).status).toBe(429)
    expect(app.requests().map(({ queuedMs }) => queuedMs)).toEqual([0, 0])
  }
})

test('a day that is spent is refused at once', async () => {
  const app = createTestApp(one({}, { limits: { rpd: 1 } }), play(chatAnswer()))
  await app.chat()
  expect((await app.chat()).status).toBe(429)
  expect(app.calls).toHaveLength(1)
})

test('a released place is taken in order of arrival, one by one', async () => {
  const app = createTestApp(one({}, atOnce), play(slow))
  const { log, ask } = watch(app)
  for (const name of ['one', 'two', 'three']) ask(name)
  await app.clock.advance(1_000)
  expect(log).toEqual(['one 200'])
  expect(app.calls).toHaveLength(2)
  await app.clock.advance(2_000)
  expect(log).toEqual(['one 200', 'two 200', 'three 200'])
  expect(app.inFlight()).toBe(0)
})

test('a newcomer does not overtake those who wait, whatever name it asks for', async () => {
  const app = createTestApp(one({}, atOnce), play(slow))
  const { log, ask } = watch(app)
  ask('one')
  ask('two')
  await app.clock.advance(1_000)
  ask('three', {}, { model: 'model-a.test' })
  await app.clock.advance(2_000)
  expect(log).toEqual(['one 200', 'two 200', 'three 200'])
})

test('a newcomer at the very moment when a limit reopens does not overtake', async () => {
  const app = createTestApp(one(), stagedBy({ 'a.test': [limited(4), slow] }))
  const { log, ask } = watch(app)
  app.clock.after(4_000, () => ask('newcomer', {}, { user: 'newcomer' }))
  ask('first', {}, { user: 'first' })
  await app.clock.advance(4_000)
  expect(app.calls.map(({ text }) => (JSON.parse(text) as { user: string }).user)).toEqual(['first', 'first'])
  await app.clock.advance(3_000)
  expect(log).toEqual(['first 200', 'newcomer 200'])
})

test('after a wait all are open again, also those that were tried before it', async () => {
  const two = configOf(['a.test', 'b.test'], { settings: base })
  const app = createTestApp(
    two,
    stagedBy({
      'a.test': [limited(2), { ...refusal(500), afterMs: 3_000 }],
      'b.test': [limited(4), chatAnswer()],
    }),
  )
  const pending = app.chat()
  await app.clock.advance(5_000)
  expect((await pending).status).toBe(200)
  expect(app.hosts()).toEqual(['a.test', 'b.test', 'a.test', 'b.test'])
})

test('a newcomer that has somewhere else to go goes there', async () => {
  const config = { ...(one({}, atOnce) as { models: object[] }) }
  config.models = [
    ...config.models,
    { base_url: 'https://b.test/v1', api_key: 'k', model: 'model-b', name: 'b.test' },
  ]
  const app = createTestApp(config, stagedBy({ 'a.test': slow, 'b.test': chatAnswer() }))
  const { log, ask } = watch(app)
  ask('one', {}, { model: 'model-a.test' })
  ask('two', {}, { model: 'model-a.test' })
  await settle()
  ask('three')
  await settle()
  expect(log).toEqual(['three 200'])
})

test('a full queue gives the same 429 at once', async () => {
  const app = createTestApp(one({ queue_size: 1 }, atOnce), play(slow))
  const { log, ask } = watch(app)
  for (const name of ['one', 'two', 'three']) ask(name)
  await settle()
  expect(log).toEqual(['three 429'])
  const response = await app.chat()
  expect(response.headers.get('retry-after')).toBe('1')
  expect(await response.json()).toMatchObject({ error: { code: 'rate_limit_exceeded' } })
})

test.each([0, 1])(
  'where the queue has no room for %i more, a presumed limit refuses nobody',
  async (queue_size) => {
    // Of Groq's preset: 30 requests a minute.
    const preset = { vendor: 'groq', model: 'openai/gpt-oss-20b' }
    const app = createTestApp(one({ queue_size }, preset), play(chatAnswer()))
    const { log, ask } = watch(app)
    for (let nth = 0; nth < 30; nth++) await app.chat()
    await app.clock.advance(57_000)
    for (let nth = 0; nth <= queue_size; nth++) ask('next')
    await settle()
    expect(log).toEqual(['next 200'])
    await app.clock.advance(5_000)
    expect(log.every((line) => line === 'next 200')).toBe(true)
  },
)

test('a wait that finds nothing ends with 429 after queue_timeout', async () => {
  const app = createTestApp(one({ queue_timeout: 2 }, atOnce), play({ afterMs: 8_000, ...chatAnswer() }))
  const { log, ask } = watch(app)
  ask('one')
  ask('two')
  await app.clock.advance(1_999)
  expect(log).toEqual([])
  await app.clock.advance(1)
  expect(log).toEqual(['two 429'])
})

test('a client that leaves while it waits leaves the queue, and nothing is sent for it', async () => {
  const app = createTestApp(one({}, atOnce), play(slow))
  const { log, ask } = watch(app)
  ask('one')
  const controller = new AbortController()
  ask('two', { clientSignal: controller.signal })
  ask('three')
  await settle()
  controller.abort()
  await settle()
  expect(log).toEqual(['two 499'])
  expect(getEventListeners(controller.signal, 'abort')).toHaveLength(0)
  await app.clock.advance(2_000)
  expect(log).toEqual(['two 499', 'one 200', 'three 200'])
  expect(app.calls).toHaveLength(2)
  expect(app.requests().map(({ status }) => status)).toEqual([499, 200, 200])
})

test('the end of a probe lets the waiting go on', async () => {
  const app = createTestApp(one(), stagedBy({ 'a.test': [limited(1), slow, chatAnswer()] }))
  const { log, ask } = watch(app)
  ask('one')
  await app.clock.advance(1_000)
  ask('two')
  await settle()
  expect(app.calls).toHaveLength(2)
  await app.clock.advance(1_000)
  expect(log.sort()).toEqual(['one 200', 'two 200'])
})

test('after a wait the order is made anew: the same upstream may be asked again', async () => {
  const two = configOf(['a.test', 'b.test'], { settings: base })
  const app = createTestApp(two, stagedBy({ 'a.test': [limited(2), chatAnswer()], 'b.test': limited(3) }))
  const pending = app.chat()
  await app.clock.advance(2_000)
  expect((await pending).status).toBe(200)
  expect(app.hosts()).toEqual(['a.test', 'b.test', 'a.test'])
})

test('who refuses this one request is not asked again while others are waited for', async () => {
  const two = configOf(['a.test', 'b.test'], { settings: base })
  const app = createTestApp(
    two,
    stagedBy({ 'a.test': refusal(413, 'rate_limit_exceeded'), 'b.test': limited(3) }),
  )
  const pending = app.chat()
  await app.clock.advance(3_000)
  expect(app.hosts().filter((host) => host === 'a.test')).toHaveLength(1)
  await app.clock.advance(10_000)
  expect((await pending).status).toBe(429)
})

test('all waiting of a request together takes no longer than queue_timeout', async () => {
  const app = createTestApp(one(), play(limited(2)))
  const since = app.clock.now()
  const pending = app.chat().then((response) => [response.status, app.clock.now() - since])
  await app.clock.advance(60_000)
  expect(await pending).toEqual([429, 4_000])
  expect(app.calls).toHaveLength(3)
})

test('a waiting request takes one that has begun to fail, when nothing else is there', async () => {
  const config = { ...(one({}, atOnce) as { models: object[] }) }
  config.models = [
    ...config.models,
    { base_url: 'https://b.test/v1', api_key: 'k', model: 'model-b', name: 'b.test' },
  ]
  const app = createTestApp(
    config,
    stagedBy({
      'a.test': { afterMs: 4_000, ...chatAnswer() },
      'b.test': [limited(1), refusal(500), chatAnswer()],
    }),
  )
  const { log, ask } = watch(app)
  ask('one', {}, { model: 'model-a.test' })
  await settle()
  ask('two')
  await app.clock.advance(1_000)
  await app.clock.advance(1_500)
  ask('three')
  await settle()
  expect(log).toContain('three 200')
})
