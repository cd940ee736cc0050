import { expect, test } from 'vitest'
import { availabilityOf } from '../../src/state/availability.ts'
import { createMemoryStore } from '../../src/state/memory.ts'
import type { Ask } from '../../src/state/store.ts'
import { ASK, at, claimOf, failed, limited, OK, told, tokens } from './claims.ts'

const minute = 60_000
const claim = claimOf('a')

/** A store that is asked by requests which may wait for 5 s. */
function bed() {
  const store = createMemoryStore({ random: () => 0.5 })
  const acquire = (ms: number, ask: Ask = ASK, patienceMs = 5_000) =>
    store.acquire([claim], { ...ask, patienceMs }, at(ms))
  const serve = (ms: number, reading: ReturnType<typeof told>, ask: Ask = ASK): void => {
    const lease = acquire(ms, ask, 0)!
    store.confirm(lease, { firstByteMs: 1, readings: [reading] }, at(ms))
    store.settle(lease, OK, at(ms))
  }
  /** Sent at one time, heard of at another. */
  const sent = (ms: number) => {
    const lease = acquire(ms, ASK, 0)!
    return (heardMs: number, reading: ReturnType<typeof told>): void => {
      store.confirm(lease, { firstByteMs: heardMs - ms, readings: [reading] }, at(heardMs))
      store.settle(lease, OK, at(heardMs))
    }
  }
  const isOpen = (ms: number): boolean =>
    availabilityOf(claim, (scope) => store.snapshot([scope])[0], { ask: ASK, now: at(ms).now }).free
  const refuse = (ms: number, more: Parameters<typeof limited>[0], ask: Ask = ASK): void =>
    store.settle(acquire(ms, ask, 0)!, limited(more), at(ms))
  return { store, acquire, serve, sent, isOpen, refuse, state: () => store.snapshot(['a'])[0]! }
}

test('a refusal does not make a sliding log look like a window, though its reset comes nearer', () => {
  const { store, serve, refuse, state } = bed()
  const says = (remaining: number, resetMs: number) => told({ limit: 10, remaining, resetMs })
  for (let nth = 0; nth < 9; nth++) serve(nth * 3_000, says(9 - nth, minute))
  expect(state().meters['x-ratelimit-*-requests']?.kind).toBe('log')
  refuse(40_000, { hintMs: 1_000, readings: [says(0, 44_000)] })
  expect(state().meters['x-ratelimit-*-requests']?.kind).toBe('log')
  expect(store.acquire([claim], ASK, at(40_500))).toBeUndefined()
})

test('a zero of a sliding log reopens when the first of what was sent is forgotten', () => {
  const { acquire, serve } = bed()
  for (let nth = 0; nth < 10; nth++)
    serve(nth * 2_000, told({ limit: 10, remaining: Math.max(0, 9 - nth), resetMs: minute }))
  expect(acquire(59_000)).toBeUndefined()
  expect(acquire(60_500)).toBeDefined()
})

test('tokens that an upstream has refused once are known not to fit, until such are answered', () => {
  const { store, acquire, serve, refuse } = bed()
  const says = (remaining: number) =>
    told({ counts: 'tokens', limit: 2_000, remaining, resetMs: minute, isDuration: false })
  serve(0, says(50), tokens(10))
  // Our estimate alone refuses nobody.
  expect(acquire(1, tokens(100))).toBeDefined()
  refuse(2, { hintMs: 1_000, readings: [says(50)] }, tokens(100))
  expect(acquire(2_000, tokens(100), 0)).toBeUndefined()
  const small = acquire(2_000, tokens(40), 0)!
  // It came together with another, and both were more than was left.
  acquire(3_000, tokens(45), 0)
  store.confirm(small, { firstByteMs: 1, readings: [] }, at(3_100))
  expect(acquire(3_200, tokens(100), 0)).toBeDefined()
})

test('after a zero an own back-off is no longer than what the zero names', () => {
  const { acquire, refuse } = bed()
  refuse(0, { readings: [told({ limit: 20, remaining: 0, resetMs: 2_000 })] })
  expect(acquire(1_900, ASK, 0)).toBeUndefined()
  expect(acquire(2_500, ASK, 0)).toBeDefined()
})

test('whatever upstreams call their limits, 32 are remembered for each scope', () => {
  const { serve, refuse, state } = bed()
  for (let nth = 0; nth < 50; nth++)
    serve(nth, told({ meter: `ratelimit ${nth}`, remaining: 9, resetMs: minute }))
  for (let nth = 0; nth < 50; nth++) {
    const limit = { counts: 'requests', scope: 'upstream', limit: 900, spanMs: 1_000 * (nth + 1) } as const
    refuse(1_000 + nth * 2_000, { hintMs: 1_000, told: [limit] })
  }
  const { meters, walls } = state()
  expect([Object.keys(meters).length, Object.keys(walls).length]).toEqual([32, 32])
  expect(meters['ratelimit 49']).toBeDefined()
  expect(walls['requests:50000']).toBeDefined()
})

test('of a log one is free whenever one is forgotten, however unevenly they were sent', () => {
  const { acquire, serve } = bed()
  const sentAt = [0, 4_000, 4_000, 6_000, 30_000]
  for (const [nth, ms] of sentAt.entries()) serve(ms, told({ limit: 5, remaining: 4 - nth, resetMs: minute }))
  const takenAt = (ms: number): number => {
    let taken = 0
    while (acquire(ms) !== undefined) taken += 1
    return taken
  }
  // The fifth was sent 24 s behind the fourth.
  expect([59_000, 60_500, 64_500, 66_500, 80_000].map(takenAt)).toEqual([0, 1, 2, 1, 0])
})

test('what a sliding log forgot while the question was under way is free', () => {
  const { serve, sent, isOpen } = bed()
  for (let nth = 0; nth < 4; nth++)
    serve(nth * 2_000, told({ limit: 5, remaining: 4 - nth, resetMs: minute }))
  const hear = sent(59_900)
  hear(60_500, told({ limit: 5, remaining: 0, resetMs: minute }))
  expect(isOpen(60_501)).toBe(true)
})

test('a word speaks of when it was asked for: a bucket has been refilled since', () => {
  const { sent, isOpen } = bed()
  const slow = sent(0)
  slow(12_000, told({ limit: 60, remaining: 0, resetMs: minute, isDuration: true }))
  expect(isOpen(12_000)).toBe(true)
})

test('a word speaks of when it was asked for: a window ends so long after the question', () => {
  const { sent, isOpen } = bed()
  const slow = sent(0)
  slow(12_000, told({ limit: 20, remaining: 0, resetMs: 20_000 }))
  expect([isOpen(19_900), isOpen(20_300)]).toEqual([false, true])
})

test('of answers to questions that were under way together the least that is left counts, in whatever order they come', () => {
  const { sent, isOpen } = bed()
  const [one, two, three] = [sent(0), sent(0), sent(0)]
  two(400, told({ limit: 20, remaining: 0, resetMs: 30_000 }))
  three(410, told({ limit: 20, remaining: 2, resetMs: 30_000 }))
  one(420, told({ limit: 20, remaining: 1, resetMs: 30_000 }))
  expect(isOpen(500)).toBe(false)
})

test('a bucket that is spent is closed until one has come back for each that was sent since', () => {
  const { acquire, sent, isOpen } = bed()
  sent(0)(10, told({ limit: 20, remaining: 0, resetMs: minute, isDuration: true }))
  expect(acquire(3_200)).toBeDefined()
  // Also for who may not wait: it is the upstream's word, and our own sending.
  expect(acquire(3_300, ASK, 0)).toBeUndefined()
  expect(isOpen(5_900)).toBe(false)
  expect(acquire(6_200, ASK, 0)).toBeDefined()
})

test('the fraction of a reset point never reopens a bucket right behind a refusal', () => {
  const { serve, refuse, isOpen } = bed()
  const says = (resetMs: number) => told({ limit: 500, remaining: 0, resetMs, isDuration: true })
  serve(0, says(3_600_000))
  refuse(8_000, { readings: [says(3_592_802)] })
  expect([isOpen(8_500), isOpen(16_000)]).toEqual([false, true])
})

test('a zero without a reset is over when by our own log one is forgotten, of the span that its words name', () => {
  const { serve, refuse, isOpen } = bed()
  const ofMinute = { counts: 'requests', scope: 'key', limit: 5, spanMs: minute } as const
  const says = (remaining: number) => told({ limit: 5, remaining })
  serve(0, says(4))
  refuse(100, { scope: 'key', told: [ofMinute], readings: [says(0)] })
  for (let nth = 0; nth < 5; nth++) serve(20_000 + nth * 5_000, says(4 - nth))
  refuse(41_000, { scope: 'key', told: [ofMinute], readings: [says(0)] })
  expect([isOpen(79_000), isOpen(80_400)]).toEqual([false, true])
})

test('what was reserved comes back also behind a reset point, where nothing was said since', () => {
  const { store, acquire, serve } = bed()
  serve(0, told({ counts: 'tokens', limit: 1_000, remaining: 900, resetMs: 10_000 }), tokens(100))
  const lease = acquire(20_000, tokens(900))!
  expect(acquire(20_001, tokens(500))).toBeUndefined()
  store.settle(lease, { kind: 'ok', tokens: 100 }, at(20_100))
  expect(acquire(20_101, tokens(500))).toBeDefined()
})

test('what was under way when a word was heard that holds it already is not held against it', () => {
  const { sent, isOpen } = bed()
  const all = Array.from({ length: 30 }, (_, nth) => sent(nth * 10))
  const says = (remaining: number) => told({ limit: 60, remaining, resetMs: minute, isDuration: true })
  // The last that was sent is heard first.
  for (const [at, hear] of all.toReversed().entries()) hear(8_000 + at, says(at === 0 ? 0 : 30 - at))
  expect(isOpen(8_100)).toBe(true)
})

test('of a burst that was too large the refused come first, and the others are not counted once more', () => {
  const { sent, refuse, isOpen } = bed()
  const says = (remaining: number, resetMs: number) =>
    told({ limit: 10, remaining, resetMs, isDuration: true })
  const answered = Array.from({ length: 10 }, () => sent(0))
  refuse(20, { hintMs: 6_000, readings: [says(0, minute)] })
  for (const [nth, hear] of answered.entries()) hear(3_000 + nth, says(9 - nth, (nth + 1) * 6_000))
  expect([isOpen(5_500), isOpen(6_100)]).toEqual([false, true])
})

test('a word on a question that was sent later is believed, though it is more', () => {
  const { sent, isOpen } = bed()
  const [first, second] = [sent(0), sent(15)]
  first(50, told({ limit: 20, remaining: 0, resetMs: minute }))
  expect(isOpen(51)).toBe(false)
  second(600, told({ limit: 20, remaining: 15, resetMs: minute }))
  expect(isOpen(601)).toBe(true)
})

test('what a failure says that took its time is as old as its question', () => {
  const { store, acquire, isOpen } = bed()
  const lease = acquire(0, ASK, 0)!
  const readings = [told({ limit: 20, remaining: 0, resetMs: 40_000 })]
  store.settle(lease, failed({ class: 'ambiguous', readings }), at(60_000))
  expect(isOpen(70_000)).toBe(true)
})

test('a request is known not to fit only where nothing that is spent explains its refusal, and up to the reset', () => {
  const { acquire, serve, refuse } = bed()
  const says = (remaining: number) => told({ counts: 'tokens', limit: 10_000, remaining, resetMs: minute })
  serve(0, says(8_000), tokens(200))
  refuse(
    10,
    { hintMs: 1_000, readings: [told({ limit: 20, remaining: 0, resetMs: 2_000 }), says(8_000)] },
    tokens(8_500),
  )
  expect(acquire(3_000, tokens(8_500), 0)).toBeDefined()
  const other = bed()
  other.serve(0, says(8_000), tokens(200))
  other.refuse(10, { hintMs: 1_000, readings: [says(8_000)] }, tokens(8_500))
  expect(other.acquire(3_000, tokens(8_500), 0)).toBeUndefined()
  expect(other.acquire(3_000, tokens(200), 0)).toBeDefined()
  other.serve(61_000, says(8_000), tokens(200))
  expect(other.acquire(61_001, tokens(8_500), 0)).toBeDefined()
})

test('words without a reset, a span or a limit leave nothing behind that is no number', () => {
  const { store, serve } = bed()
  const ofMinute = { meter: 'x-ratelimit-*-tokens-minute', counts: 'tokens', spanMs: minute } as const
  serve(0, told({ ...ofMinute, limit: 60_000, remaining: 60_000 }), tokens(100))
  serve(100, told({ limit: 5, remaining: 4, resetMs: 3_000 }))
  serve(200, told({ limit: 5, remaining: 3 }))
  serve(300, told({ limit: 6, remaining: 3 }))
  serve(400, told({ remaining: 2 }))
  const kept = JSON.stringify(store.keep(at(500)))
  expect(kept).toContain('tokens-minute')
  expect(kept).not.toContain('null')
})

test('a reset that was seen once says nothing of words that name none', () => {
  const { serve, isOpen, state } = bed()
  serve(0, told({ limit: 5, remaining: 4, resetMs: 3_000 }))
  serve(4_000, told({ limit: 5, remaining: 0 }))
  expect(isOpen(4_001)).toBe(true)
  expect(state().meters['x-ratelimit-*-requests']).toMatchObject({
    kind: 'window',
    spanMs: 0,
    log: undefined,
  })
})
