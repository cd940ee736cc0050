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
import type { Clock } from '../../lib/clock.ts'
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
  WIRE_VERSION,
  toWireAsk,
} from './protocol.ts'

/** What a store over an object is given. */
interface ObjectStoreOptions extends Pick<Clock, 'now' | 'after'> {
  /** Tells this isolate from all others, those of the past too. */
  readonly isolate: string
  /** One round trip. Rejects when the object can't be reached. */
  readonly call: (call: StateCall) => Promise<StateReply>
  /** Keeps the request's context alive until the work is done: an answer must not wait for it. */
  readonly defer: (work: Promise<unknown>) => void
  /** What this isolate itself has under way: of all isolates together it is at least that. */
  readonly ownInFlight: (scope: string) => number
}

/**
 * The store of a deployment, kept in a Durable Object. Before an attempt, one round trip acquires; it takes along
 * whatever has ended in the meantime, and the keys that this isolate has not heard of within a second. It brings back
 * who served them, and the present states of everybody it asked for, which serve as snapshots for at most a second.
 */
export function createObjectStore(options: ObjectStoreOptions): RemoteStore {
  const { isolate, call, now } = options
  const cache = createStateCache(options)
  const outbox = createOutbox({ ...options, send: () => ask({}) })
  let reported = 0

  async function ask(question: Omit<StateCall, 'version' | 'events' | 'now'>): Promise<StateReply> {
    const events = outbox.takeBatch()
    try {
      const reply = await call({ ...question, version: WIRE_VERSION, events, now: now() })
      if (reply.version !== WIRE_VERSION) throw new Error('the object is of another version')
      const { scopes, acquire } = question
      const answered = scopes ?? scopesInReply(acquire?.order ?? [], reply.lease ?? undefined)
      cache.keepStates(answered, reply.states.map(fromWireScope))
      return reply
    } catch (error) {
      outbox.putBack(events)
      throw error
    }
  }

  /** Tells of what an operator did, until it has arrived, as everything that happened is; gives how it was before. */
  async function toldWith(event: StateEvent, scopes: readonly string[]): Promise<StateReply | undefined> {
    const before = await ask({ scopes }).catch(() => undefined)
    outbox.put(event)
    await ask({ scopes })
    return before
  }

  return {
    snapshot: cache.states,
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
      for (const [at, key] of keys.entries()) cache.keepUpstream(key, upstreams[at] ?? undefined)
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
    async closeBreakers(scopes, at) {
      const before = await toldWith({ kind: 'close', at: at.now, scopes }, scopes)
      return scopes.filter((_, index) => before?.states[index]?.cooldown !== undefined)
    },
    async pause(scope, isPaused, at) {
      const before = await toldWith({ kind: 'pause', at: at.now, scope, isPaused }, [scope])
      return isPaused !== (before?.states[0]?.pausedSince !== undefined)
    },
    recall: cache.upstream,
    async locate(key) {
      const known = cache.upstream(key)
      if (known !== null) return known
      const { upstreams } = await ask({ keys: [key] })
      cache.keepUpstream(key, upstreams[0] ?? undefined)
      return upstreams[0] ?? undefined
    },
    remember(key, upstream, { ttlMs, at }) {
      cache.keepUpstream(key, upstream)
      outbox.put({ kind: 'remember', at: at.now, key, upstream, ttlMs })
    },
  }
}

/** As good as the object's own word: long enough for one request to look twice. */
const EXACT_MS = 50
/** How long anything heard is believed. */
const BELIEVED_MS = 1_000
/** Most things remembered of each sort; the oldest go first. */
const MOST = 10_000

interface Heard<T> {
  readonly value: T
  /** Ms on the clock; -Infinity = only good for comparing. */
  readonly at: number
}

/**
 * What this isolate has lately heard from the object. A state is exact for a moment. Up to a second old it still tells
 * who rests, and who is quick or busy, but not that a limit is reached or that the upstream says so: others may have freed it since, and the
 * object, which is asked anyway before anything is sent, says so if not. Older still, it is only good for comparing.
 */
function createStateCache({ now, ownInFlight }: Pick<ObjectStoreOptions, 'now' | 'ownInFlight'>) {
  const states = new Map<string, Heard<ScopeState | undefined>>()
  const upstreams = new Map<string, Heard<string | undefined>>()

  function stateOf(scope: string): ScopeState | undefined {
    const { value, at } = states.get(scope) ?? NOT_HEARD
    const age = now() - at
    if (value === undefined || age <= EXACT_MS) return value
    const rests = age <= BELIEVED_MS && value.breaker?.probe === undefined
    return {
      ...value,
      windows: {},
      meters: {},
      walls: {},
      inFlight: ownInFlight(scope),
      learnedConcurrency: undefined,
      breaker: rests ? value.breaker : undefined,
      pausedSince: age <= BELIEVED_MS ? value.pausedSince : undefined,
    }
  }

  return {
    /** As they are worth believing now; undefined = nothing is known, and the object decides. */
    states: (scopes: readonly string[]) => scopes.map(stateOf),
    keepStates(scopes: readonly string[], heard: readonly (ScopeState | undefined)[]): void {
      for (const [index, scope] of scopes.entries()) put(states, scope, { value: heard[index], at: now() })
    },
    /** A request has ended: what closed these scopes may be over. */
    loosen({ draws }: Claim): void {
      for (const { scope } of draws) {
        const heard = states.get(scope)
        if (heard !== undefined) states.set(scope, { ...heard, at: -Infinity })
      }
    },
    /** Who served a key; undefined = nobody did; null = not known here. */
    upstream(key: string): string | null | undefined {
      const heard = upstreams.get(key)
      return heard !== undefined && now() - heard.at <= BELIEVED_MS ? heard.value : null
    },
    keepUpstream: (key: string, upstream: string | undefined) =>
      put(upstreams, key, { value: upstream, at: now() }),
  }
}

const NOT_HEARD: Heard<undefined> = { value: undefined, at: -Infinity }

function put<T>(map: Map<string, T>, key: string, value: T): void {
  map.delete(key)
  map.set(key, value)
  if (map.size > MOST) for (const oldest of map.keys()) return void map.delete(oldest)
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

/**
 * What this isolate has to tell the object, until it is told. `send` sends a message that takes along what is here, and
 * rejects when it does not arrive.
 */
function createOutbox(
  options: Pick<ObjectStoreOptions, 'now' | 'after' | 'defer'> & { send: () => Promise<unknown> },
) {
  const { now, after, defer, send } = options
  let events: StateEvent[] = []
  let lastSign = -Infinity

  const pause = (ms: number): Promise<void> => new Promise((go) => void after(ms, go))

  async function gather(): Promise<void> {
    const end = now() + DELIVERY_TIMEOUT_MS
    lastSign = now()
    await pause(GATHER_MS)
    while (events.length > 0 && now() < end) {
      lastSign = now()
      await send().catch(() => pause(AGAIN_MS))
    }
    lastSign = -Infinity
  }

  function begin(): void {
    if (now() >= lastSign + LOST_GATHERING_MS) defer(gather())
  }

  return {
    /** It is told within 20 ms, or as soon as the object can be reached, unless a message takes it along before. */
    put(event: StateEvent): void {
      events.push(event)
      begin()
    },
    /** The oldest, for a message that leaves now. */
    takeBatch: () => events.splice(0, MOST_AT_ONCE),
    /** They did not arrive. */
    putBack(back: readonly StateEvent[]): void {
      events = [...back, ...events].slice(-MOST_KEPT)
      if (back.length > 0) begin()
    },
  }
}
