import { createStdoutSink } from '../adapter/node/log-sink.ts'
import type { Report } from '../relay/deps.ts'
import { createJsonLines } from '../telemetry/log-json.ts'
import { createPrettyLines } from '../telemetry/log-pretty.ts'
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
  const lines = format === 'pretty' ? createPrettyLines(Date.now) : createJsonLines(Date.now)
  const logAt = (level: 'release' | 'debug'): Report => createLog({ write: sink.write, lines, level })
  let log = logAt('release')
  return {
    report: (event) => log(event),
    say(said) {
      for (const line of said) {
        if (format === 'pretty') sink.write(line)
        else log({ kind: 'notice', level: 'info', message: line.trim() })
      }
    },
    setLevel: (level) => void (log = logAt(level)),
    flush: sink.flush,
  }
}
