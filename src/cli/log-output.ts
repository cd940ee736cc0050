import { writeSync } from 'node:fs'
import { stripVTControlCharacters } from 'node:util'
import { createLogFile } from '../adapter/node/log-file.ts'
import { systemCodeOf } from '../errors.ts'
import type { Report } from '../relay/deps.ts'
import { createJsonLines } from '../telemetry/log-json.ts'
import { createPrettyLines } from '../telemetry/log-pretty.ts'
import { createLog, type LogLevel } from '../telemetry/log.ts'
import type { LogFormat } from './arguments.ts'
import { inTheirLanguage } from './language.ts'

export type LogOutput = ReturnType<typeof createLogOutput>

/** For people at a terminal, and for machines everywhere else. */
export const usualFormat = (): LogFormat => (process.stdout.isTTY ? 'pretty' : 'json')

/** The log of this process: lines for people, or one JSON object a line, and nothing besides. */
export function createLogOutput(format: LogFormat) {
  const sink = createStdoutSink()
  const isPretty = format === 'pretty'
  // https://no-color.org; a file or a pipe shows no colours either.
  const isPlain = !process.stdout.isTTY || (process.env.NO_COLOR ?? '') !== ''
  const write =
    isPretty && isPlain ? (line: string) => sink.write(stripVTControlCharacters(line)) : sink.write
  const lines = isPretty ? createPrettyLines(Date.now, inTheirLanguage) : createJsonLines(Date.now)
  const logAt = (level: LogLevel): Report => createLog(write, lines, level)
  let log = logAt('info')
  const file = createLogFile((level, message) => notice(level, message))
  const report: Report = (event) => {
    log(event)
    file.report(event)
  }
  const notice = (level: 'info' | 'warning' | 'error', message: string): void =>
    report({ kind: 'notice', level, message })
  return {
    report,
    notice,
    /** Lines of a start: as they are for people, notices of the log for machines. */
    say(said: readonly string[]): void {
      for (const line of said) {
        if (isPretty) write(inTheirLanguage(line))
        else notice('info', line.trim())
      }
    },
    /** From now on this level, and this file beside the standard output; undefined = none. */
    configure(level: LogLevel, logFile: Parameters<typeof file.configure>[0]): void {
      log = logAt(level)
      file.configure(logFile, level)
    },
    reopen: file.reopen,
    flush(): void {
      // What the file has to say goes to the standard output.
      file.flush()
      sink.flush()
    },
  }
}

/** A line may be this late, and so many bytes wait at most before they are written at once. */
const WRITE_EVERY_MS = 20
const BATCH_LENGTH = 65_536
/** With a reader that stands still, lines beyond this are dropped: a log must not eat the memory. */
const MOST_WAITING = 8_388_608
const FLUSH_TIMEOUT_MS = 500
const STDOUT = 1
const sleeper = new Int32Array(new SharedArrayBuffer(4))

/**
 * Writes lines to the standard output in batches. What is still remembered when the process ends is written
 * then. A reader that left (EPIPE) ends the log and nothing else.
 *
 * Goes around `process.stdout`, whose queue for a pipe is lost when the process exits.
 */
export function createStdoutSink() {
  let lines = ''
  let rest: Uint8Array = new Uint8Array()
  let timer: NodeJS.Timeout | undefined
  let isClosed = false
  let lost = 0

  /** Writes what the reader takes; false when something is left. */
  function writeSome(): boolean {
    while (rest.length > 0 || lines !== '') {
      if (rest.length === 0) {
        rest = new TextEncoder().encode(lines)
        lines = ''
      }
      try {
        rest = rest.subarray(writeSync(STDOUT, rest))
      } catch (error) {
        if (systemCodeOf(error) === 'EAGAIN') return false
        isClosed = true
        lines = ''
        rest = new Uint8Array()
      }
    }
    return true
  }

  function onTimer(): void {
    timer = undefined
    if (!writeSome()) return schedule()
    if (lost > 0)
      process.stderr.write(
        `${inTheirLanguage(`${lost} log lines were dropped because nobody read them in time`)}\n`,
      )
    lost = 0
  }

  function schedule(): void {
    timer ??= setTimeout(onTimer, WRITE_EVERY_MS).unref()
  }

  /** Writes what is remembered now. Waits up to half a second for a reader that is behind. Never throws. */
  function flush(): void {
    const deadline = performance.now() + FLUSH_TIMEOUT_MS
    // Without the event loop, which no longer turns when the process ends.
    while (!writeSome() && performance.now() < deadline) Atomics.wait(sleeper, 0, 0, 5)
  }

  // Node makes a pipe non-blocking when the stream is first asked for: a reader that stands still must
  // not stop the process. Others write to the stream too, and an `error` event that nobody hears is fatal.
  process.stdout.on('error', () => {})
  process.stderr.on('error', () => {})
  process.once('exit', flush)

  return {
    /** Remembers a line; written within 20 ms together with others. Never throws. */
    write(line: string): void {
      if (isClosed) return
      if (lines.length + rest.length > MOST_WAITING) {
        lost += 1
        return
      }
      lines += `${line}\n`
      // With a rest the reader is behind, and asking again before the timer does would only cost.
      if (lines.length >= BATCH_LENGTH && rest.length === 0) writeSome()
      schedule()
    },
    flush,
  }
}
