import { expect, test } from 'vitest'
import type { MeterReading } from '../../src/pool/outcome.ts'
import { createBed, failure, model } from './status-bed.ts'

const ok = { kind: 'ok', tokens: 150 } as const
/** Rolling windows are rounded up by a fraction of their span. */
const within = (second: string): unknown => expect.stringContaining(`${second}.`)
const told = (reading: Partial<MeterReading> & { remaining: number }) => ({
  firstByteMs: 10,
  readings: [{ meter: 'x-ratelimit-*', counts: 'requests', scope: 'upstream', ...reading } as const],
})
/** What is shown of a limit that nobody has used, besides. */
const unused = { rate: 0, runs_out_at: null, reopens_at: null, resets_at: null, age: null }

test('configured limits are shown with what is used, and when the day ends', () => {
  const bed = createBed([model('a', { limits: { rpm: 10, tpd: 1_000 } })])
  expect(bed.of(0).windows).toEqual([
    {
      counts: 'requests',
      window: 'minute',
      scope: 'upstream',
      used: 0,
      limit: 10,
      left: 10,
      source: 'configured',
      ...unused,
    },
    {
      counts: 'tokens',
      window: 'day',
      scope: 'upstream',
      used: 0,
      limit: 1_000,
      left: 1_000,
      source: 'configured',
      ...unused,
    },
  ])
  bed.ask(0, { answer: { firstByteMs: 10, readings: [] }, outcome: ok })
  expect(bed.of(0).windows).toMatchObject([
    { counts: 'requests', used: 1, left: 9, resets_at: within('2026-11-22T12:01:00') },
    { counts: 'tokens', used: 150, left: 850, resets_at: '2026-11-23T00:00:00.000Z' },
  ])
})

test('a shared quota is shown under its name by each that draws on it', () => {
  const bed = createBed([model('a', { quota: 'account' }), model('b', { quota: 'account' })], {
    quotas: { account: { rpd: 5 } },
  })
  bed.ask(0, { answer: { firstByteMs: 10, readings: [] }, outcome: ok })
  for (const place of [0, 1]) {
    expect(bed.of(place).windows).toMatchObject([
      { scope: 'quota account', window: 'day', used: 1, limit: 5, left: 4 },
    ])
  }
})

test('a limit that the upstream told of is learned, with its own reset', () => {
  const bed = createBed([model('a')])
  bed.ask(0, { answer: told({ limit: 30, remaining: 12, resetMs: 40_000 }), outcome: ok })
  expect(bed.of(0).windows).toEqual([
    {
      counts: 'requests',
      window: 'minute',
      scope: 'upstream',
      used: 18,
      limit: 30,
      left: 12,
      source: 'learned',
      rate: 0.2,
      runs_out_at: null,
      reopens_at: null,
      resets_at: '2026-11-22T12:00:40.000Z',
      age: 0,
      meter: 'x-ratelimit-*',
    },
  ])
})

test('what is left is shown where the upstream named no limit, and the window goes when that is stale', () => {
  const bed = createBed([model('a')])
  bed.ask(0, { answer: told({ remaining: 3, resetMs: 20_000 }), outcome: ok })
  expect(bed.of(0).windows).toMatchObject([{ limit: null, left: 3, source: 'learned' }])
  bed.pass(120_000)
  expect(bed.of(0).windows).toEqual([])
})

test('a configured limit and what the upstream tells stand next to each other', () => {
  const bed = createBed([model('a', { limits: { rpm: 10 } })])
  bed.ask(0, { answer: told({ limit: 4, remaining: 2, resetMs: 60_000 }), outcome: ok })
  expect(bed.of(0).windows).toMatchObject([
    { limit: 10, used: 1, left: 9, source: 'configured' },
    { limit: 4, used: 2, left: 2, source: 'learned' },
  ])
})

test('the outlook says when a limit runs out at this rate, and when one that is spent reopens', () => {
  const bed = createBed([model('a', { limits: { rpm: 3 } })])
  const answer = { firstByteMs: 10, readings: [] }
  for (let nth = 0; nth < 2; nth++) bed.ask(0, { answer, outcome: ok })
  expect(bed.of(0).windows).toMatchObject([{ left: 1, rate: 0.4, runs_out_at: null, reopens_at: null }])
  bed.ask(0, { answer, outcome: ok })
  expect(bed.of(0).windows).toMatchObject([{ left: 0, reopens_at: within('2026-11-22T12:01:00') }])

  const day = createBed([model('b')])
  for (let nth = 0; nth < 30; nth++)
    day.ask(0, { answer: told({ limit: 100, remaining: 70 - nth, resetMs: 36_000_000 }), outcome: ok })
  // 30 requests at once are 6 a minute over five minutes: 41 are gone in 6:50.
  expect(day.of(0).windows).toMatchObject([{ left: 41, rate: 6, runs_out_at: within('2026-11-22T12:06:50') }])
})

test('a spent window makes the upstream unavailable until it reopens', () => {
  const bed = createBed([model('a', { limits: { rpm: 2 } })])
  const answer = { firstByteMs: 10, readings: [] }
  bed.ask(0, { answer, outcome: ok })
  bed.pass(10_000)
  bed.ask(0, { answer, outcome: ok })
  expect(bed.of(0)).toMatchObject({
    available: false,
    why: 'requests per minute used up',
    blocked_by: 'upstream',
    until: within('2026-11-22T12:01:00'),
    windows: [{ used: 2, limit: 2, left: 0, resets_at: within('2026-11-22T12:01:10') }],
  })
})

test('an upstream whose tokens are spent is not available, however small the request', () => {
  const bed = createBed([model('a')])
  bed.ask(0, { answer: told({ counts: 'tokens', limit: 6_000, remaining: 0, resetMs: 30_000 }), outcome: ok })
  expect(bed.of(0)).toMatchObject({
    available: false,
    why: "tokens used up, by the upstream's own word",
    for_ms: 30_000,
  })
})

test('requests under way count against concurrency, which a release lifts and no clock', () => {
  const bed = createBed([model('a', { limits: { concurrency: 1 } })])
  bed.lease(0)
  expect(bed.of(0)).toMatchObject({
    available: false,
    why: 'concurrency limit reached',
    until: null,
    for_ms: null,
    in_flight: 1,
    windows: [
      {
        counts: 'requests',
        window: 'at_once',
        used: 1,
        limit: 1,
        left: 0,
        source: 'configured',
        resets_at: null,
      },
    ],
  })
})

test('a concurrency limit that a refusal taught is learned', () => {
  const bed = createBed([model('a')])
  bed.lease(0)
  bed.lease(0)
  bed.ask(0, { outcome: failure({ cause: 'overloaded' }) })
  expect(bed.of(0).windows).toMatchObject([{ window: 'at_once', used: 2, limit: 2, source: 'learned' }])
})
