import type { RecordedConfig } from './configs.ts'
import { FrameReader } from './frames.ts'
import {
  FRAMES,
  readAbility,
  readAnswer,
  readBegin,
  readChoice,
  readEnd,
  readLease,
  readScopes,
  readSettle,
  type BeginFrame,
  type EndFrame,
} from './record.ts'
import type { RecordedState, Segment } from './recorder.ts'

const READERS = {
  state: (reader: FrameReader) => ({ at: reader.moment(), state: reader.json() as () => RecordedState }),
  earlier: (reader: FrameReader) => reader.json() as () => RecordedConfig,
  begin: readBegin,
  choice: readChoice,
  lease: readLease,
  /** Whether a lease was given. */
  foreignLease: (reader: FrameReader) => reader.byte() === 1,
  answer: readAnswer,
  settle: readSettle,
  breakers: readScopes,
  pause: readScopes,
  resume: readScopes,
  ability: readAbility,
  end: readEnd,
} as const

type Kind = keyof typeof READERS

/** A frame of a segment, by its kind. */
export type Frame = {
  readonly [Each in Kind]: { readonly kind: Each; readonly of: ReturnType<(typeof READERS)[Each]> }
}[Kind]

const KINDS = new Map<number, Kind>(Object.keys(READERS).map((kind) => [FRAMES[kind as Kind], kind as Kind]))

/**
 * The frames of a segment, one after the other: moments and texts of each build on those before it, so all are read,
 * whoever is wanted. JSON is read when it is asked for. Never throws, whatever the bytes are.
 */
export function* framesIn({ bytes }: Pick<Segment, 'bytes'>): Generator<Frame> {
  const reader = new FrameReader(bytes)
  for (let type = reader.frame(); type !== undefined; type = reader.frame()) {
    const kind = KINDS.get(type)
    if (kind !== undefined) yield { kind, of: READERS[kind](reader) } as Frame
  }
}

/** The requests of a segment in the order in which they ended, without a replay. Those under way are not among them. */
export function* endedRequests(segment: Pick<Segment, 'bytes'>): Generator<readonly [BeginFrame, EndFrame]> {
  const begun = new Map<number, BeginFrame>()
  for (const { kind, of } of framesIn(segment))
    if (kind === 'begin') begun.set(of.request, of)
    else if (kind === 'end') {
      const begin = begun.get(of.request)
      begun.delete(of.request)
      if (begin !== undefined) yield [begin, of]
    }
}

/** Which requests of a segment begin or go on in it; with their ends, where those are in it. */
export function requestsIn(segment: Pick<Segment, 'bytes'>, isMeant: (request: BeginFrame) => boolean) {
  const found = new Map<number, { readonly begin: BeginFrame; end: EndFrame | undefined }>()
  for (const { kind, of } of framesIn(segment))
    if (kind === 'end') {
      const one = found.get(of.request)
      if (one !== undefined) one.end = of
    } else if (kind === 'begin' && isMeant(of)) found.set(of.request, { begin: of, end: undefined })
  return [...found.values()]
}
