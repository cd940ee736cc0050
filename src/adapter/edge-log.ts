import type { Report } from '../relay/event.ts'
import { createJsonLines } from '../telemetry/log-json.ts'
import { createLog } from '../telemetry/log.ts'

/** A log on the console, one JSON object a line: platforms gather it from there. */
export function consoleLog(level: 'release' | 'debug'): Report {
  // oxlint-disable-next-line no-console
  return createLog({ write: (line) => console.log(line), lines: createJsonLines(Date.now), level })
}
