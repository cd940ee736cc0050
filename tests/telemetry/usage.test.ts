import { describe, expect, test } from 'vitest'
import type { RequestEvent } from '../../src/relay/deps.ts'
import { keepUsage } from '../../src/adapter/node/kept-usage.ts'
import { createUsage } from '../../src/telemetry/usage.ts'
import { requestEvent } from './events.ts'

const NOON = Date.UTC(2026, 10, 22, 12)
const [MINUTE, HOUR, DAY] = [60_000, 3_600_000, 86_400_000]

function bed(start = NOON) {
  let wall = start
  const usage = createUsage(() => wall)
  const kept = keepUsage(usage, () => wall)
  return {
    usage,
    kept,
    set: (ms: number) => (wall = start + ms),
    count: (more: Partial<RequestEvent> = {}, times = 1) => {
      for (let nth = 0; nth < times; nth++) usage.report(requestEvent(more))
    },
    /** Points that are not empty, by when they begin. */
    of(series: 'hour' | 'day' | 'days') {
      const points = usage.show()[series]?.points ?? []
      return points.flatMap(({ at, answered, failed, refused }) =>
        answered + failed + refused > 0 ? [[at.slice(5, 16), answered]] : [],
      )
    },
    next(ms = 0) {
      const later = bed(start + ms)
      later.kept.restore(JSON.parse(kept.text(0)))
      return later
    },
  }
}

describe('a request', () => {
  test.each([
    { event: { status: 200 }, as: 'answered' },
    { event: { status: 304 }, as: 'answered' },
    { event: { status: 200, code: 'upstream_disconnected' }, as: 'failed' },
    { event: { status: 502, code: 'upstream_error' }, as: 'failed' },
    { event: { status: 408 }, as: 'failed' },
    { event: { status: 429 }, as: 'refused' },
    { event: { status: 402 }, as: 'refused' },
    { event: { status: 400 }, as: 'client_faults' },
    { event: { status: 401 }, as: 'client_faults' },
    { event: { status: 499 }, as: 'left' },
    { event: { endpoint: 'passthrough' }, as: 'answered' },
    { event: { endpoint: 'models' }, as: undefined },
    { event: { endpoint: 'other', status: 404 }, as: undefined },
  ])('$event is $as', ({ event, as }) => {
    const { usage, count } = bed()
    count(event)
    const names = ['answered', 'client_faults', 'refused', 'failed', 'left'] as const
    for (const series of Object.values(usage.show())) {
      const point = series?.points.at(-1)
      expect(names.filter((name) => point?.[name] === 1)).toEqual(as === undefined ? [] : [as])
    }
  })

  test('is summed up with its tokens and by who answered; what is no amount spoils no sum', () => {
    const { usage, count } = bed()
    count({ inputTokens: 5, outputTokens: 7 })
    count({ inputTokens: Number.NaN, outputTokens: Infinity, upstream: 'b' })
    count({ upstream: undefined, status: 503 })
    expect(usage.show().day?.points.at(-1)).toEqual({
      at: '2026-11-22T12:00:00.000Z',
      answered: 2,
      client_faults: 0,
      refused: 0,
      failed: 1,
      left: 0,
      input_tokens: 5,
      output_tokens: 7,
      first_byte_ms: expect.anything(),
      by_upstream: { a: 1, b: 1 },
    })
  })

  test.each([1, 8, 80, 350, 4_000, 90_000, 600_000])(
    'shows its first byte (%d ms) within a tenth',
    (firstByteMs) => {
      const { usage, count } = bed()
      count({ firstByteMs })
      const { p50 = 0, p95 } = usage.lastHour().first_byte_ms ?? {}
      expect(p95).toBe(p50)
      expect(Math.abs(p50 - firstByteMs)).toBeLessThanOrEqual(Math.max(1, firstByteMs / 10))
    },
  )

  test('counts for percentiles by its rank; failures and unanswered ones do not', () => {
    const { usage, count } = bed()
    count({ firstByteMs: 100 }, 94)
    count({ firstByteMs: 5_000 }, 6)
    count({ firstByteMs: 60_000, status: 500 }, 50)
    const { p50 = 0, p95 = 0 } = usage.lastHour().first_byte_ms ?? {}
    expect([Math.round(p50 / 100), Math.round(p95 / 1_000)]).toEqual([1, 5])
  })
})

describe('the points', () => {
  test('are sixty minutes, twenty-four hours, and the days since the first request, the present one last', () => {
    const { usage, count, set, of } = bed()
    count()
    set(3 * DAY + 2 * HOUR + 5 * MINUTE)
    count({}, 2)
    const { hour, day, days } = usage.show()
    expect([hour, day, days].map((series) => [series?.step_ms, series?.points.length])).toEqual([
      [MINUTE, 60],
      [HOUR, 24],
      [DAY, 4],
    ])
    expect(of('hour')).toEqual([['11-25T14:05', 2]])
    expect(of('day')).toEqual([['11-25T14:00', 2]])
    expect(of('days')).toEqual([
      ['11-22T00:00', 1],
      ['11-25T00:00', 2],
    ])
  })

  test('are forgotten when their time is over', () => {
    const { usage, kept, count, set, of } = bed()
    for (let minute = 0; minute < 200; minute++) {
      set(minute * MINUTE)
      count()
    }
    expect(of('hour')).toHaveLength(60)
    expect(of('day').map(([, answered]) => answered)).toEqual([60, 60, 60, 20])
    for (let nth = 1; nth < 200; nth++) {
      set(nth * DAY)
      count()
    }
    expect(usage.show().days?.points).toHaveLength(90)
    expect(JSON.parse(kept.text(0)).days).toHaveLength(90)
  })

  test('of an hour ago are no part of the last hour', () => {
    const { usage, count, set } = bed()
    count({ status: 500 })
    set(59 * MINUTE)
    count({}, 3)
    count({ status: 400 })
    count({ status: 499 })
    expect(usage.lastHour()).toMatchObject({ requests: 6, answered_share: 0.75 })
    set(60 * MINUTE)
    expect(usage.lastHour()).toMatchObject({ requests: 5, answered_share: 1 })
    set(300 * MINUTE)
    expect(usage.lastHour()).toEqual({ requests: 0, answered_share: null, first_byte_ms: null })
  })
})

describe('a wall clock', () => {
  test('that is set back has what was counted ahead of it in its present', () => {
    const { count, set, of } = bed()
    count()
    set(50 * MINUTE)
    count({}, 2)
    set(30 * MINUTE)
    count()
    expect(of('hour')).toEqual([
      ['11-22T12:00', 1],
      ['11-22T12:30', 3],
    ])
    expect(of('day')).toEqual([['11-22T12:00', 4]])
    set(31 * MINUTE)
    count()
    expect(of('hour').at(-1)).toEqual(['11-22T12:31', 1])
  })

  test('that is a second behind at the turn of a minute loses and doubles nothing', () => {
    const { count, set, of } = bed()
    for (const ms of [59_000, 60_000, 59_500, 60_500]) {
      set(ms)
      count()
    }
    expect(of('hour').reduce((sum, [, answered]) => sum + Number(answered), 0)).toBe(4)
  })

  test('that is set forward for years and back goes on counting', () => {
    const { count, set, of } = bed()
    set(5_000 * DAY)
    count()
    set(0)
    count()
    expect(of('days')).toEqual([['11-22T00:00', 2]])
  })
})

describe('a restart', () => {
  test('keeps all of it, and what is counted by then already is added', () => {
    const first = bed()
    first.count({ inputTokens: 9, upstream: 'x', firstByteMs: 200 }, 3)
    const next = bed(NOON + 30_000)
    next.count({ status: 500 })
    next.kept.restore(JSON.parse(first.kept.text(0)))
    expect(next.usage.show().hour?.points.at(-1)).toMatchObject({
      answered: 3,
      failed: 1,
      input_tokens: 27,
      by_upstream: { x: 3, a: 1 },
      first_byte_ms: first.usage.lastHour().first_byte_ms,
    })
    expect(next.next(2 * MINUTE).of('hour')).toEqual(next.of('hour'))
  })

  test.each([
    undefined,
    null,
    7,
    'x',
    [],
    { hour: 'x' },
    { hour: [{ at: 'x' }], day: [], days: [] },
    { hour: [{ at: 1, sums: [-1, 0, 0, 0, 0, 0, 0], first: [], by: {} }], day: [], days: [] },
    { hour: [{ at: 1, sums: [1], first: [], by: {} }], day: [], days: [] },
    { hour: [{ at: 1, sums: [1, 0, 0, 0, 0, 0, 0], first: [1e9, 1], by: { a: 'x' } }], day: [], days: [] },
  ])('with %j in the file has no sums', (given) => {
    const { kept, of, count } = bed()
    kept.restore(given)
    expect(of('hour')).toEqual([])
    count()
    expect(of('hour')).toEqual([['11-22T12:00', 1]])
  })

  test('finds at most 1 MB, however many upstreams there are and whatever they are called', () => {
    const { usage, kept, set, count } = bed()
    // Days, then hours, then minutes, each full of everything that a point holds.
    const moments = [
      ...Array.from({ length: 90 }, (_, nth) => nth * DAY),
      ...Array.from({ length: 24 }, (_, nth) => 90 * DAY + nth * HOUR),
      ...Array.from({ length: 60 }, (_, nth) => 90 * DAY + 23 * HOUR + nth * MINUTE),
    ]
    for (const [at, moment] of moments.entries()) {
      set(moment)
      for (let nth = 0; nth < 80; nth++)
        count({
          upstream: `${at}-${nth}-${'名'.repeat(200)}`,
          firstByteMs: 1.2 ** nth,
          inputTokens: 123_456_789,
          outputTokens: 123_456_789,
        })
    }
    const bytes = new TextEncoder().encode(kept.text(0)).length
    expect(bytes).toBeGreaterThan(100_000)
    expect(bytes).toBeLessThan(1_000_000)
    const { by_upstream: shown = {} } = usage.show().hour?.points.at(-1) ?? {}
    expect(Object.values(shown).reduce((sum, requests) => sum + requests, 0)).toBe(80)
    expect(Object.keys(shown)).toHaveLength(20)
    expect(shown['other']).toBe(61)
  })
})

test('the text that is kept is made anew when something was counted, and not sooner than it is asked to be', () => {
  const { kept, count, set } = bed()
  const first = kept.text(60_000)
  expect(kept.text(0)).toBe(first)
  count()
  expect(kept.text(60_000)).toBe(first)
  expect(kept.text(0)).not.toBe(first)
  set(60_000)
  count()
  expect(JSON.parse(kept.text(60_000)).hour).toHaveLength(2)
})
