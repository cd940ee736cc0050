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

/** The bytes in front of a segment. `known`: digests of configurations that the file has; this one is added. */
export function segmentHead(
  { config, number }: Segment,
  { process, generation, known }: { process: string; generation: number; known: Set<string> },
): Uint8Array {
  const text = JSON.stringify(config)
  const digest = digestOf(new TextEncoder().encode(text))
  const writer = new FrameWriter(1_024)
  const head: SegmentHead = { format: FORMAT, process, number, generation, config: digest }
  writer.raw(MARK)
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

/** The segments of files, which are given in the order in which they were written. What is damaged is passed over. */
export function segmentsIn(files: readonly Uint8Array[]): ArchivedSegment[] {
  const bytes = files.length === 1 ? (files[0] ?? new Uint8Array(0)) : concatBytes(files)
  const find = createByteSearch(MARK)
  const configs = new Map<string, RecordedConfig>()
  const segments: ArchivedSegment[] = []
  for (let at = find(bytes, 0); at >= 0;) {
    const next = find(bytes, at + MARK.length)
    const segment = segmentAt(bytes.subarray(at + MARK.length, next < 0 ? bytes.length : next), configs)
    if (segment !== undefined) segments.push(segment)
    at = next
  }
  return segments
}

function segmentAt(bytes: Uint8Array, configs: Map<string, RecordedConfig>): ArchivedSegment | undefined {
  const reader = new FrameReader(bytes)
  try {
    if (reader.frame() !== FRAMES.head) return undefined
    const { format, config: digest, ...head } = reader.json() as SegmentHead
    if (format !== FORMAT) return undefined
    let start = reader.end
    if (reader.frame() === FRAMES.config) {
      configs.set(digest, reader.json() as RecordedConfig)
      start = reader.end
    }
    const config = configs.get(digest)
    return config && { ...head, config, bytes: bytes.subarray(start) }
  } catch {
    // A file that was cut, or that something else has written to.
    return undefined
  }
}

/** Of the file that begins with these bytes, which may be cut behind its first head. */
export function firstGenerationIn(bytes: Uint8Array): number | undefined {
  const at = createByteSearch(MARK)(bytes, 0)
  if (at < 0) return undefined
  const reader = new FrameReader(bytes.subarray(at + MARK.length))
  return reader.frame() === FRAMES.head ? (reader.json() as SegmentHead).generation : undefined
}
