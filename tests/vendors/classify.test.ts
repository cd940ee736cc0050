import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Failure } from '../../src/pool/outcome.ts'
import type { Endpoint } from '../../src/pool/upstream.ts'
import {
  classifyEvent,
  classifyStatus,
  classifyTransport,
  classifyWhole,
} from '../../src/vendors/classify.ts'
import { judgeEvent } from '../../src/vendors/judge.ts'
import { sampleNow as wallNow, vendorSamples } from '../support/vendor-samples.ts'
import { insideSuccesses, refusals } from '../support/vendor-words.ts'

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)
const answer = (status: number, body: string, headers: Record<string, string> = {}): Failure =>
  classifyStatus({ status, headers, body: bytes(body), wallNow })
const whole = (body: string, endpoint: Endpoint = 'chat', headers: Record<string, string> = {}) =>
  classifyWhole({ status: 200, headers, body: bytes(body), wallNow }, endpoint)
/** The failure that an event of a chat's stream is. */
const event = (data: string, name = '', headers = {}): Failure => {
  const judged = judgeEvent({ event: name, data }, 'chat')
  expect(judged.what).toBe('error')
  return classifyEvent(judged.data, { headers, wallNow })
}

describe('what vendors answer', () => {
  test.each(vendorSamples)('$vendor, $status: $because', (sample) => {
    const { status, headers, body, expected, lesson, readings, told } = sample
    const failure = status === 200 ? whole(body, 'chat', headers) : answer(status, body, headers)
    expect(failure).toMatchObject({ kind: 'failed', status: status === 200 ? 429 : status, ...expected })
    expect(failure?.hintMs).toBe(expected.hintMs)
    expect(failure?.maxTokensPerRequest).toBe(expected.maxTokensPerRequest)
    expect(failure?.lesson).toEqual(lesson)
    expect(failure?.isInferred).toBe(sample.isInferred)
    if (readings !== undefined) expect(failure?.readings).toEqual(readings)
    if (told !== undefined) expect(failure?.told).toEqual(told)
  })

  test.each(refusals)('$vendor says with $status $body: $meaning', ({ status, body, expected, lesson }) => {
    const failure = answer(status, body)
    expect(failure).toMatchObject(expected)
    expect(failure.lesson).toEqual(lesson)
  })

  test.each(insideSuccesses)(
    '$vendor says inside a success $body: $meaning',
    ({ status, body, expected }) => {
      const failure = whole(body)
      expect(failure).toMatchObject(expected)
      expect(event(body)).toEqual(failure)
      // It is what it would have been under the status that it should have had.
      expect(answer(status, body)).toEqual(failure)
    },
  )

  test('every sample is judged the same when its body is cut after 64 KiB of other fields', () => {
    for (const { status, body, expected } of vendorSamples.filter(({ body }) =>
      body.startsWith('{"error":{"'),
    )) {
      if (status === 200) continue
      const padded = `${body.slice(0, -1)},"trace":"${'x'.repeat(70_000)}"}`
      expect(answer(status, padded).class).toBe(expected.class)
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
    [400, 'refused', 'upstream_error', 'a proxy’s page or nothing says nothing of the request'],
    [401, 'refused', 'upstream_auth_failed', 'only this upstream has the bad key'],
    [402, 'refused', 'insufficient_quota', 'somebody has to pay'],
    [403, 'refused', 'upstream_auth_failed', 'the key may not use the model'],
    [404, 'refused', 'unsupported_endpoint', 'the endpoint is not there'],
    [405, 'refused', 'unsupported_endpoint', 'the endpoint is not there'],
    [406, 'refused', 'upstream_error', 'not here'],
    [408, 'refused', 'upstream_error', 'the vendor gave up waiting for the request'],
    [409, 'refused', 'upstream_error', 'not here, or not now'],
    [410, 'refused', 'upstream_model_not_found', 'the model is gone'],
    [413, 'refused', 'upstream_error', 'a proxy’s page or nothing says nothing of the request'],
    [415, 'refused', 'upstream_error', 'a proxy’s page or nothing says nothing of the request'],
    [418, 'refused', 'upstream_error', 'not here, or not now'],
    [422, 'refused', 'upstream_error', 'a proxy’s page or nothing says nothing of the request'],
    [429, 'refused', 'rate_limit_exceeded', 'it says that it did nothing'],
    [451, 'refused', 'upstream_error', 'not here'],
    [499, 'refused', 'upstream_error', 'whoever left, it was not our client'],
    [500, 'ambiguous', 'upstream_error', 'nobody knows how far it came'],
    [501, 'refused', 'unsupported_endpoint', 'the endpoint is not there'],
    [502, 'ambiguous', 'upstream_error', 'something behind it broke'],
    [503, 'refused', 'upstream_overloaded', 'it says that it did nothing'],
    [504, 'ambiguous', 'upstream_error', 'something behind it was slow'],
    [507, 'ambiguous', 'upstream_error', 'an unknown 5xx tells nothing'],
    [521, 'refused', 'upstream_error', 'Cloudflare was refused a connection'],
    [524, 'ambiguous', 'upstream_error', 'the vendor had the request'],
    [529, 'refused', 'upstream_overloaded', 'it says that it did nothing'],
    [600, 'refused', 'upstream_bad_response', 'no such status exists'],
    [999, 'refused', 'upstream_bad_response', 'no such status exists'],
  ])('%i is %s, in the end %s, since %s', (status, kind, code) => {
    for (const body of ['', '<html><h1>429 rate limit, insufficient balance</h1></html>']) {
      const failure = answer(status, body)
      expect(failure).toMatchObject({ kind: 'failed', class: kind, code, status })
      expect(failure.scope === 'none').toBe([400, 413, 415, 422].includes(status))
    }
  })

  test('a refused body needs a word', () => {
    for (const status of [400, 413, 415, 422])
      expect(answer(status, '{"error":{"message":"no"}}')).toMatchObject({
        class: 'refused-body',
        scope: 'none',
      })
  })
})

describe('the words of a client, quoted by a vendor,', () => {
  const quoted = [
    'API key not valid. insufficient balance. model x not found',
    'your account is suspended',
    'rate limit exceeded',
    'too many requests, server overloaded',
    'the model is overloaded, try again later',
    '余额不足',
    '系统繁忙',
    'requests per day limit reached',
  ]
  const frames: ((words: string) => string)[] = [
    (words) => `Invalid value: '${words}'. Supported values are: 'low', 'high'.`,
    (words) => `Invalid value: ${words}`,
    (words) => `ValueError: ${words}`,
    (words) => `Input validation error: ${words}`,
    (words) => `json.TypeError: ${words}`,
    (words) => `'${words}' is not one of ['low', 'high'] - 'effort'`,
    (words) => `"${words}" is not of type 'integer'`,
    (words) => `1 validation error for ChatRequest: effort: Input should be 'low' [input_value='${words}']`,
    (words) => `无效参数 '${words}'`,
    (words) => `Additional properties are not allowed ('${words}' was unexpected)`,
  ]
  test.each([400, 413, 415, 422])('never make an upstream rest with a %i', (status) => {
    for (const words of quoted)
      for (const frame of frames) {
        const message = frame(words)
        const body = JSON.stringify({
          error: { message, type: 'invalid_request_error', param: 'effort', code: null },
        })
        expect(answer(status, body), message).toMatchObject({ scope: 'none', cause: 'failure', readings: [] })
        expect(whole(body), message).toMatchObject({ scope: 'none', cause: 'failure', readings: [] })
      }
  })

  test('lend a refusal no number that is no limit', () => {
    const body =
      '{"error":{"message":"max_tokens is too large: 9999999. This model supports at most 16384 tokens"}}'
    expect(answer(400, body).lesson).toEqual({ about: 'output', limit: 16_384 })
    expect(answer(400, '{"error":{"message":"context length exceeded, limit 7"}}').lesson).toEqual({
      about: 'context',
      limit: undefined,
    })
  })
})

test('limits are learned from the words of a refusal for limits only, since others may quote the client', () => {
  const body = '{"error":{"message":"Invalid value: \'1 requests per minute\'","code":"invalid_value"}}'
  const headers = { 'x-ratelimit-limit-requests': '60', 'x-ratelimit-remaining-requests': '59' }
  const refused = answer(400, body, headers)
  expect(refused.readings).toMatchObject([{ meter: 'x-ratelimit-*-requests', limit: 60 }])
  expect(refused.told).toBeUndefined()
  expect(answer(429, body, headers).told).toEqual([
    { counts: 'requests', limit: 1, scope: 'key', spanMs: 60_000 },
  ])
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
    [{ 'x-ratelimit-limit': '9', 'x-ratelimit-reset': '12' }, 12_000, 'the same beside a limit alone'],
    [{ 'x-ratelimit-remaining': '0', 'x-ratelimit-reset': '12' }, undefined, 'the reset of a meter'],
    [{ 'x-ratelimit-remaining-requests': '0', 'x-ratelimit-reset-requests': '9s' }, undefined, 'a bucket'],
    [
      { 'x-ratelimit-remaining-requests': '0', 'x-ratelimit-reset-requests': '25000' },
      25_000_000,
      'a spent day',
    ],
    [
      { 'x-ratelimit-remaining-requests': '0', 'x-ratelimit-reset-requests': '7h' },
      undefined,
      'a day’s bucket',
    ],
    [
      { 'x-ratelimit-remaining': '0', 'x-ratelimit-reset': '25000', 'retry-after': '7' },
      7_000,
      'what was asked for',
    ],
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

  test('a day that is nearly over is as long as its reset', () => {
    const body = '{"error":{"message":"Daily limit reached"}}'
    const headers = { 'x-ratelimit-remaining': '0', 'x-ratelimit-reset': '900' }
    expect(answer(429, body, headers)).toMatchObject({ cause: 'quota', hintMs: 900_000 })
  })

  test('points in time are read against the clock of the vendor', () => {
    for (const skewMs of [-90_000, 86_400_000]) {
      const at = (ms: number): Date => new Date(wallNow + skewMs + ms)
      const headers = { date: at(0).toUTCString() }
      const hintMsOf = (body: string, more: Record<string, string> = {}) =>
        answer(429, body, { ...headers, ...more }).hintMs
      expect(hintMsOf('', { 'retry-after': at(30_000).toUTCString() })).toBe(30_000)
      expect(hintMsOf('', { 'retry-after': String(at(30_000).getTime() / 1_000) })).toBe(30_000)
      expect(hintMsOf('', { 'x-ratelimit-reset': at(12_000).toISOString() })).toBe(12_000)
      const message = `Your limit will reset at ${at(40_000).toISOString().slice(0, 19)}`
      expect(hintMsOf(JSON.stringify({ error: { message } }))).toBe(40_000)
      const body = bytes(JSON.stringify({ error: { code: 429, message } }))
      const failure = classifyWhole({ status: 200, headers, body, wallNow }, 'chat')
      expect(failure?.hintMs).toBe(40_000)
    }
  })

  test('an end of a day that the vendor did not name is inferred, whatever the verdict', () => {
    const refusal = (code: string) =>
      JSON.stringify({
        error: {
          code,
          message: 'You exceeded your current quota.',
          details: [
            {
              violations: [
                { quotaId: 'GenerateRequestsPerDayPerProjectPerModel-FreeTier', quotaValue: '20' },
              ],
            },
            { retryDelay: '38s' },
          ],
        },
      })
    for (const code of ['429', 'insufficient_quota']) {
      const untilMidnight = { cause: 'quota', hintMs: 68_380_000, isInferred: true }
      expect(answer(429, refusal(code))).toMatchObject(untilMidnight)
    }
    const asked = answer(429, refusal('insufficient_quota'), { 'retry-after': '60' })
    expect(asked).toMatchObject({ cause: 'quota', hintMs: 60_000 })
    expect(asked.isInferred).toBeUndefined()
    const told = { 'x-ratelimit-remaining-tokens-day': '0', 'x-ratelimit-reset-tokens-day': '7200' }
    expect(answer(429, '', told)).toMatchObject({ cause: 'quota', hintMs: 7_200_000 })
    expect(answer(429, '', told).isInferred).toBeUndefined()
  })

  test('a wrong key or an unknown failure rests as long as we say, not as the vendor says', () => {
    for (const status of [401, 404, 500])
      expect(answer(status, '', { 'retry-after': '9' })?.hintMs).toBeUndefined()
  })
})

describe('a 200', () => {
  test.each([
    ['{"id":"x","choices":[{"message":{"content":"hi"}}]}', 'an answer'],
    [
      '{"error":{"message":"partial"},"choices":[{"message":{"content":"hi"}}]}',
      'with content the error is a remark',
    ],
    [' \n{"choices":[{"text":"}\\"{"}]}\n', 'brackets in strings are text'],
    ['\uFEFF{"choices":[{"text":"a"}]}', 'a byte order mark is passed over'],
  ])('%s passes: %s', (body) => {
    expect(whole(body)).toBeUndefined()
  })

  test.each([
    ['', 'upstream_bad_response', 'refused', 'nothing at all'],
    [' \r\n ', 'upstream_bad_response', 'refused', 'nothing but space'],
    ['<!DOCTYPE html><html>', 'upstream_bad_response', 'refused', 'a page'],
    ['OK', 'upstream_bad_response', 'refused', 'no JSON'],
    ['[]', 'upstream_bad_response', 'refused', 'a list'],
    ['null', 'upstream_bad_response', 'refused', 'no object'],
    ['{"choices":[]}{', 'upstream_bad_response', 'refused', 'something behind the end'],
    ['{}', 'upstream_bad_response', 'unfit', 'an object without anything'],
    ['{"error":null}', 'upstream_bad_response', 'unfit', 'an error of null is none'],
    ['{"error":null,"choices":[]}', 'upstream_bad_response', 'unfit', 'an error of null is none'],
    [
      '{"code":0,"message":"success","data":null}',
      'upstream_bad_response',
      'unfit',
      'nothing is wrong, nothing is there',
    ],
    ['{"choices":[{"message":{"content":"hi', 'upstream_bad_response', 'ambiguous', 'cut inside a string'],
    ['{"choices":[{"message":{"content":"hi"}}]', 'upstream_bad_response', 'ambiguous', 'cut before the end'],
    ['{', 'upstream_bad_response', 'ambiguous', 'cut at once'],
  ])('%s ends as %s and is %s: %s', (body, code, kind) => {
    expect(whole(body)).toMatchObject({ class: kind, code, status: 200 })
  })

  test.each([
    ['{"error":"boom"}', 500, 'ambiguous'],
    ['{"error":{"message":"boom"}}', 500, 'ambiguous'],
    ['{"id":1,"error":{"message":"boom","code":500}}', 500, 'ambiguous'],
    ['{"error":{"message":"boom","code":504},"choices":[]}', 504, 'ambiguous'],
    ['{"error":{"message":"boom","type":"invalid_request_error"}}', 400, 'refused-body'],
    ['{"error":{"message":"boom","code":"model_not_found"}}', 404, 'refused'],
    ['{"error":"x","data":[]}', 500, 'ambiguous'],
  ])('with nothing but %s is a %i and %s', (body, status, kind) => {
    expect(whole(body)).toMatchObject({ class: kind, status })
    expect(whole(body, 'embeddings')).toMatchObject({ class: kind, status })
  })

  test('of 8 MiB is judged without being parsed', () => {
    const body = `{"data":[${'0.0123456789,'.repeat(640_000)}0]}`
    const before = performance.now()
    expect(whole(body, 'embeddings')).toBeUndefined()
    expect(performance.now() - before).toBeLessThan(10_000)
  })
})

describe('an error as an event of a stream', () => {
  test.each<[string, string, number, Failure['cause'], string]>([
    ['{"error":{"message":"boom","type":"server_error"}}', '', 500, 'failure', 'OpenAI, SGLang'],
    [
      '{"object":"error","message":"boom","type":"InternalServerError","code":500}',
      '',
      500,
      'failure',
      'vLLM',
    ],
    [
      '{"id":"g","error":{"code":502,"message":"Provider returned error"},"choices":[{"delta":{"content":""},"finish_reason":"error"}]}',
      '',
      502,
      'failure',
      'OpenRouter',
    ],
    [
      '{"id":"g","error":{"code":429,"message":"Rate limited"},"choices":[{"delta":{},"finish_reason":"error"}]}',
      '',
      429,
      'rate-limited',
      'OpenRouter',
    ],
    [
      '{"type":"error","error":{"type":"too_many_requests","code":"rate_limit_exceeded","message":"Your requests have exceeded rate limit.","param":null},"sequence_number":2}',
      'error',
      429,
      'rate-limited',
      'Azure',
    ],
    [
      '{"type":"error","code":"rate_limit_exceeded","message":"x","param":null,"sequence_number":1}',
      '',
      429,
      'rate-limited',
      'OpenAI’s flat form',
    ],
    [
      '{"type":"response.failed","response":{"status":"failed","error":{"code":"rate_limit_exceeded","message":"exceeded"}}}',
      'response.failed',
      429,
      'rate-limited',
      'OpenAI',
    ],
    [
      '{"type":"response.failed","response":{"status":"failed","error":{"code":"server_error","message":"x"}}}',
      '',
      500,
      'failure',
      'OpenAI',
    ],
    [
      '{"type":"response.failed","response":{"status":"failed","error":null}}',
      'response.failed',
      500,
      'failure',
      'Azure, without a word',
    ],
    ['{"error":{"message":"quota","code":"insufficient_quota"}}', '', 402, 'quota', 'OpenAI'],
    [
      '{"error":{"message":"Incorrect API key","code":"invalid_api_key","type":"invalid_request_error"}}',
      '',
      401,
      'auth',
      'OpenAI',
    ],
    ['{"error":{"message":"no","code":"model_not_found"}}', '', 404, 'not-found', 'OpenAI'],
    [
      '{"message":"busy","type":"too_many_requests_error","param":"queue","code":"queue_exceeded"}',
      '',
      429,
      'overloaded',
      'Cerebras',
    ],
    ['[{"error":{"code":503,"message":"overloaded","status":"UNAVAILABLE"}}]', '', 503, 'failure', 'Gemini'],
    [
      '{"success":false,"errors":[{"code":3040,"message":"Capacity"}]}',
      '',
      429,
      'rate-limited',
      'Cloudflare',
    ],
    [
      '{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}',
      'error',
      503,
      'failure',
      'Anthropic',
    ],
    ['{"choices":[{"delta":{"content":""},"finish_reason":"network_error"}]}', '', 500, 'failure', 'Zhipu'],
    ['{"error":"something"}', '', 500, 'failure', 'Ollama'],
    ['upstream died', 'error', 500, 'failure', 'words'],
    ['rate limit exceeded', 'error', 429, 'rate-limited', 'words that say more'],
    ['', 'error', 500, 'failure', 'nothing but its name'],
  ])('%s, event "%s", is a %i and a %s (%s)', (data, name, status, cause) => {
    const isAmbiguous = status === 500 || status === 502
    expect(event(data, name)).toMatchObject({ class: isAmbiguous ? 'ambiguous' : 'refused', cause, status })
  })

  test('that says nothing is a limit where the headers say when to come back', () => {
    const data = '{"type":"response.failed","response":{"status":"failed","error":null}}'
    expect(event(data, 'response.failed', { 'retry-after': '13' })).toMatchObject({
      cause: 'rate-limited',
      hintMs: 13_000,
    })
  })

  test('that is too long for the model makes nothing rest', () => {
    const data = '{"error":{"message":"x","code":"context_length_exceeded"}}'
    expect(event(data)).toMatchObject({
      class: 'too-long',
      scope: 'none',
      status: 400,
      lesson: { about: 'context' },
    })
  })

  test('that names the largest request is kept from resting anything', () => {
    const data =
      '{"type":"error","sequence_number":2,"error":{"type":"tokens","code":"rate_limit_exceeded","message":"Request too large for gpt-4.1 on tokens per min (TPM): Limit 30000, Requested 35364."}}'
    expect(event(data, 'error')).toMatchObject({ scope: 'none', maxTokensPerRequest: 30_000 })
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
      readings: [],
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
    const { hintMs = 1_000, maxTokensPerRequest = 1, cause, readings, told = [] } = failure
    expect(hintMs).toBeGreaterThanOrEqual(1_000)
    expect(hintMs).toBeLessThanOrEqual(cause === 'quota' ? 31 * 86_400_000 : 3_600_000)
    expect(maxTokensPerRequest).toBeGreaterThanOrEqual(1)
    for (const { limit = 1, remaining, resetMs = 1, spanMs = 1 } of readings) {
      expect(limit >= 1 && limit <= 1e12 && remaining >= 0 && remaining <= 1e12).toBe(true)
      expect(resetMs > 0 && resetMs <= 31 * 86_400_000 && spanMs > 0 && spanMs < Infinity).toBe(true)
    }
    for (const { limit, spanMs } of told)
      expect(limit >= 1 && limit <= 1e12 && spanMs > 0 && spanMs <= 3_600_000).toBe(true)
  }

  test('an answer is classified without a throw, a NaN or a deadline beyond its clamp', () => {
    const statuses = fc.oneof(
      fc.integer({ min: 100, max: 999 }),
      fc.constantFrom(200, 400, 403, 404, 413, 429, 503),
    )
    const endpoints = fc.constantFrom<Endpoint>('chat', 'responses', 'embeddings', 'audio')
    fc.assert(
      fc.property(statuses, headers, body, endpoints, (status, headers, body, endpoint) => {
        check(classifyStatus({ status, headers, body, wallNow }))
        check(classifyWhole({ status: 200, headers, body, wallNow }, endpoint))
      }),
      { numRuns: 3_000 },
    )
  })

  test('and so is an event of a stream', () => {
    fc.assert(
      fc.property(
        fc.constantFrom('', 'error', 'response.failed', 'x'),
        headers,
        fc.oneof(
          tree.map((v) => JSON.stringify(v) ?? ''),
          fc.string(),
        ),
        (event, headers, data) => {
          const judged = judgeEvent({ event, data }, 'chat')
          check(classifyEvent(judged.data, { headers, wallNow }))
        },
      ),
      { numRuns: 3_000 },
    )
  })

  test('a body built to be slow costs no time', () => {
    const phrases = [
      'model ',
      'account ',
      'tokens exceed ',
      'max_tokens ',
      'input ',
      'context length ',
      '超过',
      'error: ',
    ]
    const bodies = [
      '['.repeat(65_000),
      '{"message":"'.repeat(6_000),
      ...phrases.map((phrase) => `{"error":{"message":"${phrase.repeat(10_000)}"}}`),
      `{"error":{"message":"${'1'.repeat(60_000)}"}}`,
      `{"error":{"message":"max ${' '.repeat(60_000)}"}}`,
      `{"message":"${'\\'.repeat(60_000)}`,
      'trial key '.repeat(6_000),
      `{"quotaId"${' '.repeat(60_000)}`,
    ]
    const before = performance.now()
    for (const text of bodies) for (const status of [400, 403, 404, 413, 429, 500]) answer(status, text)
    for (const text of bodies) whole(text)
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
  expect(answer(400, JSON.stringify({ error: { message } }))?.reason).toBeUndefined()
})
