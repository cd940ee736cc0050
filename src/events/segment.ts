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
  state: (reader: FrameReader) => ({ at: reader.moment(), state: stateIn(reader.json()) }),
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

const stateIn = (json: () => unknown) => (): RecordedState => {
  const state = json() as RecordedState
  for (const list of [state.scopes, state.leases, state.abilities, state.credits])
    if (!Array.isArray(list)) throw new RangeError('the state is damaged')
  return state
}

/** A frame of a segment, by its kind. */
export type Frame = {
  readonly [Each in Kind]: { readonly kind: Each; readonly of: ReturnType<(typeof READERS)[Each]> }
}[Kind]

const KINDS = new Map<number, Kind>(Object.keys(READERS).map((kind) => [FRAMES[kind as Kind], kind as Kind]))

/**
 * The frames of a segment, one after the other: moments and texts of each build on those before it, so all are read,
 * whoever is wanted. JSON is read when it is asked for. @throws for a frame that is damaged
 */
export function* framesIn({ bytes }: Pick<Segment, 'bytes'>): Generator<Frame> {
  const reader = new FrameReader(bytes)
  for (let type = reader.frame(); type !== undefined; type = reader.frame()) {
    const kind = KINDS.get(type)
    if (kind === undefined) continue
    const frame = { kind, of: READERS[kind](reader) } as Frame
    if (!reader.isWhole) throw new RangeError('a frame is damaged')
    yield frame
  }
}

/** A request as far as a segment tells of it. */
export interface SeenRequest {
  readonly begin: BeginFrame
  /** Undefined where it goes on in the next one, or nobody knows. */
  readonly end: EndFrame | undefined
}

/**
 * The requests of a segment in the order in which they ended, and then those that did not; a step for each frame.
 *
 * @param onDamage told where a damaged frame ends it
 */
export function* requestsIn(
  segment: Pick<Segment, 'bytes'>,
  onDamage?: () => void,
): Generator<SeenRequest | undefined> {
  const begun = new Map<number, BeginFrame>()
  try {
    for (const { kind, of } of framesIn(segment)) {
      if (kind === 'begin') begun.set(of.request, of)
      const begin = kind === 'end' ? begun.get(of.request) : undefined
      if (begin !== undefined) begun.delete(begin.request)
      yield begin && { begin, end: kind === 'end' ? of : undefined }
    }
  } catch {
    onDamage?.()
  }
  for (const begin of begun.values()) yield { begin, end: undefined }
}

/** Lets others have a turn, where it is time for that. */
export type Pause = () => Promise<void> | undefined

/** So many steps take less than a ms, but for choices among hundreds of upstreams. */
const STEPS = 32

/** Takes steps, and asks now and then whether it is time for others: a log may have hundreds of thousands of requests. */
export async function inTurns<Step>(
  steps: Iterable<Step>,
  pause: Pause | undefined,
  each?: (step: Step) => void,
): Promise<void> {
  let left = STEPS
  for (const step of steps) {
    each?.(step)
    if (--left > 0) continue
    left = STEPS
    const pausing = pause?.()
    if (pausing !== undefined) await pausing
  }
}
