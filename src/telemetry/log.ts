import type { Report } from '../relay/event.ts'
import type { LogLevel, LogLines, RequestEvent } from './log-line.ts'

/** Where a log goes, and how. */
export interface LogOptions {
  /** Takes a line without its end; called on the hot path, so it only remembers it. */
  readonly write: (line: string) => void
  /** `createJsonLines` for machines, `createPrettyLines` for a terminal. */
  readonly lines: LogLines
  /** `debug` adds a line for each attempt, and the notices of that level. */
  readonly level: 'release' | 'debug'
}

/**
 * A report that writes a line for each request and notice. Whatever a client sends, an event stays one line:
 * controls are escaped and long values cut. About 2 µs for a request in JSON (`bench/log.ts`).
 */
export function createLog({ write, lines, level }: LogOptions): Report {
  const isDebug = level === 'debug'
  return (event) => {
    if (event.kind === 'request') write(lines.request(event, levelOf(event)))
    else if (event.kind === 'attempt' && isDebug) write(lines.attempt(event))
    else if (event.kind === 'notice' && (isDebug || event.level !== 'debug')) {
      write(lines.notice(event.message, event.level === 'warning' ? 'warn' : event.level))
    }
  }
}

/** A warning where the client did not get what it asked for and we or an upstream are why; 200 and a code is a broken stream. */
function levelOf({ status, code }: RequestEvent): LogLevel {
  return status >= 500 || (status < 400 && code !== undefined) ? 'warn' : 'info'
}
