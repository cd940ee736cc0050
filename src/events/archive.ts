import { createByteSearch, concatBytes } from '../lib/bytes.ts'
import { digestOf } from '../lib/hash.ts'
import type { RecordedConfig } from './configs.ts'
import { FrameReader, FrameWriter } from './frames.ts'
import { FRAMES } from './record.ts'
import type { Segment } from './recorder.ts'

/** What each segment begins with in a file; found again behind whatever a crash has left of the one before. */
const MARK = Uint8Array.of(
  0xa1,
  0x10,
  0xad,
  0xe7,
  0x5e,
  0x67,
  0x3b,
  0x9f,
  0xc4,
  0x02,
  0xd8,
  0x71,
  0x1e,
  0xbb,
  0x60,
  0x0a,
)
const FORMAT = 1

/** What is told of a segment in front of it. */
interface SegmentHead {
  readonly format: typeof FORMAT
  /** The process that wrote it. */
  readonly process: string
  readonly number: number
  /** Which file it is in, counted from 1: those before the two that are kept were dropped. */
  readonly generation: number
  /** Of the configuration, which follows where the file has not had it yet. */
  readonly config: string
}

/** A segment as a file has it. */
export interface ArchivedSegment extends Segment {
  readonly process: string
  readonly generation: number
}

/** A file of segments, as far as it could be read. */
export interface ArchivedFile {
  /** The oldest first. */
  readonly segments: readonly ArchivedSegment[]
  /** What of it is in none of them, in words; undefined = nothing. */
  readonly lost: string | undefined
}

/** What writes a segment, and where. */
export interface SegmentWriter {
  readonly process: string
  readonly generation: number
  /** Digests of configurations that the file has; another one is added. */
  readonly known: Set<string>
}

/**
 * The bytes in front of a part of a segment, which begins `from` bytes behind the segment's own beginning. Each part has its
 * own: another process may write to the same file in between, and a part may be there twice, whole and not whole.
 */
export function segmentHead(
  { config, number }: Segment,
  from: number,
  { process, generation, known }: SegmentWriter,
): Uint8Array {
  const writer = new FrameWriter(1_024)
  writer.raw(MARK)
  if (from > 0) {
    writer.begin(FRAMES.more)
    writer.id(process)
    writer.count(number)
    writer.count(from)
    writer.end()
    return writer.bytes.slice(0, writer.length)
  }
  const digest = digestOf(new TextEncoder().encode(JSON.stringify(config)))
  const head: SegmentHead = { format: FORMAT, process, number, generation, config: digest }
  writer.begin(FRAMES.head)
  writer.json(head)
  writer.end()
  if (!known.has(digest)) {
    writer.begin(FRAMES.config)
    writer.json(config)
    writer.end()
  }
  known.add(digest)
  return writer.bytes.slice(0, writer.length)
}

/** A segment whose parts are gathered: each from where it begins, in the order in which they stand in the segment. */
interface Gathered {
  readonly segment: Omit<ArchivedSegment, 'bytes'>
  readonly parts: { readonly from: number; readonly bytes: Uint8Array }[]
}

/** The segments of a file in the order in which they were begun. What is damaged is passed over. */
export const segmentsIn = (bytes: Uint8Array): readonly ArchivedSegment[] =>
  [...segmentSteps(bytes)].filter((step) => typeof step !== 'number')

/**
 * The same in steps, since a file may be large: in front of the segments there are those in which parts are looked at, and
 * behind each stands how many bytes were passed over.
 */
export function* segmentSteps(bytes: Uint8Array): Generator<ArchivedSegment | number> {
  const find = createByteSearch(MARK)
  const configs = new Map<string, RecordedConfig>()
  const found = new Map<string, Gathered>()
  let at = find(bytes, 0)
  yield at < 0 ? bytes.length : at
  while (at >= 0) {
    const next = find(bytes, at + MARK.length)
    const part = bytes.subarray(at + MARK.length, next < 0 ? bytes.length : next)
    yield isGathered(part, { configs, found }) ? 0 : MARK.length + part.length
    at = next
  }
  for (const { segment, parts } of found.values()) {
    const [first] = parts
    const all = parts.length === 1 ? first?.bytes : concatBytes(parts.map((part) => part.bytes))
    const whole = wholeFramesIn(all ?? new Uint8Array(0))
    yield (all?.length ?? 0) - whole.length
    yield { ...segment, bytes: whole }
  }
}

/** Without what is left of a frame that a crash, or a full disk, has cut. */
function wholeFramesIn(bytes: Uint8Array): Uint8Array {
  const reader = new FrameReader(bytes)
  let end = 0
  while (reader.frame() !== undefined) end = reader.end
  return bytes.subarray(0, end)
}

/** Whether a part could be put to its segment. */
function isGathered(
  bytes: Uint8Array,
  { configs, found }: { configs: Map<string, RecordedConfig>; found: Map<string, Gathered> },
): boolean {
  const reader = new FrameReader(bytes)
  try {
    const type = reader.frame()
    if (type === FRAMES.more) {
      const parts = found.get(`${reader.id()} ${reader.count()}`)?.parts
      const part = { from: reader.count(), bytes: bytes.subarray(reader.end) }
      return parts !== undefined && isAdded(parts, part)
    }
    if (type === FRAMES.head) {
      const { format, config: digest, ...head } = reader.json()() as SegmentHead
      if (format !== FORMAT) return false
      let start = reader.end
      if (reader.frame() === FRAMES.config) {
        configs.set(digest, reader.json()() as RecordedConfig)
        start = reader.end
      }
      const config = configs.get(digest)
      const part = { from: 0, bytes: bytes.subarray(start) }
      if (config === undefined) return false
      found.set(`${head.process} ${head.number}`, { segment: { ...head, config }, parts: [part] })
      return true
    }
  } catch {
    // A file that was cut, or that something else has written to.
  }
  return false
}

/** What was written once more takes the place of what could not be written whole; behind a gap nothing can be read. */
function isAdded(parts: Gathered['parts'], part: Gathered['parts'][number]): boolean {
  for (let last = parts.at(-1); last !== undefined && last.from >= part.from; last = parts.at(-1)) parts.pop()
  const last = parts.at(-1)
  if (last === undefined || last.from + last.bytes.length < part.from) return false
  parts[parts.length - 1] = { ...last, bytes: last.bytes.subarray(0, part.from - last.from) }
  parts.push(part)
  return true
}

/** Of the file that begins with these bytes, which may be cut behind its first head. */
export function firstGenerationIn(bytes: Uint8Array): number | undefined {
  const at = createByteSearch(MARK)(bytes, 0)
  if (at < 0) return undefined
  const reader = new FrameReader(bytes.subarray(at + MARK.length))
  return reader.frame() === FRAMES.head ? (reader.json()() as SegmentHead).generation : undefined
}
