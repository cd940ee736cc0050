import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import type { Cause } from '../../src/pool/outcome.ts'
import {
  recordFailure,
  endProbe,
  admit,
  recordSuccess,
  startProbe,
  type BreakerFailure,
  type CircuitBreakerState,
} from '../../src/state/circuit-breaker.ts'

const second = 1_000
const minute = 60 * second
const hour = 60 * minute
const day = 24 * hour

const failure = (cause: Cause, now: number, more: Partial<BreakerFailure> = {}): BreakerFailure => ({
  cause,
  now,
  sentAt: now,
  isProbe: false,
  random: () => 0.5,
  ...more,
})

/** Pauses of failures in a row, each the moment that the one before has ended. */
function pauses(cause: Cause, times: number, random = () => 0.5): number[] {
  let state: CircuitBreakerState | undefined
  let now = 1
  return Array.from({ length: times }, () => {
    state = recordFailure(state, failure(cause, now, { random, isProbe: true }))
    const pause = state.openUntil - now
    now = state.openUntil
    return pause
  })
}

test.each<{ cause: Cause; expected: number[] }>([
  { cause: 'rate-limited', expected: [5, 10, 20, 40, 80, 160, 300, 300].map((n) => n * second) },
  { cause: 'failure', expected: [1, 2, 4, 8, 16, 32, 60, 60].map((n) => n * second) },
  { cause: 'auth', expected: [5, 10, 20, 40, 60, 60].map((n) => n * minute) },
  { cause: 'not-found', expected: [10, 20, 40, 80].map((n) => n * minute) },
  { cause: 'quota', expected: [1, 2, 4, 8, 16, 24, 24].map((n) => n * hour) },
  { cause: 'overloaded', expected: [1, 1, 1].map((n) => n * second) },
])('$cause in a row rests for $expected ms', ({ cause, expected }) => {
  expect(pauses(cause, expected.length)).toEqual(expected)
})

test('a missing model rests for a day at most', () => {
  expect(pauses('not-found', 12).at(-1)).toBe(day)
})

test('own back-offs spread by 20 % either way and no further', () => {
  expect(pauses('failure', 1, () => 0)).toEqual([800])
  expect(pauses('failure', 1, () => 1 - 2 ** -32)[0]).toBeCloseTo(1_200, 3)
  fc.assert(
    fc.property(fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), fc.nat(40), (u, past) => {
      const nominal = Math.min(60, 2 ** past) * second
      const pause = pauses('failure', past + 1, () => u).at(-1) ?? 0
      expect(pause / nominal).toBeGreaterThan(0.799)
      expect(pause / nominal).toBeLessThan(1.201)
    }),
  )
})

test.each([
  { cause: 'rate-limited', hintMs: 7_300, rest: 7_300, because: 'a hint is taken as it is' },
  { cause: 'rate-limited', hintMs: 0, rest: second, because: 'no hint is under a second' },
  { cause: 'rate-limited', hintMs: 5 * hour, rest: hour, because: 'minute limits reopen within the hour' },
  { cause: 'quota', hintMs: 5 * hour, rest: 5 * hour, because: 'a day is waited for' },
  { cause: 'quota', hintMs: 90 * day, rest: 31 * day, because: 'no quota lasts longer than a month' },
] as const)('a hint of $hintMs ms for $cause rests $rest ms: $because', ({ cause, hintMs, rest }) => {
  expect(recordFailure(undefined, failure(cause, 100, { hintMs, random: () => 0.99 })).openUntil).toBe(
    100 + rest,
  )
})

test('a hint is no back-off of our own: the first pause after it is the shortest', () => {
  const hinted = recordFailure(undefined, failure('rate-limited', 0, { hintMs: 2_000 }))
  const own = recordFailure(hinted, failure('rate-limited', 3_000, { isProbe: true }))
  expect(own.openUntil).toBe(8_000)
})

test('another cause begins its own back-off', () => {
  const first = recordFailure(undefined, failure('failure', 0))
  const again = recordFailure(first, failure('failure', 1_000))
  expect(recordFailure(again, failure('quota', 4_000)).openUntil).toBe(4_000 + hour)
})

test('no order of failures ever brings a deadline forward', () => {
  const causes: Cause[] = ['rate-limited', 'overloaded', 'quota', 'auth', 'not-found', 'failure']
  const step = fc.record({
    cause: fc.constantFrom(...causes),
    hintMs: fc.option(fc.nat(2 * day), { nil: undefined }),
    after: fc.nat(2 * hour),
    age: fc.nat(hour),
    random: fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
  })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
      let state: CircuitBreakerState | undefined
      let now = day
      for (const { cause, hintMs, after, age, random } of steps) {
        now += after
        const before = state?.openUntil ?? 0
        const asked = { ...(hintMs !== undefined && { hintMs }), sentAt: now - age, random: () => random }
        state = recordFailure(state, failure(cause, now, asked))
        expect(state.openUntil).toBeGreaterThanOrEqual(before)
        expect(Number.isFinite(state.openUntil)).toBe(true)
      }
    }),
  )
})

test('a success lifts only what began before it was sent', () => {
  const breaker = recordFailure(undefined, failure('failure', 1_000))
  expect(recordSuccess(breaker, { sentAt: 1_000, isProbe: false })).toBe(breaker)
  expect(recordSuccess(breaker, { sentAt: 1_001, isProbe: false })).toBeUndefined()
  expect(recordSuccess(breaker, { sentAt: 1_000, isProbe: true })).toBeUndefined()
})

test('open, then half-open for one, then open for the others until the probe runs out', () => {
  const breaker = recordFailure(undefined, failure('quota', 0))
  const openUntil = breaker.openUntil
  expect(admit(breaker, { now: openUntil - 1, lastResort: true })).toEqual({
    state: 'open',
    reason: { cause: 'quota', until: openUntil, onRelease: false },
  })
  expect(admit(breaker, { now: openUntil, lastResort: false })).toEqual({ state: 'half-open' })
  const until = openUntil + 9_000
  const probed = startProbe(breaker, { lease: '7', until, now: openUntil })
  expect(admit(probed, { now: openUntil + 1, lastResort: true })).toEqual({
    state: 'open',
    reason: { cause: 'quota', until, onRelease: true },
  })
  expect(admit(probed, { now: until, lastResort: false })).toEqual({ state: 'half-open' })
  expect(endProbe(probed, '8')).toBe(probed)
  expect(admit(endProbe(probed, '7'), { now: until, lastResort: false })).toEqual({ state: 'half-open' })
})

test('a limit refuses at once: behind a probe that is quiet for a second nobody waits for its answer', () => {
  const breaker = recordFailure(undefined, failure('rate-limited', 0))
  const probed = startProbe(breaker, { lease: '7', until: 70_000, now: 5_000 })
  expect(admit(probed, { now: 5_001, lastResort: true })).toEqual({
    state: 'open',
    reason: { cause: 'rate-limited', until: 6_000, onRelease: true },
  })
  expect(admit(probed, { now: 6_000, lastResort: false })).toEqual({ state: 'closed' })
  // Refused after all, it is open again, for all.
  const refused = recordFailure(probed, failure('rate-limited', 6_500, { isProbe: true }))
  expect(admit(refused, { now: 6_501, lastResort: false }).state).toBe('open')
})

test('a rest whose end is our guess is asked about once an hour, by one request', () => {
  const guessed = recordFailure(undefined, failure('quota', 0, { hintMs: 20 * hour, isInferred: true }))
  const said = recordFailure(undefined, failure('quota', 0, { hintMs: 20 * hour }))
  const stateAt = (breaker: CircuitBreakerState, now: number): string =>
    admit(breaker, { now, lastResort: false }).state
  expect([stateAt(guessed, hour - 1), stateAt(guessed, hour), stateAt(said, hour)]).toEqual([
    'open',
    'half-open',
    'open',
  ])
  const asked = startProbe(guessed, { lease: '1', until: hour + minute, now: hour })
  expect(stateAt(asked, hour + 1)).toBe('open')
  const again = endProbe(
    recordFailure(
      asked,
      failure('quota', hour + second, { hintMs: 19 * hour, isInferred: true, isProbe: true }),
    ),
    '1',
  )!
  expect([stateAt(again, 2 * hour - 1), stateAt(again, 2 * hour + second)]).toEqual(['open', 'half-open'])
})

test('an own back-off ends when more is known to be let through, and a hint is never shortened', () => {
  const capped = recordFailure(undefined, failure('rate-limited', 0, { mostMs: 2 * second }))
  const hinted = recordFailure(undefined, failure('rate-limited', 0, { mostMs: 2 * second, hintMs: minute }))
  expect([capped.openUntil, hinted.openUntil]).toEqual([2 * second, minute])
})

test('the longest back-offs of replicas are spread as well', () => {
  const restsFor = (random: number): number => {
    let breaker: CircuitBreakerState | undefined
    for (let nth = 0; nth < 12; nth++) {
      const now = (breaker?.openUntil ?? 0) + 1
      breaker = recordFailure(breaker, { ...failure('rate-limited', now), sentAt: now, random: () => random })
    }
    return breaker!.openUntil - breaker!.openSince
  }
  expect([0, 0.5, 1].map(restsFor)).toEqual([240_000, 300_000, 360_000])
})

test('too many at once is tried again by as many as fit, not by one alone', () => {
  const breaker = recordFailure(undefined, failure('overloaded', 0))
  const probed = startProbe(breaker, { lease: '1', until: minute, now: second })
  expect(admit(probed, { now: second, lastResort: false }).state).toBe('half-open')
})
