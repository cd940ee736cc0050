import { describe, expect, test } from 'vitest'
import { classifyStatus } from '../../src/vendors/classify.ts'
import { readErrorText } from '../../src/vendors/error-body.ts'
import { isOfModel, limitsInText, maxTokensIn } from '../../src/vendors/rate-limit-text.ts'

/** 05:00:20 in California. */
const wallNow = Date.UTC(2026, 6, 7, 12, 0, 20)
const minute = 60_000
const day = 24 * 60 * minute

const bytes = (value: unknown): Uint8Array => new TextEncoder().encode(JSON.stringify(value))
const textOf = (error: object) => readErrorText(bytes({ error }), wallNow)
const limitsIn = (message: string) => limitsInText(textOf({ message }), wallNow)
const gemini = (...ids: readonly string[]) =>
  textOf({
    message: 'You exceeded your current quota.\n* Quota exceeded for metric: m, limit: 15, model: gemini-x',
    details: [{ violations: ids.map((quotaId) => ({ quotaId, quotaValue: '15' })) }, { retryDelay: '21.5s' }],
  })

describe('limits in words:', () => {
  test.each([
    [
      'Rate limit reached for gpt-4.1 in organization org-1 on requests per min (RPM): Limit 500, Used 500, Requested 1.',
      { counts: 'requests', spanMs: minute, scope: 'upstream', limit: 500, isSpent: true },
    ],
    [
      'Rate limit reached for model `a/b` in organization `org_1` on tokens per day (TPD): Limit 200,000, Used 199990, Requested 50.',
      { counts: 'tokens', spanMs: day, scope: 'upstream', limit: 200_000, isSpent: false },
    ],
    [
      'Rate limit reached for requests in organization org-1 on requests per day: Limit: 200, Used: 201.',
      { counts: 'requests', spanMs: day, scope: 'quota', limit: 200, isSpent: true },
    ],
    [
      'You are using a Trial key, which is limited to 10 API calls / minute.',
      { counts: 'requests', spanMs: minute, scope: 'key', limit: 10, isSpent: false },
    ],
    [
      'At most 5 queries per second.',
      { counts: 'requests', spanMs: 1_000, scope: 'key', limit: 5, isSpent: false },
    ],
    [
      'Limit: 60 requests/min, slow down',
      { counts: 'requests', spanMs: minute, scope: 'key', limit: 60, isSpent: false },
    ],
    [
      'You may send 20 requests every 10 seconds.',
      { counts: 'requests', spanMs: 10_000, scope: 'key', limit: 20, isSpent: false },
    ],
    [
      'This model is limited to 100 requests per 5 minutes.',
      { counts: 'requests', spanMs: 5 * minute, scope: 'upstream', limit: 100, isSpent: false },
    ],
    [
      'Rate limit of 15 per 60s exceeded for UserByModelByMinute. Please wait 12 seconds before retrying.',
      { counts: 'requests', spanMs: minute, scope: 'upstream', limit: 15, isSpent: true, resetMs: 12_000 },
    ],
    [
      'Rate limit of 150 per 86400s exceeded for UserByDay. Please wait 900 seconds before retrying.',
      { counts: 'requests', spanMs: day, scope: 'key', limit: 150, isSpent: true, resetMs: 900_000 },
    ],
  ])('%s', (message, limit) => {
    expect(limitsIn(message)).toEqual([limit])
  })

  test.each([
    'Rate limit of 5 per 0s exceeded for UserConcurrentRequests.',
    'Limit 0 requests per minute',
    'You may send 20 requests per 0 seconds.',
    'Please retry in 20 seconds',
    'Too many requests',
  ])('%s names none that can be counted', (message) => {
    expect(
      limitsIn(message)
        .map(({ limit }) => limit)
        .filter(Boolean),
    ).toEqual([])
  })

  test('Gemini’s quotas, of which the day ends by the clock of California, as we know', () => {
    const perDay = 'GenerateRequestsPerDayPerProjectPerModel-FreeTier'
    const perMinute = 'GenerateContentInputTokensPerModelPerMinute-FreeTier'
    expect(limitsInText(gemini(perDay, perMinute, 'SomethingElse'), wallNow)).toEqual([
      {
        counts: 'requests',
        spanMs: day,
        scope: 'quota',
        limit: 15,
        isSpent: true,
        resetMs: 68_380_000,
        isInferred: true,
      },
      { counts: 'tokens', spanMs: minute, scope: 'quota', limit: 15, isSpent: true, resetMs: 21_500 },
    ])
    expect(limitsInText(gemini(perDay), wallNow)).toMatchObject([{ scope: 'upstream' }])
  })

  test('the largest request', () => {
    expect(maxTokensIn('Request too large on tokens per min (TPM): Limit 30000, Requested 35364.')).toBe(
      30_000,
    )
    expect(maxTokensIn('Request body too large for gpt-x model. Max size: 16,000 tokens.')).toBe(16_000)
    expect(maxTokensIn('on tokens per min (TPM): Limit 30000, Used 29000, Requested 2170.')).toBeUndefined()
  })
})

describe('a limit is one model’s where its words say so:', () => {
  test.each([
    'Rate limit reached for gpt-4o in organization org-1 on tokens per min (TPM): Limit 30000',
    'Request too large for gpt-4o (for limit gpt-4o) in organization org-1 on tokens per min (TPM): Limit 30000',
    'Rate limit reached for gpt-4o-mini (for limit gpt-4o-mini) in organization org-1 on requests per day',
    'Rate limit reached for default-x in project proj_1 on requests per day (RPD): Limit 200',
    'Rate limit reached for model `openai/gpt-oss-20b` in organization `org_1` service tier `on_demand`',
    'Rate limit exceeded for this model: limited to 5 requests per minute.',
    'You have reached the rate limit specific to this model a/b. The maximum rate limit for this model is 6 queries per minute.',
    'You have exceeded your quota for the model claude-x.',
    'Quota exceeded for aiplatform/generate_content_requests_per_minute with base model: gemini-x.',
    '* Quota exceeded for metric: x/generate_content_free_tier_requests, limit: 20, model: gemini-x',
    'This request would exceed your organization’s rate limit of 30,000 input tokens per minute (org: 1-2, model: claude-x).',
    'Too many requests for team 1234-abc and model grok-x. Your team’s rate limit is 1 per second.',
    'Your requests to o4 for o4 in East US have exceeded token rate limit for your current S0 pricing tier.',
    'Limit of 20 requests per minute for model qwen-x exceeded',
    'Exceeded 40000 tokens per minute (TPM) for this model',
    'Model `qwen-x` has reached its rate limit',
    'This model is limited to 5 requests per minute',
    'The model llama-x is temporarily rate-limited upstream',
  ])('%s', (message) => {
    expect(isOfModel(textOf({ message }))).toBe(true)
    // Its limits bind the model, whatever its words say of the account.
    for (const { scope } of limitsIn(message)) expect(scope).toBe('upstream')
  })

  test.each([
    'Rate limit reached for requests in organization org-1',
    'Rate limit reached for tokens in project proj_1',
    'Rate limit reached for your account. Please try again in 20s.',
    'Rate limit exceeded: free-models-per-day. Add 10 credits to unlock 1000 free model requests per day',
    'You have exceeded the rate limit for models of the free tier',
    'You reached your limit of model requests. See the limits of each model at https://x.y/models',
    'You have hit the limit for model access of your organization',
    'Your account request reached organization max RPM: 3, please try again after 1 seconds',
    'Requests to the ChatCompletions_Create Operation have exceeded call rate limit of your current tier.',
    'Number of request tokens has exceeded your per-minute rate limit, see https://x.y/model-limits',
    'Your requests to this service have exceeded the limit',
    'Rate limit of 10 per 60s exceeded for UserByMinute. Please wait 55 seconds before retrying.',
    'Tokens per minute limit exceeded - too many tokens processed.',
    'You are using a Trial key, which is limited to 20 API calls / minute.',
    'TPM limit reached',
    '',
  ])('%s does not', (message) => {
    expect(isOfModel(textOf({ message }))).toBe(false)
  })

  test('or where every quota that it calls spent is a model’s', () => {
    expect(isOfModel(gemini('APerDayPerModel', 'BPerMinutePerProjectPerModel'))).toBe(true)
    expect(isOfModel(gemini('APerDayPerModel', 'BPerDayPerProject'))).toBe(false)
  })

  test.each([
    [
      'Rate limit reached for model `a` in organization `o` on tokens per day (TPD): Limit 9, Used 9',
      'upstream',
    ],
    ['Rate limit reached for requests per day in organization org-1', 'quota'],
    ['Rate limit reached for your account. Please try again in 20s.', 'quota'],
    [
      'Rate limit reached for gpt-4o in organization org-1 on requests per min (RPM): Limit 9, Used 9',
      'upstream',
    ],
  ])('so does what rests: %s is of the %s', (message, scope) => {
    const headers = {}
    const failure = classifyStatus({ status: 429, headers, body: bytes({ error: { message } }), wallNow })
    expect(failure.scope).toBe(scope)
    for (const told of failure.told ?? []) expect(told.scope).toBe(scope)
  })

  test('hostile words cost no time', () => {
    const before = performance.now()
    for (const words of ['model ', 'limit for ', 'per minute for ', 'Too many requests for team ', '1,'])
      for (const message of [words.repeat(4_000), `${words}${'a'.repeat(4_000)}`]) limitsIn(message)
    expect(performance.now() - before).toBeLessThan(5_000)
  })
})
