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

/** Everybody is asked once, in order of arrival. */
export interface Round {
  /** Those who are still to be asked. */
  readonly line: Place[]
  /** Ids that those in front wait for. */
  readonly taken: Set<string>
  /** Who is being asked, and since when. */
  current: Place | undefined
  since: number
}

/** Where a request stands in the queue. */
export interface Place {
  readonly wants: ReadonlySet<string>
  readonly deadline: number
  /** What its last attempt said; see `Turn`. */
  until: number
  onRelease: boolean
  isOver: boolean
  /** When something of its request last ran. */
  lastSign: number
  /** Has it try; the round goes on when it has. */
  call(round: Round): void
  end(how: NoTurn): void
}

/** What a place does to its queue. */
export interface PlaceQueue {
  readonly clock: Clock
  readonly lookout: Lookout | undefined
  leave(place: Place): void
  look(): void
  /** The place has tried. */
  tried(place: Place, round: Round): void
}

/** Where the queue is shared, every request gives a sign at least that often. */
export const BEAT_MS = 1_000
/** A deadline that has passed is looked after again so soon, while a round is under way. */
const LAST_MOMENT_MS = 20

/**
 * Takes a place. Where each request has a context of its own, which ends with it, all that concerns a request runs in
 * its own: its timer, which keeps it alive, and its attempts, whose leases it would else not live to use. Others only
 * resolve its promises.
 */
export function standIn<T>(
  queue: PlaceQueue,
  waiter: Waiter<T>,
  join: (place: Place) => void,
): Promise<{ readonly got: T } | NoTurn> {
  const { clock, lookout } = queue
  let disarm = (): void => {}
  let ring = (_round: Round): void => {}
  const nextCall = (): Promise<Round> => new Promise((resolve) => (ring = resolve))
  let called = nextCall()
  let answer: (turn: { readonly got: T } | NoTurn) => void = () => {}
  let refuse: (error: unknown) => void = () => {}

  const place: Place = {
    wants: waiter.wants,
    deadline: waiter.deadline,
    until: waiter.deadline,
    onRelease: true,
    isOver: false,
    lastSign: clock.now(),
    call: (round) => ring(round),
    end: (how) => finish(how),
  }

  /** True for the first to end the wait. */
  function over(): boolean {
    if (place.isOver) return false
    place.isOver = true
    queue.leave(place)
    return true
  }

  function finish(how: { readonly got: T } | NoTurn): void {
    if (over()) {
      if (typeof how === 'object') lookout?.restart(clock.now())
      answer(how)
    } else if (typeof how === 'object') waiter.giveBack(how.got)
  }

  function arm(): void {
    disarm()
    if (place.isOver) return
    const now = clock.now()
    const due = Math.min(place.deadline, place.until > now ? place.until : Infinity)
    const next = lookout === undefined ? due : Math.min(due, Math.max(lookout.at, now + 1), now + BEAT_MS)
    disarm = clock.after(next > now ? next - now : LAST_MOMENT_MS, () => {
      if (place.isOver) return
      place.lastSign = clock.now()
      if (place.lastSign >= due || place.lastSign >= (lookout?.at ?? Infinity)) queue.look()
      arm()
    })
  }

  function heed(turn: Turn<T>): void {
    if ('got' in turn) return finish(turn)
    place.until = turn.until
    place.onRelease = turn.onRelease
    arm()
  }

  async function stand(): Promise<void> {
    for (;;) {
      const round = await called
      called = nextCall()
      place.lastSign = clock.now()
      try {
        heed(await waiter.attempt(round.taken))
      } catch (error) {
        if (over()) refuse(error)
      }
      queue.tried(place, round)
    }
  }

  const onGone = (): void => {
    place.end('gone')
    // Those behind may have waited for what this one wanted.
    queue.look()
  }
  waiter.gone.addEventListener('abort', onGone)
  const ended = new Promise<{ readonly got: T } | NoTurn>((resolve, reject) => {
    answer = resolve
    refuse = reject
  })
  void stand()
  arm()
  join(place)
  const tidy = (): void => {
    disarm()
    waiter.gone.removeEventListener('abort', onGone)
  }
  void ended.then(tidy, tidy)
  return ended
}
