import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { meters, quotaSignals } from '../../src/vendors/rate-limits.ts'

/** 20 seconds into a minute. */
const wallNow = Date.UTC(2026, 6, 7, 12, 0, 20)

const plain = (
  counts: 'requests' | 'tokens',
  [limit, remaining, reset]: readonly string[],
): Record<string, string> => ({
  [`x-ratelimit-limit-${counts}`]: limit ?? '',
  [`x-ratelimit-remaining-${counts}`]: remaining ?? '',
  ...(reset !== undefined && { [`x-ratelimit-reset-${counts}`]: reset }),
})

describe('the window of limits whose names do not tell', () => {
  test.each([
    ['OpenAI, a minute', ['5000', '4999', '12ms'], 'minute'],
    ['OpenAI, a minute', ['500', '499', '120ms'], 'minute'],
    ['OpenAI, half a minute used', ['60', '30', '30s'], 'minute'],
    ['OpenAI, first plan, a day', ['10000', '9999', '8.64s'], 'day'],
    ['OpenAI, free plan, a day', ['200', '199', '7m12s'], 'day'],
    ['Groq, 8B', ['14400', '14399', '6s'], 'day'],
    ['Groq, 8B', ['14400', '14370', '2m59.56s'], 'day'],
    ['Groq, 70B', ['1000', '997', '4m19.2s'], 'day'],
    ['Groq, day spent', ['1000', '0', '24h0m0s'], 'day'],
    ['a rounded millisecond proves nothing', ['150000000', '149999999', '1ms'], 'minute'],
    ['full', ['14400', '14400', '0s'], 'minute'],
    ['a rolling minute, one used', ['10', '9', '1m0s'], 'minute'],
    ['a rolling minute whose numbers would give an hour', ['60', '59', '1m0s'], 'minute'],
    ['a minute of the clock, little used', ['12000', '11000', '58.2s'], 'minute'],
    ['a day of the calendar, one used', ['1000', '999', '10h0m0s'], 'day'],
    ['Azure, fixed minute', ['2500', '2499', '24'], 'minute'],
    ['SambaNova, fixed minute', ['20', '19', '59'], 'minute'],
    ['a fixed hour', ['250', '10', '1800'], 'hour'],
    ['a fixed day', ['50', '49', '40000'], 'day'],
    ['a fixed month', ['1000', '10', '900000'], 'month'],
    ['no reset', ['1000', '997'], 'minute'],
    ['an unreadable reset', ['1000', '997', 'soon'], 'minute'],
  ] as const)('%s: %j is counted over a %s', (_, values, window) => {
    expect(quotaSignals(plain('requests', values), wallNow)).toMatchObject([{ counts: 'requests', window }])
  })

  test('is believed when the vendor names its length, whatever the speed', () => {
    const headers = {
      ...plain('requests', ['2500', '2499', '24s']),
      'x-ratelimit-renewalperiod-requests': '60',
    }
    expect(quotaSignals(headers, wallNow)).toMatchObject([{ window: 'minute', resetMs: 24_000 }])
    headers['x-ratelimit-renewalperiod-requests'] = '86400'
    expect(quotaSignals(headers, wallNow)).toMatchObject([{ window: 'day' }])
  })

  test('of Groq’s tokens stays a minute beside the requests of a day', () => {
    const headers = {
      ...plain('requests', ['1000', '999', '1m26.4s']),
      ...plain('tokens', ['12000', '11900', '500ms']),
    }
    expect(quotaSignals(headers, wallNow)).toEqual([
      { counts: 'requests', window: 'day', scope: 'upstream', limit: 1_000, remaining: 999, resetMs: 86_400 },
      {
        counts: 'tokens',
        window: 'minute',
        scope: 'upstream',
        limit: 12_000,
        remaining: 11_900,
        resetMs: 500,
      },
    ])
  })
})

describe('what is left', () => {
  test.each<[string[], { limit?: number; remaining?: number }, string]>([
    [['100', '-1', '5'], { limit: 100 }, '−1 means unknown'],
    [['100', '-20', '5'], { limit: 100, remaining: 0 }, 'overdrawn is nothing left'],
    [['100', '101', '5'], { limit: 100, remaining: 100 }, 'more than all is all'],
    [['100', '7.9', '5'], { limit: 100, remaining: 7 }, 'there are no parts of a request'],
    [['-1', '7', '5'], { remaining: 7 }, 'a negative limit is none'],
    [['1e5', '7', '5'], { remaining: 7 }, 'nobody writes numbers so'],
    [['99999999999999', '7', '5'], { remaining: 7 }, 'no vendor gives away so much'],
  ])('%j reads as %j: %s', (values, expected) => {
    const [signal] = quotaSignals(plain('tokens', values), wallNow)
    expect({ limit: signal?.limit, remaining: signal?.remaining }).toEqual({
      limit: undefined,
      remaining: undefined,
      ...expected,
    })
  })

  test.each([
    [['0', '0', '5']],
    [['-1', '-1', '-1']],
    [['many', 'few', 'soon']],
    [['', '', '']],
    [['100, 100', '99, 99', '5']],
  ])('%j says nothing', (values) => {
    expect(quotaSignals(plain('requests', values), wallNow)).toEqual([])
  })

  test('is never carried by a reset alone', () => {
    expect(quotaSignals({ 'x-ratelimit-reset-requests': '5s', 'x-ratelimit-reset': '5' }, wallNow)).toEqual(
      [],
    )
  })

  test('is the tighter of two that count the same, completed by the other', () => {
    const headers = {
      'anthropic-ratelimit-tokens-limit': '50000',
      'anthropic-ratelimit-tokens-remaining': '4000',
      'anthropic-ratelimit-output-tokens-remaining': '100',
      'anthropic-ratelimit-output-tokens-reset': '2026-07-07T12:00:50Z',
    }
    expect(quotaSignals(headers, wallNow)).toEqual([
      {
        counts: 'tokens',
        window: 'minute',
        scope: 'upstream',
        limit: 50_000,
        remaining: 100,
        resetMs: 30_000,
      },
    ])
  })
})

describe('resets', () => {
  test.each([
    ['x-ratelimit-remaining-requests-minute', 'x-ratelimit-reset-requests-minute', 3_600_000],
    ['x-ratelimit-remaining-requests-hour', 'x-ratelimit-reset-requests-hour', 86_400_000],
    ['x-ratelimit-remaining-requests-day', 'x-ratelimit-reset-requests-day', 31 * 86_400_000],
  ])('of %s are cut to what the window can mean', (remaining, reset, resetMs) => {
    expect(quotaSignals({ [remaining]: '0', [reset]: '500000000' }, wallNow)).toMatchObject([{ resetMs }])
  })

  test('that are absent leave Mistral’s minute to the clock on the wall, and days open', () => {
    const headers = { 'x-ratelimit-remaining-req-minute': '3', 'x-ratelimit-remaining-tokens-day': '9' }
    expect(quotaSignals(headers, wallNow)).toEqual([
      { counts: 'tokens', window: 'day', scope: 'upstream', remaining: 9 },
      { counts: 'requests', window: 'minute', scope: 'upstream', remaining: 3, resetMs: 40_000 },
    ])
  })
})

describe('dialects', () => {
  test('Cohere’s trial: calls of a minute for the endpoint, the size of the month for the key', () => {
    const headers = {
      'x-endpoint-monthly-call-limit': '1000',
      'x-trial-endpoint-call-limit': '20',
      'x-trial-endpoint-call-remaining': '19',
    }
    expect(quotaSignals(headers, wallNow)).toEqual([
      { counts: 'requests', window: 'minute', scope: 'upstream', limit: 20, remaining: 19 },
      { counts: 'requests', window: 'month', scope: 'key', limit: 1_000 },
    ])
  })

  test('a limit of 0 is for good with Mistral, and nothing with others', () => {
    expect(quotaSignals({ 'x-ratelimit-limit-req-minute': '0' }, wallNow)).toEqual([
      { counts: 'requests', window: 'day', scope: 'upstream', remaining: 0, resetMs: 86_400_000 },
    ])
    expect(quotaSignals({ 'x-ratelimit-limit-requests-minute': '0' }, wallNow)).toEqual([])
  })

  test('Together’s second is no minute for want of a better name', () => {
    const headers = {
      'x-ratelimit-limit': '10',
      'x-ratelimit-remaining': '3',
      'x-ratelimit-reset': '1',
      'x-tokenlimit-limit': '2000',
    }
    expect(quotaSignals(headers, wallNow)).toMatchObject([
      { counts: 'requests', window: 'second', limit: 10 },
      { counts: 'tokens', window: 'second', limit: 2_000 },
    ])
  })

  test('GitHub’s advertised minute and the day that really refused stand side by side', () => {
    const headers = {
      ...plain('requests', ['20000', '19999', '3']),
      'x-ratelimit-renewalperiod-requests': '60',
      'x-ratelimit-type': 'UserByModelByDay',
      'x-ratelimit-timeremaining': '67000',
    }
    expect(quotaSignals(headers, wallNow)).toEqual([
      {
        counts: 'requests',
        window: 'minute',
        scope: 'upstream',
        limit: 20_000,
        remaining: 19_999,
        resetMs: 3_000,
      },
      { counts: 'requests', window: 'day', scope: 'upstream', remaining: 0, resetMs: 67_000_000 },
    ])
  })

  test('no headers, no signals', () => {
    expect(quotaSignals({}, wallNow)).toEqual([])
    expect(quotaSignals({ 'content-type': 'application/json', date: 'x' }, wallNow)).toEqual([])
  })
})

test('no header makes a throw, a NaN or a reset beyond its clamp', () => {
  const names = meters
    .flatMap(({ limit, remaining, reset, period }) => [limit, remaining, reset, period])
    .filter((name) => name !== undefined)
  const values = fc.oneof(
    fc.string(),
    fc.integer().map(String),
    fc.double().map(String),
    fc.constantFrom(
      '0',
      '-1',
      '1',
      '0s',
      '1h5m25.152s',
      '99999999h',
      '1e999',
      'NaN',
      '2026-07-07T12:00:00Z',
      '9999-12-31T23:59:59Z',
      'Tue, 07 Jul 2026 12:01:00 GMT',
    ),
  )
  const name = fc.constantFrom(...names, 'x-ratelimit-type', 'x-ratelimit-timeremaining')
  fc.assert(
    fc.property(fc.dictionary(name, values, { maxKeys: 20 }), fc.nat(4e12), (headers, now) => {
      for (const { limit = 1, remaining = 0, resetMs = 0 } of quotaSignals(headers, now)) {
        expect(Number.isInteger(limit) && limit >= 1 && limit <= 1e12).toBe(true)
        expect(Number.isInteger(remaining) && remaining >= 0 && remaining <= 1e12).toBe(true)
        expect(resetMs >= 0 && resetMs <= 31 * 86_400_000).toBe(true)
      }
    }),
    { numRuns: 5_000 },
  )
})
