import { expect, test } from 'vitest'
import {
  chatAnswer,
  chatStream,
  chunk,
  events,
  play,
  refusal,
  SSE,
  stagedBy,
  type Play,
} from '../support/played.ts'
import { answer, configOf, createTestApp, jsonAnswer } from '../support/test-app.ts'

const settings = { strategy: 'in_order', queue_timeout: 0, timeout: 10 }
const limited = configOf(['a.test'], { settings, models: { limits: { tpm: 100_000 } } })

/** Tokens that the minute has counted. */
function spent(app: ReturnType<typeof createTestApp>): number {
  const scopes = app.store.keep({ now: app.clock.now(), wall: app.clock.wall() }).scopes
  const window = scopes
    .map(([, state]) => state.windows['tokens:minute'])
    .find((found) => found !== undefined)
  return (window?.pending ?? 0) + (window?.buckets ?? []).reduce((sum, { amount }) => sum + amount, 0)
}

test('tokens are corrected by what the answer says', async () => {
  const app = createTestApp(limited, ({ host }) =>
    answer(host, { usage: { prompt_tokens: 10, completion_tokens: 20, total_tokens: 31 } }),
  )
  await app.chat({ max_tokens: 5_000 })
  expect(spent(app)).toBe(31)
})

test('a stream says it in its last events, under either name', async () => {
  for (const usage of [
    { prompt_tokens: 10, completion_tokens: 20 },
    { input_tokens: 10, output_tokens: 20 },
  ]) {
    const script: Play = {
      headers: SSE,
      body: [events(chunk('a', 'stop')), events({ choices: [], usage }), events('[DONE]')],
    }
    const app = createTestApp(limited, play(script))
    await (await app.chat({ stream: true, max_tokens: 5_000 })).text()
    expect(spent(app)).toBe(30)
    expect(app.requests()).toMatchObject([{ inputTokens: 10, outputTokens: 20 }])
  }
})

test('without usage the bytes of the answer count', async () => {
  const body = JSON.stringify({ choices: [{ message: { content: 'x'.repeat(4_000) } }] })
  const app = createTestApp(limited, play({ body: [body] }))
  await app.chat({ max_tokens: 50_000 })
  expect(spent(app)).toBeGreaterThan(1_000)
  expect(spent(app)).toBeLessThan(1_100)
})

test('vectors are no output tokens, however long they are', async () => {
  const app = createTestApp(limited, () =>
    jsonAnswer(200, { data: [{ embedding: Array.from({ length: 2_000 }, () => 0.123456) }] }),
  )
  await app.chat({ input: 'x' }, { path: 'embeddings' })
  expect(spent(app)).toBeLessThan(50)
})

test('several answers to a request without a maximum reserve the usual output for each', async () => {
  const usage = { prompt_tokens: 10, completion_tokens: 60, total_tokens: 70 }
  const reserved: number[] = []
  const app = createTestApp(limited, ({ host }) => {
    reserved.push(spent(app))
    return answer(host, { usage })
  })
  await app.chat({ n: 3 })
  await app.chat({ n: 3 })
  await app.chat({})
  const [first = 0, second = 0, third = 0] = reserved
  expect(first).toBeGreaterThanOrEqual(3 * 512)
  // 70 of the first are spent; 20 for each of three answers are the usual by then.
  expect(second - 70).toBeGreaterThanOrEqual(60)
  expect(second - 70).toBeLessThan(100)
  expect(third - 140).toBeGreaterThanOrEqual(20)
  expect(third - 140).toBeLessThan(60)
})

test('a request that was not sent gives its tokens back', async () => {
  const app = createTestApp(limited, stagedBy({}))
  await app.chat({ max_tokens: 5_000 })
  expect(spent(app)).toBe(0)
})

test('an answer is one request event, and one attempt event for each attempt', async () => {
  const three = configOf(['a.test', 'b.test', 'c.test'], { settings })
  const app = createTestApp(
    three,
    stagedBy({
      'a.test': { ...refusal(429), afterMs: 10 },
      'b.test': { ...refusal(500), afterMs: 20 },
      'c.test': { ...chatStream('c'), afterMs: 30 },
    }),
  )
  const pending = app.chat({ stream: true })
  await app.clock.advance(60)
  const response = await pending
  expect(app.requests()).toHaveLength(0)
  expect(app.attempts()).toHaveLength(2)
  await response.text()
  const [event] = app.requests()
  expect(app.requests()).toHaveLength(1)
  expect(event).toMatchObject({
    kind: 'request',
    id: 'id-1',
    endpoint: 'chat',
    requestedModel: 'auto',
    status: 200,
    upstream: 'c.test',
    model: 'model-c.test',
    stream: true,
    firstByteMs: 60,
    durationMs: 60,
    queuedMs: 0,
  })
  expect(event?.attempts.map(({ outcome, status, durationMs }) => [outcome, status, durationMs])).toEqual([
    ['rate-limited', 429, 10],
    ['failure', 500, 20],
    ['ok', 200, 30],
  ])
  expect(app.attempts()).toHaveLength(3)
})

test('the place of a stream is held until its body ends', async () => {
  const app = createTestApp(
    configOf(['a.test'], { settings, models: { limits: { concurrency: 1 } } }),
    play({ ...chatStream('x') }),
  )
  const response = await app.chat({ stream: true })
  expect(app.inFlight()).toBe(1)
  expect((await app.chat()).status).toBe(429)
  await response.text()
  expect(app.inFlight()).toBe(0)
  expect((await app.chat({ stream: true })).status).toBe(200)
})

test('no prompt, token or key is in any event', async () => {
  const app = createTestApp(
    configOf(['a.test', 'b.test'], { settings }),
    stagedBy({ 'a.test': refusal(401, 'key-a.test'), 'b.test': chatAnswer('an answer') }),
  )
  await app.chat({ messages: [{ role: 'user', content: 'a prompt' }] })
  expect(JSON.stringify(app.events)).not.toMatch(/key-|a prompt|an answer|sk-test/)
})
