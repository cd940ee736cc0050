import { scopesOf, type StateCall, type StateEvent, type StateReply } from './durable-object-call.ts'
import { createStateCache, type StateCacheOptions } from './durable-object-cache.ts'
import type { RemoteStore } from './guarded.ts'

/** What a store over an object is given. */
export interface ObjectStoreOptions extends StateCacheOptions {
  /** One round trip. Rejects when the object can't be reached. */
  readonly call: (call: StateCall) => Promise<StateReply>
  /** Calls `task` once after `ms`. */
  readonly after: (ms: number, task: () => void) => unknown
  /** Keeps the request's context alive until the work is done: an answer must not wait for it. */
  readonly defer: (work: Promise<unknown>) => void
}

/** Events gather for so long; whoever asks the object earlier takes them along. */
const GATHER_MS = 20
/** More than an isolate collects in the longest outage that is worth telling of afterwards. */
const MOST_EVENTS = 10_000
/** A gathering that takes this long has died with the request that began it. */
const LOST_MS = 2_000

/**
 * The store of a deployment, kept in a Durable Object.
 *
 * Before an attempt, one round trip acquires; it takes along whatever has ended in the meantime, and the keys
 * that this isolate has not heard of within a second. It brings back who served them, and the present states of
 * everybody it asked for, which serve as snapshots for at most a second.
 */
export function createObjectStore(options: ObjectStoreOptions): RemoteStore {
  const { call, now, after, defer } = options
  const cache = createStateCache(options)
  let events: StateEvent[] = []
  let gatheringSince: number | undefined

  async function ask(question: Omit<StateCall, 'events'>): Promise<StateReply> {
    const telling = events
    events = []
    try {
      const reply = await call({ ...question, events: telling })
      cache.keepStates(question.scopes ?? scopesOf(question.acquire?.order ?? []), reply.states)
      return reply
    } catch (error) {
      events = [...telling, ...events].slice(-MOST_EVENTS)
      throw error
    }
  }

  function tell(event: StateEvent): void {
    events.push(event)
    if (gatheringSince !== undefined && now() < gatheringSince + LOST_MS) return
    gatheringSince = now()
    defer(
      new Promise<void>((resolve) => {
        after(GATHER_MS, () => {
          gatheringSince = undefined
          // What could not be told is told with the next event.
          if (events.length > 0)
            ask({}).then(
              () => resolve(),
              () => resolve(),
            )
          else resolve()
        })
      }),
    )
  }

  return {
    snapshot: (scopes) => cache.states(scopes),
    standings: (claims) => claims.map(({ draws }) => cache.states(draws.map(({ scope }) => scope))),
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
    confirm(lease, answer) {
      cache.loosen(lease.claim)
      tell({ kind: 'confirm', lease, answer })
    },
    settle(lease, outcome) {
      cache.loosen(lease.claim)
      tell({ kind: 'settle', lease, outcome })
    },
    recall(key) {
      const known = cache.upstream(key)
      return known === undefined ? null : (known ?? undefined)
    },
    remember(key, upstream, { ttlMs }) {
      cache.keepUpstream(key, upstream)
      tell({ kind: 'remember', key, upstream, ttlMs })
    },
  }
}
