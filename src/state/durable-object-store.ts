import { scopesTold, type StateCall, type StateReply } from './durable-object-call.ts'
import { createStateCache, type StateCacheOptions } from './durable-object-cache.ts'
import type { RemoteStore } from './guarded.ts'
import { standingOf } from './standing.ts'
import { createOutbox, type OutboxOptions } from './outbox.ts'

/** What a store over an object is given. */
export interface ObjectStoreOptions extends StateCacheOptions, Omit<OutboxOptions, 'send'> {
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
    const events = outbox.take()
    try {
      const reply = await call({ ...question, events, now: now() })
      const { scopes, acquire } = question
      const told = scopes ?? scopesTold(acquire?.order ?? [], reply.lease ?? undefined)
      cache.keepStates(told, reply.states)
      return reply
    } catch (error) {
      outbox.putBack(events)
      throw error
    }
  }

  return {
    snapshot: (scopes) => cache.states(scopes),
    standings: (claims) =>
      claims.map(({ draws }) => standingOf(cache.states(draws.map(({ scope }) => scope)))),
    async look(scopes) {
      const { states } = await ask({ scopes })
      return states.map((state) => state ?? undefined)
    },
    async acquire(order, question) {
      const { stickTo, heldBy = [] } = question
      const keys = stickTo === undefined ? heldBy : [...heldBy, stickTo]
      const { lease, upstreams } = await ask({ acquire: { order, ask: question }, keys })
      for (const [at, key] of keys.entries()) cache.keepUpstream(key, upstreams[at] ?? null)
      return lease ?? undefined
    },
    confirm(lease, answer, at) {
      cache.loosen(lease.claim)
      outbox.put({ kind: 'confirm', at: at.now, lease, answer })
    },
    settle(lease, outcome, at) {
      cache.loosen(lease.claim)
      outbox.put({ kind: 'settle', at: at.now, lease, outcome })
    },
    report: (spent) =>
      outbox.put({ kind: 'spent', at: spent.endedAt, id: `${isolate}.${reported++}`, spent }),
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
