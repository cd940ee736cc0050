import type { Claim, Upstream } from '../pool/upstream.ts'
import { createAffinityTable } from './affinity-table.ts'
import { judged } from './availability.ts'
import { createCalendar } from './calendar.ts'
import type { Instant } from './instant.ts'
import { isWorthKeeping, keptScope } from './kept-scope.ts'
import { isStale, isUntouched, restored, type KeptState } from './kept-state.ts'
import type { LeaseRecord } from './lease-record.ts'
import type { ScopeState } from './scope-state.ts'
import type { Spent } from './spent.ts'
import type { Changes, Step } from './step.ts'
import { stuckOrder } from './sticking.ts'
import type { Standing } from './standing.ts'
import type { Lease, StateStore } from './store.ts'
import { createScopeTable } from './scope-table.ts'
import { confirmLease, settleLease, takeLease } from './transition.ts'

/** A store in this process: every answer at once. */
export interface MemoryStore extends StateStore {
  snapshot(scopes: readonly string[]): readonly (ScopeState | undefined)[]
  standings(claims: readonly Claim[]): readonly Standing[]
  acquire(...args: Parameters<StateStore['acquire']>): Lease | undefined
  confirm(...args: Parameters<StateStore['confirm']>): void
  settle(...args: Parameters<StateStore['settle']>): void
  recall(key: string, at: Instant): string | undefined
  /** Counts a request that another store gave leave for, at the times at which it was sent, answered and ended. */
  spend(spent: Spent, ended: Instant): void
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
 * @param given.draw uniform in [0, 1), for the jitter of cooldowns
 */
export function createMemoryStore({ draw }: { draw: () => number }): MemoryStore {
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

  const stepAt = (at: Instant): Step => ({ stateOf: states.get, at, draw, dayEndsAt })
  const tableOf = (key: string) => (key.startsWith('answer ') ? answers : served)

  function apply(changes: Changes): void {
    for (const { scope, state } of changes) {
      if (isWorthKeeping(state) || isWorthKeeping(states.get(scope))) changeCount += 1
      states.set(scope, state)
    }
  }

  function take(
    claim: Claim,
    { tokens, probing, probeMs }: { tokens: number; probing: readonly string[]; probeMs: number },
    at: Instant,
  ): Lease {
    const lease = { id: String(nextLease++), claim, since: at.now, tokens }
    const { changes, record } = takeLease(lease, { probing, probeMs }, stepAt(at))
    leases.set(lease.id, record)
    apply(changes)
    return lease
  }

  function takeBackLost(at: Instant): void {
    for (const [id, record] of leases) {
      if (record.lease.since + LEASE_MS > at.now) return
      leases.delete(id)
      apply(settleLease(record, { kind: 'aborted', sent: true }, stepAt(at)))
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
    standings: (claims) => claims.map(states.standing),
    acquire(order, ask, at) {
      takeBackLost(at)
      sweep(at)
      const isStuck = ask.stickTo !== undefined || ask.heldBy !== undefined
      const wanted = isStuck ? stuckOrder(order, ask, (key) => tableOf(key).recall(key, at.now)) : order
      for (const claim of wanted) {
        const found = judged(claim, states.standing(claim), { ask, now: at.now })
        if (!found.free) continue
        const { tokens, probing } = found
        return take(claim, { tokens, probing, probeMs: ask.probeMs }, at)
      }
      return undefined
    },
    confirm(lease, answer, at) {
      const record = leases.get(lease.id)
      if (record === undefined || record.confirmed) return
      const moved = confirmLease(record, answer, stepAt(at))
      leases.set(lease.id, moved.record)
      apply(moved.changes)
    },
    settle(lease, outcome, at) {
      const record = leases.get(lease.id)
      if (record === undefined) return
      leases.delete(lease.id)
      apply(settleLease(record, outcome, stepAt(at)))
    },
    spend({ claim, tokens, sentAt, answer, outcome }, ended) {
      const lease = { id: String(nextLease++), claim, since: sentAt, tokens }
      const before = (now: number): Step => stepAt({ now, wall: ended.wall - (ended.now - now) })
      const { changes, record } = takeLease(lease, { probing: [], probeMs: 0 }, before(sentAt))
      apply(changes)
      const begun =
        answer && confirmLease(record, answer, before(Math.min(ended.now, sentAt + answer.firstByteMs)))
      if (begun !== undefined) apply(begun.changes)
      apply(settleLease(begun?.record ?? record, outcome, stepAt(ended)))
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
