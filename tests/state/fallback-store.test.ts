import { beforeEach, describe, expect, test } from 'vitest'
import type { Outcome } from '../../src/pool/outcome.ts'
import type { Claim } from '../../src/pool/upstream.ts'
import { createFallbackStore, type RemoteStore } from '../../src/state/fallback-store.ts'
import { createMemoryStore, type MemoryStore } from '../../src/state/memory.ts'
import type { Ask, Lease, LocalUsage } from '../../src/state/store.ts'
import { createFakeClock, settle, type FakeClock } from '../support/fake-clock.ts'
import { limitsFrom } from '../../src/config/model-schema.ts'

const A: Claim = {
  id: 'a',
  priority: 0,
  draws: [{ scope: 'a', role: 'upstream', limits: limitsFrom({ rpm: 3 }) }],
}
const ASK: Ask = { inputTokens: undefined, outputTokens: undefined, probeMs: 1_000, lastResort: false }

let clock: FakeClock
let far: MemoryStore
let local: MemoryStore
let lost: string[]
let reported: LocalUsage[]
let asked: number

/** How long the remote store takes; Infinity = for ever. A thrown error = out of reach. */
let latencyMs: number
let isDown: boolean

beforeEach(() => {
  clock = createFakeClock()
  far = createMemoryStore({ random: () => 0.5 })
  local = createMemoryStore({ random: () => 0.5 })
  lost = []
  reported = []
  asked = 0
  latencyMs = 5
  isDown = false
})

const at = () => ({ now: clock.now(), wall: clock.wall() })

function guarded(): RemoteStore {
  const later = <T>(answer: () => T): Promise<T> => {
    asked += 1
    return new Promise((resolve, reject) => {
      if (isDown) reject(new Error('down'))
      else if (latencyMs !== Infinity) clock.after(latencyMs, () => resolve(answer()))
    })
  }
  const remote: RemoteStore = {
    ...far,
    look: (scopes) => later(() => far.snapshot(scopes)),
    acquire: (order, ask, now) => later(() => far.acquire(order, ask, now)),
    pause: (...how) => later(() => far.pause(...how)),
    closeBreakers: (scopes, now) => later(() => far.closeBreakers(scopes, now)),
    recall: () => null,
    locate: (key, now) => later(() => far.locate(key, now)),
    reportUsage: (usage) => void reported.push(usage),
  }
  return createFallbackStore({
    remote,
    local,
    now: clock.now,
    after: clock.after,
    defer: () => {},
    onLost: (why) => lost.push(why),
  })
}

/** What comes, and how long it took on the clock. */
async function timed<T>(work: T | Promise<T>): Promise<{ value: T; ms: number }> {
  const since = clock.now()
  const done = Promise.resolve(work).then((value) => ({ value, ms: clock.now() - since }))
  const late = (async () => {
    for (let ms = 0; ms < 200; ms++) await clock.advance(1)
    throw new Error('nothing came within 200 ms')
  })()
  return Promise.race([done, late]).finally(() => void late.catch(() => {}))
}

describe('a guarded store', () => {
  test.each([
    { far: 'answers', isDown: false, latencyMs: 5 },
    { far: 'is out of reach', isDown: true, latencyMs: 5 },
    { far: 'says nothing', isDown: false, latencyMs: Infinity },
  ])('ends a rest here, and there where that $far', async (remote) => {
    const rested: Outcome = {
      kind: 'failed',
      class: 'refused',
      scope: 'upstream',
      cause: 'auth',
      code: 'upstream_error',
      readings: [],
    }
    for (const store of [far, local]) store.settle(store.acquire([A], ASK, at())!, rested, at())
    ;({ isDown, latencyMs } = remote)
    const ended = Promise.resolve(guarded().closeBreakers(['a'], at()))
    await clock.advance(1_000)
    expect(await ended).toEqual(['a'])
    const isOpen = (store: MemoryStore) => store.snapshot(['a'])[0]?.breaker === undefined
    expect([isOpen(local), isOpen(far)]).toEqual([true, remote.far === 'answers'])
  })

  test.each([
    { far: 'answers', isDown: false, isFar: true },
    { far: 'is out of reach', isDown: true, isFar: false },
  ])('pauses an upstream here, and there where that $far', async (remote) => {
    ;({ isDown } = remote)
    const paused = Promise.resolve(guarded().pause('a', true, at()))
    await clock.advance(1_000)
    expect(await paused).toBe(true)
    const isPaused = (store: MemoryStore) => store.snapshot(['a'])[0]?.pausedSince !== undefined
    expect([isPaused(local), isPaused(far)]).toEqual([true, remote.isFar])
  })

  test('asks the remote one, and keeps the local one informed', async () => {
    const { value: lease } = await timed(guarded().acquire([A], ASK, at()))
    expect(lease?.claim.id).toBe('a')
    expect(far.snapshot(['a'])[0]?.inFlight).toBe(1)
    expect(local.snapshot(['a'])[0]?.inFlight).toBe(1)
  })

  test.each([
    { how: 'never answers', set: () => (latencyMs = Infinity), why: 'slow' },
    { how: 'is out of reach', set: () => (isDown = true), why: 'failed' },
  ])(
    'a remote store that $how costs at most 50 ms, and the key is then looked up here',
    async ({ set, why }) => {
      set()
      const store = guarded()
      local.remember('key', 'a', { ttlMs: 60_000, at: at() })
      expect(store.recall('key', at())).toBeNull()
      const got = await timed(store.acquire([{ ...A, id: 'b' }, A], { ...ASK, stickTo: 'key' }, at()))
      expect(got.value?.claim.id).toBe('a')
      expect(got.ms).toBeLessThanOrEqual(50)
      expect(lost).toEqual([why])
    },
  )

  test.each([
    { how: 'answers', set: () => {}, found: 'there' },
    { how: 'never answers', set: () => (latencyMs = Infinity), found: 'here' },
    { how: 'is out of reach', set: () => (isDown = true), found: 'here' },
  ])('what somebody must know is looked up there, or here where that $how', async ({ set, found }) => {
    set()
    far.remember('own a x', 'there', { ttlMs: 60_000, at: at() })
    local.remember('own a x', 'here', { ttlMs: 60_000, at: at() })
    const got = await timed(guarded().locate('own a x', at()))
    expect(got.value).toBe(found)
    expect(got.ms).toBeLessThanOrEqual(50)
  })

  test('while it rests nobody asks it, and a second later one does', async () => {
    isDown = true
    const store = guarded()
    await timed(store.acquire([A], ASK, at()))
    for (let nth = 0; nth < 5; nth++) await timed(store.acquire([A], ASK, at()))
    expect(asked).toBe(1)
    isDown = false
    await clock.advance(1_000)
    await timed(store.acquire([A], ASK, at()))
    expect(asked).toBe(2)
    expect(far.snapshot(['a'])[0]?.inFlight).toBe(1)
  })

  test('a lease that comes too late is given back', async () => {
    latencyMs = 80
    await timed(guarded().acquire([A], ASK, at()))
    await clock.advance(100)
    await settle()
    expect(far.snapshot(['a'])[0]?.inFlight ?? 0).toBe(0)
  })

  test('the local store has counted what went through the remote one before it failed', async () => {
    const store = guarded()
    const leases: (Lease | undefined)[] = []
    for (let nth = 0; nth < 2; nth++) leases.push((await timed(store.acquire([A], ASK, at()))).value)
    for (const lease of leases) void store.settle(lease!, { kind: 'ok' }, at())
    isDown = true
    const third = await timed(store.acquire([A], ASK, at()))
    const fourth = await timed(store.acquire([A], ASK, at()))
    expect([third.value?.claim.id, fourth.value]).toEqual(['a', undefined])
  })

  test('a lease of the local store ends there', async () => {
    isDown = true
    const store = guarded()
    const { value: lease } = await timed(store.acquire([A], ASK, at()))
    void store.settle(lease!, { kind: 'ok' }, at())
    expect(local.snapshot(['a'])[0]?.inFlight).toBe(0)
  })

  test('the end of what was sent by the local store’s leave is reported to the remote one', async () => {
    isDown = true
    const store = guarded()
    const [answered, unsent] = [
      (await timed(store.acquire([A], ASK, at()))).value!,
      (await timed(store.acquire([A], ASK, at()))).value!,
    ]
    const answer = { firstByteMs: 7, readings: [] }
    void store.confirm(answered, answer, at())
    expect(reported).toEqual([])
    void store.settle(answered, { kind: 'ok', tokens: 9 }, at())
    void store.settle(unsent, { kind: 'aborted', sent: false }, at())
    expect(reported).toMatchObject([{ claim: A, sentAt: answered.since, answer, outcome: { tokens: 9 } }])
  })

  test('what the remote store gave leave for is not reported besides', async () => {
    const store = guarded()
    const lease = (await timed(store.acquire([A], ASK, at()))).value!
    void store.settle(lease, { kind: 'ok' }, at())
    expect(reported).toEqual([])
  })

  test('who only looks is told by the remote store, and by the local one when that is out of reach', async () => {
    const store = guarded()
    far.acquire([A], ASK, at())
    expect((await timed(store.look(['a']))).value).toMatchObject([{ inFlight: 1 }])
    isDown = true
    expect((await timed(store.look(['a']))).value).toEqual([undefined])
  })
})
