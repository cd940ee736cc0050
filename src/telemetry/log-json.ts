import type { AttemptRecord, PassedOver } from '../relay/deps.ts'
import { createSecondText, jsonText, type LogLevel, type LogLines } from './log.ts'

/** Longest model or upstream name in a line, and longest message. */
const NAME_LENGTH = 200
const MESSAGE_LENGTH = 2_000
/** Attempts told in a line; a pool of hundreds that is down would fill pages. */
const MOST_ATTEMPTS = 32

/** Lines of one JSON object each. Keys are snake_case, as everywhere outside; times are whole ms. */
export function createJsonLines(wall: () => number): LogLines {
  const secondText = createSecondText((date) => date.toISOString().slice(0, 19))
  function head(event: string, level: LogLevel): string {
    const ms = wall()
    const fraction = String(Math.floor(ms) % 1000).padStart(3, '0')
    return `{"time":"${secondText(ms)}.${fraction}Z","level":"${level}","event":"${event}"`
  }
  return {
    request(event, level) {
      let line = `${head('request', level)},"id":${name(event.id)},"endpoint":${name(event.endpoint)},"asked":${name(event.requestedModel)}`
      if (event.client !== undefined) line += `,"client":${name(event.client)}`
      if (event.token !== undefined) line += `,"token":${name(event.token)}`
      if (event.method !== undefined) line += `,"method":${name(event.method)}`
      if (event.path !== undefined) line += `,"path":${name(event.path)}`
      if (event.upstream !== undefined) line += `,"upstream":${name(event.upstream)}`
      if (event.model !== undefined) line += `,"model":${name(event.model)}`
      if (event.why !== undefined) line += `,"why":"${event.why}"`
      line += `,"status":${event.status}`
      if (event.code !== undefined) line += `,"code":${name(event.code)}`
      const attempts = event.attempts.slice(0, MOST_ATTEMPTS).map((attempt) => `{${attemptFields(attempt)}}`)
      line += `,"attempts":[${attempts.join(',')}]`
      if (event.attempts.length > MOST_ATTEMPTS) line += `,"attempts_total":${event.attempts.length}`
      if (event.passedOver !== undefined) line += passedOverField(event.passedOver)
      if (event.firstByteMs !== undefined) line += `,"first_byte_ms":${whole(event.firstByteMs)}`
      line += `,"ms":${whole(event.durationMs)},"stream":${event.stream},"queued_ms":${whole(event.queuedMs)}`
      if (event.inputTokens !== undefined) line += `,"input_tokens":${whole(event.inputTokens)}`
      if (event.outputTokens !== undefined) line += `,"output_tokens":${whole(event.outputTokens)}`
      if (event.trace?.id !== undefined) line += `,"trace_id":"${event.trace.id}"`
      return `${line}}`
    },
    attempt(event) {
      let line = `${head('attempt', 'debug')},"id":${name(event.requestId)},"endpoint":${name(event.endpoint)},"model":${name(event.model)}`
      if (event.why !== undefined) line += `,"why":"${event.why}"`
      line += `,${attemptFields(event)}`
      if (event.passedOver !== undefined) line += passedOverField(event.passedOver)
      return `${line}}`
    },
    notice({ message, upstream }, level) {
      const about = upstream === undefined ? '' : `,"upstream":${name(upstream)}`
      return `${head('notice', level)}${about},"message":${jsonText(message, MESSAGE_LENGTH)}}`
    },
  }
}

const name = (text: string): string => jsonText(text, NAME_LENGTH)

function attemptFields(attempt: AttemptRecord): string {
  const { upstream, outcome, status, firstByteMs, durationMs, failure } = attempt
  let text = `"upstream":${name(upstream)},"outcome":"${outcome}"`
  if (status !== undefined) text += `,"status":${status}`
  if (firstByteMs !== undefined) text += `,"first_byte_ms":${whole(firstByteMs)}`
  if (failure?.reason !== undefined) text += `,"reason":${name(failure.reason)}`
  if (failure !== undefined) text += `,"url":${name(failure.url)}`
  return `${text},"ms":${whole(durationMs)}`
}

/** Who could not be taken, why, and until when as far as that is known. */
function passedOverField({ at, unavailable }: PassedOver): string {
  const told = unavailable.slice(0, MOST_ATTEMPTS).map(({ upstream, reason }) => {
    const { cause, until, onRelease } = reason
    const end = onRelease ? NaN : at.wall + until - at.now
    const untilText = Math.abs(end) <= LAST_DATE_MS ? `,"until":"${new Date(end).toISOString()}"` : ''
    return `{"upstream":${name(upstream.name)},"reason":${name(cause)}${untilText}}`
  })
  const total = unavailable.length > told.length ? `,"passed_over_total":${unavailable.length}` : ''
  return `,"passed_over":[${told.join(',')}]${total}`
}

/** The last moment that a date can be (ECMA-262 §21.4.1.1). */
const LAST_DATE_MS = 8.64e15

/** JSON has no word for NaN and the infinities. */
const whole = (amount: number): number | null => (Number.isFinite(amount) ? Math.round(amount) : null)
