import { describe, expect, test } from 'vitest'
import type { Failure } from '../../src/pool/outcome.ts'
import { classifyStatus, classifyWhole } from '../../src/vendors/classify.ts'

const wallNow = Date.UTC(2026, 6, 7, 12, 0, 20)
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)
const answer = (status: number, body: unknown): Failure =>
  classifyStatus({
    status,
    headers: {},
    body: bytes(typeof body === 'string' ? body : JSON.stringify(body)),
    wallNow,
  })
const said = (message: string, code: string | null = null, type = 'invalid_request_error') => ({
  error: { message, type, param: null, code },
})
const restsNobody = { scope: 'none', cause: 'failure' }

describe('a code is read word by word:', () => {
  test.for([
    'credits_exhausted',
    'no_credits',
    'out-of-credits',
    'credit_limit_reached',
    'quota_not_enough',
    'over_quota',
    'wallet.empty',
    'PlanLimitReached',
    'trial_expired',
    'SubscriptionExpired',
    'LowBalance',
    'freeTrialEnded',
    'payment_failed',
  ])('%s is of the account', (code) => {
    for (const status of [400, 403, 422, 424])
      expect(answer(status, said('x', code))).toMatchObject({ scope: 'key', code: 'insufficient_quota' })
    expect(answer(400, said('x', null, code))).toMatchObject({ code: 'insufficient_quota' })
  })

  test.for([
    'RESOURCE_EXHAUSTED',
    'RequestBurstTooFast',
    'hourly_limit',
    'requestsThrottled',
    'request-limit',
    'daily_limit_hit',
  ])('%s is of the rate', (code) => {
    for (const status of [400, 403, 422])
      expect(answer(status, said('x', code))).toMatchObject({
        class: 'refused',
        cause: 'rate-limited',
        code: 'rate_limit_exceeded',
      })
  })

  test.for([
    'InternalServerException',
    'ModelNotReadyException',
    'do_request_failed',
    'NoAvailableWorker',
    'gpu_oom',
    'model_warming_up',
  ])('%s is of the vendor', (code) => {
    expect(answer(400, said('x', code, code))).toMatchObject({
      class: 'refused',
      code: 'upstream_overloaded',
    })
  })

  test.for([
    'invalid_request_error',
    'invalid_parameter',
    'string_above_max_length',
    'array_above_max_length',
    'unsupported_value',
    'image_parse_error',
    'too_many_images',
    'invalid_plan_format',
    'credit_card_detected',
    'tool_limit',
    'empty_prompt',
  ])('%s is of the request', (code) => {
    expect(answer(400, said('x', code))).toMatchObject({ class: 'refused-body', ...restsNobody })
  })

  test('credit that is gone is no rate, under a 429 and inside a success', () => {
    expect(answer(429, said('x', 'credits_exhausted'))).toMatchObject({ code: 'insufficient_quota' })
    const message = 'Your prepayment credits are depleted. Please go to AI Studio'
    expect(answer(429, said(message, 'RESOURCE_EXHAUSTED'))).toMatchObject({ code: 'insufficient_quota' })
    const body = bytes(JSON.stringify(said('x', 'credits_exhausted')))
    expect(classifyWhole({ status: 200, headers: {}, body, wallNow }, 'chat')).toMatchObject({ status: 402 })
  })
})

describe('what is wrapped is read:', () => {
  const arrears = said('Access denied', 'Arrearage', 'Arrearage')
  const wrapped = (message: string) => ({ error: { message, type: 'None', param: 'None', code: '400' } })

  test.for<readonly [string, unknown]>([
    ['JSON', wrapped(JSON.stringify(arrears))],
    ['JSON in JSON', wrapped(JSON.stringify(wrapped(JSON.stringify(arrears))))],
    [
      'JSON behind the name of an error',
      wrapped(`litellm.BadRequestError: VertexAIException - ${JSON.stringify(arrears)}`),
    ],
    [
      'JSON behind a code, and words behind it',
      wrapped(`Error code: 400 - ${JSON.stringify(arrears)}. Retry`),
    ],
    [
      'a dictionary of Python',
      {
        detail:
          "Error code: 402 - {'error': {'message': 'Access denied', 'param': None, 'code': 'Arrearage'}}",
      },
    ],
    ['events', `event: error\ndata: ${JSON.stringify(arrears)}\n\ndata: [DONE]\n\n`],
    ['plain text', `Error code: 400 - ${JSON.stringify(arrears)}`],
  ])('in %s', ([, body]) => {
    expect(answer(400, body)).toMatchObject({ code: 'insufficient_quota', words: 'Access denied' })
  })

  test('a wait in it counts', () => {
    const inner = { error: { code: 429, details: [{ '@type': 'x/RetryInfo', retryDelay: '38s' }] } }
    expect(answer(429, wrapped(JSON.stringify(inner))).hintMs).toBe(38_000)
    const events = `data: ${JSON.stringify(said('Please try again in 25s.'))}\n\n`
    expect(answer(429, events).hintMs).toBe(25_000)
  })

  test.for([
    `Invalid value: ${JSON.stringify(arrears)}`,
    `ValueError: ${JSON.stringify(arrears)}`,
    `Unexpected content '${JSON.stringify(arrears)}'`,
  ])('but not what a vendor quotes: %s', (message) => {
    expect(answer(400, said(message))).toMatchObject(restsNobody)
  })

  test('depth and size are bounded', () => {
    let message = 'x'
    for (let depth = 0; depth < 12; depth++) message = JSON.stringify({ message })
    expect(answer(400, message).class).toBe('refused-body')
    expect(answer(400, wrapped('{"message":'.repeat(6_000))).class).toBe('refused-body')
    expect(answer(400, `data: ${'{"a":'.repeat(12_000)}`).class).toBe('refused-body')
  })
})

describe('what gateways put in front of an error’s words is passed over:', () => {
  const leads = [
    'Error code: 400 - ',
    '400 status code: ',
    '[req-123] ',
    '[sk-3ZO***OJY] ',
    'An error occurred (ValidationException) when calling the InvokeModel operation: ',
    'litellm.BadRequestError: OpenAIException - ',
    'VertexAIException BadRequestError - ',
    'upstream error: ',
  ]
  test.for(leads)('%s', (lead) => {
    expect(answer(400, said(`${lead}Insufficient account balance`)).code).toBe('insufficient_quota')
    expect(answer(400, said(`${lead}Rate limit exceeded`)).code).toBe('rate_limit_exceeded')
    expect(answer(400, said(`${lead}Model is overloaded`)).code).toBe('upstream_overloaded')
    expect(answer(400, said(`${lead}Invalid value: 'insufficient balance'`))).toMatchObject(restsNobody)
  })
})

describe('words with which a message begins:', () => {
  test.for<readonly [string, Failure['code']]>([
    ['您的账户余额已用完', 'insufficient_quota'],
    ['[sk-x] 该令牌额度已用尽 !token.UnlimitedQuota', 'insufficient_quota'],
    ['免费额度已用完', 'insufficient_quota'],
    ['Your prepaid credits are depleted', 'insufficient_quota'],
    [
      'You have reached your specified API usage limits. You will regain access on 2026-08-01.',
      'insufficient_quota',
    ],
    ['Maximum number of concurrent requests exceeded', 'rate_limit_exceeded'],
    ['当前模型负载已经达到上限，请稍后重试', 'upstream_overloaded'],
    ['upstream error: do request failed', 'upstream_overloaded'],
    ['CUDA out of memory. Tried to allocate 2 GiB', 'upstream_overloaded'],
    ['The service is under maintenance', 'upstream_overloaded'],
  ])('%s: %s', ([message, code]) => {
    expect(answer(400, said(message))).toMatchObject({ class: 'refused', code })
    expect(answer(400, said(`Invalid value: '${message}'`))).toMatchObject(restsNobody)
  })

  test('a type that some give to every refusal says nothing of the request, and rests nobody', () => {
    expect(answer(400, said('x', null, 'api_error'))).toMatchObject({ class: 'refused', ...restsNobody })
  })
})

describe('too long, in any words:', () => {
  test.for([
    'the max length of input question is 20000',
    'total message size 12345678 exceeds limit 2097152',
    'CONTENT_LENGTH_EXCEEDS_THRESHOLD',
    'max_total_tokens exceeded',
    '入力トークン数が最大コンテキスト長を超えています',
    'コンテキスト長を超えました',
    '입력 토큰 수가 최대 컨텍스트 길이를 초과했습니다.',
    'Превышена максимальная длина контекста модели (8192 токенов)',
    'Контекст превышает максимальную длину',
    'La longueur maximale du contexte est dépassée',
    'La entrada supera la longitud máxima de contexto del modelo',
    'Die Eingabe überschreitet die maximale Kontextlänge von 8192 Tokens',
    'O tamanho do prompt excede o limite de contexto do modelo',
    'Il prompt supera la lunghezza massima del contesto',
    'max_tokens 过大，最大为 4096',
  ])('%s', (message) => {
    for (const status of [400, 403, 413, 422, 500])
      expect(answer(status, said(message))).toMatchObject({ class: 'too-long', ...restsNobody })
  })

  test.for<readonly [string, Failure['lesson']]>([
    ['max_tokens 过大，最大为 4096', { about: 'output', limit: 4_096 }],
    ['max_tokens 不能超过 4096', { about: 'output', limit: 4_096 }],
    [
      'AiError: The estimated number of input and maximum output tokens (30000) exceeded this model context window limit (24000).',
      { about: 'context', limit: 24_000 },
    ],
    ['prompt length 9000 exceed max length 8192', { about: 'context', limit: 8_192 }],
    ['inputs too long, input_tokens=50000, max_input_tokens=32768', { about: 'context', limit: 32_768 }],
    ['total message size 12345678 exceeds limit 2097152', { about: 'context', limit: 2_097_152 }],
  ])('%s teaches %j', ([message, lesson]) => {
    expect(answer(400, said(message)).lesson).toEqual(lesson)
  })

  test('of one model’s limit a 413 is no rate', () => {
    expect(
      answer(413, said('Your request exceeded model token limit: 262144 (requested: 300000)')),
    ).toMatchObject({ class: 'too-long', lesson: { about: 'context', limit: 262_144 } })
    const perMinute =
      'Request too large for model `x` on tokens per minute (TPM): Limit 6000, Requested 12328'
    expect(answer(413, said(perMinute))).toMatchObject({
      code: 'rate_limit_exceeded',
      maxTokensPerRequest: 6_000,
    })
  })

  test.for(['La imagen supera el tamaño máximo', 'Количество инструментов превышает лимит'])(
    'of no length: %s',
    (message) => {
      expect(answer(400, said(message)).class).toBe('refused-body')
    },
  )
})

test.for([
  'We could not process your request because of our acceptable use policy',
  'disallowed content',
  'Sexual content detected',
  'The content you provided or machine outputted is blocked.',
  'hate speech is not permitted',
  'self-harm content',
  'PII detected in the prompt',
  '您的提问违反了相关法律法规',
  'コンテンツポリシー違反です',
])('a 403 for what was asked rests nobody: %s', (message) => {
  expect(answer(403, said(message))).toMatchObject({ class: 'refused-body', ...restsNobody })
})

test('a 403 for the account is none for what was asked', () => {
  const message = 'Your account was suspended because of our acceptable use policy'
  expect(answer(403, said(message)).code).toBe('insufficient_quota')
  expect(answer(403, said('Access to this model is denied')).cause).toBe('auth')
})

test.for([
  '当前并发请求数超过限制',
  '排队人数过多',
  'max parallel requests limit reached',
  'Too many simultaneous requests',
])('too many at once: %s', (message) => {
  expect(answer(429, said(message))).toMatchObject({ cause: 'overloaded' })
  expect(answer(503, said(message))).toMatchObject({ cause: 'overloaded' })
})

test.for([
  'You have exceeded 50 requests in 24 hours',
  'quota of 100 requests/day exceeded',
  '今日调用次数已达上限',
  '本日の上限に達しました',
  '일일 한도를 초과했습니다',
])('a day’s limit: %s', (message) => {
  expect(answer(429, said(message)).cause).toBe('quota')
})

test.for<readonly [string, number]>([
  ['请在 30 秒后重试', 30_000],
  ['请求过多，请2分钟之后再试', 120_000],
  ['30秒後に再試行してください', 30_000],
  ['请 10 分 30 秒钟后重试', 630_000],
])('%s asks for %d ms', ([message, ms]) => {
  expect(answer(429, said(message)).hintMs).toBe(ms)
})

describe('what it can’t do:', () => {
  test.for<readonly [string, string]>([
    ['At most 0 image(s) may be provided in one request.', 'images'],
    ['At most 0 audio(s) may be provided in one request.', 'audio'],
    ['Only text input is supported', 'images'],
    ['The model is text-only', 'images'],
  ])('%s: %s', ([message, about]) => {
    expect(answer(400, said(message)).lesson).toEqual({ about })
  })

  test.for<readonly [number, string, string]>([
    [404, 'registry.ollama.ai/library/gemma:latest does not support tools', 'tools'],
    [404, 'this model does not support image input', 'images'],
    [403, 'this model does not support tools', 'tools'],
    [405, 'tools not supported', 'tools'],
    [501, 'tool calling is not implemented', 'tools'],
  ])('with %i, %s: %s, and nobody rests', ([status, message, about]) => {
    expect(answer(status, said(message))).toMatchObject({
      class: 'refused-body',
      ...restsNobody,
      lesson: { about },
    })
  })

  test.for<readonly [number, string]>([
    [404, 'models/gemini-2.0-flash-image is not found, or is not supported for generateContent'],
    [404, 'The model `gpt-4-vision-preview` does not exist'],
    [501, 'Image generation is not supported'],
    [404, 'Cannot POST /v1/audio/speech'],
    [405, 'Method Not Allowed'],
  ])('with %i, a model or an endpoint that is not there is another thing: %s', ([status, message]) => {
    expect(answer(status, said(message)).cause).toBe('not-found')
  })
})

describe('a success that is none tells why:', () => {
  const whole = (body: string) =>
    classifyWhole({ status: 200, headers: {}, body: bytes(body), wallNow }, 'chat')?.reason
  test.for<readonly [string, string]>([
    ['<!DOCTYPE html><html>', 'a page (HTML)'],
    ['OK', 'no JSON'],
    ['', 'an empty body'],
    ['[]', 'JSON without an answer'],
    ['{"id":"x"}', 'JSON without an answer'],
    ['{"choices":[{"mess', 'JSON that is cut'],
  ])('%j is %s', ([body, reason]) => {
    expect(whole(body)).toBe(reason)
  })
})

test.for(['value_error.extra', 'missing', 'type_error.integer', 'string_type', 'int_parsing'])(
  'inside a success, the validation %s is a refusal of the request',
  (type) => {
    const body = bytes(JSON.stringify({ detail: [{ loc: ['body', 'seed'], msg: 'no', type }] }))
    const failure = classifyWhole({ status: 200, headers: {}, body, wallNow }, 'chat')
    expect(failure).toMatchObject({ status: 400, class: 'refused-body' })
  },
)
