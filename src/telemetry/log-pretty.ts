import type { AttemptRecord, PassedOver, RequestEvent } from '../relay/deps.ts'
import { createSecondText, lineText, type LogLevel, type LogLines } from './log.ts'

const NAME_LENGTH = 60
/** A method, a path and a model. */
const LINE_LENGTH = 300
const MESSAGE_LENGTH = 2_000
const URL_LENGTH = 120
const MOST_ATTEMPTS = 8
/** Widths of the columns; what is longer pushes the rest of its line to the right. */
const ENDPOINT_WIDTH = 11
const TARGET_WIDTH = 36
const DURATION_WIDTH = 9

/** ANSI SGR codes (ECMA-48 §8.3.117): the eight basic colours follow the reader's theme. */
const DIM = 2
const RED = 31
const GREEN = 32
const YELLOW = 33
const paint = (text: string, sgr: number): string => `\u001b[${sgr}m${text}\u001b[0m`

/**
 * Lines for people at a terminal: `12:00:01 200 chat auto → gpt-4o@api.openai.com 312 ms (first byte 80 ms)`.
 *
 * @param translated notices in the reader's language
 */
export function createPrettyLines(wall: () => number, translated = (text: string): string => text): LogLines {
  /** Where the reader sits. */
  const clockText = createSecondText((date) => date.toTimeString().slice(0, 8))
  const head = (): string => paint(clockText(wall()), DIM)
  return {
    request(event) {
      const columns = [
        head(),
        paint(String(event.status), statusColour(event)),
        event.endpoint.padEnd(ENDPOINT_WIDTH),
        targetText(event).padEnd(TARGET_WIDTH),
        durationText(event.durationMs).padStart(DURATION_WIDTH),
      ].join(' ')
      const client = event.client === undefined ? '' : ` ${lineText(event.client, NAME_LENGTH)}`
      const id = paint(`${client} ${lineText(event.id, NAME_LENGTH)}`, DIM)
      const more = attemptsText(event.attempts) + passedOverText(event.passedOver)
      return columns + asideText(event) + more + id
    },
    attempt(event) {
      const { requestId, why, durationMs, passedOver } = event
      const aside = (why === undefined ? '' : ` (${why})`) + passedOverText(passedOver)
      const text = `${lineText(requestId, NAME_LENGTH)} ${attemptText(event)} ${durationText(durationMs)}${aside}`
      return `${head()} ${paint(`try ${text}`, DIM)}`
    },
    notice: ({ message }, level) =>
      `${head()} ${levelText(level, translated)}${lineText(translated(message), MESSAGE_LENGTH)}`,
  }
}

function targetText({ requestedModel, upstream, code, method = '', path }: RequestEvent): string {
  const asked = path === undefined ? requestedModel || '-' : `${method} ${path} ${requestedModel}`.trimEnd()
  const from = lineText(asked, path === undefined ? NAME_LENGTH : LINE_LENGTH)
  const to = upstream === undefined ? code : lineText(upstream, NAME_LENGTH)
  // Without either the gateway has answered by itself, such as with its list of models.
  return to === undefined ? from : `${from} → ${to}`
}

/** What is only sometimes worth a word. */
function asideText({ upstream, code, why, firstByteMs, stream, queuedMs }: RequestEvent): string {
  const words: string[] = why === undefined ? [] : [why]
  if (upstream !== undefined && code !== undefined) words.push(code)
  if (firstByteMs !== undefined && stream) words.push(`first byte ${durationText(firstByteMs)}`)
  if (queuedMs >= 1) words.push(`waited ${durationText(queuedMs)}`)
  return words.length === 0 ? '' : ` (${words.join(', ')})`
}

/** A single attempt that went well says nothing that the line does not. */
function attemptsText(attempts: readonly AttemptRecord[]): string {
  if (attempts.length === 0 || (attempts.length === 1 && attempts[0]?.outcome === 'ok')) return ''
  const left = attempts.length - MOST_ATTEMPTS
  const shown = attempts.slice(0, MOST_ATTEMPTS).map(attemptText)
  return ` [${shown.join(', ')}${left > 0 ? `, and ${left} more` : ''}]`
}

function attemptText({ upstream, outcome, status, failure }: AttemptRecord): string {
  const showsOutcome =
    outcome === 'ok' || outcome === 'broken' || outcome === 'aborted' || status === undefined
  const what = failure?.reason ?? (showsOutcome ? outcome : status)
  // Where nothing was found it is mostly the address that is wrong.
  const where =
    outcome === 'not-found' && failure !== undefined ? ` at ${lineText(failure.url, URL_LENGTH)}` : ''
  return `${lineText(upstream, NAME_LENGTH)}: ${what}${where}`
}

/** Who could not be taken, and how long from the choice on as far as that is known. */
function passedOverText(passedOver: PassedOver | undefined): string {
  if (passedOver === undefined) return ''
  const { at, unavailable } = passedOver
  const left = unavailable.length - MOST_ATTEMPTS
  const shown = unavailable.slice(0, MOST_ATTEMPTS).map(({ upstream, reason }) => {
    const { cause, until, onRelease } = reason
    const forText = onRelease || until === Infinity ? '' : ` for ${durationText(until - at.now)}`
    return `${lineText(upstream.name, NAME_LENGTH)}: ${cause}${forText}`
  })
  return ` passed over [${shown.join(', ')}${left > 0 ? `, and ${left} more` : ''}]`
}

function statusColour({ status, code }: RequestEvent): number {
  if (status === 499) return DIM
  if (status >= 500) return RED
  return status >= 400 || code !== undefined ? YELLOW : GREEN
}

function levelText(level: LogLevel, translated: (text: string) => string): string {
  if (level === 'info') return ''
  if (level === 'debug') return paint('debug ', DIM)
  return level === 'warn' ? paint(`${translated('warning')} `, YELLOW) : paint(`${translated('error')} `, RED)
}

const durationText = (ms: number): string =>
  ms < 10_000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`
