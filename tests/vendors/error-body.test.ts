import { describe, expect, test } from 'vitest'
import { errorTextOf, readErrorText } from '../../src/vendors/error-body.ts'

const wallNow = Date.UTC(2026, 6, 7, 12, 0, 20)
const read = (body: string) => readErrorText(new TextEncoder().encode(body), wallNow)

describe('an error body', () => {
  test.each([
    [
      'OpenAI',
      '{"error":{"message":"m","type":"t","param":"p","code":"c"}}',
      { message: 'm', type: 't', code: 'c' },
    ],
    [
      'OpenAI with nulls',
      '{"error":{"message":"m","type":null,"param":null,"code":null}}',
      { message: 'm', type: '', code: '' },
    ],
    [
      'Cerebras',
      '{"message":"m","type":"t","param":"quota","code":"c"}',
      { message: 'm', type: 't', code: 'c' },
    ],
    [
      'Mistral',
      '{"object":"error","message":"m","type":"t","param":null,"code":"3505"}',
      { message: 'm', type: 't', code: '3505' },
    ],
    [
      'vLLM',
      '{"object":"error","message":"m","type":"BadRequestError","code":400}',
      { message: 'm', type: 'BadRequestError', code: '400', status: 400 },
    ],
    [
      'Gemini',
      '[{"error":{"code":429,"message":"m","status":"RESOURCE_EXHAUSTED"}}]',
      { message: 'm', type: 'RESOURCE_EXHAUSTED', code: '429', status: 429 },
    ],
    [
      'Gemini with a reason',
      '[{"error":{"code":400,"message":"m","status":"INVALID_ARGUMENT","details":[{"reason":"API_KEY_INVALID"}]}}]',
      { code: 'API_KEY_INVALID', status: 400 },
    ],
    [
      'Cloudflare',
      '{"success":false,"errors":[{"code":4006,"message":"m"}],"result":null}',
      { message: 'm', code: '4006' },
    ],
    [
      'NVIDIA',
      '{"status":429,"title":"Too Many Requests"}',
      { message: 'Too Many Requests', status: 429, code: '' },
    ],
    [
      'NVIDIA with detail',
      '{"status":400,"title":"Bad Request","detail":"d"}',
      { message: 'd', status: 400 },
    ],
    ['Zhipu', '{"error":{"code":"1302","message":"m"}}', { message: 'm', code: '1302' }],
    ['Azure', '{"error":{"code":"429","message":"m"}}', { message: 'm', code: '429', status: 429 }],
    [
      'Anthropic',
      '{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}',
      { message: 'Overloaded', type: 'overloaded_error' },
    ],
    ['Ollama', '{"error":"m"}', { message: 'm', code: '' }],
    ['xAI', '{"code":"invalid argument","error":"m"}', { message: 'm', code: 'invalid argument' }],
    ['FastAPI', '{"detail":"m"}', { message: 'm' }],
    [
      'FastAPI’s list',
      '{"detail":[{"type":"missing","loc":["body"],"msg":"Field required"}]}',
      { message: 'Field required', type: 'missing' },
    ],
    [
      'Mistral’s list',
      '{"object":"error","message":{"detail":[{"type":"extra_forbidden","msg":"m"}]},"type":"invalid_request_error"}',
      { message: 'm', type: 'invalid_request_error' },
    ],
    [
      'a part of the request',
      '{"error":{"message":"m","param":"messages[0].content"}}',
      { message: 'm', param: 'messages[0].content' },
    ],
    [
      'FastAPI’s way to a part',
      '{"detail":[{"loc":["body","tools",0],"msg":"m"}]}',
      { message: 'm', param: 'body.tools.0' },
    ],
    ['FastAPI’s object', '{"detail":{"error":"m"}}', { message: 'm' }],
    [
      'Tencent',
      '{"Response":{"Error":{"Code":"LimitExceeded","Message":"m"},"RequestId":"r"}}',
      { message: 'm', code: 'LimitExceeded' },
    ],
    [
      'MiniMax',
      '{"choices":null,"base_resp":{"status_code":1008,"status_msg":"m"}}',
      { message: 'm', code: '1008' },
    ],
    ['Spark', '{"header":{"code":10907,"message":"m"}}', { message: 'm', code: '10907' }],
    ['Baidu', '{"error_code":18,"error_msg":"m"}', { message: 'm', code: '18' }],
    ['a choice', '{"choices":[{"error":{"code":502,"message":"m"}}]}', { message: 'm', status: 502 }],
    ['a message alone', '{"message":"m"}', { message: 'm' }],
    [
      'Responses',
      '{"type":"response.failed","response":{"error":{"code":"c","message":"m"}}}',
      { message: 'm', code: 'c' },
    ],
    ['a string', '"m"', { message: 'm', form: 'text' }],
    ['words', 'upstream connect error', { message: 'upstream connect error', form: 'text' }],
    [
      'OpenRouter',
      '{"error":{"message":"m","code":502,"metadata":{"raw":"r","provider_name":"p"}}}',
      { message: 'm\nr', status: 502 },
    ],
    [
      'OpenRouter with an object',
      '{"error":{"message":"m","metadata":{"raw":{"a":1}}}}',
      { message: 'm\n{"a":1}' },
    ],
  ])('of %s tells what it says', (_, body, expected) => {
    expect(read(body)).toMatchObject(expected)
  })

  test.each([
    ['{"error":{"details":[{"@type":"RetryInfo","retryDelay":"38.2s"}]}}', 38_200],
    ['{"error":{"metadata":{"retry_after_seconds":29}}}', 29_000],
    ['{"error":{"message":"m"},"retry_after":12}', 12_000],
    ['{"error":{"metadata":{"headers":{"Retry-After":"17"}}}}', 17_000],
    ['{"error":{"message":"Please try again in 1h5m25.152s."}}', 3_925_152],
    ['{"error":{"message":"Please wait 5631 seconds before retrying."}}', 5_631_000],
    ['{"error":{"message":"resets at 2026-07-07 12:05:20"}}', 300_000],
    ['{"error":{"code":"1310","message":"will reset at 2026-07-07 21:00:20"}}', 3_600_000],
    ['{"retry_after":3,"message":"try again in 9s"}', 9_000],
    ['Please retry after 4 seconds', 4_000],
    ['{"retry_after":-3}', undefined],
    ['{"retry_after":"soon"}', undefined],
    ['{"error":{"message":"no"}}', undefined],
  ])('%s asks for %s ms', (body, retryMs) => {
    expect(read(body).retryMs).toBe(retryMs)
  })

  test('names the quotas that Gemini calls spent', () => {
    const body =
      '{"error":{"details":[{"violations":[{"quotaId":"A","quotaValue":"20"},{"quotaMetric":"b","quotaValue":"x"},7]},null]}}'
    expect(read(body).spent).toEqual([{ id: 'A', limit: 20 }, { id: 'b' }])
  })

  test('quotes headers in lower case', () => {
    const body =
      '{"error":{"metadata":{"headers":{"X-RateLimit-Reset":1741305600000,"X-RateLimit-Limit":"50"}}}}'
    expect(read(body).headers).toEqual({ 'x-ratelimit-reset': '1741305600000', 'x-ratelimit-limit': '50' })
  })

  test.each([
    ['', 'empty'],
    [' \n ', 'empty'],
    ['<!doctype html><title>429</title>', 'html'],
    ['  <html>', 'html'],
    ['[]', 'json'],
    ['{}', 'json'],
    ['[1,[2]]', 'json'],
    ['{"error":{"code":{"toString":1,"valueOf":1}}}', 'json'],
  ])('%j says nothing and is %s', (body, form) => {
    expect(read(body)).toMatchObject({ form, message: '', code: '', type: '' })
  })

  test('that is absent says nothing', () => {
    expect(readErrorText(undefined, wallNow).form).toBe('empty')
    expect(errorTextOf(42, wallNow).message).toBe('')
  })

  test('that is cut still tells its fields', () => {
    const body =
      '[{"error":{"code":429,"message":"Quota \\"x\\" exceeded","status":"RESOURCE_EXHAUSTED","details":[{"violations":[{"quotaId":"PerDay"}]},{"retryDelay":"38s"},{"foo":"ba'
    expect(read(body)).toMatchObject({
      message: 'Quota "x" exceeded',
      code: '429',
      type: 'RESOURCE_EXHAUSTED',
      status: 429,
      retryMs: 38_000,
      spent: [{ id: 'PerDay' }],
    })
  })

  test('that is cut inside a text or an escape keeps the beginning', () => {
    expect(read('{"error":{"message":"Rate limit rea').message).toBe('Rate limit rea')
    expect(read('{"error":{"message":"a\\u00').message).toBe('a\\u00')
  })

  test('is read no further than 64 KiB and remembered no longer than 4,000 characters', () => {
    const long = 'x'.repeat(100_000)
    expect(
      read(`{"error":{"message":"${long}","metadata":{"raw":"${long}"}}}`).message.length,
    ).toBeLessThanOrEqual(4_001)
    expect(read(long).message.length).toBeLessThanOrEqual(2_000)
    expect(read(`{"a":"${long}","code":"c"}`).code).toBe('')
  })
})
