import { availabilityOf } from '../../src/state/availability.ts'
import { describe, expect, test } from 'vitest'
import type { Outcome, MeterReading } from '../../src/pool/outcome.ts'
import { limitsFrom } from '../../src/config/model-schema.ts'
import type { Claim } from '../../src/pool/upstream.ts'
import type { Ask, Lease, StateStore } from '../../src/state/store.ts'
import { ASK, at, claimOf, failed, LAST_RESORT, LEFT, limited, NOT_SENT, OK, told, tokens } from './claims.ts'

const minute = 60_000
const hour = 60 * minute

/** A store and the steps of a request on it, at moments in ms after noon. */
function bedOf(store: StateStore) {
  const acquire = async (order: Claim | Claim[], ms: number, ask: Ask = ASK): Promise<Lease | undefined> =>
    store.acquire([order].flat(), ask, at(ms))
  const take = async (claim: Claim, ms: number, ask: Ask = ASK): Promise<Lease> => {
    const lease = await acquire(claim, ms, ask)
    if (lease === undefined) throw new Error(`${claim.id} takes nothing at ${ms} ms`)
    return lease
  }
  const confirm = async (lease: Lease, ms: number, ...readings: MeterReading[]): Promise<void> =>
    store.confirm(lease, { firstByteMs: 100, readings }, at(ms))
  const settle = async (lease: Lease, outcome: Outcome, ms: number): Promise<void> =>
    store.settle(lease, outcome, at(ms))
  return {
    store,
    acquire,
    take,
    confirm,
    settle,
    /** Whether somebody could have taken it; nothing is left behind. */
    async isOpen(claim: Claim, ms: number, ask: Ask = ASK): Promise<boolean> {
      const lease = await acquire(claim, ms, ask)
      if (lease !== undefined) await settle(lease, NOT_SENT, ms)
      return lease !== undefined
    },
    /** Whether somebody could take it, with a guess that speaks against it. */
    async isDoubtful(claim: Claim, ms: number, ask: Ask = ASK): Promise<boolean> {
      const states = await store.snapshot(claim.draws.map(({ scope }) => scope))
      const stateOf = (scope: string) => states[claim.draws.findIndex((draw) => draw.scope === scope)]
      const availability = availabilityOf(claim, stateOf, { ask, now: ms })
      return availability.free && availability.isDoubtful
    },
    /** A whole request, answered at once. */
    async serve(claim: Claim, ms: number, ...readings: MeterReading[]): Promise<void> {
      const lease = await take(claim, ms)
      await confirm(lease, ms, ...readings)
      await settle(lease, OK, ms)
    },
    /** A whole request that ends badly at once. */
    async fail(claim: Claim, ms: number, outcome: Outcome = failed()): Promise<void> {
      await settle(await take(claim, ms, LAST_RESORT), outcome, ms)
    },
    async inFlight(claim: Claim): Promise<number> {
      const [state] = await store.snapshot([claim.id])
      return state?.inFlight ?? 0
    },
    async openUntil(scope: string): Promise<number | undefined> {
      const [state] = await store.snapshot([scope])
      return state?.breaker && state.breaker.openUntil - at(0).now
    },
  }
}

/**
 * What every store must do. `create` makes a fresh one whose dice always show `draw`; at 0.5 own back-offs
 * have no jitter.
 */
export function storeContract(
  name: string,
  create: (draw: () => number) => StateStore | Promise<StateStore>,
): void {
  const bed = async () => bedOf(await create(() => 0.5))

  describe(`${name}: leases`, () => {
    test('of an order the first that has room is taken', async () => {
      const { acquire } = await bed()
      const [a, b] = [claimOf('a', { limits: { concurrency: 1 } }), claimOf('b')]
      expect((await acquire([a, b], 0))?.claim.id).toBe('a')
      expect((await acquire([a, b], 0))?.claim.id).toBe('b')
    })

    test('an empty order gives no lease', async () => {
      const { acquire } = await bed()
      expect(await acquire([], 0)).toBeUndefined()
    })

    test('all windows are taken or none: a full shared quota leaves the own limit untouched', async () => {
      const { acquire, take } = await bed()
      const shared = { account: { rpm: 1 } }
      const [a, b] = [claimOf('a', { limits: { rpm: 1 }, quotas: shared }), claimOf('b', { quotas: shared })]
      await take(b, 0)
      expect(await acquire(a, 0)).toBeUndefined()
      expect(await acquire(claimOf('a', { limits: { rpm: 1 } }), 0)).toBeDefined()
    })

    test('upstreams that share a quota spend it together', async () => {
      const { acquire, take } = await bed()
      const claims = ['a', 'b', 'c'].map((id) => claimOf(id, { quotas: { account: { rpm: 2 } } }))
      await take(claims[0]!, 0)
      await take(claims[1]!, 0)
      expect(await acquire(claims, 0)).toBeUndefined()
    })

    test('of many limits the tightest counts', async () => {
      const { acquire, take } = await bed()
      const claim = claimOf('a', { limits: { rpm: 9 }, quotas: { one: { rpm: 5 }, two: { rpd: 2 } } })
      await take(claim, 0)
      await take(claim, 0)
      expect(await acquire(claim, 0)).toBeUndefined()
    })

    test('a lease is settled once; what comes after does nothing', async () => {
      const { take, settle, confirm, inFlight, isOpen } = await bed()
      const claim = claimOf('a', { limits: { rpm: 2 } })
      const [first] = [await take(claim, 0), await take(claim, 0)]
      await settle(first, NOT_SENT, 0)
      await settle(first, NOT_SENT, 0)
      await settle(first, failed(), 0)
      await confirm(first, 0)
      expect(await inFlight(claim)).toBe(1)
      expect(await isOpen(claim, 0)).toBe(true)
      await take(claim, 0)
      expect(await isOpen(claim, 0)).toBe(false)
    })

    test.each([
      { outcome: NOT_SENT, open: true, because: 'it never left here' },
      { outcome: failed({ class: 'not-sent' }), open: true, because: 'the connection was refused' },
      { outcome: LEFT, open: false, because: 'the upstream may have counted it' },
      { outcome: failed({ class: 'ambiguous' }), open: false, because: 'the upstream may have counted it' },
      { outcome: failed({ class: 'refused-body' }), open: false, because: 'a refused request is a request' },
    ])('a place in the minute is given back: $open, since $because', async ({ outcome, open }) => {
      const { take, settle, isOpen } = await bed()
      const claim = claimOf('a', { limits: { rpm: 1 } })
      await settle(await take(claim, 0), outcome, 10)
      expect(await isOpen(claim, 2_000)).toBe(open)
    })

    test('a lease that nobody settles is taken back', async () => {
      const { take, inFlight, isOpen } = await bed()
      const claim = claimOf('a', { limits: { concurrency: 1 } })
      await take(claim, 0)
      expect(await isOpen(claim, 59 * minute)).toBe(false)
      expect(await isOpen(claim, 61 * minute)).toBe(true)
      expect(await inFlight(claim)).toBe(0)
    })

    test('in flight counts what is not settled, confirmed or not', async () => {
      const { take, confirm, settle, inFlight } = await bed()
      const claim = claimOf('a')
      const lease = await take(claim, 0)
      await take(claim, 0)
      await confirm(lease, 5)
      expect(await inFlight(claim)).toBe(2)
      await settle(lease, OK, 10)
      expect(await inFlight(claim)).toBe(1)
    })
  })

  describe(`${name}: cooldowns`, () => {
    test('after a failure nobody is sent there; then one request at a time finds out', async () => {
      const { acquire, fail, isOpen } = await bed()
      const claim = claimOf('a')
      await fail(claim, 0)
      expect(await isOpen(claim, 999)).toBe(false)
      expect(await acquire(claim, 1_000)).toBeDefined()
      expect(await acquire(claim, 1_001)).toBeUndefined()
    })

    test('a probe ends with its commit, not with its body', async () => {
      const { take, confirm, acquire, fail } = await bed()
      const claim = claimOf('a')
      await fail(claim, 0)
      await confirm(await take(claim, 1_000), 1_100)
      expect(await acquire(claim, 1_101)).toBeDefined()
      expect(await acquire(claim, 1_102)).toBeDefined()
    })

    test('a probe that nobody ends frees its place after its time', async () => {
      const { take, isOpen, fail } = await bed()
      const claim = claimOf('a')
      await fail(claim, 0)
      await take(claim, 1_000)
      expect(await isOpen(claim, 10_999)).toBe(false)
      expect(await isOpen(claim, 11_000)).toBe(true)
    })

    test('a probe whose client leaves frees its place without a verdict', async () => {
      const { take, settle, fail, openUntil, isOpen } = await bed()
      const claim = claimOf('a')
      await fail(claim, 0)
      await settle(await take(claim, 1_000), LEFT, 1_200)
      expect(await openUntil('a')).toBe(1_000)
      expect(await isOpen(claim, 1_200)).toBe(true)
    })

    test('a failing probe doubles the cooldown, a successful one resets it', async () => {
      const { fail, serve, openUntil } = await bed()
      const claim = claimOf('a')
      await fail(claim, 0)
      await fail(claim, 1_000)
      expect(await openUntil('a')).toBe(3_000)
      await serve(claim, 3_000)
      expect(await openUntil('a')).toBeUndefined()
      await fail(claim, 4_000)
      expect(await openUntil('a')).toBe(5_000)
    })

    test('a request that is refused for its own fault proves that the upstream works', async () => {
      const { fail, openUntil } = await bed()
      const claim = claimOf('a')
      await fail(claim, 0)
      await fail(claim, 1_000, failed({ class: 'refused-body', scope: 'none' }))
      expect(await openUntil('a')).toBeUndefined()
    })

    test.each([
      { outcome: OK, because: 'it went well' },
      { outcome: LEFT, because: 'the client left' },
      { outcome: failed({ class: 'refused-body', scope: 'none' }), because: 'the client is at fault' },
      { outcome: failed({ class: 'too-long', scope: 'none' }), because: 'another model may take it' },
      { outcome: limited({ scope: 'none' }), because: 'one request was too large' },
    ])('nobody cools when $because', async ({ outcome }) => {
      const { take, settle, isOpen } = await bed()
      const claim = claimOf('a')
      await settle(await take(claim, 0), outcome, 0)
      expect(await isOpen(claim, 0)).toBe(true)
    })

    test('a stream that breaks rests its upstream', async () => {
      const { take, confirm, settle, isOpen } = await bed()
      const claim = claimOf('a')
      const lease = await take(claim, 0)
      await confirm(lease, 100)
      await settle(lease, { kind: 'broken', code: 'upstream_disconnected' }, 500)
      expect(await isOpen(claim, 1_499)).toBe(false)
      expect(await isOpen(claim, 1_500)).toBe(true)
    })

    test('requests that fail together are one strike', async () => {
      const { take, settle, openUntil } = await bed()
      const claim = claimOf('a')
      const leases = [await take(claim, 0), await take(claim, 0), await take(claim, 10)]
      await settle(leases[0]!, failed(), 100)
      await settle(leases[1]!, failed(), 200)
      await settle(leases[2]!, failed(), 900)
      expect(await openUntil('a')).toBe(1_100)
    })

    test('the success of an older request does not lift a newer cooldown', async () => {
      const { take, confirm, settle, openUntil } = await bed()
      const claim = claimOf('a')
      const [older, newer] = [await take(claim, 0), await take(claim, 10)]
      await settle(newer, limited({ hintMs: 30_000 }), 20)
      await confirm(older, 30)
      await settle(older, OK, 40)
      expect(await openUntil('a')).toBe(30_020)
    })

    test('the later deadline wins, and a hint is never shortened', async () => {
      const { take, settle, openUntil } = await bed()
      const claim = claimOf('a')
      const leases = [await take(claim, 0), await take(claim, 0), await take(claim, 0), await take(claim, 0)]
      await settle(leases[0]!, limited({ hintMs: 20_000 }), 0)
      await settle(leases[1]!, limited({ hintMs: 5_000 }), 0)
      await settle(leases[2]!, failed(), 0)
      expect(await openUntil('a')).toBe(20_000)
      await settle(leases[3]!, limited({ hintMs: 25_000 }), 0)
      expect(await openUntil('a')).toBe(25_000)
    })

    test('a refused key rests everything called with it, and nothing else', async () => {
      const { fail, isOpen } = await bed()
      await fail(claimOf('a', { key: 'one' }), 0, failed({ scope: 'key', cause: 'auth' }))
      expect(await isOpen(claimOf('b', { key: 'one' }), 299_999)).toBe(false)
      expect(await isOpen(claimOf('b', { key: 'one' }), 300_000)).toBe(true)
      expect(await isOpen(claimOf('a2', { key: 'two' }), 0)).toBe(true)
    })

    test('a missing endpoint rests that endpoint of the upstream alone', async () => {
      const { fail, isOpen } = await bed()
      await fail(
        claimOf('a', { endpoint: 'embeddings' }),
        0,
        failed({ scope: 'endpoint', cause: 'not-found' }),
      )
      expect(await isOpen(claimOf('a', { endpoint: 'embeddings' }), 1_000)).toBe(false)
      expect(await isOpen(claimOf('a', { endpoint: 'chat' }), 1_000)).toBe(true)
    })

    test('a limit of the account rests whoever draws on it, or the upstream where it draws on none', async () => {
      const { fail, isOpen } = await bed()
      const quotas = { account: { rpm: 100 } }
      await fail(claimOf('a', { quotas }), 0, limited({ scope: 'quota', hintMs: 9_000 }))
      expect(await isOpen(claimOf('b', { quotas }), 1_000)).toBe(false)
      await fail(claimOf('c'), 0, limited({ scope: 'quota', hintMs: 9_000 }))
      expect(await isOpen(claimOf('c'), 1_000)).toBe(false)
      expect(await isOpen(claimOf('d'), 1_000)).toBe(true)
    })
  })

  describe(`${name}: a rest that somebody ends`, () => {
    const scopesOf = ({ draws }: Claim) => draws.map(({ scope }) => scope)

    test('is over at once for all that rested, which is told', async () => {
      const { store, fail, isOpen } = await bed()
      const [a, b] = [claimOf('a', { key: 'one' }), claimOf('b', { key: 'one' })]
      await fail(a, 0, failed({ scope: 'key', cause: 'auth' }))
      await fail(a, 0, failed())
      expect(await isOpen(b, 1)).toBe(false)
      expect(new Set(await store.closeBreakers(scopesOf(a), at(1)))).toEqual(new Set(['a', 'key one']))
      expect([await isOpen(a, 1), await isOpen(b, 1)]).toEqual([true, true])
    })

    test('of what rests not, or is not known, nothing is told', async () => {
      const { store, serve } = await bed()
      await serve(claimOf('a'), 0)
      expect(await store.closeBreakers([...scopesOf(claimOf('a')), 'never heard of'], at(1))).toEqual([])
    })

    test('leaves what is under way, counted and learned', async () => {
      const { store, take, confirm, fail, isOpen, inFlight } = await bed()
      const a = claimOf('a', { limits: { rpm: 3 } })
      await confirm(await take(a, 0), 0)
      await fail(
        a,
        0,
        limited({ hintMs: 50_000, readings: [told({ limit: 9, remaining: 0, resetMs: 20_000 })] }),
      )
      expect(await store.closeBreakers(scopesOf(a), at(10))).toEqual(['a'])
      expect(await inFlight(a)).toBe(1)
      // The upstream's own word holds until its reset, and no longer.
      expect([await isOpen(a, 10), await isOpen(a, 20_001)]).toEqual([false, true])
    })

    test('a failure opens the breaker again, as the first one did', async () => {
      const { store, fail, openUntil } = await bed()
      const a = claimOf('a')
      for (let nth = 0; nth < 3; nth++) await fail(a, nth * 30_000)
      await store.closeBreakers(scopesOf(a), at(100_000))
      expect(await openUntil('a')).toBeUndefined()
      await fail(a, 100_000)
      expect(await openUntil('a')).toBe(101_000)
    })

    test('an origin is suspected no longer, and keys are limited anew before it is', async () => {
      const { store, fail, isDoubtful } = await bed()
      const [a, b, c] = ['a', 'b', 'c'].map((id) => claimOf(id, { origin: 'host' }))
      await fail(a!, 0, limited({ scope: 'key' }))
      await fail(b!, 0, limited({ scope: 'key' }))
      expect(await isDoubtful(c!, 1)).toBe(true)
      await store.closeBreakers(scopesOf(c!), at(1))
      expect(await isDoubtful(c!, 1)).toBe(false)
    })
  })

  describe(`${name}: the operator's pause`, () => {
    test('keeps every new request away, as a last resort and by a pin too, until it is ended', async () => {
      const { store, isOpen, fail } = await bed()
      const [a, b] = [claimOf('a', { key: 'one' }), claimOf('b', { key: 'one' })]
      await fail(a, 0)
      await store.remember('answer 1', 'a', { ttlMs: hour, at: at(0) })
      expect(await store.pause('a', true, at(1))).toBe(true)
      for (const ask of [ASK, LAST_RESORT, { ...LAST_RESORT, pinKeys: ['answer 1'] }])
        expect(await isOpen(a, 48 * hour, ask)).toBe(false)
      expect(await isOpen(b, 2)).toBe(true)
      expect(await store.pause('a', false, at(3))).toBe(true)
      expect(await isOpen(a, 10_000)).toBe(true)
    })

    test('is news once, and of an upstream that nobody has asked yet too', async () => {
      const { store, isOpen } = await bed()
      expect([await store.pause('a', false, at(0)), await store.pause('a', true, at(0))]).toEqual([
        false,
        true,
      ])
      expect(await store.pause('a', true, at(5))).toBe(false)
      expect((await store.snapshot(['a']))[0]?.pausedSince).toBe(at(0).now)
      expect(await isOpen(claimOf('a'), 6)).toBe(false)
    })

    test('lets what is under way end, and neither its success nor the end of a rest resumes it', async () => {
      const { store, take, confirm, settle, isOpen, inFlight } = await bed()
      const a = claimOf('a')
      const lease = await take(a, 0)
      await store.pause('a', true, at(1))
      expect(await inFlight(a)).toBe(1)
      await confirm(lease, 2)
      await settle(lease, OK, 3)
      await store.closeBreakers(['a'], at(4))
      expect([await inFlight(a), await isOpen(a, 5)]).toEqual([0, false])
    })
  })

  describe(`${name}: a trial of the operator's`, () => {
    const TRIAL: Ask = { ...ASK, lastResort: true, isTrial: true }

    test('is sent whatever is in the way, and counted', async () => {
      const { store, acquire, isOpen } = await bed()
      const a = claimOf('a', { limits: { rpm: 1, concurrency: 2 } })
      await store.pause('a', true, at(0))
      for (let nth = 0; nth < 3; nth++) expect(await acquire(a, 0, TRIAL)).toBeDefined()
      await store.pause('a', false, at(1))
      const [state] = await store.snapshot(['a'])
      expect([state?.inFlight, state?.windows['requests:minute']?.pending]).toEqual([3, 3])
      expect(await isOpen(a, 2)).toBe(false)
    })

    test('ends a rest by its success, whose cause never lets a request through', async () => {
      const { store, take, confirm, fail, isOpen } = await bed()
      const a = claimOf('a', { key: 'one' })
      await fail(a, 0, limited({ scope: 'key', hintMs: hour }))
      expect(await isOpen(a, 1, LAST_RESORT)).toBe(false)
      await confirm(await take(a, 1, TRIAL), 2)
      expect((await store.snapshot(['key one']))[0]?.breaker).toBeUndefined()
      expect(await isOpen(a, 3)).toBe(true)
    })
  })

  describe(`${name}: the last resort`, () => {
    test('a failing upstream is tried all the same, cooling or probed', async () => {
      const { acquire, fail } = await bed()
      const claim = claimOf('a')
      await fail(claim, 0)
      expect(await acquire(claim, 10, LAST_RESORT)).toBeDefined()
      expect(await acquire(claim, 20, LAST_RESORT)).toBeDefined()
    })

    test('its success lifts the cooldown even within the millisecond in which that began', async () => {
      const { fail, take, confirm, openUntil } = await bed()
      const claim = claimOf('a')
      await fail(claim, 0)
      await confirm(await take(claim, 0, LAST_RESORT), 0)
      expect(await openUntil('a')).toBeUndefined()
    })

    test.each([
      { why: 'a refused key', outcome: failed({ scope: 'key', cause: 'auth' }) },
      { why: 'a missing model', outcome: failed({ scope: 'endpoint', cause: 'not-found' }) },
      {
        why: 'missing credit',
        outcome: limited({ scope: 'key', cause: 'quota', code: 'insufficient_quota' }),
      },
    ])('$why is tried once in ten seconds', async ({ outcome }) => {
      const { acquire, fail, settle, take } = await bed()
      const claim = claimOf('a')
      await fail(claim, 0, outcome)
      await settle(await take(claim, 1_000, LAST_RESORT), outcome, 1_100)
      expect(await acquire(claim, 10_999, LAST_RESORT)).toBeUndefined()
      expect(await acquire(claim, 11_000, LAST_RESORT)).toBeDefined()
    })

    test.each([
      { why: 'a 429', outcome: limited({ hintMs: 30_000 }) },
      { why: 'a spent day', outcome: limited({ cause: 'quota' }) },
    ])('$why is waited for', async ({ outcome }) => {
      const { acquire, fail } = await bed()
      const claim = claimOf('a')
      await fail(claim, 0, outcome)
      expect(await acquire(claim, 20_000, LAST_RESORT)).toBeUndefined()
    })
  })

  describe(`${name}: origins`, () => {
    const claims = ['a', 'b', 'c'].map((id) => claimOf(id, { origin: 'https://one.test' }))
    const [a, b, c] = claims as [Claim, Claim, Claim]

    test('two keys that are limited within a second put the others of the origin last, doubling', async () => {
      const { fail, isOpen, openUntil } = await bed()
      await fail(a, 0, limited())
      expect(await isOpen(c, 500)).toBe(true)
      await fail(b, 1_000, limited())
      expect(await openUntil('origin https://one.test')).toBe(6_000)
      expect(await isOpen(c, 5_999)).toBe(true)
      await fail(c, 6_000, limited())
      expect(await openUntil('origin https://one.test')).toBe(16_000)
    })

    test.each([
      { because: 'more than a second lies between them', at: 1_001, more: {} },
      { because: 'a hint is that key’s own', at: 500, more: { hintMs: 2_000 } },
    ])('one does not when $because', async ({ at: ms, more }) => {
      const { fail, isOpen } = await bed()
      await fail(a, 0, limited())
      await fail(b, ms, limited(more))
      expect(await isOpen(c, ms)).toBe(true)
    })

    test('the same key twice, or a success between, rests nobody else', async () => {
      const { fail, serve, isOpen } = await bed()
      const twin = claimOf('a2', { key: 'a', origin: 'https://one.test' })
      await fail(a, 0, limited())
      await fail(twin, 100, limited())
      expect(await isOpen(c, 200)).toBe(true)
      await serve(c, 300)
      await fail(b, 400, limited())
      expect(await isOpen(c, 500)).toBe(true)
    })
  })

  describe(`${name}: proxies`, () => {
    const behind = (id: string) => claimOf(id, { proxy: 'p' })
    const proxyFails = failed({ class: 'not-sent', scope: 'proxy' })

    test('one that fails rests all that is behind it, which a last resort asks all the same', async () => {
      const { fail, isOpen } = await bed()
      await fail(behind('a'), 0, proxyFails)
      for (const id of ['a', 'b']) expect(await isOpen(behind(id), 10)).toBe(false)
      expect(await isOpen(behind('b'), 10, LAST_RESORT)).toBe(true)
      for (const claim of [claimOf('c'), claimOf('d', { proxy: 'q' })])
        expect(await isOpen(claim, 10)).toBe(true)
    })

    test.each([
      { what: 'a success', outcome: OK },
      { what: 'a refusal', outcome: limited({ status: 429 }) },
      { what: 'an error', outcome: failed({ status: 500 }) },
    ])(
      '$what from behind one shows that it works again, but not that who was asked first does',
      async (given) => {
        const { fail, isOpen } = await bed()
        await fail(behind('a'), 0, proxyFails)
        await fail(behind('b'), 20, given.outcome)
        expect(await isOpen(behind('c'), 30)).toBe(true)
        expect(await isOpen(behind('a'), 30)).toBe(false)
      },
    )

    test('a connection that behind one is not made shows nothing of it', async () => {
      const { fail, isOpen } = await bed()
      await fail(behind('a'), 0, proxyFails)
      await fail(behind('b'), 20, failed({ class: 'not-sent' }))
      expect(await isOpen(behind('c'), 30)).toBe(false)
    })
  })

  describe(`${name}: learned limits`, () => {
    test('nothing left closes until the reset', async () => {
      const { serve, isOpen } = await bed()
      const claim = claimOf('a')
      await serve(claim, 0, told({ remaining: 0, resetMs: 20_000 }))
      expect(await isOpen(claim, 19_999)).toBe(false)
      expect(await isOpen(claim, 20_000)).toBe(true)
    })

    test('the word on the later question replaces what was said before, up and down, a zero too', async () => {
      const { take, confirm, isOpen } = await bed()
      const claim = claimOf('a')
      const leases = [await take(claim, 0), await take(claim, 1), await take(claim, 2)]
      await confirm(leases[1]!, 10, told({ remaining: 0, resetMs: 20_000 }))
      await confirm(leases[0]!, 20, told({ remaining: 15, resetMs: 20_000 }))
      expect(await isOpen(claim, 30)).toBe(false)
      await confirm(leases[2]!, 40, told({ remaining: 9, resetMs: 1_000 }))
      expect(await isOpen(claim, 50)).toBe(true)
    })

    test('behind the reset nothing is known, which is open', async () => {
      const { serve, take, isOpen } = await bed()
      const claim = claimOf('a')
      await serve(claim, 0, told({ limit: 2, remaining: 0, resetMs: 20_000 }))
      for (let nth = 0; nth < 5; nth++) await take(claim, 20_000)
      expect(await isOpen(claim, 20_001)).toBe(true)
    })

    test('what is left by the last word delays while an answer is awaited, and refuses nobody', async () => {
      const { take, confirm, acquire, isDoubtful } = await bed()
      const claim = claimOf('a')
      const [first] = [await take(claim, 0), await take(claim, 0)]
      await confirm(first, 10, told({ remaining: 3, resetMs: 30_000 }))
      await take(claim, 20)
      await take(claim, 20)
      expect(await acquire(claim, 20, { ...ASK, patienceMs: 5_000 })).toBeUndefined()
      expect(await isDoubtful(claim, 20, ASK)).toBe(true)
      expect(await acquire(claim, 20)).toBeDefined()
    })

    test('of a bucket one comes back every so often, so that a zero reopens behind that', async () => {
      const { serve, isOpen } = await bed()
      const claim = claimOf('a')
      await serve(claim, 0, told({ limit: 288, remaining: 1, resetMs: 287 * 300_000 }))
      await serve(claim, 1_000, told({ limit: 288, remaining: 0, resetMs: 288 * 300_000 - 1_000 }))
      expect(await isOpen(claim, 240_000)).toBe(false)
      expect(await isOpen(claim, 302_000)).toBe(true)
    })

    test('of a window all come back at its end', async () => {
      const { serve, isOpen } = await bed()
      const claim = claimOf('a')
      await serve(claim, 0, told({ limit: 20, remaining: 10, resetMs: 50_000 }))
      await serve(claim, 10_000, told({ limit: 20, remaining: 0, resetMs: 40_000 }))
      expect(await isOpen(claim, 49_999)).toBe(false)
      expect(await isOpen(claim, 50_000)).toBe(true)
    })

    test('a word alone is a window, but where it is written as those who keep buckets write it', async () => {
      const { serve, isOpen } = await bed()
      const [claim, other] = [claimOf('a'), claimOf('b')]
      await serve(claim, 0, told({ limit: 20, remaining: 0, resetMs: 60_000 }))
      await serve(other, 0, told({ limit: 20, remaining: 0, resetMs: 60_000, isDuration: true }))
      expect([await isOpen(claim, 3_100), await isOpen(other, 3_100)]).toEqual([false, true])
    })

    test('a zero without a reset only orders', async () => {
      const { serve, isOpen, isDoubtful } = await bed()
      const claim = claimOf('a')
      await serve(claim, 0, told({ remaining: 0 }))
      expect(await isOpen(claim, 1)).toBe(true)
      expect(await isDoubtful(claim, 1, ASK)).toBe(true)
    })

    test('a learned limit loosens none that is configured', async () => {
      const { serve, take, isOpen } = await bed()
      const claim = claimOf('a', { limits: { rpm: 3 } })
      await serve(claim, 0, told({ limit: 60, remaining: 59, resetMs: minute }))
      await take(claim, 0)
      await take(claim, 0)
      expect(await isOpen(claim, 0)).toBe(false)
    })

    test('two meters of one upstream are two: the requests of a minute, and those of a day', async () => {
      const { serve, isOpen } = await bed()
      const claim = claimOf('a')
      const [ofMinute, ofDay] = [told({ meter: 'x-*-minute' }), told({ meter: 'x-*-day' })]
      await serve(
        claim,
        0,
        { ...ofMinute, remaining: 9, resetMs: 9_000 },
        { ...ofDay, remaining: 0, resetMs: hour },
      )
      expect(await isOpen(claim, 10_000)).toBe(false)
      expect(await isOpen(claim, hour)).toBe(true)
    })

    test('refusals alone delay: behind two of them one is asked after the other, and a wall is met by its count', async () => {
      const { serve, take, fail, settle, isOpen } = await bed()
      const claim = claimOf('a')
      await fail(claim, 0, limited({ hintMs: 2_000 }))
      for (let nth = 0; nth < 3; nth++) await serve(claim, 3_000 + nth * 10)
      await fail(claim, 4_000, limited({ hintMs: 2_000 }))
      expect(await isOpen(claim, 5_999)).toBe(false)
      const probe = await take(claim, 7_000)
      await settle(probe, OK, 7_100)
      expect(await isOpen(claim, 7_200)).toBe(false)
      expect(await isOpen(claim, 12_000)).toBe(true)
      expect(await isOpen(claim, 64_000)).toBe(true)
    })

    test('where a meter says that there is room, what refusals have told refuses nobody', async () => {
      const { serve, take, fail, settle, isOpen } = await bed()
      const claim = claimOf('a')
      const ofMinute = { counts: 'requests', scope: 'upstream', spanMs: minute, limit: 1 } as const
      await fail(claim, 0, limited({ hintMs: 1_000, told: [ofMinute] }))
      await serve(claim, 2_000)
      await settle(await take(claim, 3_000), OK, 3_000)
      expect(await isOpen(claim, 3_001)).toBe(false)
      await serve(claim, 20_000, told({ limit: 900, remaining: 800, resetMs: hour }))
      expect(await isOpen(claim, 20_001)).toBe(true)
    })

    test('a budget of tokens gets back what was reserved and not used, where the answer does not say', async () => {
      const { take, confirm, settle, isDoubtful } = await bed()
      const claim = claimOf('a')
      const first = await take(claim, 0, tokens(10))
      await confirm(first, 10, told({ counts: 'tokens', remaining: 1_000, resetMs: 30_000 }))
      await settle(first, { kind: 'ok', tokens: 10 }, 20)
      const second = await take(claim, 100, tokens(900))
      await confirm(second, 200)
      expect(await isDoubtful(claim, 250, tokens(101))).toBe(true)
      await settle(second, { kind: 'ok', tokens: 100 }, 300)
      expect(await isDoubtful(claim, 350, tokens(900))).toBe(false)
      expect(await isDoubtful(claim, 350, tokens(901))).toBe(true)
    })

    test('too many at once lowers the number at once, and it recovers by one a minute', async () => {
      const { take, settle, inFlight, acquire } = await bed()
      const claim = claimOf('a')
      const leases = [await take(claim, 0), await take(claim, 0), await take(claim, 0), await take(claim, 0)]
      await settle(leases[0]!, limited({ cause: 'overloaded' }), 100)
      expect(await inFlight(claim)).toBe(3)
      expect(await acquire(claim, 2_000)).toBeUndefined()
      await settle(leases[1]!, OK, 2_000)
      const third = await take(claim, 2_000)
      expect(await acquire(claim, 2_100)).toBeUndefined()
      await settle(third, OK, 2_200)
      await take(claim, 3_000)
      expect(await acquire(claim, 60_099)).toBeUndefined()
      expect(await acquire(claim, 60_100)).toBeDefined()
      expect(await acquire(claim, 60_200)).toBeUndefined()
    })
  })

  describe(`${name}: tokens`, () => {
    const claim = claimOf('a', { limits: { tpm: 1_000 } })

    test('are reserved before, and corrected by what was used', async () => {
      const { take, settle, confirm, isOpen } = await bed()
      const lease = await take(claim, 0, tokens(900))
      expect(await isOpen(claim, 0, tokens(200))).toBe(false)
      await confirm(lease, 10)
      await settle(lease, { kind: 'ok', tokens: 100 }, 20)
      expect(await isOpen(claim, 30, tokens(900))).toBe(true)
      expect(await isOpen(claim, 30, tokens(901))).toBe(false)
      expect(await isOpen(claim, 61_000, tokens(1_000))).toBe(true)
    })

    test.each([
      { outcome: limited({ hintMs: 1_000 }), free: 1_000, because: 'a refused request spends none' },
      { outcome: failed({ class: 'ambiguous' }), free: 100, because: 'the upstream may have done the work' },
      { outcome: LEFT, free: 100, because: 'the upstream may have done the work' },
      { outcome: NOT_SENT, free: 1_000, because: 'it never left here' },
    ])('of 900 reserved $free of 1,000 are free again, since $because', async ({ outcome, free }) => {
      const { take, settle, isOpen } = await bed()
      await settle(await take(claim, 0, tokens(900)), outcome, 10)
      expect(await isOpen(claim, 2_000, tokens(free))).toBe(true)
      expect(await isOpen(claim, 2_000, tokens(free + 1))).toBe(false)
    })

    test('a spent token limit does not hold up requests that spend none', async () => {
      const { take, isOpen } = await bed()
      await take(claim, 0, tokens(1_000))
      expect(await isOpen(claim, 0, tokens(1))).toBe(false)
      expect(await isOpen(claim, 0, ASK)).toBe(true)
    })

    test('without a maximum the upstream’s running mean is reserved, 512 at first', async () => {
      const { take, settle } = await bed()
      const open: Ask = { ...ASK, inputTokens: 100 }
      const other = claimOf('b')
      const first = await take(other, 0, open)
      expect(first.tokens).toBe(612)
      await settle(first, { kind: 'ok', tokens: 180, outputTokens: 80 }, 10)
      expect((await take(other, 20, open)).tokens).toBe(180)
      expect((await take(other, 30, { ...open, choices: 4 })).tokens).toBe(100 + 4 * 80)
    })
  })

  describe(`${name}: a client token`, () => {
    const claim: Claim = {
      id: 'token alice',
      priority: 0,
      draws: [{ scope: 'token alice', role: 'token', limits: limitsFrom({ rpm: 2, tpm: 1_000 }) }],
    }

    test('counts its requests from when they came, and its tokens from when they are known', async () => {
      const { take, isOpen, confirm, settle } = await bed()
      const first = await take(claim, 0, tokens(100))
      const second = await take(claim, 20_000, tokens(100))
      await confirm(first, 30_000)
      expect(await isOpen(claim, 59_000, tokens(1))).toBe(false)
      expect(await isOpen(claim, 60_250, tokens(1))).toBe(true)
      // It has not begun to be answered: it may be given back yet, and counts until then.
      expect(await isOpen(claim, 60_250, tokens(801))).toBe(false)
      await settle(first, { kind: 'ok', tokens: 700 }, 70_000)
      await settle(second, NOT_SENT, 70_000)
      expect(await isOpen(claim, 129_000, tokens(301))).toBe(false)
      expect(await isOpen(claim, 130_250, tokens(301))).toBe(true)
    })

    test('reserves what its answers usually are', async () => {
      const { take, settle } = await bed()
      const open = { ...ASK, inputTokens: 10 }
      const first = await take(claim, 0, open)
      expect(first.tokens).toBe(522)
      await settle(first, { kind: 'ok', tokens: 50, outputTokens: 40 }, 10)
      expect((await take(claim, 20, open)).tokens).toBe(50)
    })
  })

  describe(`${name}: affinity`, () => {
    test('a key is remembered for its time, counted from the last word', async () => {
      const { store } = await bed()
      expect(await store.recall('k', at(0))).toBeUndefined()
      await store.remember('k', 'a', { ttlMs: 1_000, at: at(0) })
      await store.remember('k', 'b', { ttlMs: 1_000, at: at(500) })
      expect(await store.recall('k', at(1_499))).toBe('b')
      expect(await store.recall('k', at(1_500))).toBeUndefined()
    })

    test('ids of answers and keys of clients are kept apart', async () => {
      const { store } = await bed()
      await store.remember('answer x', 'a', { ttlMs: 1_000, at: at(0) })
      expect(await store.recall('x', at(0))).toBeUndefined()
      expect(await store.recall('answer x', at(0))).toBe('a')
    })

    test('who must know is told at once, of what nobody remembers too', async () => {
      const { store } = await bed()
      await store.remember('own alice x', 'a', { ttlMs: 1_000, at: at(0) })
      expect(await store.locate('own alice x', at(1))).toBe('a')
      expect(await store.locate('own bob x', at(1))).toBeUndefined()
      expect(await store.locate('own alice x', at(1_000))).toBeUndefined()
    })

    test('100,000 keys are remembered, the oldest go first', async () => {
      const { store } = await bed()
      const life = { ttlMs: hour, at: at(0) }
      for (let nth = 0; nth <= 100_000; nth++) await store.remember(`k${nth}`, 'a', life)
      expect(await store.recall('k0', at(1))).toBeUndefined()
      expect(await store.recall('k1', at(1))).toBe('a')
      expect(await store.recall('k100000', at(1))).toBe('a')
    })
  })

  describe(`${name}: clocks`, () => {
    test('a wall clock set by a day moves no cooldown and no window', async () => {
      const { store, fail, take } = await bed()
      const claim = claimOf('a')
      const full = claimOf('b', { limits: { rpm: 1, rpd: 100 } })
      await fail(claim, 0, limited({ hintMs: 30_000 }))
      await take(full, 0)
      for (const day of [-24 * hour, 24 * hour]) {
        const then = { now: at(29_999).now, wall: at(29_999).wall + day }
        expect(await store.acquire([claim], ASK, then)).toBeUndefined()
        expect(await store.acquire([full], ASK, then)).toBeUndefined()
      }
      const later = { now: at(30_000).now, wall: at(30_000).wall - 24 * hour }
      expect(await store.acquire([claim], ASK, later)).toBeDefined()
    })
  })
}
