import { describe, expect, test } from 'vitest'
import { configOf, model, problemsOf, textOf, warningsOf, window } from './texts.ts'

const withWindows = (...windows: unknown[]) => textOf({ models: [model({ limits: { windows } })] })
const windowsOf = (...windows: unknown[]) => configOf(withWindows(...windows)).models[0]?.limits?.windows
const DAY_MS = 86_400_000

test.each([
  ['1s', 1_000],
  ['90s', 90_000],
  ['1m', 60_000],
  ['5h', 18_000_000],
  ['36h', 1.5 * DAY_MS],
  ['7d', 7 * DAY_MS],
  ['31d', 31 * DAY_MS],
  ['744h', 31 * DAY_MS],
  ['2678400s', 31 * DAY_MS],
])('a window per %s has %d ms and rolls', (per, spanMs) => {
  expect(windowsOf({ requests: 3, per })).toEqual([window({ limit: 3, per, spanMs })])
  expect(windowsOf({ tokens: 9, per })).toEqual([window({ limit: 9, counts: 'tokens', per, spanMs })])
})

test.each(['week', 'month'])('a %s ends in UTC where nothing else is said', (per) => {
  expect(windowsOf({ requests: 3, per })).toEqual([window({ limit: 3, per, resets: 'UTC' })])
})

test.each([
  ['1h', 'UTC'],
  ['23h', 'Asia/Kathmandu'],
  ['1d', 'America/Los_Angeles'],
  ['48h', 'UTC'],
  ['36h', 'rolling'],
  ['week', 'Europe/Berlin'],
  ['month', 'rolling'],
])('a window per %s may reset by %s', (per, resets) => {
  expect(windowsOf({ requests: 3, per, resets })).toMatchObject([{ per, resets }])
})

test('windows stand behind the named limits, in their own order, and are told apart by name', () => {
  const windows = [
    { tokens: 5, per: '1m' },
    { requests: 6, per: '1m' },
    { requests: 7, per: '1d', resets: 'UTC' },
    { requests: 8, per: '1s' },
  ]
  const text = textOf({ quotas: { a: { tpm: 1, rpd: 2, rpm: 3, windows, concurrency: 4 } } })
  const { windows: counted = [], concurrency } = configOf(text).quotas['a'] ?? {}
  expect(counted.map(({ name, limit }) => [name, limit])).toEqual([
    ['requests:minute', 3],
    ['requests:day', 2],
    ['tokens:minute', 1],
    ['tokens:1m', 5],
    ['requests:1m', 6],
    ['requests:1d', 7],
    ['requests:1s', 8],
  ])
  expect(concurrency).toBe(4)
  expect(warningsOf(text)).toEqual([])
})

test('day_resets is of rpd and tpd alone', () => {
  const limits = { rpd: 1, day_resets: 'Europe/Berlin', windows: [{ requests: 2, per: 'week' }] }
  const [day, week] = configOf(textOf({ quotas: { a: limits } })).quotas['a']?.windows ?? []
  expect([day?.resets, week?.resets]).toEqual(['Europe/Berlin', 'UTC'])
})

test('no limits are no windows', () => {
  for (const limits of [{}, { windows: [] }, { concurrency: 1 }])
    expect(configOf(textOf({ quotas: { a: limits } })).quotas['a']?.windows).toEqual([])
})

const PER = 'is neither a time of 1 s to 31 days nor "week" or "month"; write for example "30s", "5h" or "7d"'
const COUNT = 'must be a whole number of at least 1; write a number such as 10; leave it out for no limit'
const ZONE = 'is not a time zone; write "UTC", a zone such as "America/Los_Angeles", or "rolling"'
const EXAMPLE = 'write for example { "requests": 100, "per": "5h" }'
const DAYS =
  'is longer than a day and resets at midnight, so it must be whole days; write for example "2d", or "resets": "rolling"'

describe('what is wrong with one window', () => {
  test.each([
    ...'0s 01h 32d 745h 2678401s 9999999d 1.5h -1h 1h30m 500ms 1w 1M 5 h'.split(' '),
    ...'minute day hour Week months constructor'.split(' '),
    '',
    '5 h',
    `${'9'.repeat(70)}s`,
  ])('per %j', (per) => {
    expect(problemsOf(withWindows({ requests: 1, per }))).toEqual([
      expect.stringContaining(`[0].per: ${PER}`),
    ])
  })

  test.each([
    [{ requests: 1 }, '.per', 'is missing; write for example "30s", "5h" or "7d"'],
    [{ requests: 1, per: 60 }, '.per', 'must be a string; write for example "30s", "5h" or "7d"'],
    [{ requests: 0, per: '5h' }, '.requests', COUNT],
    [{ tokens: 1.5, per: '5h' }, '.tokens', COUNT],
    [{ tokens: '100', per: '5h' }, '.tokens', COUNT],
    [{ requests: 1, tokens: null, per: '5h' }, '.tokens', COUNT],
    [{ requests: 1, per: '5h', resets: 'Mars/Olympus' }, '.resets', ZONE],
    [{ requests: 1, per: '5h', resets: '+08:00' }, '.resets', ZONE],
    [{ requests: 1, per: '5h', resets: 0 }, '.resets', ZONE],
    [{ per: '5h' }, '', `has neither requests nor tokens; ${EXAMPLE}`],
    [
      { requests: 1, tokens: 1, per: '5h' },
      '',
      'has both requests and tokens; write two windows, one for each',
    ],
    [{ requests: 1, per: '36h', resets: 'UTC' }, '', DAYS],
    [{ requests: 1, per: '86401s', resets: 'Europe/Berlin' }, '', DAYS],
    ['5h', '', `must be an object; ${EXAMPLE}`],
    [null, '', `must be an object; ${EXAMPLE}`],
    [[], '', 'must be an object, not a list; write { … }'],
  ])('%j is told at the window%s: %s', (written, below, told) => {
    const right = { tokens: 1, per: '1s' }
    const path = (at: number) => `models[0].limits.windows[${at}]${below}`
    expect(problemsOf(withWindows(written))).toEqual([expect.stringMatching(/^c\.json:\d+:\d+: /)])
    expect(problemsOf(withWindows(written))).toEqual([expect.stringContaining(`: ${path(0)}: ${told}`)])
    expect(problemsOf(withWindows(right, written))).toEqual([
      expect.stringContaining(`: ${path(1)}: ${told}`),
    ])
  })

  test('each wrong window is told', () => {
    const problems = problemsOf(
      withWindows({ per: '5h' }, { requests: 1, tokens: 1, per: '1h' }, { requests: -1 }),
    )
    expect(problems.map((problem) => problem.split(': ')[1])).toEqual([
      'models[0].limits.windows[0]',
      'models[0].limits.windows[1]',
      'models[0].limits.windows[2].per',
      'models[0].limits.windows[2].requests',
    ])
  })
})

test.each([
  [
    { requests: 1, per: '5h' },
    { requests: 2, per: '5h' },
  ],
  [
    { tokens: 1, per: '60m' },
    { tokens: 1, per: '1h' },
  ],
  [
    { requests: 1, per: '1d' },
    { requests: 2, per: '24h', resets: 'UTC' },
  ],
  [
    { requests: 1, per: 'week' },
    { requests: 2, per: '7d' },
  ],
])('%j and %j are of one length and count the same', (first, second) => {
  expect(problemsOf(withWindows(first, { tokens: 9, per: '9s' }, second))).toEqual([
    expect.stringContaining(
      'models[0].limits.windows[2]: counts the same over the same time as an earlier window; keep one of them',
    ),
  ])
})

test('requests and tokens may be counted over the same time, and a minute beside rpm', () => {
  const windows = [
    { requests: 1, per: '1m' },
    { tokens: 1, per: '1m' },
  ]
  expect(problemsOf(textOf({ quotas: { a: { rpm: 2, windows } } }))).toEqual([])
})
