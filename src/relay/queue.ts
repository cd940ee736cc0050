import type { AbortSignalLike } from '../lib/abort.ts'
import type { Clock } from '../lib/clock.ts'
import type { MaybePromise } from '../state/store.ts'

export type Queue = ReturnType<typeof createQueue>

/** What a waiting request found when it tried again: its place, or when to try next. */
export type TryOutcome<T> = { readonly got: T } | { readonly until: number; readonly onRelease: boolean }

type WaitEnd<T> = { readonly got: T } | 'full' | 'too-late' | 'gone'

/** A request that waits. */
interface WaitRequest<T> {
  /** Ids of all that it could take. Who comes later leaves these to it. */
  readonly wants: ReadonlySet<string>
  /** Tries to take a place whenever there may be one, but none of those `taken`, which others in front wait for. */
  readonly tryNow: (taken: ReadonlySet<string>) => MaybePromise<TryOutcome<T>>
  /** Takes back what `tryNow` got too late: the wait has ended in the meantime. */
  readonly release: (got: T) => void
  /** The latest moment to get a place, ms on the clock. */
  readonly deadline: number
  readonly clientSignal: AbortSignalLike
}

/** A request in the queue. */
interface Waiter extends Pick<WaitRequest<unknown>, 'wants' | 'deadline'> {
  /** What its last attempt said; see `TryOutcome`. */
  until: number
  onRelease: boolean
  isOver: boolean
  /** When something of its request last ran. */
  lastHeartbeat: number
  /** Has it try; the round goes on when it has. */
  call: (round: DispatchRound) => void
  readonly end: (how: 'too-late' | 'gone') => void
}

/** Everybody is asked once, in order of arrival. */
interface DispatchRound {
  readonly pending: Waiter[]
  /** Ids that those in front wait for. */
  readonly taken: Set<string>
  /** Who is being asked, and since when. */
  current: Waiter | undefined
  since: number
}

/** Where the queue is shared, every request gives a sign at least that often. */
const HEARTBEAT_MS = 1_000
/** Whoever is asked there and gives no sign for so long has ended with its request. */
const HEARTBEAT_TIMEOUT_MS = 1_000
/** A deadline that has passed is looked after again so soon, while a round is under way. */
const LAST_MOMENT_MS = 20
/** Pauses between polls: what is found late is found after half as long again as the queue has stood still. */
const FIRST_PAUSE_MS = 100
const LONGEST_PAUSE_MS = 1_000
const GROWTH = 1.5

const NOTHING: ReadonlySet<string> = new Set()

/**
 * First come, first served, bounded in number and time.
 *
 * @param limits.size the most requests that wait at once; one more is told `full`
 * @param limits.onSize called with the number of the waiting whenever it changes
 * @param limits.isShared capacity is also released in other processes, which can't wake anybody here: the waiters poll for
 *   it. And a request may end without a word
 */
export function createQueue(
  clock: Clock,
  limits: { size: () => number; onSize: (waiting: number) => void; isShared?: boolean | undefined },
) {
  const { isShared = false } = limits
  const waiters: Waiter[] = []
  /** How many wait for each id. */
  const wanted = new Map<string, number>()
  let round: DispatchRound | undefined
  let isRoundDue = false
  /** When to poll next, ms on the clock. */
  let pollAt = isShared ? -Infinity : Infinity
  let pauseMs = FIRST_PAUSE_MS

  /** Somebody begins to wait, or got a place: things move. */
  function pollSoon(): void {
    pauseMs = FIRST_PAUSE_MS
    if (isShared) pollAt = clock.now() + pauseMs
  }

  function join(waiter: Waiter): void {
    if (waiters.length === 0) pollSoon()
    waiters.push(waiter)
    for (const id of waiter.wants) wanted.set(id, (wanted.get(id) ?? 0) + 1)
    limits.onSize(waiters.length)
    startRound()
  }

  function leave(waiter: Waiter): void {
    waiter.isOver = true
    waiters.splice(waiters.indexOf(waiter), 1)
    for (const id of waiter.wants) wanted.set(id, (wanted.get(id) ?? 0) - 1)
    if (waiters.length === 0) wanted.clear()
    limits.onSize(waiters.length)
  }

  /** Begins a round, or has the present one followed by another. */
  function startRound(): void {
    const now = clock.now()
    const isRoundLost = isShared && round !== undefined && now >= round.since + HEARTBEAT_TIMEOUT_MS
    if (round !== undefined && !isRoundLost) {
      isRoundDue = true
      return
    }
    const lost = round?.current
    round = { pending: waiters.slice(), taken: new Set(), current: undefined, since: now }
    isRoundDue = false
    if (now >= pollAt) {
      pauseMs = Math.min(LONGEST_PAUSE_MS, pauseMs * GROWTH)
      pollAt = now + pauseMs
    }
    lost?.end('too-late')
    continueRound(round)
  }

  /** Everybody in order; what those in front wait for is not offered to those behind. */
  function continueRound(mine: DispatchRound): void {
    while (mine === round) {
      const waiter = mine.pending.shift()
      if (waiter === undefined) {
        round = undefined
        if (isRoundDue) startRound()
        return
      }
      if (waiter.isOver) continue
      const isLost = isShared && clock.now() > waiter.lastHeartbeat + HEARTBEAT_MS + HEARTBEAT_TIMEOUT_MS
      if (isLost) waiter.end('too-late')
      else if (waiter.deadline > clock.now() && [...waiter.wants].every((id) => mine.taken.has(id)))
        holdWants(waiter, mine)
      else {
        mine.current = waiter
        mine.since = clock.now()
        return waiter.call(mine)
      }
    }
  }

  function holdWants(waiter: Waiter, { taken }: DispatchRound): void {
    if (waiter.deadline <= clock.now()) waiter.end('too-late')
    else for (const id of waiter.wants) taken.add(id)
  }

  function waiterTried(waiter: Waiter, mine: DispatchRound): void {
    if (mine !== round || waiter !== mine.current) return
    mine.current = undefined
    // Nothing opens in time, and nobody's release can change that.
    const isHopeless = waiter.until > waiter.deadline && !waiter.onRelease
    if (!waiter.isOver && isHopeless) waiter.end('too-late')
    if (!waiter.isOver) holdWants(waiter, mine)
    continueRound(mine)
  }

  /**
   * Joins the queue. Where each request has a context of its own, which ends with it, all that concerns a request runs
   * in its own: its timer, which keeps it alive, and its attempts, whose leases it would else not live to use. Others
   * only resolve its promises.
   */
  function enqueue<T>(request: WaitRequest<T>): Promise<WaitEnd<T>> {
    const { wants, deadline, clientSignal } = request
    let disarm = (): void => {}
    let resolveWait: (how: WaitEnd<T>) => void = () => {}
    let rejectWait: (error: unknown) => void = () => {}
    const ended = new Promise<WaitEnd<T>>((resolve, reject) => {
      resolveWait = resolve
      rejectWait = reject
    })
    const waiter: Waiter = {
      wants,
      deadline,
      until: deadline,
      onRelease: true,
      isOver: false,
      lastHeartbeat: clock.now(),
      call: () => {},
      end,
    }
    const nextCall = (): Promise<DispatchRound> => new Promise((resolve) => (waiter.call = resolve))

    function end(how: WaitEnd<T>): void {
      if (!waiter.isOver) {
        leave(waiter)
        if (typeof how === 'object') pollSoon()
        resolveWait(how)
      } else if (typeof how === 'object') request.release(how.got)
    }

    function arm(): void {
      disarm()
      if (waiter.isOver) return
      const now = clock.now()
      const due = Math.min(deadline, waiter.until > now ? waiter.until : Infinity)
      const next = isShared ? Math.min(due, Math.max(pollAt, now + 1), now + HEARTBEAT_MS) : due
      disarm = clock.after(next > now ? next - now : LAST_MOMENT_MS, () => {
        if (waiter.isOver) return
        waiter.lastHeartbeat = clock.now()
        if (waiter.lastHeartbeat >= Math.min(due, pollAt)) startRound()
        arm()
      })
    }

    async function tryWhenCalled(): Promise<void> {
      for (let called = nextCall(); ;) {
        const mine = await called
        called = nextCall()
        waiter.lastHeartbeat = clock.now()
        try {
          // Whose time is over goes where it may; what only delays others does not refuse it.
          const outcome = await request.tryNow(deadline > clock.now() ? mine.taken : NOTHING)
          if ('got' in outcome) end(outcome)
          else {
            waiter.until = outcome.until
            waiter.onRelease = outcome.onRelease
            arm()
          }
        } catch (error) {
          if (!waiter.isOver) {
            leave(waiter)
            rejectWait(error)
          }
        }
        waiterTried(waiter, mine)
      }
    }

    const onClientAbort = (): void => {
      end('gone')
      // Those behind may have waited for what this one wanted.
      startRound()
    }
    clientSignal.addEventListener('abort', onClientAbort)
    void tryWhenCalled()
    arm()
    join(waiter)
    const tidy = (): void => {
      disarm()
      clientSignal.removeEventListener('abort', onClientAbort)
    }
    void ended.then(tidy, tidy)
    return ended
  }

  return {
    get size() {
      return waiters.length
    },
    /** Whether somebody waits for this already, who goes first. */
    isAwaited: (id: string): boolean => (wanted.get(id) ?? 0) > 0,
    /** Something was released: lets the waiting try, in order. */
    wake: (): void => void (waiters.length > 0 && startRound()),
    /** Waits for a place. Rejects only when `tryNow` does. */
    wait<T>(request: WaitRequest<T>): Promise<WaitEnd<T>> {
      if (request.clientSignal.aborted) return Promise.resolve('gone')
      if (waiters.length >= limits.size()) return Promise.resolve('full')
      return enqueue(request)
    },
  }
}
