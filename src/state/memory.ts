import type { Instant } from '../lib/clock.ts'
import type { Claim, Upstream } from '../pool/upstream.ts'
import { createAbilities, type Abilities } from './abilities.ts'
import { createModelLists, type ModelLists } from './model-lists.ts'
import { createTokenUsage, type TokenUsage } from './token-usage.ts'
import { claimAvailability } from './availability.ts'
import { claimSnapshotOf, type ClaimSnapshot } from './headroom.ts'
import { createCalendar } from './rate-window.ts'
import {
  isWorthKeeping,
  mutableCopyOf,
  UNKNOWN_SCOPE,
  withClosedBreaker,
  withPause,
  type ScopeState,
} from './scope.ts'
import { isStale, isUntouched, keptScope, restored, type KeptState } from './snapshot.ts'
import type { Ask, LocalUsage, StateStore } from './store.ts'
import { confirmLease, grantLease, settleLease, type LeaseRecord, type Transaction } from './transitions.ts'

type Immediate<Store> = {
  [Name in keyof Store]: Store[Name] extends (...args: infer Args) => infer Result
    ? (...args: Args) => Awaited<Result>
    : never
}

/** A store in this process: every answer at once. */
export interface MemoryStore extends Immediate<StateStore> {
  /** Counts a request that another store gave leave for, at the times at which it was sent, answered and ended. */
  recordUsage(spent: LocalUsage, ended: Instant): void
  /** All that is worth keeping across a restart: no leases, nothing under way. */
  keep(at: Instant): KeptState
  /** Takes back what was kept, whatever it is now: damaged parts are left out, and what is known already stays. */
  restore(kept: unknown, at: Instant): void
  /** All that choices depend on as it is, leases too. Plain data, which is never changed: states are replaced. */
  capture(): CapturedState
  /** Is from now on where another store was when `capture` was asked. */
  reinstate(captured: CapturedState): void
  /** Passes over the id of a lease that another store gave for something that is not known here. */
  skipLease(): void
  /** Tells who stands in the configuration: of others, nothing is kept for more than a day. Nobody is gone unless told. */
  expect(upstreams: readonly { readonly claims: Partial<Upstream['claims']> }[]): void
  /** How often something changed that is worth keeping; moves only up. */
  readonly changes: number
  /** What upstreams can do; kept along with the rest. */
  readonly abilities: Abilities
  /** Which models they have listed; kept too. */
  readonly modelLists: ModelLists
  /** What client tokens have used; kept too. */
  readonly tokenUsage: TokenUsage
}

/** A store as it was at one moment, but for the upstreams of affinity keys. */
export interface CapturedState {
  readonly scopes: readonly (readonly [scope: string, ScopeState])[]
  readonly leases: readonly LeaseRecord[]
  readonly nextLease: number
  readonly sweptAt: number
  readonly abilities: ReturnType<Abilities['all']>
}

function scopesOf(upstreams: readonly { readonly claims: Partial<Upstream['claims']> }[]): Set<string> {
  const scopes = new Set<string>()
  for (const { claims } of upstreams)
    for (const { draws } of Object.values(claims)) for (const { scope } of draws) scopes.add(scope)
  return scopes
}

/** A lease that nobody settled is taken back after this time: whoever held it is gone. */
const LEASE_MS = 3_600_000
/** How often what is stale is looked for. */
const SWEEP_MS = 3_600_000
/** Of a full table the newest part is written down: all of it would be 10 MB at every write. */
const KEPT_KEYS = 10_000

/** @param given.random uniform in [0, 1), for the jitter of back-offs */
export function createMemoryStore({ random }: { random: () => number }): MemoryStore {
  const states = createScopeTable()
  // Leases last equally long, so the first one inserted is the first to run out.
  const leases = new Map<string, LeaseRecord>()
  const served = createAffinityTable()
  const answers = createAffinityTable()
  const endsAt = createCalendar()
  const abilities = createAbilities()
  const modelLists = createModelLists()
  const tokenUsage = createTokenUsage()
  let nextLease = 0
  let changeCount = 0
  let sweptAt = -Infinity
  let isExpected = (_scope: string): boolean => true

  function remember(key: string, upstream: string, { ttlMs, now }: { ttlMs: number; now: number }): void {
    const table = tableOf(key)
    if (isOfAnswer(key) && table.recall(key, now) !== upstream) changeCount += 1
    table.remember(key, upstream, { ttlMs, now })
  }

  const tableOf = (key: string) => (key.startsWith('answer ') || key.startsWith('own ') ? answers : served)

  function step(record: LeaseRecord, at: Instant, move: (transaction: Transaction) => void): void {
    const transaction: Transaction = { record, at, stateOf: states.get, changes: [], random, endsAt }
    move(transaction)
    for (const { scope, state } of transaction.changes) {
      if (isWorthKeeping(state) || isWorthKeeping(states.get(scope))) changeCount += 1
      states.set(scope, state)
    }
  }

  function reclaim(at: Instant): void {
    for (const [id, record] of leases) {
      if (record.lease.since + LEASE_MS > at.now) return
      leases.delete(id)
      step(record, at, (transaction) => settleLease(transaction, { kind: 'aborted', sent: true }))
    }
  }

  function recordOf(
    claim: Claim,
    since: number,
    held: { tokens: number; probing: readonly string[] },
  ): LeaseRecord {
    const lease = { id: String(nextLease++), claim, since, tokens: held.tokens }
    return { lease, counted: [], sentBefore: [], probing: held.probing, confirmed: false }
  }

  function isOver(state: ScopeState, scope: string, now: number): boolean {
    return isExpected(scope) ? isStale(state, now) : isUntouched(state, now)
  }

  /** States of upstreams that left the configuration would stay for ever. */
  function sweep({ now }: Instant): void {
    if (now < sweptAt + SWEEP_MS) return
    sweptAt = now
    states.drop((state, scope) => isOver(state, scope, now))
  }

  return {
    abilities,
    modelLists,
    tokenUsage,
    get changes() {
      return changeCount + abilities.changes + modelLists.changes + tokenUsage.changes
    },
    snapshot: (scopes) => scopes.map(states.get),
    claimSnapshots: (claims) => claims.map(states.claimSnapshot),
    reclaim,
    acquire(order, ask, at) {
      reclaim(at)
      sweep(at)
      for (const claim of applyAffinity(order, ask, (key) => tableOf(key).recall(key, at.now))) {
        const availability = claimAvailability(claim, states.claimSnapshot(claim), { ask, now: at.now })
        if (!availability.free) continue
        const record = recordOf(claim, at.now, availability)
        leases.set(record.lease.id, record)
        step(record, at, (transaction) => grantLease(transaction, ask.probeMs))
        return record.lease
      }
      return undefined
    },
    confirm({ id }, answer, at) {
      const record = leases.get(id)
      if (record === undefined || record.confirmed) return
      step(record, at, (transaction) => confirmLease(transaction, answer))
    },
    settle({ id }, outcome, at) {
      const record = leases.get(id)
      if (record === undefined) return
      leases.delete(id)
      step(record, at, (transaction) => settleLease(transaction, outcome))
    },
    recordUsage({ claim, tokens, sentAt, answer, outcome }, ended) {
      const record = recordOf(claim, sentAt, { tokens, probing: [] })
      const instant = (now: number): Instant => ({ now, wall: ended.wall - (ended.now - now) })
      step(record, instant(sentAt), (transaction) => grantLease(transaction, 0))
      if (answer !== undefined) {
        const answeredAt = Math.min(ended.now, sentAt + answer.firstByteMs)
        step(record, instant(answeredAt), (transaction) => confirmLease(transaction, answer))
      }
      step(record, ended, (transaction) => settleLease(transaction, outcome))
    },
    closeBreakers(scopes) {
      const resting = scopes.filter((scope) => states.get(scope)?.breaker !== undefined)
      for (const scope of scopes) {
        const state = states.get(scope)
        if (state !== undefined) states.set(scope, withClosedBreaker(state))
      }
      changeCount += resting.length
      return resting
    },
    pause(scope, isPaused, { now }) {
      const state = states.get(scope) ?? UNKNOWN_SCOPE
      if (isPaused === (state.pausedSince !== undefined)) return false
      states.set(scope, withPause(state, isPaused, now))
      changeCount += 1
      return true
    },
    recall: (key, at) => tableOf(key).recall(key, at.now),
    locate: (key, at) => tableOf(key).recall(key, at.now),
    remember: (key, upstream, { ttlMs, at }) => remember(key, upstream, { ttlMs, now: at.now }),
    keep: (at) => ({
      version: 1,
      savedAt: at.wall,
      now: at.now,
      scopes: states
        .all()
        .filter(([scope, state]) => isWorthKeeping(state) && !isOver(state, scope, at.now))
        .map(([scope, state]) => [scope, keptScope(state)]),
      affinity: [...answers.newest(KEPT_KEYS, at.now), ...served.newest(KEPT_KEYS, at.now)],
      abilities: abilities.keep(),
      models: modelLists.keep(),
      tokens: tokenUsage.keep(at.wall),
    }),
    capture: () => ({
      scopes: states.all(),
      leases: [...leases.values()].map((record) => ({
        ...record,
        counted: [...record.counted],
        sentBefore: [...record.sentBefore],
      })),
      nextLease,
      sweptAt,
      abilities: abilities.all(),
    }),
    reinstate(captured) {
      for (const [scope, state] of captured.scopes) states.set(scope, mutableCopyOf(state))
      for (const record of captured.leases) leases.set(record.lease.id, record)
      ;({ nextLease, sweptAt } = captured)
      for (const [id, knowledge] of captured.abilities) abilities.put(id, knowledge)
    },
    skipLease: () => void (nextLease += 1),
    expect(upstreams) {
      // Thousands of upstreams have a hundred thousand: they are gathered when something is to be forgotten.
      let scopes: ReadonlySet<string> | undefined
      isExpected = (scope) => (scopes ??= scopesOf(upstreams)).has(scope)
    },
    restore(kept, at) {
      const { scopes, affinity, abilities: told, models, tokens, shiftMs } = restored(kept, at)
      modelLists.restore(models)
      tokenUsage.restore(tokens)
      abilities.restore(told, shiftMs)
      for (const [scope, state] of scopes) if (states.get(scope) === undefined) states.set(scope, state)
      for (const [key, upstream, until] of affinity)
        tableOf(key).remember(key, upstream, { ttlMs: until - at.now, now: at.now })
    },
  }
}

/** Whether what a key names exists on one account alone: an answer, whose it is, or an encrypted item of one. */
const isOfAnswer = (key: string): boolean => /^(answer|own|item) /.test(key)

/** Who served a key, as `createAffinityTable` makes it. */
export type AffinityTable = ReturnType<typeof createAffinityTable>

/** Keys that may be remembered, and none forgotten, before a walk along the oldest is given up. */
const ITERATOR_TURNS = 1_000

/**
 * Remembers who served a key; bounded, the longest unused go first.
 * @param capacity the most keys kept; at 100,000 keys of 15 characters about 20 MB
 */
export function createAffinityTable(capacity = 100_000) {
  // A Map keeps insertion order: re-inserting on use makes the first key the longest unused one.
  const kept = new Map<string, { upstream: string; until: number }>()
  // One walk for many: each new one would pass all places of keys that are gone already, and one that stands still would
  // hold every table that the Map has outgrown since.
  let oldest: MapIterator<string> | undefined
  let sinceForgotten = 0
  return {
    get size() {
      return kept.size
    },
    recall(key: string, now: number): string | undefined {
      const entry = kept.get(key)
      if (entry === undefined || entry.until > now) return entry?.upstream
      kept.delete(key)
      return undefined
    },
    remember(key: string, upstream: string, { ttlMs, now }: { ttlMs: number; now: number }): void {
      kept.delete(key)
      kept.set(key, { upstream, until: now + ttlMs })
      if (kept.size > capacity) {
        oldest ??= kept.keys()
        kept.delete(oldest.next().value ?? key)
        sinceForgotten = 0
      } else if (++sinceForgotten > ITERATOR_TURNS) oldest = undefined
    },
    /** The `most` newest that are not forgotten yet, oldest first, for keeping across a restart. */
    newest(most: number, now: number): [key: string, upstream: string, until: number][] {
      const newest: [string, string, number][] = []
      let older = kept.size - most
      for (const [key, { upstream, until }] of kept)
        if (older-- <= 0 && until > now) newest.push([key, upstream, until])
      return newest
    },
  }
}

type Cell = { state: ScopeState | undefined }

/**
 * The states of all scopes, to be had by name, or at once for all that a claim draws on. A choice among a hundred
 * upstreams asks for five hundred scopes, and hardly any has changed since the choice before: so a claim finds its
 * cells once, and afterwards only compares what is in them.
 */
function createScopeTable() {
  const cells = new Map<string, Cell>()
  let rows = new WeakMap<Claim, { readonly cells: readonly Cell[]; snapshot: ClaimSnapshot }>()

  function cellOf(scope: string): Cell {
    let cell = cells.get(scope)
    if (cell === undefined) cells.set(scope, (cell = { state: undefined }))
    return cell
  }

  return {
    get: (scope: string) => cells.get(scope)?.state,
    set: (scope: string, state: ScopeState) => void (cellOf(scope).state = state),
    /** The same one again for as long as none of its states was replaced. */
    claimSnapshot(claim: Claim): ClaimSnapshot {
      let row = rows.get(claim)
      if (row === undefined) {
        const own = claim.draws.map(({ scope }) => cellOf(scope))
        rows.set(claim, (row = { cells: own, snapshot: snapshotIn(own) }))
      } else if (hasChanged(row.cells, row.snapshot)) row.snapshot = snapshotIn(row.cells)
      return row.snapshot
    },
    /** Forgets the states for which `isOver` holds. */
    drop(isOver: (state: ScopeState, scope: string) => boolean): void {
      for (const [scope, { state }] of cells)
        if (state === undefined || isOver(state, scope)) cells.delete(scope)
      rows = new WeakMap()
    },
    all: () =>
      [...cells].flatMap(([scope, { state }]): [string, ScopeState][] => (state ? [[scope, state]] : [])),
  }
}

const snapshotIn = (cells: readonly Cell[]): ClaimSnapshot => claimSnapshotOf(cells.map(({ state }) => state))

function hasChanged(cells: readonly Cell[], { states }: ClaimSnapshot): boolean {
  for (let at = 0; at < cells.length; at++) if (cells[at]?.state !== states[at]) return true
  return false
}

/**
 * The order of a request whose keys are first looked up where it is acquired: what `orderOf` would have made of it.
 * Nobody is left where the upstream of an earlier answer is not in the order: that answer exists nowhere else.
 * @param upstreamOf looks up who served a key; undefined = nobody
 */
export function applyAffinity(
  order: readonly Claim[],
  { stickTo, pinKeys = [] }: Pick<Ask, 'stickTo' | 'pinKeys'>,
  upstreamOf: (key: string) => string | undefined,
): readonly Claim[] {
  const pinnedUpstream = pinKeys.map(upstreamOf).find((upstream) => upstream !== undefined)
  if (pinnedUpstream !== undefined) return order.filter(({ id }) => id === pinnedUpstream)
  const remembered = stickTo === undefined ? undefined : upstreamOf(stickTo)
  const stuck = remembered === undefined ? undefined : order.find(({ id }) => id === remembered)
  if (stuck === undefined) return order
  const tierBegins = order.findIndex(({ priority }) => priority === stuck.priority)
  const others = order.filter((claim) => claim !== stuck)
  return [...others.slice(0, tierBegins), stuck, ...others.slice(tierBegins)]
}
