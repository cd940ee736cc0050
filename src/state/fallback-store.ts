import type { Instant } from '../lib/clock.ts'
import type { MemoryStore } from './memory.ts'
import type { ScopeState } from './scope.ts'
import type { AnswerStart, Ask, Lease, MaybePromise, LocalUsage, StateStore } from './store.ts'

/** A store that is elsewhere. */
export interface RemoteStore extends StateStore {
  /** What is known there now, whatever it takes: for those who look and do not choose. */
  look(scopes: readonly string[]): MaybePromise<readonly (ScopeState | undefined)[]>
  /** What is known on this side: no request waits for it. */
  recall(key: string, at: Instant): string | null | undefined
  /** Counts what another store gave leave for. */
  reportUsage(usage: LocalUsage): void
}

/** What a fallback store is made of. */
interface FallbackStoreOptions {
  readonly remote: RemoteStore
  /** Serves when the remote one does not. */
  readonly local: MemoryStore
  /** Ms on the clock. */
  readonly now: () => number
  /** Calls `task` once after `ms`; the returned function prevents it. */
  readonly after: (ms: number, task: () => void) => () => void
  /** Keeps work going that no answer waits for. */
  readonly defer: (work: Promise<unknown>) => void
  /** Told once for each time that the remote one stops serving. */
  readonly onLost?: (why: 'slow' | 'failed') => void
}

/** What a request may lose by asking. */
const ACQUIRE_MS = 50
/** What somebody may wait who only looks. */
const LOOK_MS = 1_000
/** After a failure nobody asks for so long: one request in a second pays for finding out, and not all. */
const BYPASS_MS = 1_000

interface CallTimeout<T> {
  readonly ms: number
  readonly onSlow?: () => void
  /** Takes what comes too late. */
  readonly onLate?: (value: T) => void
}

/**
 * A remote store that never holds up a request for more than 50 ms and never fails one.
 *
 * The local store sees everything that passes through this process, also while the remote one serves, so
 * that it knows the circuit breakers and has counted its own part when it has to take over. The remote one is told
 * the ends of what was sent by the local one's leave, and so counts it when it is back.
 */
export function createFallbackStore(options: FallbackStoreOptions): RemoteStore {
  const { remote, local, now, after, defer, onLost } = options
  /** The local lease beside a remote one; a lease that is no key here is the local store's own. */
  const localLeases = new WeakMap<Lease, Lease | undefined>()
  /** What requests of the local store's own leases were told, until their ends are reported. */
  const answers = new WeakMap<Lease, AnswerStart>()
  let bypassUntil = -Infinity

  function bypass(why: 'slow' | 'failed'): void {
    if (now() >= bypassUntil) onLost?.(why)
    bypassUntil = now() + BYPASS_MS
  }

  /** The remote answer in time, else undefined. */
  async function inTime<T>(
    work: Promise<T>,
    { ms, onSlow, onLate }: CallTimeout<T>,
  ): Promise<{ value: T } | undefined> {
    const outcome = work.then(
      (value) => ({ value }),
      () => 'failed' as const,
    )
    defer(outcome)
    let cancel = (): void => {}
    const tooSlow = new Promise<'slow'>((resolve) => (cancel = after(ms, () => resolve('slow'))))
    const first = await Promise.race([outcome, tooSlow])
    cancel()
    if (typeof first === 'object') return first
    if (first === 'failed') bypass('failed')
    else {
      onSlow?.()
      if (onLate !== undefined) defer(outcome.then((late) => typeof late === 'object' && onLate(late.value)))
    }
    return undefined
  }

  async function acquire(...[order, ask, at]: Parameters<StateStore['acquire']>): Promise<Lease | undefined> {
    const got = await inTime(Promise.resolve(remote.acquire(order, ask, at)), {
      ms: ACQUIRE_MS,
      onSlow: () => bypass('slow'),
      onLate: (lease) => void (lease && remote.settle(lease, { kind: 'aborted', sent: false }, at)),
    })
    if (got === undefined) return local.acquire(order, ask, at)
    const { value: lease } = got
    if (lease !== undefined) localLeases.set(lease, local.acquire([lease.claim], localAsk(ask), at))
    return lease
  }

  function onBoth(lease: Lease, step: (store: StateStore, lease: Lease) => MaybePromise<void>): void {
    void step(remote, lease)
    const localLease = localLeases.get(lease)
    if (localLease !== undefined) void step(local, localLease)
  }

  function reportLocalUsage(
    { claim, tokens, since }: Lease,
    usage: Pick<LocalUsage, 'answer' | 'outcome' | 'endedAt'>,
  ): void {
    const { outcome } = usage
    const wasSent = outcome.kind !== 'aborted' || outcome.sent
    if (wasSent) remote.reportUsage({ ...usage, claim, tokens, sentAt: since })
  }

  return {
    snapshot: (scopes) => (now() < bypassUntil ? local.snapshot(scopes) : remote.snapshot(scopes)),
    claimSnapshots: (claims) =>
      now() < bypassUntil ? local.claimSnapshots(claims) : remote.claimSnapshots(claims),
    async look(scopes) {
      const got = await inTime(Promise.resolve(remote.look(scopes)), { ms: LOOK_MS })
      return got === undefined ? local.snapshot(scopes) : got.value
    },
    acquire: (order, ask, at) =>
      now() < bypassUntil ? local.acquire(order, ask, at) : acquire(order, ask, at),
    // The remote one takes back what it gave by itself.
    reclaim: (at) => local.reclaim(at),
    confirm(lease, answer, at) {
      if (localLeases.has(lease)) return onBoth(lease, (store, own) => store.confirm(own, answer, at))
      answers.set(lease, answer)
      local.confirm(lease, answer, at)
    },
    settle(lease, outcome, at) {
      if (localLeases.has(lease)) return onBoth(lease, (store, own) => store.settle(own, outcome, at))
      local.settle(lease, outcome, at)
      reportLocalUsage(lease, { answer: answers.get(lease), outcome, endedAt: at.now })
    },
    reportUsage: (usage) => remote.reportUsage(usage),
    recall: (key, at) => (now() < bypassUntil ? local.recall(key, at) : remote.recall(key, at)),
    remember(key, upstream, life) {
      local.remember(key, upstream, life)
      void remote.remember(key, upstream, life)
    },
  }
}

/** What has been given elsewhere is given here too, and to the same. */
const localAsk = (ask: Ask): Ask => ({ ...ask, lastResort: true, stickTo: undefined, pinKeys: undefined })
