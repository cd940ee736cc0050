import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { appendFile, open, readFile, rename, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { systemCodeOf } from '../../errors.ts'
import { firstGenerationIn, segmentHead, segmentsIn, type ArchivedSegment } from '../../events/archive.ts'
import { createRecorder, type Recorder, type Segment } from '../../events/recorder.ts'
import { createRequestLog } from '../../events/requests.ts'
import type { Report } from '../../relay/deps.ts'

/** How much is kept; `settings.events`. */
export interface EventLimits {
  /** Both files together; 0 = nothing is written. */
  readonly bytes: number
  readonly days: number
}

/** Where events are kept: `events.log` beside `state.json`, `events-my.log` beside `state-my.json`. */
export const eventFileOf = (stateFile: string): string =>
  stateFile.replace(/state(-[^/\\]*)?\.json$/, (_, of = '') => `events${String(of)}.log`)

const DAY_MS = 86_400_000
const FLUSH_EVERY_MS = 1_000
/** So much is not held back until the next flush. */
const FLUSH_BYTES = 1_048_576

/**
 * A recorder whose segments are kept in a file, and its log of requests. The file is append-only; when half of the room or
 * of the time is used up it becomes `….log.1`, in the place of the one before. A file that can't be written is one warning:
 * then the last requests are in memory alone.
 *
 * @param given.file absent = in memory alone
 */
export function keepEvents(given: {
  readonly file: string | undefined
  readonly limits: () => EventLimits
  readonly report: Report
  readonly random: () => number
}) {
  const { file, limits, report, random } = given
  const process = crypto.randomUUID()
  const secret = secretFor(file)
  /** Segments that are whole and not written whole. */
  const sealed: Segment[] = []
  let known = new Set<string>()
  let generation = 1
  /** Of the present segment and those that are sealed: what is written already, by number. */
  const written = new Map<number, number>()
  let size = 0
  let begunAt: number | undefined
  let hasWarned = false
  let writing: Promise<void> = Promise.resolve()

  const recorder: Recorder = createRecorder({
    random,
    secret,
    onSealed(segment) {
      if (isKept()) sealed.push(segment)
      if (segment.bytes.length > FLUSH_BYTES) void flush()
    },
  })

  const isKept = (): boolean => file !== undefined && limits().bytes > 0

  function flush(): Promise<void> {
    if (isKept()) writing = writing.then(write)
    return writing
  }

  async function write(): Promise<void> {
    if (file === undefined) return
    try {
      begunAt ??= await begin(file)
      const whole = sealed.splice(0)
      const present = recorder.segments().at(-1)
      for (const segment of present === undefined ? whole : [...whole, present]) await append(file, segment)
      for (const { number } of whole) written.delete(number)
      hasWarned = false
    } catch (error) {
      const code = systemCodeOf(error) ?? 'unknown error'
      const message = `events are not kept across a restart: ${file} can't be written (${code})`
      if (!hasWarned) report({ kind: 'notice', level: 'warning', message })
      hasWarned = true
    }
  }

  async function append(to: string, segment: Segment): Promise<void> {
    const { number, bytes } = segment
    const from = written.get(number)
    if (from === bytes.length) return
    if (from === undefined) await rotateWhereFull(to)
    const head = from === undefined ? segmentHead(segment, { process, generation, known }) : new Uint8Array(0)
    const more = bytes.slice(from ?? 0)
    await appendFile(to, Buffer.concat([head, more]), { mode: 0o600 })
    size += head.length + more.length
    written.set(number, bytes.length)
  }

  /** Finds out what is there already. @returns when the file was begun, epoch ms */
  async function begin(at: string): Promise<number> {
    mkdirSync(dirname(at), { recursive: true })
    const before = await stat(at).catch(() => undefined)
    generation = (await generationOf(at)) ?? generation
    size = before?.size ?? 0
    return before === undefined || before.birthtimeMs === 0 ? Date.now() : before.birthtimeMs
  }

  /** Between two segments, so that none is in two files. */
  async function rotateWhereFull(at: string): Promise<void> {
    const { bytes, days } = limits()
    const isFull = size >= bytes / 2 || Date.now() - (begunAt ?? 0) >= (days * DAY_MS) / 2
    if (size === 0 || !isFull) return
    await rename(at, `${at}.1`)
    size = 0
    begunAt = Date.now()
    generation += 1
    known = new Set()
  }

  const timer = setInterval(() => void flush(), FLUSH_EVERY_MS)
  timer.unref()
  const kept = (): string =>
    `${file} and ${file}.1 keep ${textOfBytes(limits().bytes)} and ${limits().days} days`
  return {
    recorder,
    requests: createRequestLog({
      recorder,
      secret,
      archive:
        file === undefined
          ? undefined
          : {
              process,
              get kept() {
                return kept()
              },
              async read() {
                if (!isKept()) return []
                await flush()
                return readEvents(file)
              },
            },
    }),
    /** Writes what is not written yet. */
    async close(): Promise<void> {
      clearInterval(timer)
      await flush()
    },
  }
}

const textOfBytes = (bytes: number): string =>
  bytes >= 1_048_576 ? `${Math.round(bytes / 1_048_576)} MiB` : `${bytes} bytes`

/** All segments that are kept in a file and in the one before it, the oldest first. */
export async function readEvents(file: string): Promise<ArchivedSegment[]> {
  const read = (path: string) => readFile(path).catch(() => new Uint8Array(0))
  return segmentsIn(await Promise.all([read(`${file}.1`), read(file)]))
}

/** A head is shorter, and the configuration behind it is of no matter. */
const HEAD_BYTES = 1_024

async function generationOf(file: string): Promise<number | undefined> {
  const handle = await open(file).catch(() => undefined)
  if (handle === undefined) return undefined
  try {
    const { buffer, bytesRead } = await handle.read(new Uint8Array(HEAD_BYTES), 0, HEAD_BYTES, 0)
    return firstGenerationIn(buffer.subarray(0, bytesRead))
  } catch {
    // It is damaged at its beginning.
    return undefined
  } finally {
    await handle.close()
  }
}

const SECRET_WORDS = 4

const secretPlaceOf = (file: string): string => join(dirname(file), 'events.key')

/** What masks the affinity keys in a file of events; undefined = none is there. */
export function secretIn(file: string): Uint32Array | undefined {
  try {
    const words = Uint32Array.from(readFileSync(secretPlaceOf(file), 'utf8').trim().split(' '), Number)
    return words.length === SECRET_WORDS ? words : undefined
  } catch {
    return undefined
  }
}

/** Beside the file, so that what it masks can be read after a restart; made where there is none, and kept where that can be. */
export function secretFor(file: string | undefined): Uint32Array {
  const fresh = crypto.getRandomValues(new Uint32Array(SECRET_WORDS))
  if (file === undefined) return fresh
  const known = secretIn(file)
  if (known !== undefined) return known
  const place = secretPlaceOf(file)
  try {
    mkdirSync(dirname(place), { recursive: true })
    writeFileSync(place, `${fresh.join(' ')}\n`, { mode: 0o600 })
    chmodSync(place, 0o600)
  } catch {
    // What was masked is then told apart by this process alone.
  }
  return fresh
}
