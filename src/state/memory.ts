import type { Instant } from '../lib/clock.ts'
import type { Claim, Upstream } from '../pool/upstream.ts'
import { claimAvailability } from './availability.ts'
import { createCalendar } from './calendar.ts'
import { claimSnapshotOf, type ClaimSnapshot } from './headroom.ts'
import { isWorthKeeping, type ScopeState } from './scope.ts'
import { isStale, isUntouched, keptScope, restored, type KeptState } from './snapshot.ts'
import type { Ask, Lease, LeaseRecord, LocalUsage, StateStore } from './store.ts'
import {
  confirmLease,
  settleLease,
  grantLease,
  type ScopeChanges,
  type TransitionContext,
} from './transitions.ts'

/** A store in this process: every answer at once. */
export interface MemoryStore extends StateStore {
  snapshot(scopes: readonly string[]): readonly (ScopeState | undefined)[]
  claimSnapshots(claims: readonly Claim[]): readonly ClaimSnapshot[]
  acquire(...args: Parameters<StateStore['acquire']>): Lease | undefined
  confirm(...args: Parameters<StateStore['confirm']>): void
  settle(...args: Parameters<StateStore['settle']>): void
  recall(key: string, at: Instant): string | undefined
  /** Counts a request that another store gave leave for, at the times at which it was sent, answered and ended. */
  recordUsage(spent: LocalUsage, ended: Instant): void
  /** All that is worth keeping across a restart: no leases, nothing under way. */
  keep(at: Instant): KeptState
  /** Takes back what was kept, whatever it is now: damaged parts are left out, and what is known already stays. */
  restore(kept: unknown, at: Instant): void
  /** Tells who stands in the configuration: of others, nothing is kept for more than a day. Nobody is gone unless told. */
  expect(upstreams: readonly { readonly claims: Partial<Upstream['claims']> }[]): void
  /** How often something changed that is worth keeping; moves only up. */
  readonly changes: number
}

/** A lease that nobody settled is taken back after this time: whoever held it is gone. */
const LEASE_MS = 3_600_000
/** How often what is stale is looked for. */
const SWEEP_MS = 3_600_000
/** Of a full table the newest part is written down: all of it would be 10 MB at every write. */
const KEPT_KEYS = 10_000

/**
 * @param given.random uniform in [0, 1), for the jitter of back-offs
 */
export function createMemoryStore({ random }: { random: () => number }): MemoryStore {
  const states = createScopeTable()
  // Leases last equally long, so the first one inserted is the first to run out.
  const leases = new Map<string, LeaseRecord>()
  const served = createAffinityTable()
  const answers = createAffinityTable()
  const dayEndsAt = createCalendar()
  let nextLease = 0
  let changeCount = 0
  let sweptAt = -Infinity
  let expected: ReadonlySet<string> | undefined

  const contextAt = (at: Instant): TransitionContext => ({ stateOf: states.get, at, random, dayEndsAt })
  const tableOf = (key: string) => (key.startsWith('answer ') ? answers : served)

  function apply(changes: ScopeChanges): void {
    for (const { scope, state } of changes) {
      if (isWorthKeeping(state) || isWorthKeeping(states.get(scope))) changeCount += 1
      states.set(scope, state)
    }
  }

  function grant(
    claim: Claim,
    { tokens, probing, probeMs }: { tokens: number; probing: readonly string[]; probeMs: number },
    at: Instant,
  ): Lease {
    const lease = { id: String(nextLease++), claim, since: at.now, tokens }
    const { changes, record } = grantLease(lease, { probing, probeMs }, contextAt(at))
    leases.set(lease.id, record)
    apply(changes)
    return lease
  }

  function reclaimLost(at: Instant): void {
    for (const [id, record] of leases) {
      if (record.lease.since + LEASE_MS > at.now) return
      leases.delete(id)
      apply(settleLease(record, { kind: 'aborted', sent: true }, contextAt(at)))
    }
  }

  function isOver(state: ScopeState, scope: string, now: number): boolean {
    return expected === undefined || expected.has(scope) ? isStale(state, now) : isUntouched(state, now)
  }

  /** States of upstreams that left the configuration would stay for ever. */
  function sweep({ now }: Instant): void {
    if (now < sweptAt + SWEEP_MS) return
    sweptAt = now
    states.drop((state, scope) => isOver(state, scope, now))
  }

  return {
    get changes() {
      return changeCount
    },
    snapshot: (scopes) => scopes.map(states.get),
    claimSnapshots: (claims) => claims.map(states.claimSnapshot),
    reclaim: reclaimLost,
    acquire(order, ask, at) {
      reclaimLost(at)
      sweep(at)
      const isStuck = ask.stickTo !== undefined || ask.pinKeys !== undefined
      const wanted = isStuck ? applyAffinity(order, ask, (key) => tableOf(key).recall(key, at.now)) : order
      for (const claim of wanted) {
        const availability = claimAvailability(claim, states.claimSnapshot(claim), { ask, now: at.now })
        if (!availability.free) continue
        const { tokens, probing } = availability
        return grant(claim, { tokens, probing, probeMs: ask.probeMs }, at)
      }
      return undefined
    },
    confirm(lease, answer, at) {
      const record = leases.get(lease.id)
      if (record === undefined || record.confirmed) return
      const moved = confirmLease(record, answer, contextAt(at))
      leases.set(lease.id, moved.record)
      apply(moved.changes)
    },
    settle(lease, outcome, at) {
      const record = leases.get(lease.id)
      if (record === undefined) return
      leases.delete(lease.id)
      apply(settleLease(record, outcome, contextAt(at)))
    },
    recordUsage({ claim, tokens, sentAt, answer, outcome }, ended) {
      const lease = { id: String(nextLease++), claim, since: sentAt, tokens }
      const before = (now: number): TransitionContext =>
        contextAt({ now, wall: ended.wall - (ended.now - now) })
      const { changes, record } = grantLease(lease, { probing: [], probeMs: 0 }, before(sentAt))
      apply(changes)
      const begun =
        answer && confirmLease(record, answer, before(Math.min(ended.now, sentAt + answer.firstByteMs)))
      if (begun !== undefined) apply(begun.changes)
      apply(settleLease(begun?.record ?? record, outcome, contextAt(ended)))
    },
    recall: (key, at) => tableOf(key).recall(key, at.now),
    remember: (key, upstream, { ttlMs, at }) => tableOf(key).remember(key, upstream, { ttlMs, now: at.now }),
    keep: (at) => ({
      version: 1,
      savedAt: at.wall,
      now: at.now,
      scopes: [...states.all()]
        .filter(([scope, state]) => isWorthKeeping(state) && !isOver(state, scope, at.now))
        .map(([scope, state]) => [scope, keptScope(state)]),
      affinity: [...answers.newest(KEPT_KEYS, at.now), ...served.newest(KEPT_KEYS, at.now)],
    }),
    expect(upstreams) {
      const draws = upstreams.flatMap(({ claims }) => Object.values(claims).flatMap((claim) => claim.draws))
      expected = new Set(draws.map(({ scope }) => scope))
    },
    restore(kept, at) {
      const back = restored(kept, at)
      for (const [scope, state] of back.scopes) if (states.get(scope) === undefined) states.set(scope, state)
      for (const [key, upstream, until] of back.affinity) {
        tableOf(key).remember(key, upstream, { ttlMs: until - at.now, now: at.now })
      }
    },
  }
}

/** Remembers who served a key; bounded, the longest unused go first. */
export interface AffinityTable {
  recall(key: string, now: number): string | undefined
  remember(key: string, upstream: string, life: { ttlMs: number; now: number }): void
  /** The `most` newest that are not forgotten yet, oldest first, for keeping across a restart. */
  newest(most: number, now: number): [key: string, upstream: string, until: number][]
  readonly size: number
}

/** @param capacity the most keys kept; at 100,000 keys of 15 characters about 20 MB */
export function createAffinityTable(capacity = 100_000): AffinityTable {
  // A Map keeps insertion order: re-inserting on use makes the first key the longest unused one.
  const kept = new Map<string, { upstream: string; until: number }>()
  // One walk for the table's whole life: each new one would pass all places of keys that are gone already.
  const oldest = kept.keys()
  return {
    get size() {
      return kept.size
    },
    recall(key, now) {
      const entry = kept.get(key)
      if (entry === undefined) return undefined
      if (entry.until > now) return entry.upstream
      kept.delete(key)
      return undefined
    },
    remember(key, upstream, { ttlMs, now }) {
      kept.delete(key)
      kept.set(key, { upstream, until: now + ttlMs })
      if (kept.size > capacity) kept.delete(oldest.next().value ?? key)
    },
    newest(most, now) {
      const availability: [string, string, number][] = []
      let older = kept.size - most
      for (const [key, { upstream, until }] of kept) {
        if (older-- > 0) continue
        if (until > now) availability.push([key, upstream, until])
      }
      return availability
    },
  }
}

/** The states of all scopes, to be had by name, or at once for all that a claim draws on. */
interface ScopeTable {
  get(scope: string): ScopeState | undefined
  set(scope: string, state: ScopeState): void
  /** The same one again for as long as none of its states was replaced. */
  claimSnapshot(claim: Claim): ClaimSnapshot
  /** Forgets the states for which `isOver` holds. */
  drop(isOver: (state: ScopeState, scope: string) => boolean): void
  all(): [scope: string, state: ScopeState][]
}

interface Cell {
  state: ScopeState | undefined
}

/** The cells that a claim draws on, and what was in them when it was last asked. */
interface ClaimRow {
  readonly cells: readonly Cell[]
  claimSnapshot: ClaimSnapshot
}

/**
 * A choice among a hundred upstreams asks for five hundred scopes, and hardly any has changed since the choice
 * before: so a claim finds its cells once, and afterwards only compares what is in them.
 */
function createScopeTable(): ScopeTable {
  const cells = new Map<string, Cell>()
  let rows = new WeakMap<Claim, ClaimRow>()

  function cellOf(scope: string): Cell {
    const known = cells.get(scope)
    if (known !== undefined) return known
    const cell: Cell = { state: undefined }
    cells.set(scope, cell)
    return cell
  }

  function rowOf({ draws }: Claim): ClaimRow {
    const own = draws.map(({ scope }) => cellOf(scope))
    return { cells: own, claimSnapshot: snapshotIn(own) }
  }

  return {
    get: (scope) => cells.get(scope)?.state,
    set: (scope, state) => void (cellOf(scope).state = state),
    claimSnapshot(claim) {
      let row = rows.get(claim)
      if (row === undefined) rows.set(claim, (row = rowOf(claim)))
      else if (hasChanged(row)) row.claimSnapshot = snapshotIn(row.cells)
      return row.claimSnapshot
    },
    drop(isOver) {
      for (const [scope, { state }] of cells)
        if (state === undefined || isOver(state, scope)) cells.delete(scope)
      rows = new WeakMap()
    },
    all() {
      const known: [string, ScopeState][] = []
      for (const [scope, { state }] of cells) if (state !== undefined) known.push([scope, state])
      return known
    },
  }
}

const snapshotIn = (cells: readonly Cell[]): ClaimSnapshot => claimSnapshotOf(cells.map(({ state }) => state))

function hasChanged({ cells, claimSnapshot: { states } }: ClaimRow): boolean {
  for (let at = 0; at < cells.length; at++) if (cells[at]?.state !== states[at]) return true
  return false
}

/** What binds a request to an upstream; see `Ask`. */
export type AffinityKeys = Pick<Ask, 'stickTo' | 'pinKeys'>

/** Looks up who served a key; undefined = nobody. */
type UpstreamOf = (key: string) => string | undefined

/**
 * The order of a request whose keys are first looked up where it is acquired: what `orderOf` would have made of it.
 *
 * Nobody is left where the upstream of an earlier answer is not in the order: that answer exists nowhere else.
 */
export function applyAffinity(
  order: readonly Claim[],
  { stickTo, pinKeys }: AffinityKeys,
  upstreamOf: UpstreamOf,
): readonly Claim[] {
  const pinnedUpstream = pinKeys === undefined ? undefined : firstUpstream(pinKeys, upstreamOf)
  if (pinnedUpstream !== undefined) return order.filter(({ id }) => id === pinnedUpstream)
  const remembered = stickTo === undefined ? undefined : upstreamOf(stickTo)
  const stuck = order.find(({ id }) => id === remembered)
  if (stuck === undefined) return order
  const tierBegins = order.findIndex(({ priority }) => priority === stuck.priority)
  const others = order.filter((claim) => claim !== stuck)
  return [...others.slice(0, tierBegins), stuck, ...others.slice(tierBegins)]
}

function firstUpstream(keys: readonly string[], upstreamOf: UpstreamOf): string | undefined {
  for (const key of keys) {
    const upstream = upstreamOf(key)
    if (upstream !== undefined) return upstream
  }
  return undefined
}
