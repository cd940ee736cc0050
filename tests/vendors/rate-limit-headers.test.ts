import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { meterReadings, vendorClock } from '../../src/vendors/rate-limit-headers.ts'

const minute = 60_000
const hour = 60 * minute
const day = 24 * hour

/** 20 seconds into a minute, on the vendor's clock; ours is an hour behind. */
const vendorNow = Date.UTC(2026, 6, 7, 12, 0, 20)
const date = new Date(vendorNow).toUTCString()
const readingsOf = (headers: Record<string, string>) =>
  meterReadings({ date, 'content-type': 'application/json', ...headers }, { wallNow: vendorNow - hour })
/** What one meter has to say: its limit, what is left, ms until it is whole, how long its window is. */
const meter = (
  name: string,
  [limit, remaining, resetMs, spanMs]: readonly (number | undefined)[],
  more: object = {},
) => ({
  meter: name,
  counts: /token|bysize/.test(name) ? 'tokens' : 'requests',
  scope: 'upstream',
  limit,
  remaining,
  resetMs,
  spanMs,
  isDuration: false,
  ...more,
})
const triple = (names: string, [limit, remaining, reset]: readonly (string | undefined)[]) =>
  Object.fromEntries(
    Object.entries({ limit, remaining, reset }).flatMap(([word, text]) =>
      text === undefined ? [] : [[names.replace('*', word), text]],
    ),
  )
const isDuration = true

describe('the dialect of', () => {
  test.for<readonly [string, Record<string, string>, readonly object[]]>([
    [
      'OpenAI: model, project and pictures, of which a gateway counts none',
      {
        ...triple('x-ratelimit-*-requests', ['500', '499', '120ms']),
        ...triple('x-ratelimit-*-tokens', ['90000', '88211', '1.192s']),
        ...triple('x-ratelimit-*-project-tokens', ['60000', '57000', '3s']),
        ...triple('x-ratelimit-*-input-images', ['50', '0', '1m12s']),
        ...triple('x-ratelimit-*-images', ['50', '0', '1m12s']),
      },
      [
        meter('x-ratelimit-*-requests', [500, 499, 120], { isDuration }),
        meter('x-ratelimit-*-tokens', [90_000, 88_211, 1_192], { isDuration }),
        meter('x-ratelimit-*-project-tokens', [60_000, 57_000, 3_000], { isDuration }),
      ],
    ],
    [
      'Azure: unknown is −1, overdrawn is nothing, and the advertised period does not bind',
      {
        ...triple('x-ratelimit-*-requests', ['20', '-1', '-1']),
        ...triple('x-ratelimit-*-tokens', ['20000', '-311', '7']),
        'x-ratelimit-renewalperiod-tokens': '60',
        'x-ratelimit-type': 'Tokens',
        'x-ratelimit-timeremaining': '7',
      },
      [meter('x-ratelimit-*-tokens', [20_000, 0, 7_000])],
    ],
    [
      'Groq',
      {
        ...triple('x-ratelimit-*-requests', ['1000', '993', '10m4.8s']),
        ...triple('x-ratelimit-*-tokens', ['12000', '0', '59.9s']),
      },
      [
        meter('x-ratelimit-*-requests', [1_000, 993, 604_800], { isDuration }),
        meter('x-ratelimit-*-tokens', [12_000, 0, 59_900], { isDuration }),
      ],
    ],
    [
      'Cerebras: a span for each, in broken seconds',
      {
        ...triple('x-ratelimit-*-requests-minute', ['30', '29', '39.52']),
        ...triple('x-ratelimit-*-requests-hour', ['900', '880', '3579.5']),
        ...triple('x-ratelimit-*-tokens-day', ['1000000', '0', '43179.97']),
      },
      [
        meter('x-ratelimit-*-requests-minute', [30, 29, 39_520, minute]),
        meter('x-ratelimit-*-requests-hour', [900, 880, 3_579_500, hour]),
        meter('x-ratelimit-*-tokens-day', [1_000_000, 0, 43_179_970, day]),
      ],
    ],
    [
      'SambaNova, with points in time',
      {
        ...triple('x-ratelimit-*-requests', ['40', '39', String(vendorNow / 1_000 + 40)]),
        ...triple('x-ratelimit-*-requests-day', ['800', '0', String(vendorNow / 1_000 + 12 * 3_600)]),
      },
      [
        meter('x-ratelimit-*-requests', [40, 39, 40_000]),
        meter('x-ratelimit-*-requests-day', [800, 0, 12 * hour, day]),
      ],
    ],
    [
      'Mistral: no reset, the minute is that of its clock; a limit of 0 comes with answers',
      {
        ...triple('x-ratelimit-*-req-minute', ['0', '0']),
        ...triple('x-ratelimit-*-tokens-minute', ['50000', '0']),
        ...triple('x-ratelimit-*-tokens-month', ['4000000', '3999000']),
        'x-ratelimit-tokens-query-cost': '1300',
      },
      [
        meter('x-ratelimit-*-tokens-minute', [50_000, 0, 40_000, minute]),
        meter('x-ratelimit-*-tokens-month', [4_000_000, 3_999_000, Date.UTC(2026, 7) - vendorNow, 30 * day]),
      ],
    ],
    [
      'Mistral by Kong: its tokens are the size of a request, and told twice',
      {
        ...triple('ratelimitbysize-*', ['500000', '499900', '28']),
        ...triple('x-ratelimitbysize-*-minute', ['500000', '499900']),
        ...triple('x-ratelimitbysize-*-month', ['1000000000', '999000000']),
      },
      [
        meter('x-ratelimitbysize-*-minute', [500_000, 499_900, 28_000, minute]),
        meter('x-ratelimitbysize-*-month', [
          1_000_000_000,
          999_000_000,
          Date.UTC(2026, 7) - vendorNow,
          30 * day,
        ]),
      ],
    ],
    [
      'Together: requests and tokens of a second, the tokens without a reset',
      {
        ...triple('x-ratelimit-*', ['10', '7', '1']),
        ...triple('x-ratelimit-*-dynamic', ['6', '3']),
        ...triple('x-tokenlimit-*', ['3000', '2800']),
      },
      [
        meter('x-ratelimit-*', [10, 7, 1_000]),
        meter('x-ratelimit-*-dynamic', [6, 3]),
        meter('x-tokenlimit-*', [3_000, 2_800]),
      ],
    ],
    [
      'Cohere: a trial’s calls of a minute; of the month only the size',
      {
        ...triple('x-trial-endpoint-call-*', ['10', '9']),
        'x-endpoint-monthly-call-limit': '5000',
      },
      [meter('x-trial-endpoint-call-*', [10, 9])],
    ],
    [
      'Anthropic: its plain tokens are the tightest of input and output',
      {
        ...triple('anthropic-ratelimit-requests-*', ['4000', '3999', '2026-07-07T12:00:20Z']),
        ...triple('anthropic-ratelimit-tokens-*', ['480000', '12000', '2026-07-07T12:01:19Z']),
        ...triple('anthropic-ratelimit-input-tokens-*', ['400000', '0', '2026-07-07T12:01:19Z']),
        ...triple('anthropic-ratelimit-output-tokens-*', ['80000', '80000', '2026-07-07T12:00:20Z']),
        'anthropic-ratelimit-unified-5h-reset': '1783430000',
      },
      [
        meter('anthropic-ratelimit-requests-*', [4_000, 3_999]),
        meter('anthropic-ratelimit-tokens-*', [480_000, 12_000, 59_000]),
      ],
    ],
    [
      'GitHub: epoch seconds, what is used and of which resource',
      {
        ...triple('x-ratelimit-*', ['5000', '4987', String(vendorNow / 1_000 + 1_740)]),
        'x-ratelimit-used': '13',
        'x-ratelimit-resource': 'core',
      },
      [meter('x-ratelimit-*', [5_000, 4_987, 1_740_000])],
    ],
    [
      'Fireworks, whose prompts and answers are parts of its tokens',
      {
        ...triple('x-ratelimit-*-requests', ['600', '599', undefined]),
        ...triple('x-ratelimit-*-tokens-prompt', ['60000', '0', undefined]),
        'x-ratelimit-over-limit': 'no',
      },
      [meter('x-ratelimit-*-requests', [600, 599])],
    ],
    [
      'those who put the span in front',
      triple('x-ratelimit-minute-*', ['100', '99', String(vendorNow / 1_000 + 9)]),
      [meter('x-ratelimit-minute-*', [100, 99, 9_000, minute])],
    ],
    ['nobody', { 'x-request-id': 'limit', 'x-ratelimit-policy': 'hybrid', 'x-limit': '3' }, []],
  ])('%s', ([, headers, expected]) => {
    expect(readingsOf(headers)).toEqual(expected)
  })
})

describe('the IETF’s drafts:', () => {
  const default60 = meter('ratelimit default', [100, 50, 30_000, minute])
  test.for<readonly [string, Record<string, string>, readonly object[]]>([
    [
      'to 2, three headers',
      triple('ratelimit-*', ['100', '50', '50']),
      [meter('ratelimit-*', [100, 50, 50_000])],
    ],
    [
      '3, the policies behind the limit',
      triple('ratelimit-*', ['100, 100;w=60;comment="a, b; c"', '99', '50']),
      [meter('ratelimit-*', [100, 99, 50_000, minute])],
    ],
    [
      '3, the policy of the limit among others',
      triple('ratelimit-*', ['5000, 1000;w=3600, 5000;w=86400', '100', '36000']),
      [meter('ratelimit-*', [5_000, 100, 36_000_000, day])],
    ],
    [
      '3, a limit for now below that of its policy',
      triple('ratelimit-*', ['10, 100;w=60', '9', '50']),
      [meter('ratelimit-*', [10, 9, 50_000, minute])],
    ],
    [
      '3, with a comment',
      triple('ratelimit-*', ['12, 12;w=1', '6          ; using 50%', '1']),
      [meter('ratelimit-*', [12, 6, 1_000, 1_000])],
    ],
    [
      '4 to 6, the policies by themselves',
      {
        ...triple('ratelimit-*', ['100', '60', '58']),
        'ratelimit-policy': '100;w=60;burst=1000;comment="sliding window", 5000;w=3600;burst=0',
      },
      [meter('ratelimit-*', [100, 60, 58_000, minute])],
    ],
    [
      '7, a dictionary',
      {
        'ratelimit-policy': '1000;w=3600, 5000;w=86400',
        ratelimit: 'limit=5000, remaining=100, reset=36000',
      },
      [meter('ratelimit', [5_000, 100, 36_000_000, day])],
    ],
    [
      '7, without a policy',
      { ratelimit: 'limit=10,remaining=0,reset=10' },
      [meter('ratelimit', [10, 0, 10_000])],
    ],
    ['7, of which only the limit is told', { ratelimit: 'limit=10, reset=1' }, []],
    [
      '7, a limit of nothing',
      { ratelimit: 'limit=0, remaining=0, reset=20', 'ratelimit-policy': '15;w=20' },
      [],
    ],
    [
      '8 to 10, by name',
      { 'ratelimit-policy': '"default";q=100;w=60', ratelimit: '"default";r=50;t=30' },
      [default60],
    ],
    [
      '8 to 10, with a token for a name and blanks',
      {
        'ratelimit-policy': 'default; q=100; w=60; pk=:YWJj/+==:',
        ratelimit: 'default; r=50; t=30; pk=:YWJj/+==:',
      },
      [default60],
    ],
    [
      '8 to 10, some policies, of which the answer tells one',
      { 'ratelimit-policy': '"hour";q=1000;w=3600, "day";q=5000;w=86400', ratelimit: '"day";r=100;t=36000' },
      [meter('ratelimit day', [5_000, 100, 36_000_000, day])],
    ],
    [
      '8 to 10, no policy, no time',
      { ratelimit: '"trial";r=999;pk=:dHJpYWwxMjEzMjM=:' },
      [meter('ratelimit trial', [undefined, 999])],
    ],
    [
      '8 to 10, the quota beside what is left',
      { ratelimit: '"sliding";q=12;r=6;t=1' },
      [meter('ratelimit sliding', [12, 6, 1_000])],
    ],
    [
      '8 to 10, names that hold what separates',
      { 'ratelimit-policy': '"a, b; \\"c";q=5;w=10', ratelimit: '"a, b; \\"c";r=4;t=9' },
      [meter('ratelimit a, b; \\"c', [5, 4, 9_000, 10_000])],
    ],
    [
      '8 to 10, bytes and what is under way are not counted here, tokens are',
      {
        'ratelimit-policy':
          '"bytes";q=65535;qu="content-bytes";w=10;pk=:eA==:, "open";q=4;qu="concurrent-requests", "llm";q=6000;qu="tokens";w=60, "plain";q=9;qu="requests";w=1',
        ratelimit: '"bytes";r=0;t=9, "open";r=0, "llm";r=5100;t=21, "plain";r=8;t=1',
      },
      [
        meter('ratelimit llm', [6_000, 5_100, 21_000, minute], { counts: 'tokens' }),
        meter('ratelimit plain', [9, 8, 1_000, 1_000]),
      ],
    ],
    [
      '8 to 10, two partitions of one policy',
      { ratelimit: '"user";r=9;t=3;pk=:YQ==:, "user";r=2;t=40;pk=:Yg==:, "user";r=5;t=1;pk=:Yw==:' },
      [meter('ratelimit user', [undefined, 2, 40_000])],
    ],
    [
      'as Hugging Face has it, with two names',
      { 'ratelimit-policy': '"fixed window";"api";q=500;w=300', ratelimit: '"api";r=0;t=52' },
      [meter('ratelimit api', [500, 0, 52_000, 300_000])],
    ],
    [
      'what is malformed',
      { ratelimit: '"a;r=;t=x, ;;=,, r, "b";r=many;t=3, "c";r=-1', 'ratelimit-policy': '"' },
      [],
    ],
  ])('%s', ([, headers, expected]) => {
    expect(readingsOf(headers)).toEqual(expected)
  })
})

describe('gateways:', () => {
  test('Envoy’s limit is followed by all of its windows', () => {
    const tail = ', 20;w=60;name="per, key", 1000;w=3600'
    expect(readingsOf(triple('x-ratelimit-*', [`20${tail}`, '19', '12']))).toEqual([
      meter('x-ratelimit-*', [20, 19, 12_000, minute]),
    ])
    expect(readingsOf(triple('x-ratelimit-*', [`1000${tail}`, '3', '1200']))).toEqual([
      meter('x-ratelimit-*', [1_000, 3, 1_200_000, hour]),
    ])
    expect(
      readingsOf(triple('x-ratelimit-*', ['100, 100;window=60, 10000;window=86400', '98', '3'])),
    ).toEqual([meter('x-ratelimit-*', [100, 98, 3_000, minute])])
  })

  test('Kong’s limits keep their names, whichever is the tightest and has a reset', () => {
    const kongs = (minutes: number, hours: number, tightest: readonly string[]) =>
      readingsOf({
        ...triple('x-ratelimit-*-minute', ['20', String(minutes)]),
        ...triple('x-ratelimit-*-hour', ['500', String(hours)]),
        ...triple('ratelimit-*', tightest),
      })
    expect(kongs(7, 400, ['20', '7', '39'])).toEqual([
      meter('x-ratelimit-*-minute', [20, 7, 39_000, minute]),
      meter('x-ratelimit-*-hour', [500, 400, hour - 20_000, hour]),
    ])
    expect(kongs(17, 4, ['500', '4', '3500'])).toEqual([
      meter('x-ratelimit-*-minute', [20, 17, 40_000, minute]),
      meter('x-ratelimit-*-hour', [500, 4, 3_500_000, hour]),
    ])
    expect(readingsOf(triple('x-ratelimit-*-300', ['100', '0']))).toEqual([
      meter('x-ratelimit-*-300', [100, 0, 280_000, 300_000]),
    ])
  })

  test('what two of them in a row say under one name says nothing', () => {
    expect(readingsOf(triple('x-ratelimit-*', ['5000, 20', '4999, 0', '3, 30']))).toEqual([])
  })
})

describe('what is told', () => {
  test.for<readonly [readonly (string | undefined)[], readonly (number | undefined)[] | undefined, string]>([
    [['100', '7', '5'], [100, 7, 5_000], 'all three'],
    [[undefined, '7', '5'], [undefined, 7, 5_000], 'no limit'],
    [['100', '7', undefined], [100, 7], 'no reset'],
    [['100', undefined, '5'], undefined, 'a limit and a reset say nothing of what is left'],
    [['100', undefined, undefined], undefined, 'a limit alone'],
    [[undefined, undefined, '5'], undefined, 'a reset alone'],
    [['100', '101', '5'], [100, 101, 5_000], 'more than the limit, as it was told'],
    [['100', '7.9', '5'], [100, 7, 5_000], 'there are no parts of a request'],
    [['100', '0.4', '5'], [100, 0, 5_000], 'nor is a part one'],
    [['100', '-1', '5'], undefined, '−1 is unknown'],
    [['100', '-20', '5'], [100, 0, 5_000], 'overdrawn'],
    [['0', '0', '5'], undefined, 'a limit of 0'],
    [['-1', '7', '5'], undefined, 'a limit below 0'],
    [['0.5', '0', '5'], undefined, 'a limit below 1'],
    [['unlimited', 'unlimited', undefined], undefined, 'words'],
    [['unlimited', '7', undefined], undefined, 'a word for the limit'],
    [['1e5', '7', '5'], undefined, 'nobody writes numbers so'],
    [['99999999999999', '7', '5'], undefined, 'no vendor gives away so much'],
    [['100', '99999999999999', '5'], undefined, 'nor has so much left'],
    [['', '', ''], undefined, 'empty'],
    [['100', '0', '0'], [100, 0], 'a reset of 0 says nothing'],
    [['100', '0', '0s'], [100, 0, undefined, undefined], 'in any form'],
    [['100', '0', '-5'], [100, 0], 'below 0 neither'],
    [['100', '0', 'soon'], [100, 0], 'nor a word'],
    [['100', '0', '500000000'], [100, 0, 31 * day], 'longer than any month'],
    [['100', '0', String(vendorNow / 1_000 - 5)], [100, 0], 'a point in time that has passed'],
  ])('%j reads as %j: %s', ([words, expected]) => {
    const more = words[2] === '0s' ? { isDuration } : {}
    const readings = expected === undefined ? [] : [meter('x-ratelimit-*-requests', expected, more)]
    expect(readingsOf(triple('x-ratelimit-*-requests', words))).toEqual(readings)
  })

  test('ends with the second, minute, hour, day or month of the vendor’s clock where its name alone says how long', () => {
    const ends = { second: 1_000, minute: 40_000, hour: hour - 20_000, day: 12 * hour - 20_000 }
    for (const [span, resetMs] of Object.entries(ends)) {
      for (const reset of [undefined, '0', 'soon'])
        expect(readingsOf(triple(`x-ratelimit-*-requests-${span}`, ['9', '0', reset]))).toMatchObject([
          { remaining: 0, resetMs },
        ])
    }
    const december = new Date(Date.UTC(2026, 11, 31, 23)).toUTCString()
    const headers = { date: december, 'x-ratelimit-remaining-month': '0' }
    expect(meterReadings(headers, { wallNow: 0 })).toMatchObject([{ resetMs: hour }])
    // The length that a policy names is no end.
    const policed = { 'ratelimit-policy': '"a";q=5;w=60', ratelimit: '"a";r=0' }
    expect(readingsOf(policed)).toEqual([meter('ratelimit a', [5, 0, undefined, minute])])
  })

  test('is whole at the latest after twice the length of its window', () => {
    expect(readingsOf(triple('x-ratelimit-*-tokens-minute', ['9', '0', '500000000']))).toMatchObject([
      { resetMs: 2 * minute },
    ])
  })

  test('is read against the answer’s own date, else against our clock', () => {
    for (const skewMs of [-day, -90_000, 90_000, day]) {
      const at = vendorNow + skewMs
      const headers = {
        date: new Date(at).toUTCString(),
        ...triple('x-ratelimit-*', ['9', '1', String(at / 1_000 + 30)]),
        ...triple('anthropic-ratelimit-tokens-*', ['9', '1', new Date(at + 4_000).toISOString()]),
      }
      expect(meterReadings(headers, { wallNow: vendorNow })).toMatchObject([
        { resetMs: 30_000 },
        { resetMs: 4_000 },
      ])
    }
    const dateless = triple('x-ratelimit-*', ['9', '1', String(vendorNow / 1_000 + 30)])
    expect(meterReadings(dateless, { wallNow: vendorNow })).toMatchObject([{ resetMs: 30_000 }])
    expect(vendorClock({ date: 'yesterday' }, { wallNow: 5 })).toBe(5)
  })

  test('is read from when the question was sent, by our clock while the answer’s date agrees with it', () => {
    const latencyMs = 12_000
    const headers = triple('x-ratelimit-*', ['9', '1', String(vendorNow / 1_000 + 30)])
    const resetFor = (dateMs: number) =>
      meterReadings(
        { ...headers, date: new Date(dateMs).toUTCString() },
        { wallNow: vendorNow + latencyMs + 400, latencyMs: latencyMs + 400 },
      )[0]?.resetMs
    // A date is written when the answer begins or when it leaves, and has no fractions.
    for (const dateMs of [vendorNow - 1_000, vendorNow, vendorNow + latencyMs])
      expect(resetFor(dateMs)).toBe(30_000)
  })

  test('is of the scope that is asked for', () => {
    expect(meterReadings(triple('x-ratelimit-*', ['9', '1']), { wallNow: 0 }, 'quota')).toMatchObject([
      { scope: 'quota' },
    ])
  })
})

describe('whatever comes', () => {
  const word = fc.constantFrom('limit', 'remaining', 'reset')
  const family = fc.constantFrom(
    'x-ratelimit',
    'ratelimit',
    'x-tokenlimit',
    'anthropic-ratelimit',
    'x-rate-limit',
  )
  const tail = fc.constantFrom(
    '',
    '-requests',
    '-tokens',
    '-req-minute',
    '-month',
    '-300',
    '-0',
    '-9999999',
    '-x',
  )
  const name = fc.oneof(
    fc.tuple(family, word, tail).map(([family, word, tail]) => `${family}-${word}${tail}`),
    fc.constantFrom('ratelimit', 'ratelimit-policy', 'date', 'x-trial-endpoint-call-remaining', '__proto__'),
    fc.string(),
  )
  const value = fc.oneof(
    fc.string(),
    fc.string({ unit: fc.constantFrom('"', '\\', ';', ',', '=', ':', 'r', 't', 'q', 'w', '1', ' ') }),
    fc.integer().map(String),
    fc.double().map(String),
    fc.constantFrom(
      '0',
      '-1',
      '0s',
      '1h5m25.152s',
      '99999999h',
      '1e999',
      'NaN',
      '2026-07-07T12:00:00Z',
      '9999-12-31T23:59:59Z',
      'Tue, 07 Jul 2026 12:01:00 GMT',
      '"a";r=1;t=9, "constructor";r=0;qu="constructor"',
      '"a";q=9;w=999999999999999',
      '9, 9;w=-5',
      'limit=9, remaining=0, reset=-1',
    ),
  )

  test('no header makes a throw, a NaN, or a reset or a span that is absurd', () => {
    fc.assert(
      fc.property(fc.dictionary(name, value, { maxKeys: 20 }), fc.nat(4e12), (headers, wallNow) => {
        for (const reading of meterReadings(headers, { wallNow })) {
          const { counts, limit = 1, remaining, resetMs = 1, spanMs = 1 } = reading
          expect(['requests', 'tokens']).toContain(counts)
          expect(reading.meter.length).toBeLessThanOrEqual(66)
          expect(Number.isInteger(limit) && limit >= 1 && limit <= 1e12).toBe(true)
          expect(Number.isInteger(remaining) && remaining >= 0 && remaining <= 1e12).toBe(true)
          expect(resetMs > 0 && resetMs <= 31 * day && spanMs > 0 && spanMs <= 31 * day).toBe(true)
        }
      }),
      { numRuns: 5_000 },
    )
  })

  test('names and lists without end cost neither time nor memory', () => {
    const before = performance.now()
    for (let round = 0; round < 3_000; round++)
      expect(readingsOf({ [`x-ratelimit-remaining-${round}`]: '1' }).length).toBe(1)
    const many = Object.fromEntries(
      Array.from({ length: 2_000 }, (_, at) => [`x-ratelimit-remaining-${at + 1}`, '1']),
    )
    expect(readingsOf(many).length).toBe(16)
    const list = Array.from({ length: 5_000 }, (_, at) => `"p${at}";r=1`).join()
    expect(readingsOf({ ratelimit: list }).length).toBe(16)
    for (const text of ['"'.repeat(60_000), '"\\'.repeat(30_000), ';'.repeat(60_000), '"a;'.repeat(20_000)])
      readingsOf({
        ratelimit: text,
        'ratelimit-policy': text,
        'x-ratelimit-limit': `1,${text}`,
        'x-ratelimit-remaining': '1',
      })
    for (const name of [`x-ratelimit${'-a'.repeat(8_000)}-limit`, `ratelimit-limit${'-req'.repeat(4_000)}`])
      expect(readingsOf({ [name]: '1' })).toEqual([])
    expect(performance.now() - before).toBeLessThan(10_000)
  })
})
