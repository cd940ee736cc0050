import type { Clock } from '../lib/clock.ts'
import type { MemoryStore } from './memory.ts'
import type { AnswerStart, Lease, LocalUsage, MaybePromise, StateStore } from './store.ts'

/** A store that is elsewhere. */
export interface RemoteStore extends StateStore {
  /** What is known there now, whatever it takes: for those who look and do not choose. */
  readonly look: StateStore['snapshot']
  /** What is known on this side: no request waits for it. */
  recall(...args: Parameters<StateStore['recall']>): string | null | undefined
  /** Counts what another store gave leave for. */
  reportUsage(usage: LocalUsage): void
}

/** What a fallback store is made of. */
interface FallbackStoreOptions extends Pick<Clock, 'now' | 'after'> {
  readonly remote: RemoteStore
  /** Serves when the remote one does not. */
  readonly local: MemoryStore
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

/**
 * A remote store that never holds up a request for more than 50 ms and never fails one. The local store sees
 * everything that passes through this process, also while the remote one serves, so that it knows the circuit breakers
 * and has counted its own part when it has to take over. The remote one is told the ends of what was sent by the local
 * one's leave, and so counts it when it is back.
 */
export function createFallbackStore(options: FallbackStoreOptions): RemoteStore {
  const { remote, local, now, after, defer, onLost } = options
  /** The local lease beside a remote one; a lease that is no key here is the local store's own. */
  const localLeases = new WeakMap<Lease, Lease | undefined>()
  /** What requests of the local store's own leases were told, until their ends are reported. */
  const answers = new WeakMap<Lease, AnswerStart>()
  let bypassUntil = -Infinity

  const serving = (): RemoteStore | MemoryStore => (now() < bypassUntil ? local : remote)

  function bypass(why: 'slow' | 'failed'): void {
    if (now() >= bypassUntil) onLost?.(why)
    bypassUntil = now() + BYPASS_MS
  }

  /** The remote answer in time, else why there is none. */
  async function inTime<T>(asking: MaybePromise<T>, ms: number): Promise<{ value: T } | 'slow' | 'failed'> {
    const outcome = Promise.resolve(asking).then(
      (value) => ({ value }),
      () => 'failed' as const,
    )
    defer(outcome)
    let cancel = (): void => {}
    const tooSlow = new Promise<'slow'>((resolve) => (cancel = after(ms, () => resolve('slow'))))
    const first = await Promise.race([outcome, tooSlow])
    cancel()
    if (first === 'failed') bypass('failed')
    return first
  }

  async function acquire(...[order, ask, at]: Parameters<StateStore['acquire']>): Promise<Lease | undefined> {
    const asking = Promise.resolve(remote.acquire(order, ask, at))
    const got = await inTime(asking, ACQUIRE_MS)
    if (typeof got === 'object') {
      const { value: lease } = got
      // What has been given elsewhere is given here too, and to the same.
      const same = { ...ask, lastResort: true, stickTo: undefined, pinKeys: undefined }
      if (lease !== undefined) localLeases.set(lease, local.acquire([lease.claim], same, at))
      return lease
    }
    if (got === 'slow') {
      bypass('slow')
      // A lease that comes too late goes back.
      const giveBack = (late: Lease | undefined) =>
        late && remote.settle(late, { kind: 'aborted', sent: false }, at)
      defer(asking.then(giveBack, () => {}))
    }
    return local.acquire(order, ask, at)
  }

  function onBoth(lease: Lease, step: (store: StateStore, lease: Lease) => MaybePromise<void>): void {
    void step(remote, lease)
    const localLease = localLeases.get(lease)
    if (localLease !== undefined) void step(local, localLease)
  }

  return {
    snapshot: (scopes) => serving().snapshot(scopes),
    claimSnapshots: (claims) => serving().claimSnapshots(claims),
    async look(scopes) {
      const got = await inTime(remote.look(scopes), LOOK_MS)
      return typeof got === 'object' ? got.value : local.snapshot(scopes)
    },
    acquire: (...how) => (serving() === local ? local.acquire(...how) : acquire(...how)),
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
      const { claim, tokens, since: sentAt } = lease
      const wasSent = outcome.kind !== 'aborted' || outcome.sent
      const answer = answers.get(lease)
      if (wasSent) remote.reportUsage({ claim, tokens, sentAt, answer, outcome, endedAt: at.now })
    },
    reportUsage: (usage) => remote.reportUsage(usage),
    async closeBreakers(scopes, at) {
      const here = local.closeBreakers(scopes, at)
      const got = await inTime(remote.closeBreakers(scopes, at), LOOK_MS)
      return typeof got === 'object' ? got.value : here
    },
    async pause(...how) {
      const here = local.pause(...how)
      const got = await inTime(remote.pause(...how), LOOK_MS)
      return typeof got === 'object' ? got.value : here
    },
    recall: (key, at) => serving().recall(key, at),
    async locate(key, at) {
      const got = serving() === local ? 'failed' : await inTime(remote.locate(key, at), ACQUIRE_MS)
      return typeof got === 'object' ? got.value : local.locate(key, at)
    },
    remember(key, upstream, life) {
      local.remember(key, upstream, life)
      void remote.remember(key, upstream, life)
    },
  }
}
