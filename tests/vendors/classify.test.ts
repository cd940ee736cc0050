import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { classifyAnswer, classifyStreamError, classifyTransport } from '../../src/vendors/classify.ts'
import type { Failure } from '../../src/pool/outcome.ts'
import { sampleNow as wallNow, vendorSamples } from '../support/vendor-samples.ts'

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)
const json = { 'content-type': 'application/json' }
const answer = (status: number, body: string, headers: Record<string, string> = {}): Failure | undefined =>
  classifyAnswer({ status, headers, body: bytes(body), wallNow })
const firstEvent = (data: string, event = '', headers = {}): Failure | undefined =>
  classifyStreamError({ event, data }, headers, wallNow)

describe('what vendors answer', () => {
  test.each(vendorSamples)('$vendor, $status: $because', ({ status, headers, body, expected, signals }) => {
    const failure = answer(status, body, headers)
    expect(failure).toMatchObject({ kind: 'failed', status, ...expected })
    expect(failure?.hintMs).toBe(expected.hintMs)
    expect(failure?.maxTokensPerRequest).toBe(expected.maxTokensPerRequest)
    if (signals !== undefined) expect(failure?.signals).toEqual(signals)
  })

  test('every sample is judged the same when its body is cut after 64 KiB of other fields', () => {
    for (const { status, body, expected } of vendorSamples.filter(({ body }) =>
      body.startsWith('{"error":{"'),
    )) {
      const padded = `${body.slice(0, -1)},"trace":"${'x'.repeat(70_000)}"}`
      expect(answer(status, padded, json)?.class).toBe(expected.class)
    }
  })
})

describe('status codes without a word', () => {
  test.each<[number, Failure['class'], Failure['code'], string]>([
    [100, 'refused', 'upstream_bad_response', 'an informational status is no answer'],
    [204, 'refused', 'upstream_bad_response', 'there is nothing to pass on'],
    [205, 'refused', 'upstream_bad_response', 'there is nothing to pass on'],
    [301, 'refused', 'upstream_bad_response', 'redirects are never followed'],
    [304, 'refused', 'upstream_bad_response', 'nobody asked conditionally'],
    [307, 'refused', 'upstream_bad_response', 'redirects are never followed'],
    [400, 'client', 'upstream_error', 'the request is at fault'],
    [401, 'refused', 'upstream_auth_failed', 'only this upstream has the bad key'],
    [402, 'refused', 'insufficient_quota', 'somebody has to pay'],
    [403, 'refused', 'upstream_auth_failed', 'the key may not use the model'],
    [404, 'refused', 'upstream_model_not_found', 'the endpoint or the model is not there'],
    [405, 'refused', 'upstream_model_not_found', 'the endpoint is not there'],
    [408, 'refused', 'upstream_error', 'the vendor gave up waiting for the request'],
    [409, 'client', 'upstream_error', 'the request is at fault'],
    [410, 'refused', 'upstream_model_not_found', 'the model is gone'],
    [413, 'client', 'upstream_error', 'the request is too large everywhere'],
    [415, 'client', 'upstream_error', 'the request is at fault'],
    [418, 'client', 'upstream_error', 'an unknown 4xx speaks of the request'],
    [422, 'client', 'upstream_error', 'the request is at fault'],
    [429, 'refused', 'rate_limit_exceeded', 'it says that it did nothing'],
    [451, 'client', 'upstream_error', 'an unknown 4xx speaks of the request'],
    [500, 'ambiguous', 'upstream_error', 'nobody knows how far it came'],
    [501, 'ambiguous', 'upstream_error', 'an unknown 5xx tells nothing'],
    [502, 'ambiguous', 'upstream_error', 'something behind it broke'],
    [503, 'refused', 'upstream_overloaded', 'it says that it did nothing'],
    [504, 'ambiguous', 'upstream_error', 'something behind it was slow'],
    [521, 'refused', 'upstream_error', 'Cloudflare was refused a connection'],
    [524, 'ambiguous', 'upstream_error', 'the vendor had the request'],
    [529, 'refused', 'upstream_overloaded', 'it says that it did nothing'],
    [600, 'refused', 'upstream_bad_response', 'no such status exists'],
    [999, 'refused', 'upstream_bad_response', 'no such status exists'],
  ])('%i is %s, in the end %s, since %s', (status, kind, code) => {
    for (const body of ['', '<html><h1>429 rate limit, insufficient balance</h1></html>']) {
      const failure = answer(status, body)
      expect(failure).toMatchObject({ kind: 'failed', class: kind, code, status })
      expect(failure?.scope === 'none').toBe(kind === 'client')
    }
  })
})

test('limits are learned from the words of a refusal for limits only, since others may quote the client', () => {
  const body = '{"error":{"message":"Invalid value: \'1 requests per day\'","code":"invalid_value"}}'
  const headers = { 'x-ratelimit-limit-requests': '60', 'x-ratelimit-remaining-requests': '59' }
  expect(answer(400, body, headers)?.signals).toMatchObject([{ window: 'minute', limit: 60 }])
  expect(answer(429, body, headers)?.signals).toMatchObject([{ limit: 60 }, { window: 'day', limit: 1 }])
})

describe('how long to stay away', () => {
  const date = new Date(wallNow + 90_000).toUTCString()
  test.each<[Record<string, string>, number | undefined, string]>([
    [{ 'retry-after': '7' }, 7_000, 'seconds'],
    [{ 'retry-after': date }, 90_000, 'a date'],
    [{ 'retry-after-ms': '1500' }, 1_500, 'milliseconds'],
    [{ 'retry-after': String(wallNow / 1_000 + 30) }, 30_000, 'epoch seconds'],
    [{ 'retry-after': '1m30s' }, 90_000, 'a duration'],
    [{ 'x-ratelimit-reset': String(wallNow + 12_000) }, 12_000, 'the reset of nothing in particular'],
    [{ 'x-ratelimit-remaining-requests': '0', 'x-ratelimit-reset-requests': '9s' }, 9_000, 'a spent window'],
    [{ 'retry-after': '0' }, 1_000, 'less than a second'],
    [{ 'retry-after': '500000000' }, 3_600_000, 'absurdly long'],
    [{ 'retry-after': '-5' }, undefined, 'negative'],
    [{ 'retry-after': 'soon' }, undefined, 'junk'],
    [{}, undefined, 'absent'],
  ])('429 with %j asks for %s ms (%s)', (headers, hintMs) => {
    expect(answer(429, '', headers)?.hintMs).toBe(hintMs)
  })

  test('the longer of header and body counts, since a hint is never shortened', () => {
    const body = '{"error":{"message":"Please try again in 20s","code":"rate_limit_exceeded"}}'
    expect(answer(429, body, { 'retry-after': '5' })?.hintMs).toBe(20_000)
    expect(answer(429, body, { 'retry-after': '30' })?.hintMs).toBe(30_000)
  })

  test('a day may last to its reset, but never beyond 31 days', () => {
    const body = '{"error":{"message":"Daily limit reached"}}'
    expect(answer(429, body, { 'retry-after': '72000' })?.hintMs).toBe(72_000_000)
    expect(answer(429, body, { 'retry-after': '99999999' })?.hintMs).toBe(31 * 86_400_000)
  })

  test('a wrong key or an unknown failure rests as long as we say, not as the vendor says', () => {
    for (const status of [401, 404, 500])
      expect(answer(status, '', { 'retry-after': '9' })?.hintMs).toBeUndefined()
  })
})

describe('a 200', () => {
  test.each([
    ['{"id":"x","choices":[{"message":{"content":"hi"}}]}', 'an answer'],
    ['{"error":null,"choices":[]}', 'an error of null is none'],
    ['{"error":null}', 'an error of null is none, also alone'],
    ['{"error":{"message":"partial"},"choices":[]}', 'with content the error is a remark'],
    ['{"error":"x","output":[]}', 'with content the error is a remark'],
    ['{"error":"x","data":[]}', 'with content the error is a remark'],
    ['{"error":"x","text":""}', 'with content the error is a remark'],
    ['{"error":"x","results":[]}', 'with content the error is a remark'],
    [' \n{"a":"}\\"{"}\n', 'brackets in strings are text'],
    ['\uFEFF{"choices":[]}', 'a byte order mark is passed over'],
    ['data: {"choices":[]}\n\n', 'a stream under the wrong type is the peek’s to judge'],
  ])('%s passes: %s', (body) => {
    expect(answer(200, body, json)).toBeUndefined()
    expect(answer(200, body)).toBeUndefined()
  })

  test.each([
    ['', 'refused', 'nothing at all'],
    [' \r\n ', 'refused', 'nothing but space'],
    ['<!DOCTYPE html><html>', 'refused', 'a page'],
    ['OK', 'refused', 'no JSON'],
    ['[]', 'refused', 'a list'],
    ['null', 'refused', 'no object'],
    ['{"choices":[]}{', 'refused', 'something behind the end'],
    ['{"error":"boom"}', 'refused', 'an error only'],
    ['{"error":{"message":"boom"}}', 'refused', 'an error only'],
    ['{"id":1,"error":{"message":"boom","code":500}}', 'refused', 'what was ambiguous did not begin'],
    ['{"object":"error","message":"boom"}', 'refused', 'vLLM’s form'],
    ['{"error":{"message":"boom","type":"invalid_request_error"}}', 'refused', 'it came as a success'],
    ['{"choices":[{"message":{"content":"hi', 'ambiguous', 'cut inside a string'],
    ['{"choices":[{"message":{"content":"hi"}}]', 'ambiguous', 'cut before the end'],
    ['{', 'ambiguous', 'cut at once'],
  ])('%s is %s: %s', (body, kind) => {
    for (const headers of [json, { 'content-type': 'application/json; charset=utf-8' }, {}]) {
      expect(answer(200, body, headers)).toMatchObject({
        class: kind,
        code: 'upstream_bad_response',
        status: 200,
      })
    }
  })

  test('of HTML is bad before its body is there', () => {
    const failure = classifyAnswer({
      status: 200,
      headers: { 'content-type': 'text/HTML' },
      body: undefined,
      wallNow,
    })
    expect(failure).toMatchObject({ class: 'refused', cause: 'failure', code: 'upstream_bad_response' })
  })

  test.each(['audio/mpeg', 'image/png', 'text/plain', 'text/event-stream', 'application/octet-stream'])(
    'of %s needs content and nothing else',
    (type) => {
      const headers = { 'content-type': type }
      expect(classifyAnswer({ status: 200, headers, body: undefined, wallNow })).toBeUndefined()
      expect(answer(200, 'ID3', headers)).toBeUndefined()
      expect(answer(200, '', headers)).toMatchObject({ code: 'upstream_bad_response' })
    },
  )

  test('with the client’s fault inside goes on, and nobody rests', () => {
    const failure = answer(200, '{"error":{"message":"bad","type":"invalid_request_error"}}', json)
    expect(failure).toMatchObject({ class: 'refused', scope: 'none' })
  })

  test('of 8 MiB is judged without being parsed', () => {
    const numbers = `{"data":[${'0.0123456789,'.repeat(640_000)}0]}`
    const body = bytes(numbers)
    const before = performance.now()
    expect(classifyAnswer({ status: 200, headers: json, body, wallNow })).toBeUndefined()
    expect(performance.now() - before).toBeLessThan(10_000)
  })
})

describe('the first event of a stream', () => {
  test.each([
    ['{"choices":[{"delta":{"role":"assistant"}}]}', '', 'content'],
    ['{"choices":[],"prompt_filter_results":[]}', '', 'Azure’s remark in front'],
    ['{"error":null,"choices":[]}', '', 'an error of null is none'],
    ['{"type":"response.created","response":{"id":"r","error":null}}', 'response.created', 'a beginning'],
    ['{"type":"response.output_text.delta","delta":"a"}', 'response.output_text.delta', 'content'],
    ['hello', '', 'no JSON, but an event'],
  ])('%s is real: %s', (data, event) => {
    expect(firstEvent(data, event)).toBeUndefined()
  })

  test.each<[string, string, Failure['cause'], string]>([
    ['{"error":{"message":"boom","type":"server_error"}}', '', 'failure', 'OpenAI, SGLang'],
    ['{"object":"error","message":"boom","type":"InternalServerError","code":500}', '', 'failure', 'vLLM'],
    [
      '{"id":"g","error":{"code":502,"message":"Provider returned error"},"choices":[{"delta":{"content":""},"finish_reason":"error"}]}',
      '',
      'failure',
      'OpenRouter',
    ],
    [
      '{"id":"g","error":{"code":429,"message":"Rate limited"},"choices":[{"delta":{},"finish_reason":"error"}]}',
      '',
      'rate-limited',
      'OpenRouter',
    ],
    [
      '{"type":"error","error":{"type":"too_many_requests","code":"rate_limit_exceeded","message":"Your requests have exceeded rate limit.","param":null},"sequence_number":2}',
      'error',
      'rate-limited',
      'Azure',
    ],
    [
      '{"type":"error","code":"rate_limit_exceeded","message":"x","param":null,"sequence_number":1}',
      '',
      'rate-limited',
      'OpenAI’s flat form',
    ],
    [
      '{"type":"response.failed","response":{"status":"failed","error":{"code":"rate_limit_exceeded","message":"exceeded"}}}',
      'response.failed',
      'rate-limited',
      'OpenAI',
    ],
    [
      '{"type":"response.failed","response":{"status":"failed","error":{"code":"server_error","message":"x"}}}',
      '',
      'failure',
      'OpenAI',
    ],
    [
      '{"type":"response.failed","response":{"status":"failed","error":null}}',
      'response.failed',
      'failure',
      'Azure, without a word',
    ],
    ['{"error":{"message":"quota","code":"insufficient_quota"}}', '', 'quota', 'OpenAI'],
    [
      '{"error":{"message":"Incorrect API key","code":"invalid_api_key","type":"invalid_request_error"}}',
      '',
      'auth',
      'OpenAI',
    ],
    ['{"error":{"message":"no","code":"model_not_found"}}', '', 'not-found', 'OpenAI'],
    [
      '{"message":"busy","type":"too_many_requests_error","param":"queue","code":"queue_exceeded"}',
      '',
      'overloaded',
      'Cerebras',
    ],
    ['[{"error":{"code":503,"message":"overloaded","status":"UNAVAILABLE"}}]', '', 'failure', 'Gemini'],
    ['{"success":false,"errors":[{"code":3040,"message":"Capacity"}]}', '', 'rate-limited', 'Cloudflare'],
    ['{"error":"something"}', '', 'failure', 'Ollama'],
    ['upstream died', 'error', 'failure', 'words'],
    ['', 'error', 'failure', 'nothing but its name'],
    ['[DONE]', '', 'failure', 'the end before any content'],
  ])('%s, event "%s", is a %s (%s)', (data, event, cause) => {
    expect(firstEvent(data, event)).toMatchObject({ class: 'refused', cause, status: 200 })
  })

  test('that says nothing is a limit where the headers say when to come back', () => {
    const data = '{"type":"response.failed","response":{"status":"failed","error":null}}'
    expect(firstEvent(data, 'response.failed', { 'retry-after': '13' })).toMatchObject({
      cause: 'rate-limited',
      hintMs: 13_000,
    })
  })

  test('that is too long for the model is worth one other model', () => {
    const data = '{"error":{"message":"x","code":"context_length_exceeded"}}'
    expect(firstEvent(data)).toMatchObject({ class: 'other-model', scope: 'none' })
  })

  test('that names the largest request is kept from resting anything', () => {
    const data =
      '{"type":"error","sequence_number":2,"error":{"type":"tokens","code":"rate_limit_exceeded","message":"Request too large for gpt-4.1 on tokens per min (TPM): Limit 30000, Requested 35364."}}'
    expect(firstEvent(data, 'error')).toMatchObject({ scope: 'none', maxTokensPerRequest: 30_000 })
  })
})

describe('below HTTP', () => {
  test.each([
    ['not-sent', 'not-sent', 'upstream_unavailable'],
    ['connect-timeout', 'not-sent', 'upstream_timeout'],
    ['timeout', 'ambiguous', 'upstream_timeout'],
    ['broken', 'ambiguous', 'upstream_unavailable'],
    ['undecodable', 'ambiguous', 'upstream_bad_response'],
  ] as const)('%s is %s, in the end %s', (trouble, kind, code) => {
    expect(classifyTransport(trouble)).toEqual({
      kind: 'failed',
      class: kind,
      scope: 'upstream',
      cause: 'failure',
      code,
      signals: [],
    })
  })
})

describe('whatever comes', () => {
  const words = fc.constantFrom(
    'error',
    'message',
    'code',
    'type',
    'status',
    'details',
    'metadata',
    'headers',
    'raw',
    'retry_after',
    'violations',
    'quotaId',
    'quotaValue',
    'retryDelay',
    'detail',
    'errors',
    'response',
    'choices',
    'finish_reason',
    'success',
    'object',
  )
  const leaf = fc.oneof(
    fc.string(),
    fc.double(),
    fc.integer(),
    fc.constant(null),
    fc.boolean(),
    fc.constantFrom(
      '429',
      'PerDay',
      '1e9s',
      '99999h',
      'error',
      'Limit 1, Requested 9e99',
      'try again in 9999999999999s',
      'Rate limit of 9 per 99999999999s exceeded for UserByDay',
      '2026-02-31 99:99',
      'reset at 9999-12-31 23:59',
    ),
  )
  const { tree } = fc.letrec((tie) => ({
    tree: fc.oneof(
      { maxDepth: 4 },
      leaf,
      fc.array(tie('tree'), { maxLength: 4 }),
      fc.dictionary(fc.oneof(words, fc.string()), tie('tree'), { maxKeys: 5 }),
    ),
  }))
  const headerNames = fc.oneof(
    fc.string(),
    fc.constantFrom(
      'content-type',
      'retry-after',
      'retry-after-ms',
      'x-ratelimit-type',
      'x-ratelimit-reset',
      'x-ratelimit-timeremaining',
      'x-ratelimit-limit-requests',
      'x-ratelimit-remaining-requests',
      'x-ratelimit-reset-requests',
      'x-ratelimit-limit-req-minute',
    ),
  )
  const headerValues = fc.oneof(
    fc.string(),
    fc.integer().map(String),
    fc.double().map(String),
    fc.constantFrom('0', '-1', '1h5m', '9999999999999h', 'Infinity', 'UserByModelByDay'),
  )
  const headers = fc.dictionary(headerNames, headerValues, { maxKeys: 8 })
  const body = fc.oneof(
    tree.map((value) => bytes(JSON.stringify(value) ?? '')),
    fc.tuple(tree, fc.nat(300)).map(([value, end]) => bytes((JSON.stringify(value) ?? '').slice(0, end))),
    fc.uint8Array({ maxLength: 300 }),
    fc.string({ unit: 'binary', maxLength: 300 }).map(bytes),
  )
  const check = (failure: Failure | undefined): void => {
    if (failure === undefined) return
    const { hintMs = 1_000, maxTokensPerRequest = 1, cause, signals } = failure
    expect(hintMs).toBeGreaterThanOrEqual(1_000)
    expect(hintMs).toBeLessThanOrEqual(cause === 'quota' ? 31 * 86_400_000 : 3_600_000)
    expect(maxTokensPerRequest).toBeGreaterThanOrEqual(1)
    for (const { limit = 1, remaining = 0, resetMs = 0 } of signals) {
      expect(limit).toBeGreaterThanOrEqual(1)
      expect(remaining).toBeGreaterThanOrEqual(0)
      expect(resetMs >= 0 && resetMs <= 31 * 86_400_000).toBe(true)
      expect(Number.isFinite(limit) && Number.isFinite(remaining)).toBe(true)
    }
  }

  test('an answer is classified without a throw, a NaN or a deadline beyond its clamp', () => {
    const statuses = fc.oneof(
      fc.integer({ min: 100, max: 999 }),
      fc.constantFrom(200, 400, 403, 404, 413, 429, 503),
    )
    fc.assert(
      fc.property(statuses, headers, body, (status, headers, body) => {
        check(classifyAnswer({ status, headers, body, wallNow }))
      }),
      { numRuns: 3_000 },
    )
  })

  test('and so is the first event of a stream', () => {
    fc.assert(
      fc.property(
        fc.constantFrom('', 'error', 'response.failed', 'x'),
        headers,
        fc.oneof(
          tree.map((v) => JSON.stringify(v) ?? ''),
          fc.string(),
        ),
        (event, headers, data) => {
          check(classifyStreamError({ event, data }, headers, wallNow))
        },
      ),
      { numRuns: 3_000 },
    )
  })

  test('a body built to be slow costs no time', () => {
    const bodies = [
      '['.repeat(65_000),
      '{"message":"'.repeat(6_000),
      `{"error":{"message":"${'model '.repeat(10_000)}"}}`,
      `{"message":"${'\\'.repeat(60_000)}`,
      'trial key '.repeat(6_000),
      `{"quotaId"${' '.repeat(60_000)}`,
    ]
    const before = performance.now()
    for (const text of bodies) for (const status of [400, 404, 413, 429, 200]) answer(status, text)
    expect(performance.now() - before).toBeLessThan(20_000)
  })
})

test.each([
  'Client sent an HTTP request to an HTTPS server.\n',
  '<html>\r\n<head><title>400 The plain HTTP request was sent to HTTPS port</title></head>',
  "<!DOCTYPE HTML><html><p>Reason: You're speaking plain HTTP to an SSL-enabled server port.<br />",
])('a server that was asked without TLS is out of reach, and no judge of the request: %s', (page) => {
  expect(answer(400, page)).toMatchObject({
    class: 'not-sent',
    cause: 'failure',
    code: 'upstream_unavailable',
    reason: 'speaks TLS',
  })
})

test('words about TLS that an upstream quotes are a refusal like any other', () => {
  const message =
    'you said: Client sent an HTTP request to an HTTPS server. The plain HTTP request was sent to HTTPS port'
  expect(answer(400, JSON.stringify({ error: { message } }), json)?.reason).toBeUndefined()
})
