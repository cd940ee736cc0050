import { scopesTold, type StateCall, type StateEvent, type StateReply } from './durable-object-call.ts'
import { keepRows, type Rows } from './durable-object-rows.ts'
import type { Instant } from './instant.ts'
import { createMemoryStore } from './memory.ts'
import type { Spent } from './spent.ts'
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

/** Ids that are remembered against counting twice. */
const MOST_COUNTED = 20_000
/** Nothing is told later than that: leases end by themselves by then. */
const OLDEST_MS = 3_600_000

/** The moment so long ago. What clocks say that were set back counts as now. */
function before({ now, wall }: Instant, ms: number): Instant {
  const ago = Math.min(OLDEST_MS, Math.max(0, ms))
  return { now: now - ago, wall: wall - ago }
}

const lasted = ({ sentAt, endedAt }: Spent): number => Math.min(OLDEST_MS, Math.max(0, endedAt - sentAt))

/** Keeps the same store as a single process does, and writes down what is worth keeping. */
export function createStateObject({ rows, at, draw, after, life }: StateObjectOptions): StateObject {
  const store = createMemoryStore({ draw })
  const keeper = keepRows(rows, store, at())
  /** Ids of what was spent elsewhere and is counted: a message that seemed lost may have arrived. */
  const counted = new Set<string>()
  let isWriting = false

  /** Leases are known by life and number; one of an earlier life means nothing to this store. */
  const inward = (lease: Lease): Lease | undefined =>
    lease.id.startsWith(`${life}.`) ? { ...lease, id: lease.id.slice(life.length + 1) } : undefined

  function take(event: StateEvent, at: Instant): void {
    if (event.kind === 'remember')
      return void store.remember(event.key, event.upstream, { ttlMs: event.ttlMs, at })
    if (event.kind === 'spent') return spend(event, at)
    const lease = inward(event.lease)
    if (lease === undefined) return
    if (event.kind === 'confirm') store.confirm(lease, event.answer, at)
    else store.settle(lease, event.outcome, at)
  }

  function spend({ id, spent }: Extract<StateEvent, { kind: 'spent' }>, ended: Instant): void {
    if (counted.has(id)) return
    counted.add(id)
    if (counted.size > MOST_COUNTED) counted.delete(counted.values().next().value ?? id)
    store.spend({ ...spent, sentAt: ended.now - lasted(spent) }, ended)
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
    answer({ events, scopes, keys = [], acquire, now: sentAt }) {
      const now = at()
      for (const event of events) take(event, before(now, sentAt - event.at))
      const lease = acquire === undefined ? undefined : store.acquire(acquire.order, acquire.ask, now)
      const wanted = scopes ?? (acquire === undefined ? [] : scopesTold(acquire.order, lease))
      if (events.length > 0 || lease !== undefined) scheduleWrite()
      return {
        states: store.snapshot(wanted).map((state) => state ?? null),
        upstreams: keys.map((key) => store.recall(key, now) ?? null),
        lease: lease === undefined ? null : { ...lease, id: `${life}.${lease.id}` },
      }
    },
  }
}
