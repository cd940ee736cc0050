/*
 * state/durable-object: one state for all isolates of a Worker. Nothing here needs Cloudflare's types: messages go
 * through a function, rows through an interface, so that tests run all of it in one process.
 *
 * store     an isolate's side: what it has heard, and what it has still to tell
 * object    the object's side: the store in memory, and its rows
 * protocol  the messages between the two
 *
 * A message carries everything that has ended meanwhile, then the question: one round trip before an attempt at most.
 */
import type { Claim } from '../../pool/upstream.ts'
import type { RemoteStore } from '../fallback-store.ts'
import { claimSnapshotOf } from '../headroom.ts'
import type { ScopeState } from '../scope.ts'
import {
  fromWireScope,
  scopesInReply,
  type StateCall,
  type StateEvent,
  type StateReply,
  toWireAsk,
} from './protocol.ts'

/** What a store over an object is given. */
interface ObjectStoreOptions extends StateCacheOptions, Omit<OutboxOptions, 'send'> {
  /** Tells this isolate from all others, those of the past too. */
  readonly isolate: string
  /** One round trip. Rejects when the object can't be reached. */
  readonly call: (call: StateCall) => Promise<StateReply>
}

/**
 * The store of a deployment, kept in a Durable Object.
 *
 * Before an attempt, one round trip acquires; it takes along whatever has ended in the meantime, and the keys
 * that this isolate has not heard of within a second. It brings back who served them, and the present states of
 * everybody it asked for, which serve as snapshots for at most a second.
 */
export function createObjectStore(options: ObjectStoreOptions): RemoteStore {
  const { isolate, call, now, after, defer } = options
  const cache = createStateCache(options)
  const outbox = createOutbox({ now, after, defer, send: () => ask({}) })
  let reported = 0

  async function ask(question: Omit<StateCall, 'events' | 'now'>): Promise<StateReply> {
    const events = outbox.takeBatch()
    try {
      const reply = await call({ ...question, events, now: now() })
      const { scopes, acquire } = question
      const answered = scopes ?? scopesInReply(acquire?.order ?? [], reply.lease ?? undefined)
      cache.keepStates(answered, reply.states.map(fromWireScope))
      return reply
    } catch (error) {
      outbox.putBack(events)
      throw error
    }
  }

  return {
    snapshot: (scopes) => cache.states(scopes),
    claimSnapshots: (claims) =>
      claims.map(({ draws }) => claimSnapshotOf(cache.states(draws.map(({ scope }) => scope)))),
    async look(scopes) {
      const { states } = await ask({ scopes })
      return states.map(fromWireScope)
    },
    async acquire(order, question) {
      const { stickTo, pinKeys = [] } = question
      const keys = stickTo === undefined ? pinKeys : [...pinKeys, stickTo]
      const { lease, upstreams } = await ask({ acquire: { order, ask: toWireAsk(question) }, keys })
      for (const [at, key] of keys.entries()) cache.keepUpstream(key, upstreams[at] ?? null)
      return lease ?? undefined
    },
    // The object does so before each lease that it gives.
    reclaim: () => {},
    confirm(lease, answer, at) {
      cache.loosen(lease.claim)
      outbox.put({ kind: 'confirm', at: at.now, lease, answer })
    },
    settle(lease, outcome, at) {
      cache.loosen(lease.claim)
      outbox.put({ kind: 'settle', at: at.now, lease, outcome })
    },
    reportUsage: (usage) =>
      outbox.put({ kind: 'spent', at: usage.endedAt, id: `${isolate}.${reported++}`, spent: usage }),
    recall(key) {
      const known = cache.upstream(key)
      return known === undefined ? null : (known ?? undefined)
    },
    remember(key, upstream, { ttlMs, at }) {
      cache.keepUpstream(key, upstream)
      outbox.put({ kind: 'remember', at: at.now, key, upstream, ttlMs })
    },
  }
}

/** What this isolate has lately heard from the object. */
interface StateCache {
  /** As they are worth believing now; undefined = nothing is known, and the object decides. */
  states(scopes: readonly string[]): (ScopeState | undefined)[]
  keepStates(scopes: readonly string[], states: readonly (ScopeState | undefined)[]): void
  /** A request has ended: what closed these scopes may be over. */
  loosen(claim: Claim): void
  /** Who served a key; null = nobody did; undefined = not known here. */
  upstream(key: string): string | null | undefined
  keepUpstream(key: string, upstream: string | null): void
}

/** As good as the object's own word: long enough for one request to look twice. */
const EXACT_MS = 50
/** How long anything heard is believed. */
const BELIEVED_MS = 1_000
/** Most things remembered of each sort; the oldest go first. */
const MOST = 10_000

interface StateCacheOptions {
  /** Ms on the clock. */
  readonly now: () => number
  /** What this isolate itself has under way: of all isolates together it is at least that. */
  readonly ownInFlight: (scope: string) => number
}

interface Heard<T> {
  readonly value: T
  /** Ms on the clock; -Infinity = only good for comparing. */
  readonly at: number
}

/**
 * A state is exact for a moment. Up to a second old it still tells who rests, and who is quick or busy, but
 * not that a limit is reached: others may have freed it since, and the object, which is asked anyway before
 * anything is sent, says so if not. Older still, it is only good for comparing.
 */
function createStateCache({ now, ownInFlight }: StateCacheOptions): StateCache {
  const states = new Map<string, Heard<ScopeState | undefined>>()
  const upstreams = new Map<string, Heard<string | null>>()

  function believed(scope: string, { value, at }: Heard<ScopeState | undefined>): ScopeState | undefined {
    const age = now() - at
    if (value === undefined || age <= EXACT_MS) return value
    const rests = age <= BELIEVED_MS && value.breaker?.probe === undefined
    return {
      ...value,
      windows: {},
      inFlight: ownInFlight(scope),
      learnedConcurrency: undefined,
      tooLarge: undefined,
      breaker: rests ? value.breaker : undefined,
    }
  }

  return {
    states: (scopes) =>
      scopes.map((scope) => {
        const heard = states.get(scope)
        return heard && believed(scope, heard)
      }),
    keepStates(scopes, heard) {
      for (const [index, scope] of scopes.entries()) put(states, scope, { value: heard[index], at: now() })
    },
    loosen({ draws }) {
      for (const { scope } of draws) {
        const heard = states.get(scope)
        if (heard !== undefined) states.set(scope, { ...heard, at: -Infinity })
      }
    },
    upstream(key) {
      const heard = upstreams.get(key)
      return heard === undefined || now() - heard.at > BELIEVED_MS ? undefined : heard.value
    },
    keepUpstream: (key, upstream) => put(upstreams, key, { value: upstream, at: now() }),
  }
}

function put<T>(map: Map<string, T>, key: string, value: T): void {
  map.delete(key)
  map.set(key, value)
  if (map.size > MOST) for (const oldest of map.keys()) return void map.delete(oldest)
}

/** What this isolate has to tell the object, until it is told. */
interface Outbox {
  /** It is told within 20 ms, or as soon as the object can be reached, unless a message takes it along before. */
  put(event: StateEvent): void
  /** The oldest, for a message that leaves now. */
  takeBatch(): readonly StateEvent[]
  /** They did not arrive. */
  putBack(events: readonly StateEvent[]): void
}

/** What an outbox is given. */
interface OutboxOptions {
  /** Ms on the clock. */
  readonly now: () => number
  /** Calls `task` once after `ms`. */
  readonly after: (ms: number, task: () => void) => unknown
  /** Keeps the request's context alive until the work is done: an answer must not wait for it. */
  readonly defer: (work: Promise<unknown>) => void
  /** Sends a message that takes along what is here. Rejects when it does not arrive. */
  readonly send: () => Promise<unknown>
}

/** Events gather for so long. */
const GATHER_MS = 20
/** Between two tries of telling an object that is away. */
const AGAIN_MS = 1_000
/** Platforms let a request's context live on for half a minute. What is left then is told with the next event. */
const DELIVERY_TIMEOUT_MS = 25_000
/** A gathering that was silent for so long has died with the request that began it. */
const LOST_GATHERING_MS = 5_000
/** More than an isolate collects in the longest outage that is worth telling of afterwards. */
const MOST_KEPT = 10_000
/** As many go with one message: whoever acquires with it must not wait long for what happened before. */
const MOST_AT_ONCE = 200

function createOutbox({ now, after, defer, send }: OutboxOptions): Outbox {
  let events: StateEvent[] = []
  let lastSign = -Infinity

  const pause = (ms: number): Promise<void> => new Promise((go) => void after(ms, go))

  async function gather(): Promise<void> {
    const end = now() + DELIVERY_TIMEOUT_MS
    lastSign = now()
    await pause(GATHER_MS)
    while (events.length > 0 && now() < end) {
      lastSign = now()
      const hasArrived = await send().then(
        () => true,
        () => false,
      )
      if (!hasArrived) await pause(AGAIN_MS)
    }
    lastSign = -Infinity
  }

  function begin(): void {
    if (now() >= lastSign + LOST_GATHERING_MS) defer(gather())
  }

  return {
    put(event) {
      events.push(event)
      begin()
    },
    takeBatch: () => events.splice(0, MOST_AT_ONCE),
    putBack(back) {
      events = [...back, ...events].slice(-MOST_KEPT)
      if (back.length > 0) begin()
    },
  }
}
