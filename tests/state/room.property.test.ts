import fc from 'fast-check'
import { expect, test } from 'vitest'
import { createMemoryStore } from '../../src/state/memory.ts'
import type { Lease } from '../../src/state/store.ts'
import { ASK, at, claimOf, OK, told, tokens } from './claims.ts'

/** A word about one limit, on a question that was sent at a moment. */
interface Word {
  readonly meter: string
  readonly askedAt: number
  readonly remaining: number
  readonly until: number
}

const meters = ['x-ratelimit-*-requests', 'x-ratelimit-*-tokens', 'ratelimit-*'] as const
const countsOf = (meter: string) => (meter.includes('token') ? ('tokens' as const) : ('requests' as const))

const reading = fc.record({
  meter: fc.constantFrom(...meters),
  limit: fc.option(fc.integer({ min: 1, max: 1_000 }), { nil: undefined }),
  remaining: fc.nat(40),
  resetMs: fc.option(fc.integer({ min: 1, max: 90_000 }), { nil: undefined }),
  isDuration: fc.boolean(),
})
const step = fc.record({
  afterMs: fc.nat(20_000),
  isTokens: fc.boolean(),
  amount: fc.integer({ min: 1, max: 500 }),
  /** Which of those under way is answered, so that answers come in any order. */
  answered: fc.nat(5),
  readings: fc.array(reading, { maxLength: 3 }),
  /** The wall clock jumps. */
  wallMs: fc.integer({ min: -1e8, max: 1e8 }),
})

/**
 * Whoever may not wait (its patience is over) is refused only while a word of some limit is that nothing is left, only up to
 * the moment that it named, and only until another is heard whose question was sent later.
 */
test('a request is never refused for something learned while the newest words say that there is room', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const store = createMemoryStore({ random: () => 0.5 })
      const claim = claimOf('a')
      let words: Word[] = []
      const underWay: Lease[] = []
      let ms = 0
      for (const { afterMs, isTokens, amount, answered, readings, wallMs } of steps) {
        ms += afterMs
        const now = { now: at(ms).now, wall: at(ms).wall + wallMs }
        const lease = store.acquire([claim], isTokens ? tokens(amount) : ASK, now)
        const isClosed = words.some(
          ({ meter, remaining, until }) =>
            remaining === 0 && until > now.now && (isTokens || countsOf(meter) === 'requests'),
        )
        if (lease === undefined) expect({ isClosed, ms }).toEqual({ isClosed: true, ms })
        else underWay.push(lease)
        const [other] = underWay.splice(answered % Math.max(1, underWay.length), 1)
        if (other === undefined) continue
        const heard = [
          ...new Map(
            readings.map((one) => [one.meter, told({ ...one, counts: countsOf(one.meter) })]),
          ).values(),
        ]
        store.confirm(other, { firstByteMs: 1, readings: heard }, now)
        store.settle(other, OK, now)
        for (const { meter, remaining, resetMs = 0 } of heard) {
          // A request is on its way for a quarter of a second at most.
          const until = Math.min(now.now, other.since + 250) + resetMs
          words = words.filter((word) => word.meter !== meter || word.askedAt >= other.since - 10)
          words.push({ meter, askedAt: other.since, remaining, until })
        }
      }
    }),
    { numRuns: 2_000 },
  )
})
