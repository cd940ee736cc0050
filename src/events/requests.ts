import { createByteSearch, utf8Bytes } from '../lib/bytes.ts'
import type { ArchivedFile, ArchivedSegment } from './archive.ts'
import { explanationOf, requestLine, type Explanation, type Found } from './explain.ts'
import { isoOf } from '../telemetry/status.ts'
import { idBytes } from './frames.ts'
import type { BeginFrame, EndFrame } from './record.ts'
import type { RequestSummary } from '../telemetry/live.ts'
import type { Recorder, Segment } from './recorder.ts'
import { inTurns, requestsIn, type Pause, type SeenRequest } from './segment.ts'

/** Segments that are no longer in memory. */
export interface EventArchive {
  /** The files that are kept, the newest first, with the segments of this process too. */
  read(): AsyncIterable<ArchivedFile>
  /** The beginning of the oldest file. */
  readOldest(): Promise<readonly ArchivedSegment[]>
  /** Of this process, as `ArchivedSegment.process`. */
  readonly process: string
  /** How much is kept, in words. */
  readonly kept: string
}

/** Which requests are wanted; all that are given have to fit. */
export interface RequestFilter {
  readonly limit: number
  /** Only those that ended before this one, by our id. */
  readonly before?: string | undefined
  readonly upstream?: string | undefined
  /** `429`, or `4xx`. */
  readonly status?: string | undefined
  readonly model?: string | undefined
  readonly token?: string | undefined
  /** A part of any text of its line, in any case. */
  readonly q?: string | undefined
}

export interface RequestList {
  /** The newest first. */
  readonly requests: readonly RequestSummary[]
  /** When the oldest came that is kept; null where there is none. */
  readonly oldest_kept: string | null
  /** What is not there any more, or could not be read on the way, in words; null where that is nothing. */
  readonly dropped: string | null
}

export type RequestLog = ReturnType<typeof createRequestLog>

/** What an id stands for: a request, or several that bear it as their client's, the newest first. */
export type ExplainedId = Explanation | { readonly requests: readonly RequestSummary[] }

/** Of requests that bear the same id so many are listed. */
const MOST_NAMESAKES = 1_000

/**
 * The request with this id of ours, or all that bear it as their client's; undefined where there is none. A client may give
 * all its requests the same, so choices are made again of a single one alone.
 *
 * @param segments the newest first; `isAlive`: of the process that asks
 */
export async function explained(
  id: string,
  segments: AsyncIterable<SeenSegment> | Iterable<SeenSegment>,
  { secret, pause }: { readonly secret: Uint32Array; readonly pause?: Pause },
): Promise<ExplainedId | undefined> {
  const [own, theirs] = [createByteSearch(idBytes(id)), createByteSearch(utf8Bytes(id))]
  const found = new Map<string, Found>()
  for await (const { segment, isAlive } of segments) {
    await pause?.()
    const { bytes } = segment
    if (own(bytes, 0) < 0 && (found.size > MOST_NAMESAKES || theirs(bytes, 0) < 0)) continue
    const requests: SeenRequest[] = []
    await inTurns(requestsIn(segment), pause, (one) => {
      if (one !== undefined && (one.begin.ownId === id || one.begin.clientId === id)) requests.push(one)
    })
    for (const { begin, end } of requests.toSorted((a, b) => b.begin.request - a.begin.request)) {
      const later = found.get(begin.ownId)
      if (later === undefined && found.size > MOST_NAMESAKES && begin.ownId !== id) continue
      const all = [segment, ...(later?.segments ?? [])]
      found.set(begin.ownId, {
        begin,
        end: later?.end ?? end,
        segments: all,
        isAlive: later?.isAlive ?? isAlive,
      })
    }
  }
  const [first] = found.values()
  const one = found.get(id) ?? (found.size === 1 ? first : undefined)
  if (one !== undefined) return explanationOf(one, secret, pause)
  if (first === undefined) return undefined
  const lines = [...found.values()].map(requestLine)
  return { requests: lines.slice(0, MOST_NAMESAKES) }
}

interface SeenSegment {
  readonly segment: Segment
  readonly isAlive: boolean
}

/** The requests that are remembered, and why they went where they went. */
export function createRequestLog(given: {
  readonly recorder: Recorder
  readonly secret: Uint32Array
  readonly archive?: EventArchive | undefined
  /** Lets others have a turn, where it is time: a log may have hundreds of thousands of requests. */
  readonly pause?: Pause
}) {
  const { recorder, secret, archive, pause } = given

  /** What is in memory, and behind it what the archive has besides; the newest first. `lost`: see `ArchivedFile`. */
  async function* seen(lost: string[] = []): AsyncGenerator<SeenSegment> {
    const own = recorder.segments().toReversed()
    for (const segment of own) yield { segment, isAlive: true }
    if (archive === undefined) return
    /** The number of the last one that was seen of each process. */
    const numbers = new Map([[archive.process, own.at(-1)?.number ?? Infinity]])
    for await (const file of archive.read()) {
      if (file.lost !== undefined) lost.push(file.lost)
      for (const segment of file.segments.toReversed()) {
        const last = numbers.get(segment.process) ?? segment.number + 1
        if (segment.number >= last) continue
        if (segment.number < last - 1 && last < Infinity) lost.push(gapText(last - 1 - segment.number))
        numbers.set(segment.process, segment.number)
        yield { segment, isAlive: segment.process === archive.process }
      }
    }
  }

  /** When the first request came that is kept, and whether none was dropped. */
  async function oldest(): Promise<{ at: string | null; isWhole: boolean }> {
    const own = recorder.segments()
    const archived = (await archive?.readOldest()) ?? []
    const isWhole = (archived[0]?.generation ?? 1) === 1 && (archived.length > 0 || own[0]?.number === 1)
    for (const segment of [...archived, ...own])
      for (const one of requestsIn(segment))
        if (one?.end !== undefined) return { at: requestLine(one).at, isWhole }
    return { at: null, isWhole }
  }

  function droppedText({ at, isWhole }: Awaited<ReturnType<typeof oldest>>, lost: readonly string[]) {
    const kept = archive === undefined ? 'the last 1,000 to 2,000 requests are kept in memory' : archive.kept
    const before = at === null ? kept : `requests before ${at} were dropped: ${kept}`
    return [...(isWhole ? [] : [before]), ...lost].join('; ') || null
  }

  return {
    /** Requests that have ended. */
    async list(filter: RequestFilter): Promise<RequestList> {
      const requests: RequestSummary[] = []
      let isBehind = filter.before === undefined
      const first = await oldest()
      const lost: string[] = []
      for await (const { segment } of seen(lost)) {
        const seenIn: SeenRequest[] = []
        const steps = requestsIn(segment, () => void lost.push(DAMAGE))
        await inTurns(steps, pause, (one) => void (one && seenIn.push(one)))
        await inTurns(seenIn.toReversed(), pause, (one) => {
          const isRoom = requests.length < filter.limit
          if (isBehind && isRoom && isWanted(one, filter)) requests.push(requestLine(one))
          if (one.begin.ownId === filter.before) isBehind = true
        })
        if (requests.length >= filter.limit) break
      }
      return { requests, oldest_kept: first.at, dropped: droppedText(first, lost) }
    },
    /** See `explained`. */
    explain: (id: string): Promise<ExplainedId | undefined> =>
      explained(id, seen(), { secret, ...(pause && { pause }) }),
    /** How far back it goes, for whoever asks for one that is not there. */
    async reach(): Promise<string> {
      const { at } = await oldest()
      return at === null ? 'No request is remembered yet.' : `What is remembered goes back to ${at}.`
    },
  }
}

const DAMAGE = 'some of up to 1,000 requests cannot be read: a part of the log is damaged'

const gapText = (count: number): string =>
  `up to ${count},000 requests are missing: they could not be written`

function isWanted({ begin, end }: SeenRequest, filter: RequestFilter): boolean {
  const { upstream, status, model, token, q } = filter
  if (end === undefined) return false
  const isAsked = (name: string): boolean => end.attempts.some((attempt) => attempt.upstream === name)
  if (upstream !== undefined && end.upstream !== upstream && !isAsked(upstream)) return false
  if (status !== undefined && !fitsStatus(String(end.status), status)) return false
  if (model !== undefined && begin.model !== model) return false
  if (token !== undefined && begin.token !== token) return false
  return q === undefined || textsOf(begin, end).includes(q.toLowerCase())
}

/** All that may be looked for in a line. */
function textsOf(begin: BeginFrame, end: EndFrame): string {
  const { ownId, clientId, endpoint, model, token, at } = begin
  const { status, code, upstream } = end
  return [ownId, clientId, endpoint, model, token, isoOf(at.wall), status, code, upstream]
    .join('\n')
    .toLowerCase()
}

/** `4xx` stands for all that begin with a 4. */
const fitsStatus = (status: string, wanted: string): boolean =>
  /^\dxx$/i.test(wanted) ? status[0] === wanted[0] : status === wanted
