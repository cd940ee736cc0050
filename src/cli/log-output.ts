import { createStdoutSink } from '../adapter/node-log-sink.ts'
import type { Report } from '../relay/event.ts'
import { createLog } from '../telemetry/log.ts'

/** The log of this process, on standard output. */
export interface LogOutput {
  readonly report: Report
  /** Lines of a start: as they are for people, notices of the log for machines. */
  say(lines: readonly string[]): void
  setLevel(level: 'release' | 'debug'): void
  /** Writes what is remembered, now. */
  flush(): void
}

/** Readable on a terminal; everywhere else one JSON object a line, and nothing besides. */
export const formatFor = (isTerminal: boolean): 'json' | 'pretty' => (isTerminal ? 'pretty' : 'json')

export function createLogOutput(format: 'json' | 'pretty'): LogOutput {
  const sink = createStdoutSink()
  const logAt = (level: 'release' | 'debug'): Report =>
    createLog({ write: sink.write, format, level, wall: Date.now })
  let log = logAt('release')
  return {
    report: (event) => log(event),
    say(lines) {
      for (const line of lines) {
        if (format === 'pretty') sink.write(line)
        else log({ kind: 'notice', level: 'info', message: line.trim() })
      }
    },
    setLevel: (level) => void (log = logAt(level)),
    flush: sink.flush,
  }
}
