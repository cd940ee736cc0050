import type { HeaderBag } from '../lib/headers.ts'
import type { SseEvent } from '../lib/sse.ts'

/** How an answer is judged: whole, by its first event, or by its first byte. */
export type AnswerKind = 'json' | 'events' | 'other'

/** A missing type is what the client asked for. */
export function kindOf(headers: HeaderBag, isStreamAsked: boolean): AnswerKind {
  const type = headers['content-type']?.toLowerCase().trim() ?? ''
  if (type === '') return isStreamAsked ? 'events' : 'json'
  if (type.includes('event-stream')) return 'events'
  return /[/+]json\b/.test(type) ? 'json' : 'other'
}

/** A type where the upstream forgot it: without one, SDKs hand out a raw string. */
export function typed(headers: HeaderBag, type: string): HeaderBag {
  return headers['content-type']?.trim() ? headers : { ...headers, 'content-type': type }
}

const decoder = new TextDecoder()
const OPENING_BRACE = 0x7b

/** Whether bytes begin as a server-sent event stream does, whatever their label says. */
export function isEventForm(bytes: Uint8Array): boolean {
  if (bytes[0] === OPENING_BRACE) return false
  return /^\s*(data|event|id|retry)?:/.test(decoder.decode(bytes.subarray(0, 256)))
}

/** Lifecycle events that come before any content: an error behind them can still go to another upstream. */
const PREAMBLE = /^response\.(created|queued|in_progress)$/
/** `type` is the first key of an event, or the second behind its number. */
const EVENT_TYPE = /^\s*\{\s*(?:"sequence_number"\s*:\s*\d+\s*,\s*)?"type"\s*:\s*"([a-z_.]+)"/

/** Whether an event shows no content yet. */
export function isPreamble({ event, data }: SseEvent): boolean {
  if (data.trim() === '' || PREAMBLE.test(event)) return true
  const type = EVENT_TYPE.exec(data)?.[1]
  return type !== undefined && PREAMBLE.test(type)
}

const ID = /"id"\s*:\s*"([^"\\]{1,256})"/

/** The id of a Responses answer is among its first keys. */
export function idInAnswer(bytes: Uint8Array): string | undefined {
  return idInEvent(decoder.decode(bytes.subarray(0, 512)))
}

/** The first event of a Responses stream holds the answer's beginning. */
export function idInEvent(data: string): string | undefined {
  return ID.exec(data.slice(0, 1024))?.[1]
}
