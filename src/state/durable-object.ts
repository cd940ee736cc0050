import { scopesOf, type StateCall, type StateEvent, type StateReply } from './durable-object-call.ts'
import { keepRows, type Rows } from './durable-object-rows.ts'
import type { Instant } from './instant.ts'
import { createMemoryStore } from './memory.ts'
import type { Lease } from './store.ts'

/** The state of a whole deployment, in one object that all isolates ask. */
export interface StateObject {
  /** One step: nothing else happens in between. */
  answer(call: StateCall): StateReply
}

/** What the object is given. */
export interface StateObjectOptions {
  readonly rows: Rows
  /**
   * The object's own clock. It stamps every step, so that what the isolates' clocks differ by never
   * widens a window.
   */
  readonly at: () => Instant
  /** Uniform in [0, 1). */
  readonly draw: () => number
  /** Calls `task` once after `ms`. */
  readonly after: (ms: number, task: () => void) => void
  /** Tells this life of the object from the ones before: their leases are gone. */
  readonly life: string
}

/** What changes within this time is written together. A crash forgets no more; an eviction comes later. */
const WRITE_EVERY_MS = 1_000

/** Keeps the same store as a single process does, and writes down what is worth keeping. */
export function createStateObject({ rows, at, draw, after, life }: StateObjectOptions): StateObject {
  const store = createMemoryStore({ draw })
  const keeper = keepRows(rows, store, at())
  let isWriting = false

  /** Leases are known by life and number; one of an earlier life means nothing to this store. */
  const inward = (lease: Lease): Lease | undefined =>
    lease.id.startsWith(`${life}.`) ? { ...lease, id: lease.id.slice(life.length + 1) } : undefined

  function take(event: StateEvent, now: Instant): void {
    if (event.kind === 'remember') {
      void store.remember(event.key, event.upstream, { ttlMs: event.ttlMs, at: now })
      return
    }
    const lease = inward(event.lease)
    if (lease === undefined) return
    if (event.kind === 'confirm') store.confirm(lease, event.answer, now)
    else store.settle(lease, event.outcome, now)
  }

  function scheduleWrite(): void {
    if (isWriting) return
    isWriting = true
    after(WRITE_EVERY_MS, () => {
      isWriting = false
      keeper.write(at())
    })
  }

  return {
    answer({ events, scopes, keys = [], acquire }) {
      const now = at()
      for (const event of events) take(event, now)
      const lease = acquire === undefined ? undefined : store.acquire(acquire.order, acquire.ask, now)
      const wanted = scopes ?? (acquire === undefined ? [] : scopesOf(acquire.order))
      if (events.length > 0 || lease !== undefined) scheduleWrite()
      return {
        states: store.snapshot(wanted).map((state) => state ?? null),
        upstreams: keys.map((key) => store.recall(key, now) ?? null),
        lease: lease === undefined ? null : { ...lease, id: `${life}.${lease.id}` },
      }
    },
  }
}
