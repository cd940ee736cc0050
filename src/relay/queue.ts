import type { AbortSignalLike } from '../lib/abort.ts'
import type { MaybePromise } from '../state/store.ts'
import type { Clock } from './clock.ts'
import type { Lookout } from './lookout.ts'

/** What a waiting request found when it tried again: its place, or when to try next. */
export type Turn<T> = { readonly got: T } | { readonly until: number; readonly onRelease: boolean }

/** How a wait ended without a place. */
export type NoTurn = 'full' | 'too-late' | 'gone'

/** A request that waits. */
export interface Waiter<T> {
  /** Ids of all that it could take. Who comes later leaves these to it. */
  readonly wants: ReadonlySet<string>
  /**
   * Tries to take a place, called in order of arrival, whenever there may be one.
   *
   * @param taken ids that those in front wait for
   */
  readonly attempt: (taken: ReadonlySet<string>) => MaybePromise<Turn<T>>
  /** Takes back what `attempt` got too late: the wait has ended in the meantime. */
  readonly giveBack: (got: T) => void
  /** The latest moment to get a place, ms on the clock. */
  readonly deadline: number
  readonly gone: AbortSignalLike
}

/** First come, first served, bounded in number and time. */
export interface Queue {
  /** Waits for a place. Rejects only when `attempt` does. */
  wait<T>(waiter: Waiter<T>): Promise<{ readonly got: T } | NoTurn>
  /** Something was released: lets the waiting try, in order. */
  wake(): void
  /** Whether somebody waits for this already, who goes first. */
  isAwaited(id: string): boolean
  readonly size: number
}

interface Place {
  readonly wants: ReadonlySet<string>
  readonly deadline: number
  until: number
  onRelease: boolean
  isOver: boolean
  hasGot: boolean
  tryNow(taken: ReadonlySet<string>): Promise<void>
  end(how: NoTurn): void
}

/**
 * @param limits.size the most requests that wait at once; one more is told `full`
 * @param limits.onSize called with the number of the waiting whenever it changes
 * @param limits.lookout given where places also become free in other processes, which can't wake anybody here
 */
export function createQueue(
  clock: Clock,
  limits: { size: () => number; onSize: (waiting: number) => void; lookout?: Lookout },
): Queue {
  const { lookout } = limits
  const places: Place[] = []
  const wanted = new Map<string, number>()
  let cancelTimer: (() => void) | undefined
  let isWalking = false
  let walkAgain = false

  function countWants(wants: ReadonlySet<string>, by: 1 | -1): void {
    for (const id of wants) {
      const count = (wanted.get(id) ?? 0) + by
      if (count > 0) wanted.set(id, count)
      else wanted.delete(id)
    }
  }

  function join(place: Place): void {
    if (places.length === 0) lookout?.restart(clock.now())
    places.push(place)
    countWants(place.wants, 1)
    limits.onSize(places.length)
    void walk()
  }

  function leave(place: Place): void {
    place.isOver = true
    places.splice(places.indexOf(place), 1)
    countWants(place.wants, -1)
    limits.onSize(places.length)
  }

  async function walk(): Promise<void> {
    walkAgain = true
    if (isWalking) return
    isWalking = true
    while (walkAgain) {
      walkAgain = false
      await tryAll()
    }
    isWalking = false
    schedule()
  }

  /** Everybody in order; what those in front wait for is not offered to those behind. */
  async function tryAll(): Promise<void> {
    const taken = new Set<string>()
    for (const place of places.slice()) {
      if (place.isOver) continue
      const isBehind = [...place.wants].every((id) => taken.has(id))
      if (!isBehind) await place.tryNow(taken)
      if (place.hasGot) lookout?.restart(clock.now())
      if (place.isOver) continue
      if (place.deadline <= clock.now() || (!isBehind && isHopeless(place))) place.end('too-late')
      else for (const id of place.wants) taken.add(id)
    }
  }

  function schedule(): void {
    cancelTimer?.()
    cancelTimer = undefined
    if (places.length === 0) return
    const now = clock.now()
    let next = Infinity
    for (const { until, deadline } of places) next = Math.min(next, deadline, until > now ? until : Infinity)
    if (lookout !== undefined && places.some(({ onRelease }) => onRelease))
      next = Math.min(next, lookout.next(now))
    cancelTimer = clock.after(Math.max(1, next - now), () => void walk())
  }

  return {
    get size() {
      return places.length
    },
    isAwaited: (id) => wanted.has(id),
    wake: () => void (places.length > 0 && walk()),
    wait(waiter) {
      if (waiter.gone.aborted) return Promise.resolve('gone')
      if (places.length >= limits.size()) return Promise.resolve('full')
      return new Promise((resolve, reject) => join(placeOf(waiter, { leave, walk, resolve, reject })))
    },
  }
}

/** Nothing opens in time, and nobody's release can change that. */
const isHopeless = ({ until, deadline, onRelease }: Place): boolean => until > deadline && !onRelease

interface Exits<T> {
  readonly leave: (place: Place) => void
  readonly walk: () => Promise<void>
  readonly resolve: (how: { readonly got: T } | NoTurn) => void
  readonly reject: (error: unknown) => void
}

function placeOf<T>(waiter: Waiter<T>, { leave, walk, resolve, reject }: Exits<T>): Place {
  const onGone = (): void => {
    place.end('gone')
    // Those behind may have waited for what this one wanted; the last one takes the timer along.
    void walk()
  }
  const place: Place = {
    wants: waiter.wants,
    deadline: waiter.deadline,
    until: waiter.deadline,
    onRelease: true,
    isOver: false,
    hasGot: false,
    async tryNow(taken) {
      try {
        const turn = await waiter.attempt(taken)
        if ('got' in turn) finish(turn)
        else Object.assign(place, { until: turn.until, onRelease: turn.onRelease })
      } catch (error) {
        if (over()) reject(error)
      }
    },
    end: (how) => finish(how),
  }
  /** True for the first to end the wait. */
  function over(): boolean {
    if (place.isOver) return false
    waiter.gone.removeEventListener('abort', onGone)
    leave(place)
    return true
  }
  function finish(how: { readonly got: T } | NoTurn): void {
    if (over()) {
      place.hasGot = typeof how === 'object'
      resolve(how)
    } else if (typeof how === 'object') waiter.giveBack(how.got)
  }
  waiter.gone.addEventListener('abort', onGone)
  return place
}
