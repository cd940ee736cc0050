import { expect, test } from 'vitest'
import { TransportError, type TransportFailure } from '../../src/transport/transport.ts'
import {
  chatAnswer,
  chatStream,
  events,
  JSON_TYPE,
  play,
  refusal,
  silence,
  SSE,
  stagedBy,
  type Play,
} from '../support/played.ts'
import { configOf, createTestApp, type FakeUpstream } from '../support/test-app.ts'

const HOSTS = ['a.test', 'b.test', 'c.test', 'd.test', 'e.test', 'f.test']
const settings = { strategy: 'in_order', queue_timeout: 0, timeout: 10 }
const six = configOf(HOSTS, { settings })

const broken =
  (failure: TransportFailure): FakeUpstream =>
  () => {
    throw new TransportError(failure, 'x')
  }
/** Everybody fails in this way but the last one. */
const onlyLastAnswers =
  (failing: FakeUpstream): FakeUpstream =>
  (request, signal, clock) =>
    (request.host === HOSTS.at(-1) ? play(chatAnswer()) : failing)(request, signal, clock)

test.each([
  { what: 'not sent', failing: broken('not-sent') },
  { what: 'no connection in time', failing: broken('connect-timeout') },
  ...[301, 307, 304, 600, 401, 402, 403, 404, 408, 429, 503, 529].map((status) => ({
    what: `status ${status}`,
    failing: play(refusal(status)),
  })),
  { what: 'an empty 200', failing: play({ body: [] }) },
  { what: 'a page', failing: play({ headers: { 'content-type': 'text/html' }, body: ['<p>'] }) },
  { what: 'an error-only 200', failing: play({ body: ['{"error":{"message":"x"}}'] }) },
  { what: '413 for a rate limit', failing: play(refusal(413, 'rate_limit_exceeded')) },
])('$what: every upstream is asked, as many as there are', async ({ failing }) => {
  const app = createTestApp(six, onlyLastAnswers(failing))
  const response = await app.chat()
  expect(response.status).toBe(200)
  expect(response.headers.get('x-aiload-attempts')).toBe('6')
  expect(app.hosts()).toEqual(HOSTS)
})

test.each([
  { what: 'a reset', failing: broken('broken') },
  { what: 'a body that cannot be decoded', failing: broken('undecodable') },
  { what: 'truncated JSON', failing: play({ body: ['{"choices":['] }) },
  ...[500, 502, 504, 599].map((status) => ({ what: `status ${status}`, failing: play(refusal(status)) })),
])('$what: three attempts in all, since the work may have been done', async ({ failing }) => {
  const app = createTestApp(six, onlyLastAnswers(failing))
  expect((await app.chat()).status).toBe(502)
  expect(app.calls).toHaveLength(3)
})

test('only ambiguous failures count towards their three', async () => {
  const [first, second, third] = [refusal(500), refusal(429), refusal(500)]
  const app = createTestApp(
    six,
    stagedBy({
      'a.test': first,
      'b.test': second,
      'c.test': third,
      'd.test': refusal(503),
      'e.test': chatAnswer(),
    }),
  )
  expect((await app.chat()).status).toBe(200)
  expect(app.calls).toHaveLength(5)
})

test('with the retry budget spent the first failure is returned', async () => {
  const three = configOf(HOSTS.slice(0, 3), { settings })
  let calls: Play[] = []
  const app = createTestApp(three, (request, signal, clock) =>
    play(calls.shift() ?? refusal(500))(request, signal, clock),
  )
  // Two retries each; 100 are free, and a fifth of the requests comes on top.
  for (let sent = 0; sent < 60; sent++) await app.chat()
  const before = app.calls.length
  calls = [refusal(503), refusal(500), chatAnswer()]
  const response = await app.chat()
  expect(app.calls).toHaveLength(before + 2)
  expect(await response.json()).toMatchObject({ error: { code: 'upstream_overloaded' } })
  await app.clock.advance(11_000)
  calls = [refusal(503), refusal(500), chatAnswer()]
  expect((await app.chat()).status).toBe(200)
})

const tooLong = refusal(400, 'context_length_exceeded')

test.each([
  'context_length_exceeded',
  'unsupported_parameter',
  'unknown_parameter',
  'unsupported_value',
  'content_filter',
])('%s: one other upstream with another model is asked, and nobody cools', async (code) => {
  const app = createTestApp(six, stagedBy({ 'a.test': refusal(400, code), 'b.test': chatAnswer('b can') }))
  expect(await (await app.chat()).text()).toContain('b can')
  expect(app.attempts().map(({ outcome }) => outcome)).toEqual(['other-model', 'ok'])
  await app.chat()
  expect(app.hosts()).toEqual(['a.test', 'b.test', 'a.test', 'b.test'])
})

test.each([refusal(500), refusal(400, 'else'), refusal(429), tooLong])(
  'when the other model fails too, the first answer is returned as it came',
  async (second) => {
    const app = createTestApp(six, stagedBy({ 'a.test': tooLong, 'b.test': second, 'c.test': chatAnswer() }))
    const response = await app.chat()
    expect(response.status).toBe(400)
    expect(await response.text()).toBe(tooLong.body![0])
    expect(response.headers.get('x-aiload-attempts')).toBe('2')
    expect(app.hosts()).toEqual(['a.test', 'b.test'])
    expect(app.requests()).toMatchObject([{ status: 400, upstream: 'a.test' }])
  },
)

test('upstreams with the same model are passed over, and without another model the first answer stands', async () => {
  const same = configOf(['a.test', 'b.test'], { settings, models: { model: 'one' } })
  const app = createTestApp(same, stagedBy({ 'a.test': tooLong, 'b.test': chatAnswer() }))
  expect((await app.chat()).status).toBe(400)
  expect(app.hosts()).toEqual(['a.test'])
})

test('a long first answer is given up when the other model answers', async () => {
  const long: Play = { ...tooLong, body: [tooLong.body![0] as string, ' '.repeat(200_000), 1000] }
  const app = createTestApp(six, stagedBy({ 'a.test': long, 'b.test': chatAnswer() }))
  expect((await app.chat()).status).toBe(200)
  expect(app.calls[0]!.exchange.isOver).toBe(true)
})

test('a model that refuses inside a stream is passed over for another one', async () => {
  const inStream: Play = {
    headers: SSE,
    body: [events({ error: { code: 'context_length_exceeded', message: 'x' } })],
  }
  const app = createTestApp(
    six,
    stagedBy({ 'a.test': inStream, 'b.test': inStream, 'c.test': chatStream('c') }),
  )
  expect(await (await app.chat({ stream: true })).text()).toContain('"c"')
  const alone = createTestApp(configOf(['a.test'], { settings }), stagedBy({ 'a.test': inStream }))
  const response = await alone.chat({ stream: true })
  expect(response.status).toBe(502)
  expect(await response.json()).toMatchObject({ error: { code: 'upstream_bad_response' } })
})

test.each([400, 409, 413, 415, 422, 418])(
  '%s is the fault of the client: its words come back, after one call',
  async (status) => {
    const words = '{ "error": {"message": "odd", "n": 1e400 } }'
    const app = createTestApp(
      six,
      stagedBy({
        'a.test': {
          status,
          headers: {
            'content-type': 'application/problem+json',
            'set-cookie': 'x=1',
            'content-length': '999',
          },
          body: [words],
        },
      }),
    )
    const response = await app.chat()
    expect(response.status).toBe(status)
    expect(await response.text()).toBe(words)
    expect(response.headers.get('content-type')).toBe('application/problem+json')
    expect(response.headers.has('set-cookie')).toBe(false)
    expect(response.headers.get('content-length')).not.toBe('999')
    expect(app.calls).toHaveLength(1)
    await app.chat()
    expect(app.hosts()).toEqual(['a.test', 'a.test'])
  },
)

test('a page that blames the client is not shown, its status is', async () => {
  const page: Play = {
    status: 400,
    headers: { 'content-type': 'text/html' },
    body: ['<html>nginx at secret.internal'],
  }
  const response = await createTestApp(six, stagedBy({ 'a.test': page })).chat()
  expect(response.status).toBe(400)
  const text = await response.text()
  expect(text).not.toContain('nginx')
  expect(JSON.parse(text)).toMatchObject({ error: { message: expect.any(String), type: expect.any(String) } })
  expect(response.headers.get('content-type')).toBe('application/json')
})

test('settings.max_attempts is a cap on every kind of attempt', async () => {
  const capped = configOf(HOSTS, { settings: { ...settings, max_attempts: 2 } })
  const app = createTestApp(capped, stagedBy(Object.fromEntries(HOSTS.map((host) => [host, refusal(429)]))))
  expect((await app.chat()).status).toBe(429)
  expect(app.calls).toHaveLength(2)
  const once = createTestApp(
    configOf(HOSTS, { settings: { ...settings, max_attempts: 1 } }),
    stagedBy({ 'a.test': tooLong, 'b.test': chatAnswer() }),
  )
  expect((await once.chat()).status).toBe(400)
  expect(once.calls).toHaveLength(1)
})

test('a status that is an error counts although its body never comes', async () => {
  const stuck: Play = {
    status: 429,
    headers: { ...JSON_TYPE, 'retry-after': '30' },
    body: ['{"er'],
    end: 'stall',
  }
  const app = createTestApp(
    configOf(['a.test', 'b.test'], { settings }),
    stagedBy({ 'a.test': stuck, 'b.test': chatAnswer() }),
  )
  const pending = app.chat()
  await app.clock.advance(10_000)
  expect((await pending).status).toBe(200)
  expect(app.attempts()[0]).toMatchObject({ outcome: 'rate-limited', status: 429 })
})

test('an upstream is never asked twice for one request', async () => {
  const app = createTestApp(
    configOf(['a.test', 'b.test'], { settings }),
    stagedBy({ 'a.test': refusal(503), 'b.test': silence }),
  )
  const pending = app.chat()
  await app.clock.advance(60_000)
  expect((await pending).status).toBe(504)
  expect(app.hosts()).toEqual(['a.test', 'b.test'])
})
