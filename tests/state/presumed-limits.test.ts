import { expect, test } from 'vitest'
import { limitsFrom, type WrittenLimits } from '../../src/config/model-schema.ts'
import type { Claim } from '../../src/pool/upstream.ts'
import { availabilityOf } from '../../src/state/availability.ts'
import { createMemoryStore } from '../../src/state/memory.ts'
import type { Ask } from '../../src/state/store.ts'
import { ASK, at, claimOf, limited, OK, told, tokens } from './claims.ts'

/** A claim on an upstream whose limits only a preset tells of. */
function presumed(id: string, limits: WrittenLimits): Claim {
  const { windows } = limitsFrom(limits)
  const claim = claimOf(id, { limits })
  const [own, ...others] = claim.draws
  const guessed = windows.map((window) => ({ ...window, isPresumed: true as const }))
  return own === undefined
    ? claim
    : { ...claim, draws: [{ ...own, limits: { windows: guessed } }, ...others] }
}

function bed() {
  const store = createMemoryStore({ random: () => 0.5 })
  const lookAt = (claim: Claim, ms: number, ask: Ask = ASK) =>
    availabilityOf(claim, (scope) => store.snapshot([scope])[0], { ask, now: at(ms).now })
  return {
    store,
    lookAt,
    /** Sends one, and has it answered; whether it was let through here. */
    serve(claim: Claim, ms: number, ask: Ask = ASK): boolean {
      const lease = store.acquire([claim], ask, at(ms))
      if (lease === undefined) return false
      store.confirm(lease, { firstByteMs: 10, readings: [] }, at(ms))
      store.settle(lease, OK, at(ms))
      return true
    },
  }
}

test('a presumed limit that is spent puts its upstream last, and refuses nobody', () => {
  const { serve, lookAt } = bed()
  const claim = presumed('a', { rpm: 2 })
  expect([serve(claim, 0), serve(claim, 1)]).toEqual([true, true])
  expect(lookAt(claim, 2)).toMatchObject({ free: true, isDoubtful: true, headroom: 0 })
  expect(serve(claim, 2)).toBe(true)
})

test('a configured limit of the same size refuses', () => {
  const { serve, lookAt } = bed()
  const claim = claimOf('a', { limits: { rpm: 2 } })
  expect([serve(claim, 0), serve(claim, 1), serve(claim, 2)]).toEqual([true, true, false])
  expect(lookAt(claim, 2)).toMatchObject({ free: false })
})

test('whoever may wait until it reopens waits for a presumed limit', () => {
  const { serve, lookAt } = bed()
  const claim = presumed('a', { rpm: 1 })
  serve(claim, 0)
  expect(lookAt(claim, 56_000, { ...ASK, patienceMs: 5_000 })).toMatchObject({
    free: false,
    reason: { cause: 'requests:minute' },
  })
  expect(lookAt(claim, 30_000, { ...ASK, patienceMs: 5_000 })).toMatchObject({ free: true, isDoubtful: true })
})

test('what is let through beyond a presumed limit raises it', () => {
  const { serve, lookAt } = bed()
  const claim = presumed('a', { rpm: 2, tpm: 1_000 })
  for (const ms of [0, 1, 2, 3]) serve(claim, ms, tokens(400))
  expect(lookAt(claim, 61_000)).toMatchObject({ free: true, isDoubtful: false })
  for (const ms of [61_000, 61_001, 61_002]) serve(claim, ms, tokens(400))
  expect(lookAt(claim, 61_003, tokens(400))).toMatchObject({ isDoubtful: false })
  serve(claim, 61_003, tokens(400))
  expect(lookAt(claim, 61_004, tokens(400))).toMatchObject({ isDoubtful: true })
})

test('what was refused raises nothing', () => {
  const { store, serve, lookAt } = bed()
  const claim = presumed('a', { rpm: 1 })
  serve(claim, 0)
  const lease = store.acquire([claim], ASK, at(1))
  if (lease) store.settle(lease, limited({ hintMs: 1_000 }), at(2))
  expect(store.snapshot(['a'])[0]?.windows['requests:minute']?.proven).toBe(0)
  expect(lookAt(claim, 30_000)).toMatchObject({ isDoubtful: true })
})

test('the word of the upstream on the same limit takes the place of the presumed one', () => {
  const { store, lookAt } = bed()
  const claim = presumed('a', { rpm: 1 })
  const reading = told({ limit: 60, remaining: 59, resetMs: 60_000, spanMs: 60_000 })
  const lease = store.acquire([claim], ASK, at(0))
  if (lease) {
    store.confirm(lease, { firstByteMs: 10, readings: [reading] }, at(10))
    store.settle(lease, OK, at(10))
  }
  expect(lookAt(claim, 20)).toMatchObject({ free: true, isDoubtful: false })
})

test('a refusal that names the limit takes its place too, and one of another limit leaves it', () => {
  const { store, lookAt } = bed()
  const claim = presumed('a', { rpm: 100, rpd: 1 })
  const lease = store.acquire([claim], ASK, at(0))
  const named = { counts: 'requests', spanMs: 86_400_000, scope: 'upstream', limit: 250 } as const
  if (lease) store.settle(lease, limited({ told: [named] }), at(1))
  expect(lookAt(claim, 60_000)).toMatchObject({ free: true, isDoubtful: false })
})

test('what was proven is kept across a restart', () => {
  const { store, serve } = bed()
  const claim = presumed('a', { rpd: 1 })
  for (const ms of [0, 1, 2]) serve(claim, ms)
  const next = createMemoryStore({ random: () => 0.5 })
  next.restore(JSON.parse(JSON.stringify(store.keep(at(3)))), at(4))
  expect(next.snapshot(['a'])[0]?.windows['requests:day']?.proven).toBe(3)
})

test.each([
  ['a day that is spent', { cause: 'quota', hintMs: 3_600_000 }],
  ['a limit of a minute', { cause: 'rate-limited', hintMs: 30_000 }],
  ['too many at once', { cause: 'overloaded' }],
  [
    'headers that leave nothing',
    { readings: [told({ scope: 'quota', remaining: 0, limit: 50, resetMs: 30_000 })] },
  ],
] as const)('%s rests who was told; others of its presumed account come last', (_, more) => {
  const { store, lookAt } = bed()
  const inAccount = (id: string): Claim => {
    const { draws, ...claim } = claimOf(id, { key: 'k' })
    return { ...claim, draws: [...draws, { scope: 'quota v account', role: 'account' }] }
  }
  const leases = ['a', 'b'].map((id) => store.acquire([inAccount(id)], ASK, at(0)))
  const [asked] = leases
  if (asked) store.settle(asked, limited({ scope: 'quota', ...more }), at(1))
  const patient = { ...ASK, patienceMs: 5_000 }
  for (const ask of [ASK, patient]) {
    expect(lookAt(inAccount('a'), 2, ask)).toMatchObject({ free: false })
    expect(lookAt(inAccount('b'), 2, ask)).toMatchObject({ free: true })
  }
  expect(lookAt(inAccount('b'), 2)).toMatchObject({ isDoubtful: true })
})
