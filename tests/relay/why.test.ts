import { expect, test } from 'vitest'
import { ask } from '../support/ask.ts'
import { chatAnswer, JSON_TYPE, play, refusal, stagedBy } from '../support/played.ts'
import { answer, configOf, createTestApp, jsonAnswer, type TestApp } from '../support/test-app.ts'

/** Each attempt says why it went to its upstream, and each choice who could not be taken. */

const settings = { strategy: 'in_order', queue_timeout: 0, timeout: 10 }
const three = (more: object = {}): object =>
  configOf(['a.test', 'b.test', 'c.test'], { settings: { ...settings, ...more } })
const well = ({ host }: { host: string }) => answer(host)
const whys = (app: TestApp) => app.attempts().map(({ why }) => why)
const lastWhy = (app: TestApp) => app.requests().at(-1)?.why

test.each(['random', 'round_robin', 'least_busy', 'fastest', 'headroom', 'in_order'])(
  'the order of %s by its name',
  async (strategy) => {
    const app = createTestApp(three({ strategy }), well)
    await app.chat()
    expect([whys(app), lastWhy(app)]).toEqual([[strategy], strategy])
  },
)

test('affinity from the second request of a key on', async () => {
  const app = createTestApp(three({ affinity: 'user', strategy: 'least_busy' }), well)
  for (let turn = 0; turn < 3; turn++) await app.chat({ user: 'u' })
  await app.chat({ user: 'another' })
  expect(whys(app)).toEqual(['least_busy', 'affinity', 'affinity', 'least_busy'])
})

test('only, where no other might be taken, with the others and until when', async () => {
  const app = createTestApp(
    configOf(['a.test', 'b.test'], { settings }),
    stagedBy({
      'a.test': [refusal(429, 'x', { 'retry-after': '30' }), chatAnswer()],
      'b.test': chatAnswer(),
    }),
  )
  await app.chat()
  expect(app.attempts().map(({ passedOver }) => passedOver)).toEqual([undefined, undefined])
  const limitedAt = app.clock.now()
  await app.clock.advance(1_000)
  await app.chat()
  expect(whys(app)).toEqual(['in_order', 'fallback', 'only'])
  const { at, unavailable = [] } = app.attempts().at(-1)?.passedOver ?? {}
  expect(at).toEqual({ now: app.clock.now(), wall: app.clock.wall() })
  expect(unavailable.map(({ upstream, reason }) => [upstream.name, reason.cause, reason.until])).toEqual([
    ['a.test', 'rate-limited', limitedAt + 30_000],
  ])
  await app.chat({ model: 'b.test' })
  expect(lastWhy(app)).toBe('only')
})

test('fallback after a failure, and the request has the reason of who answered', async () => {
  const app = createTestApp(
    three(),
    stagedBy({ 'a.test': refusal(500), 'b.test': refusal(503), 'c.test': chatAnswer() }),
  )
  await app.chat()
  expect([whys(app), lastWhy(app)]).toEqual([['in_order', 'fallback', 'fallback'], 'fallback'])
})

test('last-resort for one that cools down when nobody else is left', async () => {
  const app = createTestApp(
    configOf(['a.test'], { settings }),
    stagedBy({ 'a.test': [refusal(503, 'x', { 'retry-after': '50' }), chatAnswer()] }),
  )
  await app.chat()
  await app.chat()
  expect(whys(app)).toEqual(['only', 'last-resort'])
})

test('waited after a wait in the queue', async () => {
  const app = createTestApp(
    configOf(['a.test'], { settings: { ...settings, queue_timeout: 5 } }),
    stagedBy({ 'a.test': [refusal(429, 'x', { 'retry-after': '4' }), chatAnswer()] }),
  )
  const pending = app.chat()
  await app.clock.advance(4_000)
  expect((await pending).status).toBe(200)
  expect(whys(app)).toEqual(['only', 'waited'])
})

test('pinned to who made an earlier answer, owner of what the request brings along', async () => {
  const secret = 'x'.repeat(200)
  const item = { type: 'reasoning', id: 'rs', encrypted_content: secret, summary: [] }
  const app = createTestApp(three({ strategy: 'round_robin' }), ({ host }) =>
    jsonAnswer(200, { id: `resp_${host}`, object: 'response', status: 'completed', output: [item] }),
  )
  const path = 'responses'
  const made = (await app.chat({ input: 'hi' }, { path })).headers.get('x-aiload-upstream')
  await app.chat({ input: 'more', previous_response_id: `resp_${made}` }, { path })
  await app.chat({ input: [item] }, { path })
  expect(whys(app)).toEqual(['round_robin', 'pinned', 'owner'])
  await (await ask(app, `/v1/responses/resp_${made}`, { method: 'GET' })).text()
  expect(lastWhy(app)).toBe('pinned')
})

test('passthrough for other paths', async () => {
  const app = createTestApp(three({ passthrough: 'b.test' }), () => jsonAnswer(200, { data: [] }))
  await (await ask(app, '/v1/files', { method: 'GET' })).text()
  expect([whys(app), lastWhy(app)]).toEqual([['passthrough'], 'passthrough'])
})

test('a request that nobody may take has no reason, and says who could not', async () => {
  const app = createTestApp(
    configOf(['a.test', 'b.test'], { settings }),
    play(refusal(429, 'x', { 'retry-after': '30' })),
  )
  await app.chat()
  expect((await app.chat()).status).toBe(429)
  const [asked, refused] = app.requests()
  expect([asked?.passedOver, refused?.why, refused?.attempts]).toEqual([undefined, undefined, []])
  expect(refused?.passedOver?.unavailable.map(({ upstream }) => upstream.name)).toEqual(['a.test', 'b.test'])
})

test('what an upstream itself said at the end has the reason of that one', async () => {
  const said = { status: 400, headers: JSON_TYPE, body: ['{"error":{"message":"no","code":"c"}}'] }
  const app = createTestApp(three(), stagedBy({ 'a.test': said, 'b.test': said, 'c.test': said }))
  expect((await app.chat()).status).toBe(400)
  expect(app.requests()).toMatchObject([{ upstream: 'a.test', why: 'in_order' }])
})
