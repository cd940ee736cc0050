import { parsedJson } from '../lib/json/parse.ts'
import type { SseEvent } from '../lib/sse.ts'
import type { Endpoint } from '../pool/upstream.ts'
import { CODES, jsonObjectOf, SENTENCES } from './error-body.ts'

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
  const has = isSpoken(endpoint) ? hasSpokenContent(fields, endpoint) : hasAnswer(fields, isSubstance)
  if (has) return 'content'
  if (isError(fields)) return 'error'
  // An empty list of what was asked is an answer, unless it stands beside an error.
  return !isSpoken(endpoint) && hasAnswer(fields, isThere) ? 'content' : 'nothing'
}

/** An event of a stream, judged; `data` where it is JSON. */
export interface JudgedEvent {
  readonly what: Judgement | 'end' | 'done'
  readonly data: unknown
}

/**
 * Judges an event of a stream. `end`: a reason to stop, without content in this event; `done`: the last word (`[DONE]`,
 * `response.completed`), likewise. What is no JSON is `nothing` where JSON is spoken, unless it is named an error.
 */
export function judgeEvent({ event, data }: SseEvent, endpoint: Endpoint): JudgedEvent {
  if (data.trim() === '[DONE]') return { what: 'done', data: undefined }
  const value = parsedJson(data)
  if (event === 'error' || event === 'response.error') return { what: 'error', data: value ?? data }
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
  if (/^(response\.)?(error|failed)$/.test(type)) return 'error'
  if (type.startsWith('response.')) {
    if (hasInnerError(fields)) return 'error'
    if (LIFECYCLE.test(type)) return 'nothing'
    if (type !== 'response.completed') return 'content'
    const whole = jsonObjectOf(response)
    return whole !== undefined && hasSpokenContent(whole, 'responses') ? 'content' : 'done'
  }
  if (isError(fields)) return 'error'
  if (!isSpoken(endpoint)) return 'content'
  if (Array.isArray(choices)) return choices.some(isStopped) ? 'end' : 'nothing'
  const hasMore = Object.entries(fields).some(
    ([name, value]) => !ABOUT.has(name) && isSubstance(value) && !FINE.test(String(value)),
  )
  return hasMore ? 'content' : 'nothing'
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
  return TELLING.test(reasonOf(choice))
}

function hasSpoken(part: JsonObject | undefined): boolean {
  for (const name in part) if (!LABELS.has(name) && isSubstance(part[name])) return true
  return false
}

/** A reason to end that is an answer in itself: the limit of tokens, a call of a tool, a filter. */
const TELLING =
  /^(length|max_?(output_)?tokens|tool_?(calls?|use)|function_?calls?|content_?filter(ed)?|safety|sensitive|recitation|prohibited_content|blocklist|refusal|model_context_window_exceeded)$/i
/** A reason to end that is an error, in the words of OpenRouter, Zhipu (`network_error`) and vLLM. */
const BROKEN = /^(error|[a-z]{1,20}_error|abort(ed)?|failed)$/i

const reasonOf = (choice: unknown): string => {
  const reason = jsonObjectOf(choice)?.['finish_reason']
  return typeof reason === 'string' && reason !== 'null' ? reason : ''
}
const isStopped = (choice: unknown): boolean => reasonOf(choice) !== ''

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
/** A Responses object that answers with its state; `queued` is one in the background. */
const UNFINISHED = /^(queued|in_progress|incomplete|cancell?ed)$/

const isThere = (value: unknown): boolean => value !== undefined && value !== null
const hasAnswer = (fields: JsonObject, is: (value: unknown) => boolean): boolean =>
  ANSWERS.some((name) => is(fields[name]) || typeof fields[name] === 'number')

/** Whether there is content in any form that is spoken: some answer a chat as Responses, or the other way round. */
function hasSpokenContent(fields: JsonObject, endpoint: Endpoint): boolean {
  const { choices, output, status, error, object, input_tokens: counted } = fields
  if (Array.isArray(choices) && choices.some(hasContent)) return true
  if (status === 'failed') return Array.isArray(output) && output.some(isWritten)
  if (isSubstance(output)) return true
  if (endpoint !== 'responses' && object !== 'response') return false
  const isUnfinished = typeof status === 'string' && UNFINISHED.test(status) && !isFault(error)
  return isUnfinished || typeof counted === 'number'
}

/** An output item that says or calls something. */
function isWritten(item: unknown): boolean {
  const fields = jsonObjectOf(item)
  return fields !== undefined && (isSubstance(fields['content']) || isSubstance(fields['arguments']))
}

function judgeList(value: unknown, endpoint: Endpoint): Judgement {
  if (listedError(value)) return 'error'
  // Some servers rank and embed in bare lists.
  if (!Array.isArray(value) || isSpoken(endpoint)) return 'junk'
  return value.length > 0 ? 'content' : 'nothing'
}

function listedError(value: unknown): boolean {
  const first = Array.isArray(value) ? jsonObjectOf(value[0]) : undefined
  return first !== undefined && isError(first)
}

/** Codes and sentences that say that all is well, or under way. */
const FINE =
  /^(0|200|ok|success(ful(ly)?)?|succeeded|ping|pong|keep-?alive|heartbeat|processing|pending|queued|running|in[_ ]progress|.{0,4}成功)?[.!]?$/i

/**
 * Whether an object without content is an error: `error` or `errors` with something in it, a sentence or a code of its
 * own, or a mark such as `success: false`, `status: "failed"`, `object: "error"`, `finish_reason: "error"`, a
 * `base_resp` or a `header` with a code. Beside choices a flat one needs both: vendors number their chunks too.
 */
function isError(fields: JsonObject): boolean {
  const { error, errors, object, type, status, choices } = fields
  if (isFault(error) || isFault(errors)) return true
  if (object === 'error' || type === 'error' || fields['success'] === false || fields['ok'] === false)
    return true
  if (typeof status === 'string' && /^(failed|failure|fail|error)$/i.test(status)) return true
  if (Number(status) >= 400 && Number(status) <= 599) return true
  const list: unknown[] = Array.isArray(choices) ? choices : []
  if (list.some((choice) => BROKEN.test(reasonOf(choice)) || isFault(jsonObjectOf(choice)?.['error'])))
    return true
  if (innerStates(fields).some(hasBadCode) || hasInnerError(fields)) return true
  const hasCode = hasBadCode(fields)
  const hasWords =
    isSubstance(jsonObjectOf(fields['detail'])) || SENTENCES.some((name) => isComplaint(fields[name]))
  return list.length > 0 ? hasCode && hasWords : hasCode || hasWords
}

/** What stands under `error`; some write one with a code of 0 and no words beside every answer. */
function isFault(error: unknown): boolean {
  if (typeof error === 'object' && error !== null) return Object.values(error).some(isFaulty)
  return isFaulty(error)
}

const isFaulty = (part: unknown): boolean =>
  typeof part === 'string' || typeof part === 'number'
    ? !FINE.test(String(part))
    : part === true || isSubstance(part)

const isComplaint = (value: unknown): boolean =>
  typeof value === 'string' ? !FINE.test(value.trim()) : Array.isArray(value) && isSubstance(value)

const hasBadCode = (fields: JsonObject): boolean =>
  CODES.some((name) => {
    const code = fields[name]
    return (typeof code === 'number' || typeof code === 'string') && !FINE.test(String(code))
  })

/** Where some vendors put the state of an answer. */
const innerStates = (fields: JsonObject): JsonObject[] =>
  ['base_resp', 'header'].map((name) => jsonObjectOf(fields[name])).filter((inner) => inner !== undefined)

/** `response.error` of Responses, `Response.Error` of Tencent. */
function hasInnerError({ response, Response }: JsonObject): boolean {
  const inner = jsonObjectOf(response) ?? jsonObjectOf(Response)
  return inner !== undefined && (isFault(inner['error']) || isFault(inner['Error']))
}
