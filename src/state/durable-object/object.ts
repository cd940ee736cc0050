import type { Instant } from '../../lib/clock.ts'
import { createMemoryStore, type MemoryStore } from '../memory.ts'
import type { Lease, LocalUsage } from '../store.ts'
import {
  fromWireAsk,
  scopesInReply,
  type StateCall,
  type StateEvent,
  type StateReply,
  toWireScope,
  WIRE_VERSION,
} from './protocol.ts'

/** The state of a whole deployment, in one object that all isolates ask. */
export type StateObject = ReturnType<typeof createStateObject>

/** What the object is given. */
interface StateObjectOptions {
  readonly rows: Rows
  /** The object's own clock stamps every step: what the isolates' clocks differ by never widens a window. */
  readonly at: () => Instant
  /** Uniform in [0, 1). */
  readonly random: () => number
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

/** A time that has passed. What clocks say that were set back counts as none. */
const passed = (ms: number): number => Math.min(OLDEST_MS, Math.max(0, ms))

/** Keeps the same store as a single process does, and writes down what is worth keeping. */
export function createStateObject({ rows, at, random, after, life }: StateObjectOptions) {
  const store = createMemoryStore({ random })
  const writeRows = keepRows(rows, store, at())
  /** Ids of the usage elsewhere that is counted: a message that seemed lost may have arrived. */
  const counted = new Set<string>()
  let isWriting = false

  /** Leases are known by life and number; one of an earlier life means nothing to this store. */
  const inward = (lease: Lease): Lease | undefined =>
    lease.id.startsWith(`${life}.`) ? { ...lease, id: lease.id.slice(life.length + 1) } : undefined

  function apply(event: StateEvent, at: Instant): void {
    if (event.kind === 'remember')
      return store.remember(event.key, event.upstream, { ttlMs: event.ttlMs, at })
    if (event.kind === 'spent') return recordUsage(event.id, event.spent, at)
    if (event.kind === 'close') return void store.closeBreakers(event.scopes, at)
    if (event.kind === 'pause') return void store.pause(event.scope, event.isPaused, at)
    const lease = inward(event.lease)
    if (lease === undefined) return
    if (event.kind === 'confirm') store.confirm(lease, event.answer, at)
    else store.settle(lease, event.outcome, at)
  }

  function recordUsage(id: string, usage: LocalUsage, ended: Instant): void {
    if (counted.has(id)) return
    counted.add(id)
    if (counted.size > MOST_COUNTED) counted.delete(counted.values().next().value ?? id)
    store.recordUsage({ ...usage, sentAt: ended.now - passed(usage.endedAt - usage.sentAt) }, ended)
  }

  function scheduleWrite(): void {
    if (isWriting) return
    isWriting = true
    after(WRITE_EVERY_MS, () => {
      isWriting = false
      writeRows(at())
    })
  }

  return {
    /** One step: nothing else happens in between. @throws Error where the call is of another version */
    answer({ version, events, scopes, keys = [], acquire, now: sentAt }: StateCall): StateReply {
      if (version !== WIRE_VERSION) throw new Error('the isolate is of another version')
      const present = at()
      for (const event of events) {
        const ago = passed(sentAt - event.at)
        apply(event, { now: present.now - ago, wall: present.wall - ago })
      }
      const lease = acquire && store.acquire(acquire.order, fromWireAsk(acquire.ask), present)
      if (events.length > 0 || lease !== undefined) scheduleWrite()
      return {
        version,
        states: store.snapshot(scopes ?? scopesInReply(acquire?.order ?? [], lease)).map(toWireScope),
        upstreams: keys.map((key) => store.recall(key, present) ?? null),
        lease: lease === undefined ? null : { ...lease, id: `${life}.${lease.id}` },
      }
    },
  }
}

/** What a row is about: a scope's state, or who served a key. */
export type RowKind = 'scope' | 'key'

/** A place for small texts, each under its kind and key. */
export interface Rows {
  all(): Iterable<{ readonly kind: RowKind; readonly key: string; readonly text: string }>
  put(kind: RowKind, key: string, text: string): void
  remove(kind: RowKind, key: string): void
}

/**
 * Takes back what stands in the rows; the function returned brings them up to date. A row for each scope and each key,
 * since one changed scope should not cost writing all of them. Damaged rows are none.
 */
function keepRows(rows: Rows, store: MemoryStore, at: Instant): (at: Instant) => void {
  const written: Record<RowKind, Map<string, string>> = { scope: new Map(), key: new Map() }
  for (const { kind, key, text } of rows.all()) written[kind]?.set(key, text)
  // Deadlines in the rows are on the object's clock, which is the wall clock in every life.
  const kept = {
    version: 1,
    savedAt: at.wall,
    now: at.now,
    scopes: rowEntries(written.scope),
    affinity: rowEntries(written.key).map(([key, value]) => [key, ...(Array.isArray(value) ? value : [])]),
  }
  store.restore(kept, at)

  function update(kind: RowKind, entries: readonly (readonly [key: string, value: unknown])[]): void {
    const before = written[kind]
    const texts = new Map(entries.map(([key, value]) => [key, JSON.stringify(value)]))
    for (const [key, text] of texts) if (before.get(key) !== text) rows.put(kind, key, text)
    for (const key of before.keys()) if (!texts.has(key)) rows.remove(kind, key)
    written[kind] = texts
  }

  return (instant) => {
    const { scopes, affinity } = store.keep(instant)
    const keys = affinity.map(([key, upstream, until]) => [key, [upstream, Math.round(until)]] as const)
    update('scope', scopes)
    update('key', keys)
  }
}

function rowEntries(texts: ReadonlyMap<string, string>): [string, unknown][] {
  const entries: [string, unknown][] = []
  for (const [key, text] of texts) {
    try {
      entries.push([key, JSON.parse(text)])
    } catch {
      // A damaged row tells nothing; the next write removes it.
    }
  }
  return entries
}
