import { chmodSync, mkdirSync, readFileSync, writeFileSync, type Stats } from 'node:fs'
import { appendFile, mkdir, open, readFile, rename, rm, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { setImmediate } from 'node:timers/promises'
import { systemCodeOf } from '../../errors.ts'
import {
  firstGenerationIn,
  segmentHead,
  segmentsIn,
  segmentSteps,
  type ArchivedFile,
  type ArchivedSegment,
} from '../../events/archive.ts'
import { createRecorder, type Recorder, type Segment } from '../../events/recorder.ts'
import { createRequestLog } from '../../events/requests.ts'
import type { Pause } from '../../events/segment.ts'
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
  const pause = createPause()
  const process = crypto.randomUUID()
  const secret = secretFor(file)
  /** Segments that are whole and not written whole. */
  let sealed: Segment[] = []
  let known = new Set<string>()
  let generation = 1
  /** Of the present segment and those that are sealed: what is written already, by number. */
  const written = new Map<number, number>()
  /** The file as it was when it was last looked at or written to; undefined = there was none. */
  let last: Pick<Stats, 'ino' | 'birthtimeMs' | 'mtimeMs' | 'size'> | undefined
  /** Epoch ms. */
  let begunAt = 0
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
    let left: Segment[] = []
    try {
      await look(file)
      // Else a segment that takes weeks to be full would be kept for as long.
      if (isOld()) recorder.cut()
      left = sealed
      sealed = []
      for (; left[0] !== undefined; left.shift()) {
        await append(file, left[0])
        written.delete(left[0].number)
      }
      const present = recorder.segments().at(-1)
      if (present !== undefined) await append(file, present)
      hasWarned = false
    } catch (error) {
      // The newest of them: for all of them there may never be room.
      sealed = [...left.slice(-1), ...sealed]
      // Nobody knows how much was written.
      last = undefined
      const code = systemCodeOf(error) ?? 'unknown error'
      const message = `events are not kept across a restart: ${file} can't be written (${code})`
      if (!hasWarned) report({ kind: 'notice', level: 'warning', message })
      hasWarned = true
    }
  }

  async function append(to: string, segment: Segment): Promise<void> {
    const { number, bytes } = segment
    if (written.get(number) === bytes.length) return
    if (!written.has(number)) await rotateWhereFull(to)
    const from = written.get(number) ?? 0
    const head = segmentHead(segment, from, { process, generation, known })
    const more = bytes.slice(from)
    await appendFile(to, Buffer.concat([head, more]), { mode: 0o600 })
    last = await stat(to)
    written.set(number, bytes.length)
  }

  /** Whether the file is still the one that was written to: somebody may have removed it, another process put it aside. */
  async function look(at: string): Promise<void> {
    const there = await stat(at).catch(() => undefined)
    const isSame =
      there !== undefined &&
      there.ino === last?.ino &&
      there.birthtimeMs === last.birthtimeMs &&
      there.size >= last.size
    last = there
    if (isSame) return
    // It knows no configuration and no beginning of a segment that were written to another.
    known = new Set()
    written.clear()
    begunAt = there?.birthtimeMs || Date.now()
    generation = (await generationOf(at)) ?? generation
    if (there === undefined) await mkdir(dirname(at), { recursive: true })
  }

  /** Whether half of the time that is kept has passed since the file was begun. */
  const isOld = (): boolean => last !== undefined && Date.now() - begunAt >= (limits().days * DAY_MS) / 2

  /** Between two segments, so that none is in two files. */
  async function rotateWhereFull(at: string): Promise<void> {
    if (last === undefined || last.size === 0) return
    if (last.size < limits().bytes / 2 && !isOld()) return
    // Nothing may have been written for a long time.
    const isOver = Date.now() - last.mtimeMs >= limits().days * DAY_MS
    await (isOver ? Promise.all([rm(at), rm(`${at}.1`, { force: true })]) : rename(at, `${at}.1`))
    last = undefined
    begunAt = Date.now()
    generation += 1
    known = new Set()
    written.clear()
  }

  const timer = setInterval(() => void flush(), FLUSH_EVERY_MS)
  timer.unref()
  return {
    recorder,
    requests: createRequestLog({
      recorder,
      secret,
      pause,
      archive:
        file === undefined
          ? undefined
          : {
              process,
              get kept() {
                return `${file} and ${file}.1 keep ${textOfBytes(limits().bytes)} and ${limits().days} days`
              },
              async *read() {
                if (!isKept()) return
                await flush()
                yield* readFiles(file, pause)
              },
              readOldest: async () => (isKept() ? readOldest(file) : []),
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

/** A file, and then the one before it. */
export async function* readFiles(file: string, pause: Pause = createPause()): AsyncGenerator<ArchivedFile> {
  const seen = new Set<string>()
  for (const path of [file, `${file}.1`]) {
    let code: string | undefined
    const bytes = await readFile(path).catch((error: unknown) => {
      code = systemCodeOf(error) ?? 'unknown error'
      return new Uint8Array(0)
    })
    const segments: ArchivedSegment[] = []
    let lost = 0
    for (const step of segmentSteps(bytes)) {
      if (typeof step === 'number') lost += step
      else segments.push(step)
      await pause()
    }
    yield {
      // Where another process put the file aside, what was written of a segment before is written once more.
      segments: segments.filter(({ process, number }) => !seen.has(`${process} ${number}`)),
      lost: lostText(path, { code, lost }),
    }
    for (const { process, number } of segments) seen.add(`${process} ${number}`)
  }
}

function lostText(
  path: string,
  { code, lost }: { code: string | undefined; lost: number },
): string | undefined {
  if (code !== undefined) return code === 'ENOENT' ? undefined : `${path} can't be read (${code})`
  return lost === 0
    ? undefined
    : `${lost} bytes of ${path} are damaged or of another version, and were passed over`
}

async function readOldest(file: string): Promise<readonly ArchivedSegment[]> {
  for (const path of [`${file}.1`, file]) {
    const [first] = segmentsIn(await beginningOf(path, BEGINNING_BYTES).catch(() => new Uint8Array(0)))
    if (first !== undefined) return [first]
  }
  return []
}

/** All of them, the oldest first, and in words what could not be read. */
export async function readEvents(file: string): Promise<{ segments: ArchivedSegment[]; lost: string[] }> {
  const all: ArchivedFile[] = []
  for await (const one of readFiles(file)) all.unshift(one)
  return { segments: all.flatMap(({ segments }) => segments), lost: all.flatMap(({ lost }) => lost ?? []) }
}

/** More than a configuration and a state of hundreds of upstreams. */
const BEGINNING_BYTES = 1_048_576
/** A head is shorter, and the configuration behind it is of no matter. */
const HEAD_BYTES = 1_024

async function beginningOf(file: string, size: number): Promise<Uint8Array> {
  const handle = await open(file)
  try {
    const { buffer, bytesRead } = await handle.read(new Uint8Array(size), 0, size, 0)
    return buffer.subarray(0, bytesRead)
  } finally {
    await handle.close()
  }
}

/** Undefined where there is no file, or one that is damaged at its beginning. */
const generationOf = (file: string): Promise<number | undefined> =>
  beginningOf(file, HEAD_BYTES)
    .then(firstGenerationIn)
    .catch(() => undefined)

const SECRET_WORDS = 4
const secretPlaceOf = (file: string): string => join(dirname(file), 'events.key')

/** What masks the affinity keys in a file of events; undefined = none is there. */
export function secretIn(file: string): Uint32Array | undefined {
  try {
    const words = readFileSync(secretPlaceOf(file), 'utf8').trim().split(' ')
    const isWhole = words.length === SECRET_WORDS && words.every((word) => /^\d{1,10}$/.test(word))
    return isWhole ? Uint32Array.from(words, Number) : undefined
  } catch {
    return undefined
  }
}

/** Beside the file, so that what it masks can be read after a restart; made where there is none, and kept where that can be. */
function secretFor(file: string | undefined): Uint32Array {
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

/** So long nobody else has a turn. */
const TURN_MS = 5

function createPause(): Pause {
  let since = 0
  return () => {
    if (performance.now() - since < TURN_MS) return undefined
    return setImmediate().then(() => void (since = performance.now()))
  }
}
