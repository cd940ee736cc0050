import type { StateEvent } from './durable-object-call.ts'

/** What this isolate has to tell the object, until it is told. */
export interface Outbox {
  /** It is told within 20 ms, or as soon as the object can be reached, unless a message takes it along before. */
  put(event: StateEvent): void
  /** The oldest, for a message that leaves now. */
  take(): readonly StateEvent[]
  /** They did not arrive. */
  putBack(events: readonly StateEvent[]): void
}

/** What an outbox is given. */
export interface OutboxOptions {
  /** Ms on the clock. */
  readonly now: () => number
  /** Calls `task` once after `ms`. */
  readonly after: (ms: number, task: () => void) => unknown
  /** Keeps the request's context alive until the work is done: an answer must not wait for it. */
  readonly defer: (work: Promise<unknown>) => void
  /** Sends a message that takes along what is here. Rejects when it does not arrive. */
  readonly send: () => Promise<unknown>
}

/** Events gather for so long. */
const GATHER_MS = 20
/** Between two tries of telling an object that is away. */
const AGAIN_MS = 1_000
/** Platforms let a request's context live on for half a minute. What is left then is told with the next event. */
const PATIENCE_MS = 25_000
/** A gathering that was silent for so long has died with the request that began it. */
const LOST_MS = 5_000
/** More than an isolate collects in the longest outage that is worth telling of afterwards. */
const MOST_KEPT = 10_000
/** As many go with one message: whoever acquires with it must not wait long for what happened before. */
const MOST_AT_ONCE = 200

export function createOutbox({ now, after, defer, send }: OutboxOptions): Outbox {
  let events: StateEvent[] = []
  let lastSign = -Infinity

  const pause = (ms: number): Promise<void> => new Promise((go) => void after(ms, go))

  async function gather(): Promise<void> {
    const end = now() + PATIENCE_MS
    lastSign = now()
    await pause(GATHER_MS)
    while (events.length > 0 && now() < end) {
      lastSign = now()
      const hasArrived = await send().then(
        () => true,
        () => false,
      )
      if (!hasArrived) await pause(AGAIN_MS)
    }
    lastSign = -Infinity
  }

  function begin(): void {
    if (now() >= lastSign + LOST_MS) defer(gather())
  }

  return {
    put(event) {
      events.push(event)
      begin()
    },
    take: () => events.splice(0, MOST_AT_ONCE),
    putBack(back) {
      events = [...back, ...events].slice(-MOST_KEPT)
      if (back.length > 0) begin()
    },
  }
}
