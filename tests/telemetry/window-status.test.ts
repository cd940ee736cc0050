import { expect, test } from 'vitest'
import type { QuotaSignal } from '../../src/pool/outcome.ts'
import { createBed, failure, model } from './status-bed.ts'

const ok = { kind: 'ok', tokens: 150 } as const
/** Rolling windows are rounded up by a fraction of their span. */
const within = (second: string): unknown => expect.stringContaining(`${second}.`)
const told = (signal: Omit<QuotaSignal, 'scope' | 'counts' | 'window'> & Partial<QuotaSignal>) => ({
  firstByteMs: 10,
  signals: [{ counts: 'requests', window: 'minute', scope: 'upstream', ...signal } as const],
})

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
      resets_at: null,
    },
    {
      counts: 'tokens',
      window: 'day',
      scope: 'upstream',
      used: 0,
      limit: 1_000,
      left: 1_000,
      source: 'configured',
      resets_at: null,
    },
  ])
  bed.ask(0, { answer: { firstByteMs: 10, signals: [] }, outcome: ok })
  expect(bed.of(0).windows).toMatchObject([
    { counts: 'requests', used: 1, left: 9, resets_at: within('2026-11-22T12:01:00') },
    { counts: 'tokens', used: 150, left: 850, resets_at: '2026-11-23T00:00:00.000Z' },
  ])
})

test('a shared quota is shown under its name by each that draws on it', () => {
  const bed = createBed([model('a', { quota: 'account' }), model('b', { quota: 'account' })], {
    quotas: { account: { rpd: 5 } },
  })
  bed.ask(0, { answer: { firstByteMs: 10, signals: [] }, outcome: ok })
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
      resets_at: '2026-11-22T12:00:40.000Z',
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

test('of a configured and a learned limit the one that binds names the source', () => {
  const bed = createBed([model('a', { limits: { rpm: 10 } })])
  bed.ask(0, { answer: told({ limit: 60, remaining: 59, resetMs: 60_000 }), outcome: ok })
  expect(bed.of(0).windows).toMatchObject([{ limit: 10, used: 1, left: 9, source: 'configured' }])
  bed.ask(0, { answer: told({ limit: 4, remaining: 2, resetMs: 60_000 }), outcome: ok })
  expect(bed.of(0).windows).toMatchObject([{ limit: 4, used: 2, left: 2, source: 'learned' }])
})

test('a spent window makes the upstream unavailable until it reopens', () => {
  const bed = createBed([model('a', { limits: { rpm: 2 } })])
  const answer = { firstByteMs: 10, signals: [] }
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
  expect(bed.of(0)).toMatchObject({ available: false, why: 'tokens per minute used up', for_ms: 30_000 })
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
