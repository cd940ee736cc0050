import { beforeEach, describe, expect, test } from 'vitest'
import type { Outcome } from '../../src/pool/outcome.ts'
import type { Claim } from '../../src/pool/upstream.ts'
import { type StateCall, type StateReply, WIRE_VERSION } from '../../src/state/durable-object/protocol.ts'
import {
  createStateObject,
  type RowKind,
  type Rows,
  type StateObject,
} from '../../src/state/durable-object/object.ts'
import { createObjectStore } from '../../src/state/durable-object/store.ts'
import type { RemoteStore } from '../../src/state/fallback-store.ts'
import type { Ask, LocalUsage } from '../../src/state/store.ts'
import { createFakeClock, type FakeClock } from '../support/fake-clock.ts'
import { limitsFrom } from '../../src/config/model-schema.ts'

const claim = (id: string): Claim => ({
  id,
  priority: 0,
  draws: [{ scope: id, role: 'upstream', limits: limitsFrom({ rpm: 3 }) }],
})
const ASK: Ask = { inputTokens: undefined, outputTokens: undefined, probeMs: 1_000, lastResort: false }
const OVERLOADED: Outcome = {
  kind: 'failed',
  class: 'refused',
  scope: 'upstream',
  cause: 'overloaded',
  code: 'upstream_overloaded',
  readings: [],
}
const A = claim('a')
const B = claim('b')

/** Rows that outlive the objects of a test. */
function createRows(): Rows & { texts: Map<string, string> } {
  const texts = new Map<string, string>()
  return {
    texts,
    all: () =>
      [...texts].map(([at, text]) => ({
        kind: at.split(' ')[0] as RowKind,
        key: at.slice(at.indexOf(' ') + 1),
        text,
      })),
    put: (kind, key, text) => void texts.set(`${kind} ${key}`, text),
    remove: (kind, key) => void texts.delete(`${kind} ${key}`),
  }
}

let clock: FakeClock
let rows: ReturnType<typeof createRows>
let object: StateObject
let calls: StateCall[]
let isolates = 0

beforeEach(() => {
  clock = createFakeClock()
  rows = createRows()
  calls = []
  object = begin('one')
})

const begin = (life: string): StateObject =>
  createStateObject({
    rows,
    at: () => ({ now: clock.wall(), wall: clock.wall() }),
    random: () => 0.5,
    after: (ms, task) => void clock.after(ms, task),
    life,
  })

/** The store of one isolate; what passes is JSON, as on the wire. */
function isolate(): RemoteStore {
  return createObjectStore({
    isolate: String(isolates++),
    now: clock.now,
    after: clock.after,
    ownInFlight: () => 0,
    defer: () => {},
    async call(question) {
      const sent = JSON.parse(JSON.stringify(question)) as StateCall
      calls.push(sent)
      return JSON.parse(JSON.stringify(object.answer(sent))) as StateReply
    },
  })
}

const away: StateObject = {
  answer: () => {
    throw new Error('away')
  },
}

const at = () => ({ now: clock.now(), wall: clock.wall() })

describe('a store over a Durable Object', () => {
  test('two isolates together get no more leases than the limit has', async () => {
    const [left, right] = [isolate(), isolate()]
    const got = []
    for (let nth = 0; nth < 4; nth++)
      got.push(await left.acquire([A], ASK, at()), await right.acquire([A], ASK, at()))
    expect(got.filter((lease) => lease !== undefined)).toHaveLength(3)
  })

  test('the wire keeps its names, whatever the code calls a thing: other versions are on it', async () => {
    const store = isolate()
    void store.remember('answer 1', 'b', { ttlMs: 60_000, at: at() })
    const lease = (await store.acquire([A, B], { ...ASK, pinKeys: ['answer 1'] }, at()))!
    expect(lease.claim.id).toBe('b')
    expect(calls[0]?.acquire?.ask).toMatchObject({ heldBy: ['answer 1'] })
    void store.settle(lease, OVERLOADED, at())
    await store.look(['b'])
    const { states } = object.answer({
      version: WIRE_VERSION,
      now: clock.now(),
      events: [],
      scopes: ['b', 'nobody'],
    })
    expect(states[1]).toBeNull()
    expect(states[0]).toMatchObject({
      cooldown: { cause: 'overloaded', coolUntil: clock.wall() + 1_000, coolSince: clock.wall(), strikes: 1 },
      crowd: { limit: 1 },
    })
  })

  test('an isolate and an object of two versions have nothing to say to each other', async () => {
    const older = { now: clock.now(), events: [], scopes: ['a'] } as unknown as StateCall
    expect(() => object.answer(older)).toThrow('of another version')
    const working = object
    object = { answer: (call) => ({ ...working.answer(call), version: 1 as never }) }
    await expect(async () => isolate().look(['a'])).rejects.toThrow('of another version')
  })

  test('a rest that one isolate ends is over for all, and is not there in the next life of the object', async () => {
    const [left, right] = [isolate(), isolate()]
    const rested: Outcome = { ...OVERLOADED, cause: 'auth', code: 'upstream_error' }
    void left.settle((await left.acquire([A], ASK, at()))!, rested, at())
    await left.look(['a'])
    expect(await right.acquire([A], ASK, at())).toBeUndefined()
    expect(await right.closeBreakers(['a', 'nobody'], at())).toEqual(['a'])
    expect(await left.acquire([A], ASK, at())).toBeDefined()
    await clock.advance(2_000)
    object = begin('two')
    expect(await isolate().acquire([A], ASK, at())).toBeDefined()
    expect(await left.closeBreakers(['a'], at())).toEqual([])
  })

  test('an upstream that one isolate pauses is paused for all, in the next life of the object too', async () => {
    const [left, right] = [isolate(), isolate()]
    expect(await left.acquire([A], ASK, at())).toBeDefined()
    expect(await right.pause('a', true, at())).toBe(true)
    expect(await left.acquire([A], { ...ASK, lastResort: true }, at())).toBeUndefined()
    await clock.advance(2_000)
    object = begin('two')
    const third = isolate()
    expect(await third.acquire([A], ASK, at())).toBeUndefined()
    expect(third.snapshot(['a'])).toMatchObject([{ pausedSince: expect.any(Number) }])
    expect(await third.pause('a', false, at())).toBe(true)
    expect(await left.acquire([A], ASK, at())).toBeDefined()
  })

  test('a rest that is ended while the object is away ends there as soon as it is back', async () => {
    const store = isolate()
    const rested: Outcome = { ...OVERLOADED, cause: 'auth', code: 'upstream_error' }
    void store.settle((await store.acquire([A], ASK, at()))!, rested, at())
    await store.look(['a'])
    const working = object
    object = away
    await expect(store.closeBreakers(['a'], at())).rejects.toThrow('away')
    object = working
    await clock.advance(2_000)
    expect(await isolate().acquire([A], ASK, at())).toBeDefined()
  })

  test('an attempt costs one round trip, and what has ended goes along with the next', async () => {
    const store = isolate()
    const lease = (await store.acquire([A], ASK, at()))!
    void store.confirm(lease, { firstByteMs: 5, readings: [] }, at())
    void store.settle(lease, { kind: 'ok' }, at())
    await store.acquire([A], ASK, at())
    expect(calls.map(({ events }) => events.map(({ kind }) => kind))).toEqual([[], ['confirm', 'settle']])
    await clock.advance(100)
    expect(calls).toHaveLength(2)
  })

  test('what nobody takes along is told after 20 ms, all in one', async () => {
    const store = isolate()
    const lease = (await store.acquire([A], ASK, at()))!
    void store.settle(lease, { kind: 'ok' }, at())
    void store.remember('key', 'a', { ttlMs: 60_000, at: at() })
    await clock.advance(19)
    expect(calls).toHaveLength(1)
    await clock.advance(1)
    expect(calls[1]?.events.map(({ kind }) => kind)).toEqual(['settle', 'remember'])
  })

  test('events of a call that fails are told with the next, and count once', async () => {
    const store = isolate()
    const working = object
    const lease = (await store.acquire(
      [{ ...A, draws: [{ scope: 'a', role: 'upstream', limits: limitsFrom({ concurrency: 1 }) }] }],
      ASK,
      at(),
    ))!
    object = {
      answer: () => {
        throw new Error('down')
      },
    }
    void store.settle(lease, { kind: 'ok' }, at())
    await clock.advance(50)
    object = working
    await store.acquire([B], ASK, at())
    expect(calls.at(-1)?.events.map(({ kind }) => kind)).toEqual(['settle'])
    expect((await isolate().acquire([lease.claim], ASK, at()))?.claim.id).toBe('a')
  })

  describe('what was sent without its leave while it was away', () => {
    const spent = (more: Partial<LocalUsage> = {}): LocalUsage => ({
      claim: A,
      tokens: 0,
      sentAt: clock.now(),
      answer: { firstByteMs: 0, readings: [] },
      outcome: { kind: 'ok' },
      endedAt: clock.now(),
      ...more,
    })

    test('is counted for all isolates when it is back, without another request', async () => {
      const [left, right] = [isolate(), isolate()]
      const working = object
      object = away
      for (let nth = 0; nth < 2; nth++) left.reportUsage(spent())
      await clock.advance(3_500)
      object = working
      await clock.advance(1_000)
      expect(await right.acquire([A], ASK, at())).toBeDefined()
      expect(await right.acquire([A], ASK, at())).toBeUndefined()
    })

    test('is asked about once a second, and no more often', async () => {
      object = away
      const store = isolate()
      for (let nth = 0; nth < 100; nth++) {
        store.reportUsage(spent())
        await clock.advance(100)
      }
      expect(calls.length).toBeGreaterThan(8)
      expect(calls.length).toBeLessThan(12)
    })

    test('is counted when it was sent, and not when it is told', async () => {
      const store = isolate()
      const working = object
      object = away
      for (let nth = 0; nth < 3; nth++) store.reportUsage(spent())
      await clock.advance(20_000)
      object = working
      await clock.advance(2_000)
      expect(await isolate().acquire([A], ASK, at())).toBeUndefined()
      await clock.advance(38_500)
      expect(await isolate().acquire([A], ASK, at())).toBeDefined()
    })

    test('is counted once, also when the message that told of it arrived and its answer did not', async () => {
      const store = isolate()
      const working = object
      object = {
        answer(call) {
          working.answer(call)
          throw new Error('the answer is lost')
        },
      }
      store.reportUsage(spent())
      await clock.advance(100)
      object = working
      await clock.advance(2_000)
      expect(calls.filter(({ events }) => events.length > 0)).toHaveLength(2)
      for (let nth = 0; nth < 2; nth++) expect(await store.acquire([A], ASK, at())).toBeDefined()
      expect(await store.acquire([A], ASK, at())).toBeUndefined()
    })

    test('spends the tokens that it used, and rests whom it found at its limit', async () => {
      const tokens: Claim = {
        id: 't',
        priority: 0,
        draws: [{ scope: 't', role: 'upstream', limits: limitsFrom({ tpm: 100 }) }],
      }
      const store = isolate()
      store.reportUsage(spent({ claim: tokens, tokens: 10, outcome: { kind: 'ok', tokens: 95 } }))
      store.reportUsage(
        spent({
          claim: B,
          answer: undefined,
          outcome: {
            kind: 'failed',
            class: 'refused',
            scope: 'upstream',
            cause: 'rate-limited',
            hintMs: 30_000,
            code: 'rate_limit_exceeded',
            readings: [],
          },
        }),
      )
      await clock.advance(10_000)
      const ask = { ...ASK, inputTokens: 6, outputTokens: 0 }
      expect(await isolate().acquire([tokens], ask, at())).toBeUndefined()
      expect(await isolate().acquire([B], ASK, at())).toBeUndefined()
      await clock.advance(20_001)
      expect(await isolate().acquire([B], ASK, at())).toBeDefined()
    })

    test('is told again when the request that took it along failed, without another event', async () => {
      const store = isolate()
      const working = object
      object = away
      for (let nth = 0; nth < 3; nth++) store.reportUsage(spent())
      await expect(store.acquire([B], ASK, at())).rejects.toThrow('away')
      await clock.advance(500)
      object = working
      await clock.advance(2_000)
      expect(await isolate().acquire([A], ASK, at())).toBeUndefined()
    })

    test('counts also when more were told of than are remembered against counting twice', () => {
      const events = Array.from({ length: 20_003 }, (_, nth) => ({
        kind: 'spent' as const,
        at: clock.now(),
        id: `far.${nth}`,
        spent: spent({ claim: nth < 20_000 ? B : A }),
      }))
      object.answer({ version: WIRE_VERSION, now: clock.now(), events })
      const ask = {
        version: WIRE_VERSION,
        events: [],
        now: clock.now(),
        acquire: { order: [A], ask: ASK },
      } as const
      expect(object.answer(ask).lease).toBeNull()
    })

    test('goes along in parts: a request with its message does not wait for all that happened before', async () => {
      const store = isolate()
      const working = object
      object = away
      for (let nth = 0; nth < 1_000; nth++) store.reportUsage(spent({ claim: { ...B, id: `b${nth}` } }))
      await clock.advance(100)
      object = working
      await clock.advance(2_000)
      expect(Math.max(...calls.map(({ events }) => events.length))).toBe(200)
      expect(calls.reduce((sum, { events }) => sum + events.length, 0)).toBe(1_200)
    })
  })

  test('of a long order little is told when one of it was had, and everything when none was', async () => {
    const many = Array.from({ length: 40 }, (_, nth) => claim(`c${nth}`))
    const store = isolate()
    const reply = object.answer({
      version: WIRE_VERSION,
      now: clock.now(),
      events: [],
      acquire: { order: many, ask: ASK },
    })
    expect(reply.states).toHaveLength(8)
    for (const { id } of many) for (let nth = 0; nth < 3; nth++) await store.acquire([claim(id)], ASK, at())
    expect(await store.acquire(many, ASK, at())).toBeUndefined()
    const states = await store.snapshot(many.map(({ id }) => id))
    expect(states.every((state) => state?.inFlight === 3)).toBe(true)
  })

  test('a snapshot tells who rests for a second, and never that somebody else fills a limit', async () => {
    const store = isolate()
    for (let nth = 0; nth < 3; nth++) await store.acquire([A], ASK, at())
    expect(store.snapshot(['a'])).toMatchObject([{ inFlight: 3 }])
    await clock.advance(51)
    expect(store.snapshot(['a'])).toMatchObject([{ inFlight: 0, windows: {} }])
  })

  test('what another isolate was told holds here', async () => {
    const [left, right] = [isolate(), isolate()]
    void left.remember('key', 'b', { ttlMs: 60_000, at: at() })
    await clock.advance(20)
    const asked = calls.length
    expect([right.recall('key', at()), right.recall('unknown', at())]).toEqual([null, null])
    expect((await right.acquire([A, B], { ...ASK, stickTo: 'key' }, at()))?.claim.id).toBe('b')
    await right.acquire([A, B], { ...ASK, stickTo: 'unknown' }, at())
    expect([right.recall('key', at()), right.recall('unknown', at())]).toEqual(['b', undefined])
    expect(calls).toHaveLength(asked + 2)
  })

  test('an object that begins anew remembers what was counted and who served whom', async () => {
    const store = isolate()
    for (let nth = 0; nth < 2; nth++) {
      const lease = (await store.acquire([A], ASK, at()))!
      void store.settle(lease, { kind: 'ok' }, at())
    }
    void store.remember('key', 'a', { ttlMs: 60_000, at: at() })
    await clock.advance(2_000)
    object = begin('two')
    const fresh = isolate()
    expect((await fresh.acquire([B, A], { ...ASK, stickTo: 'key' }, at()))?.claim.id).toBe('a')
    expect((await fresh.acquire([A, B], ASK, at()))?.claim.id).toBe('b')
  })

  test('a lease of an earlier life ends nothing of this one', async () => {
    const store = isolate()
    const full: Claim = {
      id: 'a',
      priority: 0,
      draws: [{ scope: 'a', role: 'upstream', limits: limitsFrom({ concurrency: 1 }) }],
    }
    const old = (await store.acquire([full], ASK, at()))!
    object = begin('two')
    await isolate().acquire([full], ASK, at())
    void store.settle(old, { kind: 'ok' }, at())
    await clock.advance(100)
    expect(await isolate().acquire([full], ASK, at())).toBeUndefined()
  })

  test('damaged rows are none', async () => {
    rows.put('scope', 'a', '{"windows":')
    rows.put('key', 'k', '7')
    rows.put('key', 'l', '{}')
    rows.put('scope', 'b', '[]')
    object = begin('two')
    expect(await isolate().acquire([A], ASK, at())).toBeDefined()
  })

  test('rows of what is over are removed', async () => {
    const store = isolate()
    void store.remember('key', 'a', { ttlMs: 5_000, at: at() })
    await clock.advance(2_000)
    expect([...rows.texts.keys()]).toEqual(['key key'])
    await clock.advance(10_000)
    void store.remember('other', 'a', { ttlMs: 5_000, at: at() })
    await clock.advance(2_000)
    expect([...rows.texts.keys()]).toEqual(['key other'])
  })
})
