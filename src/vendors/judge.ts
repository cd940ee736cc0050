import type { SseEvent } from '../lib/sse.ts'
import type { Endpoint } from '../pool/upstream.ts'
import { jsonObjectOf, parsedJson } from './error-body.ts'

/**
 * What JSON from an upstream is, whole or as an event: content for the client, an error in any of the known shapes,
 * nothing yet, or no form that an endpoint has. With content beside it an error is a remark.
 */
export type Judgement = 'content' | 'error' | 'nothing' | 'junk'

type JsonObject = Readonly<Record<string, unknown>>

/** Judges a whole answer. @param value as `JSON.parse` or `outlineOf` gives it */
export function judgeWhole(value: unknown, endpoint: Endpoint): Judgement {
  const fields = jsonObjectOf(value)
  if (fields === undefined) return judgeList(value, endpoint)
  if (hasWholeContent(fields, endpoint)) return 'content'
  return isError(fields) ? 'error' : 'nothing'
}

/** An event of a stream, judged; `data` where it is JSON. */
export interface JudgedEvent {
  readonly what: Judgement | 'end'
  readonly data: unknown
}

/**
 * Judges an event of a stream. `end`: the stream is done (`[DONE]`, `response.completed`, a reason to stop), without
 * content in this event. What is no JSON is `nothing` where JSON is spoken, unless it is named an error.
 */
export function judgeEvent({ event, data }: SseEvent, endpoint: Endpoint): JudgedEvent {
  if (data.trim() === '[DONE]') return { what: 'end', data: undefined }
  const value = parsedJson(data)
  if (event === 'error') return { what: 'error', data: value ?? data }
  const fields = jsonObjectOf(value)
  if (fields === undefined) {
    const isUnjudged = value !== undefined && !isSpoken(endpoint)
    return { what: isUnjudged ? 'content' : listedError(value) ? 'error' : 'nothing', data: value }
  }
  const type = typeof fields['type'] === 'string' ? fields['type'] : event
  return { what: judgeFields(fields, type, endpoint), data: fields }
}

/** Endpoints whose answers are written word by word, so that what is empty shows. */
const isSpoken = (endpoint: Endpoint): boolean =>
  endpoint === 'chat' || endpoint === 'completions' || endpoint === 'responses'

const PING = /^(ping|keep-?alive|heartbeat)$/i
const LIFECYCLE = /^response\.(created|queued|in_progress)$/

function judgeFields(fields: JsonObject, type: string, endpoint: Endpoint): JudgedEvent['what'] {
  if (PING.test(type)) return 'nothing'
  const { choices, response } = fields
  if (Array.isArray(choices) && choices.some(hasContent)) return 'content'
  if (type === 'error' || type === 'response.failed' || isError(fields)) return 'error'
  if (LIFECYCLE.test(type)) return 'nothing'
  if (type === 'response.completed') {
    const whole = jsonObjectOf(response)
    return whole !== undefined && hasWholeContent(whole, 'responses') ? 'content' : 'end'
  }
  if (type.startsWith('response.') || !isSpoken(endpoint)) return 'content'
  if (Array.isArray(choices)) return choices.some(isStopped) ? 'end' : 'nothing'
  return Object.entries(fields).some(([name, value]) => !ABOUT.has(name) && isSubstance(value))
    ? 'content'
    : 'nothing'
}

/** What an event says of itself. */
const ABOUT: ReadonlySet<string> = new Set(
  'id object created model provider type event status index role name usage choices system_fingerprint service_tier prompt_filter_results prompt_annotations timings x_groq sequence_number success code base_resp request_id'.split(
    ' ',
  ),
)
/** What a message or a delta says of itself. */
const LABELS: ReadonlySet<string> = new Set(['role', 'name', 'id', 'index', 'type'])

/** A text, a list or an object with something in it. */
function isSubstance(value: unknown): boolean {
  if (typeof value === 'string') return value !== ''
  if (Array.isArray(value)) return value.length > 0
  return typeof value === 'object' && value !== null && Object.keys(value).length > 0
}

function hasContent(choice: unknown): boolean {
  const fields = jsonObjectOf(choice)
  if (fields === undefined) return false
  if (isSubstance(fields['text'])) return true
  for (const name of ['delta', 'message']) {
    const part = fields[name]
    if (typeof part === 'string' ? part !== '' : hasSpoken(jsonObjectOf(part))) return true
  }
  return isTelling(fields['finish_reason'])
}

function hasSpoken(part: JsonObject | undefined): boolean {
  for (const name in part) if (!LABELS.has(name) && isSubstance(part[name])) return true
  return false
}

const STOPPED = /^(stop|eos|eos_token|end|end_turn|complete|completed|finished|none|null)$/i

/** A reason to end that is an answer in itself: the limit of tokens, a call of a tool, a filter. */
const isTelling = (reason: unknown): boolean =>
  typeof reason === 'string' && reason !== '' && reason !== 'error' && !STOPPED.test(reason)

function isStopped(choice: unknown): boolean {
  const reason = jsonObjectOf(choice)?.['finish_reason']
  return typeof reason === 'string' && STOPPED.test(reason) && reason !== 'null'
}

/** Fields in which the endpoints answer, but for those that are written word by word. */
const ANSWERS = [
  'data',
  'results',
  'text',
  'output',
  'choices',
  'input_tokens',
  'embeddings',
  'images',
  'segments',
]
const UNFINISHED = /^(queued|in_progress|incomplete)$/

function hasWholeContent(fields: JsonObject, endpoint: Endpoint): boolean {
  if (!isSpoken(endpoint)) return ANSWERS.some((name) => fields[name] !== undefined && fields[name] !== null)
  const { choices, output, status, input_tokens: counted } = fields
  if (endpoint !== 'responses') return Array.isArray(choices) && choices.some(hasContent)
  if (status === 'failed') return false
  const isUnfinished = typeof status === 'string' && UNFINISHED.test(status) && !isSubstance(fields['error'])
  return isSubstance(output) || isUnfinished || typeof counted === 'number'
}

function judgeList(value: unknown, endpoint: Endpoint): Judgement {
  if (listedError(value)) return 'error'
  // Some servers rank and embed in bare lists.
  return Array.isArray(value) && value.length > 0 && !isSpoken(endpoint) ? 'content' : 'junk'
}

function listedError(value: unknown): boolean {
  const first = Array.isArray(value) ? jsonObjectOf(value[0]) : undefined
  return first !== undefined && isError(first)
}

/** Names under which a flat error has its sentence, and its code. */
const SENTENCES = [
  'message',
  'msg',
  'detail',
  'title',
  'error_msg',
  'errmsg',
  'error_message',
  'errorMessage',
  'reason',
]
const CODES = ['code', 'error_code', 'errcode', 'errorCode', 'status_code', 'statusCode']
const FINE = /^(0|200|ok|success)?$/i

/**
 * Whether an object without content is an error: `error` or `errors` with something in it, a sentence or a code of its
 * own, or a mark such as `success: false`, `status: "failed"`, `object: "error"`, `finish_reason: "error"`, a
 * `base_resp` or a `header` with a code.
 */
function isError(fields: JsonObject): boolean {
  const { error, errors, object, type, status, success, choices, response } = fields
  if (isSubstance(error) || error === true || isSubstance(errors)) return true
  if (object === 'error' || type === 'error' || success === false || fields['ok'] === false) return true
  if (typeof status === 'string' && /^(failed|failure|fail|error)$/i.test(status)) return true
  if (Array.isArray(choices) && choices.some((choice) => jsonObjectOf(choice)?.['finish_reason'] === 'error'))
    return true
  if (SENTENCES.some((name) => isSubstance(fields[name]))) return true
  if ([fields, ...innerStates(fields)].some(hasBadCode)) return true
  const inner = jsonObjectOf(response) ?? jsonObjectOf(fields['Response'])
  return inner !== undefined && (isSubstance(inner['error']) || isSubstance(inner['Error']))
}

const hasBadCode = (fields: JsonObject): boolean =>
  CODES.some(
    (name) =>
      (typeof fields[name] === 'number' || typeof fields[name] === 'string') &&
      !FINE.test(String(fields[name])),
  )

/** Where some vendors put the state of an answer. */
const innerStates = (fields: JsonObject): JsonObject[] =>
  ['base_resp', 'header'].map((name) => jsonObjectOf(fields[name])).filter((inner) => inner !== undefined)
