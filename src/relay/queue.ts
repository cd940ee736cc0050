import type { AbortSignalLike } from '../lib/abort.ts'
import type { Clock } from '../lib/clock.ts'
import type { MaybePromise } from '../state/store.ts'

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

/** Where the queue is shared: whoever is asked and gives no sign for so long has ended with its request. */
const LOST_MS = 1_000

/**
 * @param limits.size the most requests that wait at once; one more is told `full`
 * @param limits.onSize called with the number of the waiting whenever it changes
 * @param limits.lookout given where places also become free in other processes, which can't wake anybody here, and
 *   where a request may end without a word
 */
export function createQueue(
  clock: Clock,
  limits: { size: () => number; onSize: (waiting: number) => void; lookout?: Lookout },
): Queue {
  const { lookout } = limits
  const places: Place[] = []
  const wanted = new Map<string, number>()
  let round: Round | undefined
  let lookAgain = false

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
    look()
  }

  function leave(place: Place): void {
    places.splice(places.indexOf(place), 1)
    countWants(place.wants, -1)
    limits.onSize(places.length)
  }

  /** Begins a round, or has the present one followed by another. */
  function look(): void {
    const now = clock.now()
    const isLost = round !== undefined && lookout !== undefined && now >= round.since + LOST_MS
    if (round !== undefined && !isLost) {
      lookAgain = true
      return
    }
    const lost = round?.current
    round = { line: places.slice(), taken: new Set(), current: undefined, since: now }
    lookAgain = false
    lookout?.looked(now)
    lost?.end('too-late')
    goOn(round)
  }

  /** Everybody in order; what those in front wait for is not offered to those behind. */
  function goOn(mine: Round): void {
    while (mine === round) {
      const place = mine.line.shift()
      if (place === undefined) {
        round = undefined
        if (lookAgain) look()
        return
      }
      if (place.isOver) continue
      if (isGone(place)) place.end('too-late')
      else if (isBehind(place, mine)) standBack(place, mine)
      else {
        mine.current = place
        mine.since = clock.now()
        return place.call(mine)
      }
    }
  }

  const isGone = ({ lastSign }: Place): boolean =>
    lookout !== undefined && clock.now() > lastSign + BEAT_MS + LOST_MS

  function standBack(place: Place, { taken }: Round): void {
    if (place.deadline <= clock.now()) place.end('too-late')
    else for (const id of place.wants) taken.add(id)
  }

  function tried(place: Place, mine: Round): void {
    if (mine !== round || place !== mine.current) return
    mine.current = undefined
    if (!place.isOver && isHopeless(place)) place.end('too-late')
    if (!place.isOver) standBack(place, mine)
    goOn(mine)
  }

  return {
    get size() {
      return places.length
    },
    isAwaited: (id) => wanted.has(id),
    wake: () => void (places.length > 0 && look()),
    wait(waiter) {
      if (waiter.gone.aborted) return Promise.resolve('gone')
      if (places.length >= limits.size()) return Promise.resolve('full')
      return standIn({ clock, lookout, leave, look, tried }, waiter, join)
    },
  }
}

const isBehind = ({ wants }: Place, { taken }: Round): boolean => [...wants].every((id) => taken.has(id))

/** Nothing opens in time, and nobody's release can change that. */
const isHopeless = ({ until, deadline, onRelease }: Place): boolean => until > deadline && !onRelease

/** What a waiting request found when it tried again: its place, or when to try next. */
export type Turn<T> = { readonly got: T } | { readonly until: number; readonly onRelease: boolean }

/** How a wait ended without a place. */
type NoTurn = 'full' | 'too-late' | 'gone'

/** A request that waits. */
interface Waiter<T> {
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
interface Round {
  /** Those who are still to be asked. */
  readonly line: Place[]
  /** Ids that those in front wait for. */
  readonly taken: Set<string>
  /** Who is being asked, and since when. */
  current: Place | undefined
  since: number
}

/** Where a request stands in the queue. */
interface Place {
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
interface PlaceQueue {
  readonly clock: Clock
  readonly lookout: Lookout | undefined
  leave(place: Place): void
  look(): void
  /** The place has tried. */
  tried(place: Place, round: Round): void
}

/** Where the queue is shared, every request gives a sign at least that often. */
const BEAT_MS = 1_000
/** A deadline that has passed is looked after again so soon, while a round is under way. */
const LAST_MOMENT_MS = 20

/**
 * Takes a place. Where each request has a context of its own, which ends with it, all that concerns a request runs in
 * its own: its timer, which keeps it alive, and its attempts, whose leases it would else not live to use. Others only
 * resolve its promises.
 */
function standIn<T>(
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

/**
 * When the waiting look again for what nobody here tells them of: a place that became free in another process.
 *
 * Soon at first, then ever more rarely: what is found late is found after half as long again as the queue has
 * stood still, and at most a second after it became free.
 */
export interface Lookout {
  /** When to look next, ms on the clock. */
  readonly at: number
  /** Somebody begins to wait, or got a place: things move. */
  restart(now: number): void
  /** Everybody looks now, for whatever reason. */
  looked(now: number): void
}

const FIRST_MS = 100
const MOST_MS = 1_000
const GROWTH = 1.5

export function createLookout(): Lookout {
  let pauseMs = FIRST_MS
  let at = -Infinity
  return {
    get at() {
      return at
    },
    restart(now) {
      pauseMs = FIRST_MS
      at = now + pauseMs
    },
    looked(now) {
      if (now < at) return
      pauseMs = Math.min(MOST_MS, pauseMs * GROWTH)
      at = now + pauseMs
    },
  }
}
