import { createByteSearch, utf8Bytes } from '../lib/bytes.ts'
import type { ArchivedSegment } from './archive.ts'
import { endedRequests, explainIn, requestLine, type Explanation, type RecordedRequest } from './explain.ts'
import { idBytes } from './frames.ts'
import type { Recorder, Segment } from './recorder.ts'

/** Segments that are no longer in memory. */
export interface EventArchive {
  /** All that are kept, the oldest first, those of this process too. */
  read(): Promise<readonly ArchivedSegment[]>
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
  readonly requests: readonly RecordedRequest[]
  /** When the oldest came that is kept; null where there is none. */
  readonly oldest_kept: string | null
  /** What is not there any more, in words; null where nothing was dropped. */
  readonly dropped: string | null
}

export type RequestLog = ReturnType<typeof createRequestLog>

/** The requests that are remembered, and why they went where they went. */
export function createRequestLog(given: {
  readonly recorder: Recorder
  readonly secret: Uint32Array
  readonly archive?: EventArchive | undefined
}) {
  const { recorder, secret, archive } = given

  /** What is in memory, and in front of it what the archive has besides. */
  async function allSegments(): Promise<{ segments: readonly Segment[]; isWhole: boolean }> {
    const own = recorder.segments()
    const first = own[0]?.number ?? Infinity
    const archived = (await archive?.read()) ?? []
    const older = archived.filter(({ process, number }) => process !== archive?.process || number < first)
    const segments = [...older, ...own]
    const isWhole = (archived[0]?.generation ?? 1) === 1 && (archived.length > 0 || own[0]?.number === 1)
    return { segments, isWhole }
  }

  /** When the first request of the segments came. */
  function oldestIn(segments: readonly Segment[]): string | null {
    for (const segment of segments)
      for (const [begin, end] of endedRequests(segment)) return requestLine(begin, end).at
    return null
  }

  function droppedText(oldest: string | null, isWhole: boolean): string | null {
    if (isWhole) return null
    const what = archive === undefined ? 'the last 1,000 to 2,000 requests are kept in memory' : archive.kept
    return oldest === null ? what : `requests before ${oldest} were dropped: ${what}`
  }

  return {
    /** Requests that have ended. */
    async list(filter: RequestFilter): Promise<RequestList> {
      const { segments, isWhole } = await allSegments()
      const requests: RecordedRequest[] = []
      let isBehind = filter.before === undefined
      for (const segment of segments.toReversed()) {
        if (requests.length >= filter.limit) break
        for (const [begin, end] of [...endedRequests(segment)].toReversed()) {
          if (requests.length >= filter.limit) break
          const line = requestLine(begin, end)
          if (
            isBehind &&
            isWanted(
              line,
              end.attempts.map(({ upstream }) => upstream),
              filter,
            )
          )
            requests.push(line)
          if (line.id === filter.before) isBehind = true
        }
      }
      const oldest = oldestIn(segments)
      return { requests, oldest_kept: oldest, dropped: droppedText(oldest, isWhole) }
    },
    /** Explanations of the request with this id of ours, or of all that bear it as their client's; the newest first. */
    async explain(id: string): Promise<Explanation[]> {
      const { segments } = await allSegments()
      const [own, theirs] = [createByteSearch(idBytes(id)), createByteSearch(utf8Bytes(id))]
      const near = segments.filter(({ bytes }) => own(bytes, 0) >= 0 || theirs(bytes, 0) >= 0)
      return explainIn(near, secret, ({ ownId, clientId }) => ownId === id || clientId === id)
    },
    /** How far back it goes, for whoever asks for one that is not there. */
    async reach(): Promise<string> {
      const oldest = oldestIn((await allSegments()).segments)
      return oldest === null ? 'No request is remembered yet.' : `What is remembered goes back to ${oldest}.`
    },
  }
}

function isWanted(line: RecordedRequest, asked: readonly string[], filter: RequestFilter): boolean {
  const { upstream, status, model, token, q } = filter
  if (upstream !== undefined && !asked.includes(upstream) && line.upstream !== upstream) return false
  if (status !== undefined && !fitsStatus(String(line.status), status)) return false
  if (model !== undefined && line.model !== model) return false
  if (token !== undefined && line.token !== token) return false
  return q === undefined || JSON.stringify(line).toLowerCase().includes(q.toLowerCase())
}

/** `4xx` stands for all that begin with a 4. */
const fitsStatus = (status: string, wanted: string): boolean =>
  /^\dxx$/i.test(wanted) ? status[0] === wanted[0] : status === wanted
