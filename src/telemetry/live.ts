import { END, utf8Bytes, type ByteChunk, type ByteReader } from '../lib/bytes.ts'
import { createAbort, type AbortSignalLike } from '../lib/abort.ts'
import type { Clock } from '../lib/clock.ts'
import type { GatewayEvent, RequestEvent } from '../relay/deps.ts'
import type { MaybePromise } from '../state/store.ts'
import { isoOf, statusIn, type GatewayStatus, type Say, type UpstreamStatus } from './status.ts'
import { isOfClient, type UsageHistory } from './usage.ts'

/** A request that has ended, in a line. */
export type RequestSummary = ReturnType<typeof requestSummaryOf>

/** What a line tells of a request, whether its end was just heard of or is read in the log of events. */
type Summarized = Pick<
  RequestEvent,
  | 'id'
  | 'ownId'
  | 'endpoint'
  | 'requestedModel'
  | 'token'
  | 'status'
  | 'code'
  | 'upstream'
  | 'stream'
  | 'queuedMs'
  | 'firstByteMs'
  | 'durationMs'
  | 'inputTokens'
  | 'outputTokens'
> & { readonly attempts: readonly unknown[] }

/** @param arrivedAt epoch ms. Holds no prompt and no answer. */
export function requestSummaryOf(request: Summarized, arrivedAt: number) {
  const { firstByteMs } = request
  return {
    id: request.ownId,
    /** That the client gave it, in `x-request-id`. */
    client_request_id: request.id === request.ownId ? null : request.id,
    /** Its arrival. */
    at: isoOf(arrivedAt) ?? '',
    endpoint: request.endpoint,
    model: request.requestedModel,
    /** The name of the client's token. */
    token: request.token ?? null,
    /** 0 while it is under way. */
    status: request.status,
    code: request.code ?? null,
    upstream: request.upstream ?? null,
    stream: request.stream,
    attempts: request.attempts.length,
    queued_ms: Math.round(request.queuedMs),
    first_byte_ms: firstByteMs === undefined ? null : Math.round(firstByteMs),
    duration_ms: Math.round(request.durationMs),
    input_tokens: request.inputTokens ?? null,
    output_tokens: request.outputTokens ?? null,
  }
}

/** Requests that are remembered, and told to whoever begins to watch. */
const LAST_REQUESTS = 100
/** Of the requests of a second the newest, so many, are told. */
const MOST_AT_ONCE = 50
const MOST_VIEWERS = 16
/** Between two looks of a viewer. */
const EVERY_MS = 1_000
/** Between two computations of the status for all of them; a timer may be a little early. */
const FRESH_MS = 990
/** So often something is said at least, for whoever is in between. */
const PING_EVERY_MS = 15_000
/** A viewer that takes nothing for so long is dropped. */
const STALLED_MS = 30_000
/** From the end of a stream until its connection is cut. */
const LAST_WORD_MS = 1_000

/** What goes on, as those who watch see it. */
export type Live = ReturnType<typeof createLive>

/** Somebody who watches. */
export interface View {
  readonly body: ByteReader
  /** Aborted when its connection is to be cut: the viewer takes nothing more, or too late. */
  readonly cut: AbortSignalLike
}

interface LiveOptions {
  readonly status: () => MaybePromise<GatewayStatus>
  readonly usage: { readonly show: () => MaybePromise<ReturnType<UsageHistory['show']>> }
  readonly clock: Clock
}

/**
 * Shows the status as it changes, and requests as they end, to up to 16 viewers at once, each in a stream of events. A
 * viewer is told what has changed since it last took something: nothing is gathered for one that is slow. While nobody
 * watches, a request costs two assignments, and time nothing; the status is computed once a second for all together.
 *
 * Each viewer lives on timers and reads of its own, since on some runtimes what one request began does not go on in another.
 */
export function createLive({ status, usage, clock }: LiveOptions) {
  const views = new Set<{ readonly isAllowed: () => boolean; readonly end: () => void }>()
  const requests: { event: RequestEvent; endedAt: number }[] = []
  /** Requests that ever ended. */
  let ended = 0
  let seen: Seen | undefined
  let askedAt = -Infinity

  /** The status as it was less than a second ago. */
  async function look(): Promise<Seen> {
    const now = clock.now()
    // Where it takes its time, another viewer's question is not waited for, and what was known a moment before serves.
    if (seen !== undefined && now - askedAt < FRESH_MS && now - seen.at < 2 * EVERY_MS) return seen
    askedAt = now
    return (seen = seenIn(await status(), now))
  }

  /** Of the requests that ended after the first `after` so many, newest first. */
  function requestsAfter(after: number, most: number): RequestSummary[] {
    const summaries: RequestSummary[] = []
    for (let nth = ended - 1; nth >= after && summaries.length < most; nth--) {
      const one = requests[nth % LAST_REQUESTS]
      if (one === undefined) break
      summaries.push(requestSummaryOf(one.event, one.endedAt - one.event.durationMs))
    }
    return summaries
  }

  return {
    report(event: GatewayEvent): void {
      if (event.kind !== 'request' || !isOfClient(event)) return
      requests[ended++ % LAST_REQUESTS] = { event, endedAt: clock.wall() }
    },
    /** Undefined where enough are watching. @param isAllowed asked each second whether the viewer may still watch */
    watch(isAllowed: () => boolean, say?: Say): View | undefined {
      if (views.size >= MOST_VIEWERS) return undefined
      const connection = createAbort()
      let before: Seen | undefined
      let told = 0
      let spokenAt = clock.now()
      let isOver = false
      let stop = clock.after(STALLED_MS, drop)
      let wake = (): void => {}

      function drop(): void {
        leave()
        connection.abort()
      }
      function leave(): void {
        views.delete(view)
        isOver = true
        before = undefined
        stop()
        wake()
      }
      function end(): void {
        leave()
        clock.after(LAST_WORD_MS, connection.abort)
      }
      const view = { isAllowed, end }
      views.add(view)

      const pause = (): Promise<void> =>
        new Promise((go) => {
          stop = clock.after(EVERY_MS, go)
          wake = go
        })

      /** What is new, as events; empty = nothing. */
      async function news(): Promise<string> {
        const now = await look()
        if (isOver) return ''
        if (before === undefined) {
          before = now
          told = ended
          const last = requestsAfter(0, LAST_REQUESTS)
          const shown = statusIn(now.status, say)
          return eventText('snapshot', { status: shown, requests: last, usage: await usage.show() })
        }
        const changed = before === now ? undefined : changesOf(before, now)
        before = now
        const summaries = requestsAfter(told, MOST_AT_ONCE)
        const skipped = ended - told - summaries.length
        told = ended
        return [
          changed === undefined ? '' : eventText('status', statusIn(changed, say)),
          skipped === 0 ? '' : eventText('skipped', { skipped }),
          summaries.length === 0 ? '' : eventText('requests', summaries),
        ].join('')
      }

      async function next(): Promise<ByteChunk> {
        stop()
        for (let isFirst = before === undefined; ; isFirst = false) {
          if (!isFirst) await pause()
          if (!isOver && !isAllowed()) end()
          const text = isOver ? '' : await news()
          if (isOver) return END
          const isQuiet = text === '' && clock.now() - spokenAt >= PING_EVERY_MS
          if (text === '' && !isQuiet) continue
          spokenAt = clock.now()
          stop = clock.after(STALLED_MS, drop)
          return { done: false, value: utf8Bytes(isQuiet ? ': ping\n\n' : text) }
        }
      }

      const body: ByteReader = {
        async read(): Promise<ByteChunk> {
          try {
            return await next()
          } catch (error) {
            leave()
            throw error
          }
        },
        async cancel() {
          leave()
        },
      }
      return { body, cut: connection.signal }
    },
    /** How many are watching. */
    get viewers() {
      return views.size
    },
    /** Ends the streams of those who may no longer watch, as a new configuration has it. */
    review(): void {
      for (const view of views) if (!view.isAllowed()) view.end()
    },
    /** Ends all streams. */
    end(): void {
      for (const view of views) view.end()
    },
  }
}

const eventText = (name: string, data: unknown): string => `event: ${name}\ndata: ${JSON.stringify(data)}\n\n`

/** A status, and what of it is compared. */
interface Seen {
  /** Ms on the clock. */
  readonly at: number
  readonly status: GatewayStatus
  /** By the names of fields, and by the ids of upstreams: as JSON, without what changes with the time alone. */
  readonly fields: ReadonlyMap<string, string>
  readonly upstreams: ReadonlyMap<string, string>
}

const MINUTE_MS = 60_000

function seenIn(status: GatewayStatus, now: number): Seen {
  const { upstreams, uptime_ms: _, ...fields } = status
  const minute = Math.floor(now / MINUTE_MS)
  return {
    at: now,
    status,
    fields: new Map(Object.entries(fields).map(([name, value]) => [name, JSON.stringify(value)])),
    upstreams: new Map(upstreams.map((upstream) => [upstream.id, comparedText(upstream, minute)])),
  }
}

/** What follows from the time alone is told each minute, and not each second. */
function comparedText(upstream: UpstreamStatus, minute: number): string {
  const isMoving = upstream.windows.some(({ rate = 0 }) => rate > 0)
  const windows = upstream.windows.map((window) => ({ ...window, age: 0, rate: 0, runs_out_at: null }))
  return JSON.stringify({ ...upstream, windows, for_ms: 0, minute: isMoving ? minute : 0 })
}

/** What has changed of a status: fields, whole upstreams, and which there are in which order; undefined = nothing. */
function changesOf(before: Seen, now: Seen) {
  const { status } = now
  const fields = Object.entries(status).filter(([name]) => before.fields.get(name) !== now.fields.get(name))
  const upstreams = status.upstreams.filter(({ id }) => before.upstreams.get(id) !== now.upstreams.get(id))
  const ids = [...now.upstreams.keys()]
  const isSameList = ids.join() === [...before.upstreams.keys()].join()
  if (fields.length + upstreams.length === 0 && isSameList) return undefined
  return { ...Object.fromEntries(fields), upstreams, ...(!isSameList && { upstream_ids: ids }) }
}
