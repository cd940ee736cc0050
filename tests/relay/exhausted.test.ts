import { expect, test } from 'vitest'
import { TransportError, type TransportFailure } from '../../src/transport/transport.ts'
import { events, JSON_TYPE, play, refusal, SSE, stagedBy, type Play } from '../support/played.ts'
import { answer, configOf, createTestApp, jsonAnswer, TOKEN, type FakeUpstream } from '../support/test-app.ts'

const settings = { strategy: 'in_order', queue_timeout: 0, timeout: 10 }
const two = configOf(['a.test', 'b.test'], { settings })
const both = (script: Play) => stagedBy({ 'a.test': script, 'b.test': script })
const broken =
  (failure: TransportFailure): FakeUpstream =>
  () => {
    throw new TransportError(failure, 'connect to https://secret@a.test failed')
  }

async function answerOf(upstream: FakeUpstream, body: object = {}) {
  const app = createTestApp(two, upstream)
  const response = await app.chat(body)
  const text = await response.text()
  const { error } = JSON.parse(text) as { error: Record<string, unknown> }
  expect(Object.keys(error).sort()).toEqual(['code', 'message', 'param', 'type'])
  expect(text).not.toMatch(/key-|secret|a\.test|sk-/)
  expect(app.requests()).toHaveLength(1)
  expect(app.requests()[0]).toMatchObject({ status: response.status, code: error['code'] })
  return { status: response.status, code: error['code'], headers: response.headers, app }
}

test.each([
  { what: 'refused connections', upstream: broken('not-sent'), status: 502, code: 'upstream_unavailable' },
  {
    what: 'no connection in time',
    upstream: broken('connect-timeout'),
    status: 504,
    code: 'upstream_timeout',
  },
  { what: 'no headers in time', upstream: broken('timeout'), status: 504, code: 'upstream_timeout' },
  { what: '401', upstream: both(refusal(401)), status: 502, code: 'upstream_auth_failed' },
  { what: '403', upstream: both(refusal(403)), status: 502, code: 'upstream_auth_failed' },
  { what: '402', upstream: both(refusal(402)), status: 429, code: 'insufficient_quota' },
  {
    what: 'insufficient_quota',
    upstream: both(refusal(429, 'insufficient_quota')),
    status: 429,
    code: 'insufficient_quota',
  },
  {
    what: '404',
    upstream: both(refusal(404, 'model_not_found')),
    status: 502,
    code: 'upstream_model_not_found',
  },
  { what: '408', upstream: both(refusal(408)), status: 502, code: 'upstream_error' },
  { what: '500', upstream: both(refusal(500)), status: 502, code: 'upstream_error' },
  { what: '503', upstream: both(refusal(503)), status: 503, code: 'upstream_overloaded' },
  { what: '529', upstream: both(refusal(529)), status: 503, code: 'upstream_overloaded' },
  {
    what: '503, then 500',
    upstream: stagedBy({ 'a.test': refusal(503), 'b.test': refusal(500) }),
    status: 502,
    code: 'upstream_error',
  },
  {
    what: '500, then 503',
    upstream: stagedBy({ 'a.test': refusal(500), 'b.test': refusal(503) }),
    status: 502,
    code: 'upstream_error',
  },
  {
    what: 'a redirect',
    upstream: both({ status: 302, headers: { location: 'https://secret.test' }, body: [] }),
    status: 502,
    code: 'upstream_bad_response',
  },
  { what: 'an empty 200', upstream: both({ body: [] }), status: 502, code: 'upstream_bad_response' },
  {
    what: 'a page',
    upstream: both({ headers: { 'content-type': 'text/html' }, body: ['<p>secret'] }),
    status: 502,
    code: 'upstream_bad_response',
  },
  {
    what: 'truncated JSON',
    upstream: both({ body: ['{"choices":'] }),
    status: 502,
    code: 'upstream_bad_response',
  },
  {
    what: 'a page under 502',
    upstream: both({ status: 502, headers: { 'content-type': 'text/html' }, body: ['<p>secret'] }),
    status: 502,
    code: 'upstream_error',
  },
  {
    what: '429, then 500',
    upstream: stagedBy({ 'a.test': refusal(429), 'b.test': refusal(500) }),
    status: 429,
    code: 'rate_limit_exceeded',
  },
  {
    what: '500, then 401',
    upstream: stagedBy({ 'a.test': refusal(500), 'b.test': refusal(401) }),
    status: 502,
    code: 'upstream_auth_failed',
  },
  {
    what: 'quota, then a limit',
    upstream: stagedBy({ 'a.test': refusal(402), 'b.test': refusal(429) }),
    status: 429,
    code: 'rate_limit_exceeded',
  },
])('$what: exhausted is $status $code', async ({ upstream, status, code }) => {
  const answer = await answerOf(upstream)
  expect(answer).toMatchObject({ status, code })
  expect(answer.headers.has('location')).toBe(false)
})

test('an error as first event: exhausted is the HTTP error that it is', async () => {
  const stream = both({
    headers: SSE,
    body: [events({ error: { message: 'a worker died', type: 'server_error' } })],
  })
  expect(await answerOf(stream, { stream: true })).toMatchObject({
    status: 502,
    code: 'upstream_error',
  })
})

test('a limit says when the soonest of all reopens', async () => {
  const upstream = stagedBy({
    'a.test': refusal(429, 'x', { 'retry-after': '40' }),
    'b.test': refusal(429, 'x', { 'retry-after': '7.2' }),
  })
  const { headers, app } = await answerOf(upstream)
  expect(headers.get('retry-after')).toBe('8')
  expect(headers.get('retry-after-ms')).toBe('7200')
  expect(headers.has('x-should-retry')).toBe(false)
  await app.clock.advance(6_300)
  const again = await app.chat()
  expect(again.status).toBe(429)
  expect(again.headers.get('retry-after')).toBe('1')
  expect(again.headers.get('retry-after-ms')).toBe('900')
  expect(app.calls).toHaveLength(2)
})

test.each([
  { wholeSeconds: 60, says: null },
  { wholeSeconds: 61, says: 'false' },
])('a wait of $seconds s: x-should-retry is $says', async ({ wholeSeconds, says }) => {
  const { headers } = await answerOf(both(refusal(429, 'x', { 'retry-after': String(wholeSeconds) })))
  expect(headers.get('x-should-retry')).toBe(says)
})

test.each(['0', '-5', 'soon', '99999999999', 'NaN'])(
  'an absurd hint (%s) gives whole seconds of 1 or more',
  async (hint) => {
    const { headers } = await answerOf(both(refusal(429, 'x', { 'retry-after': hint })))
    expect(Number(headers.get('retry-after'))).toBeGreaterThanOrEqual(1)
    expect(Number.isInteger(Number(headers.get('retry-after')))).toBe(true)
    expect(Number(headers.get('retry-after'))).toBeLessThanOrEqual(3_600)
  },
)

test('a cap on attempts tells the rest of the limits that were met', async () => {
  const config = configOf(['a.test', 'b.test'], { settings: { ...settings, max_attempts: 1 } })
  const app = createTestApp(config, both(refusal(429, 'x', { 'retry-after': '9' })))
  const response = await app.chat()
  expect(response.headers.get('retry-after')).toBe('9')
})

test('503 hands on when the soonest wants to be asked again', async () => {
  const { headers } = await answerOf(both(refusal(503, 'x', { 'retry-after': '20' })))
  expect(headers.get('retry-after')).toBe('20')
})

test('a request that is too large for every upstream is told so, now and later', async () => {
  const tooLargeError: Play = {
    status: 413,
    headers: JSON_TYPE,
    body: [
      JSON.stringify({
        error: {
          code: 'rate_limit_exceeded',
          type: 'tokens',
          message:
            'Request too large for model `x` on tokens per minute (TPM): Limit 6000, Requested 9000, please reduce your message size and try again.',
        },
      }),
    ],
  }
  const app = createTestApp(two, both(tooLargeError))
  const prompt = { messages: [{ role: 'user', content: 'word '.repeat(7_200) }] }
  // What was learned orders and never refuses: each is asked again.
  for (const calls of [2, 4]) {
    const response = await app.chat(prompt)
    expect(response.status).toBe(429)
    expect(response.headers.get('x-should-retry')).toBe('false')
    expect(await response.text()).toContain('larger than the token limit')
    expect(app.calls).toHaveLength(calls)
  }
  const small = createTestApp(two, (request, signal, clock) => play(tooLargeError)(request, signal, clock))
  await small.chat(prompt)
  expect((await small.chat({ max_tokens: 5 })).status).toBe(429)
  expect(small.calls).toHaveLength(4)
})

test('a request above a configured limit of tokens is told so without a call', async () => {
  const config = configOf(['a.test'], { settings, models: { limits: { tpm: 1_000 } } })
  const app = createTestApp(config, both(refusal(500)))
  const response = await app.chat({ max_tokens: 5_000 })
  expect(response.status).toBe(429)
  expect(response.headers.get('x-should-retry')).toBe('false')
  expect(app.calls).toHaveLength(0)
})

test.each([501, 405, 404])(
  'a pool that has not got an endpoint says so, also while it rests for it (%d)',
  async (status) => {
    const app = createTestApp(two, both({ status, headers: JSON_TYPE, body: ['{"detail":"Not Found"}'] }))
    const seen = []
    for (let turn = 0; turn < 4; turn++) {
      const response = await app.chat({ query: 'x' }, { path: 'rerank' })
      const { error } = (await response.json()) as { error: { code: string; message: string } }
      expect(error.message).toContain('No upstream of "auto" serves /v1/rerank.')
      seen.push([response.status, error.code])
    }
    expect(app.calls.length).toBeLessThan(8)
    expect(seen).toEqual(seen.map(() => [404, 'unsupported_endpoint']))
  },
)

test('a missing model beside a missing endpoint is the operator’s to mend', async () => {
  const app = createTestApp(
    two,
    stagedBy({
      'a.test': { status: 404, headers: JSON_TYPE, body: ['{"detail":"Not Found"}'] },
      'b.test': refusal(404, 'model_not_found'),
    }),
  )
  for (let turn = 0; turn < 4; turn++) await app.chat()
  const { length } = app.calls
  expect((await app.chat()).status).toBe(502)
  expect(app.calls).toHaveLength(length)
})

test('what a preset has the models of an account share refuses none of them, whatever one was told', async () => {
  const models = ['a:free', 'paid'].map((model) => ({
    vendor: 'openrouter',
    api_key: 'k',
    model,
    name: model,
  }))
  const message = 'Rate limit exceeded: free-models-per-day'
  const upstream: FakeUpstream = ({ text, host }) =>
    text.includes(':free') ? jsonAnswer(429, { error: { message, code: 429 } }) : answer(host)
  const app = createTestApp({ auth_token: TOKEN, models, settings }, upstream)
  expect((await app.chat({ model: 'a:free' })).status).toBe(429)
  expect((await app.chat({ model: 'paid' })).status).toBe(200)
  expect((await app.chat({ model: 'a:free' })).status).toBe(429)
  expect(app.calls).toHaveLength(2)
})
