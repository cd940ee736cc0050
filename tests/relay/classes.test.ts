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
  {
    what: 'an error-only 200 that says to come back',
    failing: play({ body: ['{"error":{"message":"overloaded"}}'] }),
  },
  ...[406, 407, 409, 411, 412, 417, 418, 421, 423, 424, 425, 426, 428, 431, 451, 498].map((status) => ({
    what: `status ${status}`,
    failing: play(refusal(status)),
  })),
  {
    what: 'a page under 400',
    failing: play({ status: 400, headers: { 'content-type': 'text/html' }, body: ['<p>'] }),
  },
  { what: 'nothing under 422', failing: play({ status: 422, body: [] }) },
  { what: 'too long', failing: play(refusal(400, 'context_length_exceeded')) },
  {
    what: 'too long inside a 200',
    failing: play({ body: ['{"error":{"code":"context_length_exceeded"}}'] }),
  },
  { what: 'what another account made', failing: play(refusal(400, 'invalid_encrypted_content')) },
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
  { what: 'an error without a word in a 200', failing: play({ body: ['{"error":{"message":"x"}}'] }) },
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

test('with the retry budget spent the last failure is returned', async () => {
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
  expect(await response.json()).toMatchObject({ error: { code: 'upstream_error' } })
  await app.clock.advance(11_000)
  calls = [refusal(503), refusal(500), chatAnswer()]
  expect((await app.chat()).status).toBe(200)
})

const tooLong = refusal(400, 'context_length_exceeded')
const odd = refusal(422, 'odd_value')

test.each(['unsupported_parameter', 'unknown_parameter', 'unsupported_value', 'content_filter', 'whatever'])(
  'a body that is refused as %s is shown to others, and nobody cools',
  async (code) => {
    const app = createTestApp(six, stagedBy({ 'a.test': refusal(400, code), 'b.test': chatAnswer('b can') }))
    expect(await (await app.chat()).text()).toContain('b can')
    expect(app.attempts().map(({ outcome }) => outcome)).toEqual(['client-error', 'ok'])
    await app.chat()
    expect(app.hosts()).toEqual(['a.test', 'b.test', 'a.test', 'b.test'])
  },
)

test.each([400, 413, 415, 422])(
  'a body refused with %s is shown to two others, and the first words come back as they were',
  async (status) => {
    const words = '{ "error": {"message": "odd", "n": 1e400 } }'
    const first: Play = {
      status,
      headers: { 'content-type': 'application/problem+json', 'set-cookie': 'x=1', 'content-length': '999' },
      body: [words],
    }
    const others = Object.fromEntries(HOSTS.slice(1).map((host) => [host, odd]))
    const app = createTestApp(six, stagedBy({ ...others, 'a.test': first }))
    const response = await app.chat()
    expect(response.status).toBe(status)
    expect(await response.text()).toBe(words)
    expect(response.headers.get('content-type')).toBe('application/problem+json')
    expect(response.headers.has('set-cookie')).toBe(false)
    expect(response.headers.get('content-length')).not.toBe('999')
    expect(response.headers.get('x-aiload-attempts')).toBe('3')
    expect(app.calls).toHaveLength(3)
    expect(app.requests()).toMatchObject([{ status, upstream: 'a.test' }])
    await app.chat()
    expect(app.hosts()[3]).toBe('a.test')
  },
)

test.each([
  { what: 'a limit', second: refusal(429), calls: 3 },
  { what: 'no connection', second: refusal(503), calls: 3 },
  { what: 'broken work', second: refusal(500), calls: 3 },
])('after a refused body $what is no refusal, and the walk goes on', async ({ second, calls }) => {
  const app = createTestApp(six, stagedBy({ 'a.test': odd, 'b.test': second, 'c.test': chatAnswer('c can') }))
  expect(await (await app.chat()).text()).toContain('c can')
  expect(app.calls).toHaveLength(calls)
})

test.each([refusal(500), refusal(429), refusal(503), refusal(404)])(
  'a refused body ends with its first words, whatever the others said',
  async (second) => {
    const two = configOf(HOSTS.slice(0, 2), { settings })
    const response = await createTestApp(two, stagedBy({ 'a.test': odd, 'b.test': second })).chat()
    expect(response.status).toBe(422)
    expect(await response.text()).toBe(odd.body![0])
  },
)

test('too long ends with a limit where somebody who may take more was limited, else with the first words', async () => {
  const two = configOf(HOSTS.slice(0, 2), { settings })
  const limited = refusal(429, 'x', { 'retry-after': '20' })
  const response = await createTestApp(two, stagedBy({ 'a.test': tooLong, 'b.test': limited })).chat()
  expect(response.status).toBe(429)
  expect(response.headers.get('retry-after')).toBe('20')
  const down = await createTestApp(two, stagedBy({ 'a.test': tooLong, 'b.test': refusal(500) })).chat()
  expect(down.status).toBe(400)
  expect(await down.text()).toBe(tooLong.body![0])
})

test('the same model at another host may have a wider limit', async () => {
  const same = configOf(['a.test', 'b.test'], { settings, models: { model: 'one' } })
  const app = createTestApp(same, stagedBy({ 'a.test': tooLong, 'b.test': chatAnswer() }))
  expect((await app.chat()).status).toBe(200)
  expect(app.hosts()).toEqual(['a.test', 'b.test'])
})

test('after a refused body other models and other hosts come first, tier by tier', async () => {
  const model = (host: string, name: string, priority = 0): object => ({
    base_url: `https://${host}/v1`,
    api_key: `key-${host}-${name}-${priority}`,
    model: name,
    priority,
  })
  const app = createTestApp(
    {
      ...configOf([], { settings }),
      models: [
        model('a.test', 'one'),
        model('a.test', 'two'),
        model('b.test', 'one'),
        model('b.test', 'two'),
        model('c.test', 'three', 1),
      ],
    },
    play(tooLong),
  )
  await app.chat()
  const asked = app.calls.map(({ host, text }) => `${host} ${(JSON.parse(text) as { model: string }).model}`)
  expect(asked).toEqual(['a.test one', 'b.test two', 'a.test two', 'b.test one', 'c.test three'])
})

test('a long first answer is given up when another model answers', async () => {
  const long: Play = { ...tooLong, body: [tooLong.body![0] as string, ' '.repeat(200_000), 1000] }
  const app = createTestApp(six, stagedBy({ 'a.test': long, 'b.test': chatAnswer() }))
  expect((await app.chat()).status).toBe(200)
  expect(app.calls[0]!.exchange.isOver).toBe(true)
})

test('a refusal inside a stream is passed over, and alone it is the stream that it was', async () => {
  const body = [events({ error: { code: 'context_length_exceeded', message: 'x' } })]
  const inStream: Play = { headers: SSE, body }
  const app = createTestApp(
    six,
    stagedBy({ 'a.test': inStream, 'b.test': inStream, 'c.test': chatStream('c') }),
  )
  expect(await (await app.chat({ stream: true })).text()).toContain('"c"')
  const alone = createTestApp(configOf(['a.test'], { settings }), stagedBy({ 'a.test': inStream }))
  const response = await alone.chat({ stream: true })
  expect(response.status).toBe(200)
  expect(response.headers.get('content-type')).toContain('event-stream')
  expect(await response.text()).toBe(body[0])
})

test('a refusal inside a whole 200 comes back under the status that it means', async () => {
  const words = '{"error":{"message":"This model\u2019s maximum context length is 8192 tokens"}}'
  const alone = createTestApp(configOf(['a.test'], { settings }), stagedBy({ 'a.test': { body: [words] } }))
  const response = await alone.chat()
  expect(response.status).toBe(400)
  expect(await response.text()).toBe(words)
})

test.each([
  { status: 424, ends: 424 },
  { status: 409, ends: 409 },
  { status: 418, ends: 418 },
  { status: 407, ends: 502 },
])(
  'a refusal with $status that says nothing of the request ends as $ends with its words',
  async ({ status, ends }) => {
    const two = configOf(HOSTS.slice(0, 2), { settings })
    const first: Play = { status, body: ['{"error":"not here"}'] }
    const response = await createTestApp(
      two,
      stagedBy({ 'a.test': first, 'b.test': { ...first, body: ['{}'] } }),
    ).chat()
    expect(response.status).toBe(ends)
    expect(await response.text()).toBe('{"error":"not here"}')
  },
)

test('a page that refuses is not shown, its status is', async () => {
  const page: Play = {
    status: 400,
    headers: { 'content-type': 'text/html' },
    body: ['<html>nginx at secret.internal'],
  }
  const response = await createTestApp(six, stagedBy({ 'a.test': page })).chat()
  expect(response.status).toBe(502)
  const alone = await createTestApp(configOf(['a.test'], { settings }), stagedBy({ 'a.test': page })).chat()
  expect(alone.status).toBe(400)
  const text = await alone.text()
  expect(text).not.toContain('nginx')
  expect(JSON.parse(text)).toMatchObject({ error: { message: expect.any(String), type: expect.any(String) } })
  expect(alone.headers.get('content-type')).toBe('application/json')
})

test('an answer without content is worth one other, and is handed on as it was when all are empty', async () => {
  const empty = (id: string): Play => ({
    body: [
      JSON.stringify({
        id,
        choices: [{ index: 0, message: { role: 'assistant', content: '' }, finish_reason: 'stop' }],
      }),
    ],
  })
  const app = createTestApp(
    six,
    stagedBy({ 'a.test': empty('1'), 'b.test': empty('2'), 'c.test': chatAnswer() }),
  )
  const response = await app.chat()
  expect(response.status).toBe(200)
  expect(await response.text()).toBe(empty('2').body![0])
  expect(app.attempts().map(({ outcome }) => outcome)).toEqual(['unfit', 'unfit'])
  // The third in a row of one upstream is a failure of it.
  await app.chat()
  await app.chat()
  expect(app.hosts()).toEqual(['a.test', 'b.test', 'a.test', 'b.test', 'a.test', 'b.test'])
  await app.chat()
  expect(app.hosts().slice(6)).toEqual(['c.test'])
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
