/*
 * telemetry: log, metrics and status, all made of the relay's events. Nothing here changes what a request does, and
 * nothing that a client or an upstream sends can break a line or add a time series.
 *
 * notices     a word for the operator when an upstream stops or begins to work
 * log         one line for each event; several reports as one; texts that are safe on a line
 * log-json    the lines for machines
 * log-pretty  the lines for people at a terminal
 * metrics     counters and histograms in the text format of Prometheus
 * traces      spans of requests and attempts, sent to a collector
 * otlp        the same as OpenTelemetry's protocol writes them
 * recent      the last attempts of every upstream
 * status      what `GET /admin/status` answers
 * token-status  what `GET /admin/tokens` answers
 */
import type { ServerConfig } from '../config/config.ts'
import { quoted, type Environment } from '../config/problem.ts'
import type { AttemptEvent, NoticeEvent, Report, RequestEvent } from '../relay/deps.ts'

/** How loud a line is; a log of one level has those of the levels before it too. */
const logLevels = ['error', 'warn', 'info', 'debug'] as const
export type LogLevel = (typeof logLevels)[number]

/** The level of a log where nothing else is said. */
export const levelOfMode = (mode: ServerConfig['mode']): LogLevel => (mode === 'debug' ? 'debug' : 'info')

/** The level that `LOG_LEVEL` names, in any case, or why it names none; neither where it is not set or empty. */
export function logLevelIn({ LOG_LEVEL = '' }: Environment): { level?: LogLevel; problem?: string } {
  const level = logLevels.find((name) => name === LOG_LEVEL.toLowerCase())
  if (level !== undefined) return { level }
  return LOG_LEVEL === ''
    ? {}
    : { problem: `LOG_LEVEL is not a known value; write one of ${quoted(logLevels)}` }
}

/**
 * A report that writes a line for each request and notice that is as loud as `level`; `debug` adds one for each attempt,
 * and who could not be taken. Whatever a client sends, an event stays one line: controls are escaped and long values cut. About 2 µs for a
 * request in JSON (`bench/log.ts`). `write` takes a line without its end; on the hot path, so it only remembers it.
 */
export function createLog(write: (line: string) => void, lines: LogLines, level: LogLevel): Report {
  const least = logLevels.indexOf(level)
  const isTold = (loudness: LogLevel): boolean => logLevels.indexOf(loudness) <= least
  const isDebug = level === 'debug'
  return (event) => {
    if (event.kind === 'request') {
      const loudness = levelOf(event)
      if (!isTold(loudness)) return
      const isWhole = event.passedOver === undefined || isDebug
      write(lines.request(isWhole ? event : { ...event, passedOver: undefined }, loudness))
    } else if (event.kind === 'attempt' && isDebug) write(lines.attempt(event))
    else if (event.kind === 'notice') {
      const loudness = event.level === 'warning' ? 'warn' : event.level
      if (isTold(loudness)) write(lines.notice(event, loudness))
    }
  }
}

/** A warning where the client did not get what it asked for and we or an upstream are why; 200 and a code is a broken stream. */
function levelOf({ status, code }: RequestEvent): LogLevel {
  return status >= 500 || (status < 400 && code !== undefined) ? 'warn' : 'info'
}

/** Makes one line, without its end, of an event. Called on the hot path. */
export interface LogLines {
  request(event: RequestEvent, level: LogLevel): string
  attempt(event: AttemptEvent): string
  notice(event: NoticeEvent, level: LogLevel): string
}

/**
 * One report that hands every event to all of `reports`, in their order. One that throws keeps no other from
 * the event and never reaches the caller: the relay has a client to serve, whatever becomes of the telling.
 */
export function fanOut(reports: readonly Report[]): Report {
  return (event) => {
    for (const report of reports) {
      try {
        report(event)
      } catch {
        // There is nobody left to tell: the one that failed may be the log itself.
      }
    }
  }
}

/** Printable ASCII without the two characters that JSON escapes: the common case, and nothing to do. */
const PLAIN = /^[ !#-[\]-~]*$/
/**
 * What JSON allows raw and a terminal or a log reader takes for more than text: DEL and the C1 controls, line
 * and paragraph separator, marks that turn the direction of writing, and the byte order mark.
 */
// oxlint-disable-next-line no-misleading-character-class
const TREACHEROUS = /[\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/g

/** A text as a JSON string in its quotes, on one line whatever it holds. At most `maxLength` UTF-16 units stay. */
export function jsonText(text: string, maxLength: number): string {
  const short = cut(text, maxLength)
  return PLAIN.test(short) ? `"${short}"` : escaped(short)
}

/** A text for people, on one line whatever it holds: controls are spelt out as JSON spells them. */
export function lineText(text: string, maxLength: number): string {
  const short = cut(text, maxLength)
  if (PLAIN.test(short)) return short
  return escaped(short).slice(1, -1).replaceAll('\\"', '"').replaceAll('\\\\', '\\')
}

function escaped(text: string): string {
  const escape = (sign: string): string => `\\u${sign.charCodeAt(0).toString(16).padStart(4, '0')}`
  return JSON.stringify(text).replace(TREACHEROUS, escape)
}

/** Cut with an ellipsis, never inside a surrogate pair. */
function cut(text: string, maxLength: number): string {
  if (text.length <= maxLength) return text
  const last = text.charCodeAt(maxLength - 1)
  const isHalf = last >= 0xd800 && last <= 0xdbff
  return `${text.slice(0, isHalf ? maxLength - 1 : maxLength)}…`
}

/** The text of the second that a moment is in, made once for each second: the calendar is slow. */
export function createSecondText(textOf: (date: Date) => string): (ms: number) => string {
  let second = -1
  let text = ''
  return (ms) => {
    const now = Math.floor(ms / 1000)
    if (now !== second) text = textOf(new Date(now * 1000))
    second = now
    return text
  }
}
