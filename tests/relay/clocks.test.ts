import { expect, test } from 'vitest'
import { chatAnswer, chatStream, chunk, events, play, silence, SSE, stagedBy } from '../support/played.ts'
import { configOf, createTestApp, type FakeUpstream } from '../support/test-app.ts'

const settings = { strategy: 'in_order', queue_timeout: 0, timeout: 10 }
const HOSTS = ['a.test', 'b.test', 'c.test', 'd.test']

test('an upstream that says nothing for `timeout` is left, and its call ended', async () => {
  const app = createTestApp(
    configOf(HOSTS, { settings }),
    stagedBy({ 'a.test': silence, 'b.test': chatAnswer() }),
  )
  const pending = app.chat()
  await app.clock.advance(9_999)
  expect(app.calls).toHaveLength(1)
  await app.clock.advance(1)
  expect((await pending).status).toBe(200)
  expect(app.calls[0]!.exchange.isOver).toBe(true)
})

test('what takes the body of a request little by little is not silent, and has its whole time to answer behind it', async () => {
  const slow: FakeUpstream = async (request, signal, clock) => {
    for (let taken = 0; taken < 6; taken++) {
      await new Promise<void>((resolve) => clock.after(9_000, resolve))
      request.onTaken?.()
    }
    return play({ afterMs: 9_000, ...chatAnswer() })(request, signal, clock)
  }
  const app = createTestApp(configOf(HOSTS, { settings }), slow)
  const pending = app.chat()
  await app.clock.advance(63_000)
  expect((await pending).headers.get('x-aiload-upstream')).toBe('a.test')
  const stuck: FakeUpstream = async (request, signal, clock) => {
    request.onTaken?.()
    return play(silence)(request, signal, clock)
  }
  const other = createTestApp(configOf(HOSTS, { settings }), (request, ...rest) =>
    (request.host === 'a.test' ? stuck : play(chatAnswer()))(request, ...rest),
  )
  const left = other.chat()
  await other.clock.advance(10_000)
  expect((await left).headers.get('x-aiload-upstream')).toBe('b.test')
})

test('comments do not put off the deadline of the first real byte', async () => {
  const chatty = {
    headers: SSE,
    body: Array.from({ length: 60 }, (_, at) => (at % 2 ? 1_000 : ': keep-alive\n\n')),
  }
  const app = createTestApp(
    configOf(HOSTS, { settings }),
    stagedBy({ 'a.test': chatty, 'b.test': chatStream('b') }),
  )
  const pending = app.chat({ stream: true })
  await app.clock.advance(10_000)
  expect(await (await pending).text()).toContain('"b"')
})

test('comments are life between two chunks', async () => {
  const slow = {
    headers: SSE,
    body: [events(chunk('a')), 9_000, ': alive\n\n', 9_000, events(chunk('', 'stop'))],
  }
  const app = createTestApp(configOf(['a.test'], { settings }), stagedBy({ 'a.test': slow }))
  const text = (await app.chat({ stream: true })).text()
  await app.clock.advance(18_000)
  expect(await text).not.toContain('error')
})

test('the first byte comes within twice the timeout, over all attempts', async () => {
  const app = createTestApp(
    configOf(HOSTS, { settings }),
    stagedBy({
      'a.test': { afterMs: 6_000, status: 503 },
      'b.test': { afterMs: 6_000, status: 503 },
      'c.test': silence,
      'd.test': chatAnswer(),
    }),
  )
  const since = app.clock.now()
  const pending = app.chat().then((response) => [response.status, app.clock.now() - since])
  await app.clock.advance(60_000)
  expect(await pending).toEqual([504, 20_000])
  expect(app.calls).toHaveLength(3)
})

test('a JSON answer that makes progress is never late', async () => {
  const [start, ...rest] = chatAnswer('x'.repeat(100))
    .body!.join('')
    .match(/.{1,20}/g)!
  const body = [start, ...rest.flatMap((part) => [4_000, part])]
  const app = createTestApp(configOf(['a.test'], { settings }), stagedBy({ 'a.test': { body } }))
  const pending = app.chat()
  await app.clock.advance(60_000)
  expect((await pending).status).toBe(200)
})

test("an upstream's own timeout counts for it in place of the settings'", async () => {
  const config = configOf(['a.test', 'b.test'], { settings, models: { timeout: 40 } })
  const app = createTestApp(config, stagedBy({ 'a.test': silence, 'b.test': chatAnswer() }))
  const pending = app.chat()
  await app.clock.advance(39_999)
  expect(app.calls).toHaveLength(1)
  await app.clock.advance(1)
  expect((await pending).status).toBe(200)
})

test('an upstream that is asked after a slower one has its whole time', async () => {
  const config = configOf(['slow.test', 'quick.test'], { settings }) as { models: object[] }
  config.models[0] = { ...config.models[0], timeout: 60 }
  const later = { afterMs: 9_000, ...chatAnswer() }
  const app = createTestApp(config, stagedBy({ 'slow.test': silence, 'quick.test': later }))
  const pending = app.chat()
  await app.clock.advance(69_000)
  expect((await pending).headers.get('x-aiload-upstream')).toBe('quick.test')
})

test('no timer outlives its request', async () => {
  const app = createTestApp(
    configOf(HOSTS, { settings }),
    stagedBy({ 'a.test': { status: 500 }, 'b.test': chatStream('b') }),
  )
  await (await app.chat({ stream: true })).text()
  await app.chat()
  expect(app.clock.timers).toBe(0)
})
