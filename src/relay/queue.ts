import type { Clock } from './clock.ts'
import type { Lookout } from './lookout.ts'
import { BEAT_MS, standIn, type NoTurn, type Place, type Round, type Waiter } from './queue-place.ts'

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
