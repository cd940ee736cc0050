import {
  closeSync,
  existsSync,
  fstatSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs'
import { dirname, resolve } from 'node:path'
import type { Config } from '../../config/config.ts'
import { systemCodeOf } from '../../errors.ts'
import type { Report } from '../../relay/deps.ts'
import { createJsonLines } from '../../telemetry/log-json.ts'
import { createLog, type LogLevel } from '../../telemetry/log.ts'

/** A line may be this late, and so many characters wait at most before they are written at once. */
const WRITE_EVERY_MS = 100
const BATCH_LENGTH = 65_536

type FileSettings = NonNullable<Config['server']['logFile']>

/** `server.log_file`, its path as the file of the configuration sees it. */
export const logFileOf = ({ server }: Config, configFile: string): FileSettings | undefined =>
  server.logFile && { ...server.logFile, path: resolve(dirname(configFile), server.logFile.path) }

/**
 * The log in a file, one JSON object a line, beside the standard output; mode 0600. A file that would become larger than
 * `bytes` is put aside as `.1`, the one before as `.2`, and `files` of those are kept.
 *
 * A file that can't be written (a full disk, a directory of somebody else) is told once and tried again with every write:
 * it stops nothing, and its lines are lost there alone.
 *
 * @param tell takes the word for the operator
 */
export function createLogFile(tell: (level: 'info' | 'warning', message: string) => void) {
  let settings: FileSettings | undefined
  let log: Report | undefined
  let descriptor: number | undefined
  let size = 0
  let lines: string[] = []
  let length = 0
  let timer: NodeJS.Timeout | undefined
  let lost = 0
  /** The file ends within a line. */
  let isCut = false

  function add(line: string): void {
    const most = Math.min(BATCH_LENGTH, settings?.bytes ?? 0)
    if (length + line.length >= most) flush()
    lines.push(line)
    length += line.length + 1
    if (length >= most) flush()
    else timer ??= setTimeout(flush, WRITE_EVERY_MS).unref()
  }

  /** Writes what is remembered now. Never throws. */
  function flush(): void {
    clearTimeout(timer)
    timer = undefined
    const written = lines
    lines = []
    length = 0
    if (settings === undefined || written.length === 0) return
    const { path } = settings
    try {
      writeAll(settings, Buffer.from(`${written.join('\n')}\n`))
      if (lost > 0) tell('info', `the log file ${path} is written again; lines that it lacks: ${lost}`)
      lost = 0
    } catch (error) {
      close()
      const code = systemCodeOf(error) ?? 'unknown error'
      if (lost === 0)
        tell('warning', `the log file ${path} can't be written (${code}); it is tried again with every line`)
      lost += written.length
    }
  }

  function writeAll(to: FileSettings, bytes: Buffer): void {
    let open = descriptor ?? openFile(to)
    if (size > 0 && size + bytes.length > to.bytes) open = putAside(to, open)
    const whole = isCut && size > 0 ? Buffer.concat([Buffer.from('\n'), bytes]) : bytes
    isCut = true
    let done = 0
    while (done < whole.length) done += writeSync(open, whole, done)
    isCut = false
    size += whole.length
  }

  function openFile({ path }: FileSettings): number {
    mkdirSync(dirname(path), { recursive: true })
    const opened = openSync(path, 'a', 0o600)
    descriptor = opened
    size = fstatSync(opened).size
    return opened
  }

  /** Where that is refused, the file goes on growing, and it is tried again when it is as large once more. */
  function putAside(to: FileSettings, open: number): number {
    const { path, files } = to
    try {
      for (let extra = files + 1; existsSync(`${path}.${extra}`); extra += 1) rmSync(`${path}.${extra}`)
      if (files === 0) ftruncateSync(open)
      for (let at = files; at > 0; at -= 1) {
        const from = at === 1 ? path : `${path}.${at - 1}`
        if (existsSync(from)) renameSync(from, `${path}.${at}`)
      }
      close()
      return openFile(to)
    } catch (error) {
      const code = systemCodeOf(error) ?? 'unknown error'
      tell(
        'warning',
        `the log file ${path} can't be put aside (${code}) and grows beyond server.log_file.bytes`,
      )
      size = 0
      return descriptor ?? openFile(to)
    }
  }

  function close(): void {
    if (descriptor === undefined) return
    try {
      closeSync(descriptor)
    } catch {
      // A write that was delayed may fail here; its line is lost like any other.
    }
    descriptor = undefined
  }

  process.once('exit', flush)

  return {
    report: ((event) => log?.(event)) satisfies Report,
    /** Writes to this file from now on; undefined = to none. */
    configure(next: FileSettings | undefined, level: LogLevel): void {
      flush()
      if (next?.path !== settings?.path) {
        close()
        lost = 0
        isCut = false
      }
      settings = next
      log = next && createLog(add, createJsonLines(Date.now), level)
    },
    /** Opens the file anew, for a program that has put it aside by itself. */
    reopen(): void {
      flush()
      close()
    },
    flush,
  }
}
