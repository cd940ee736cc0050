import { JSON_TYPE, SSE, type Play } from '../support/played.ts'
import type {
  Endpoint,
  ErrorShape,
  GoodAnswer,
  Label,
  Meaning,
  Need,
  Preamble,
  Scenario,
  Script,
} from './scenario.ts'

/** What a script is played for. `mark` stands in everything that the upstream says of itself. */
export interface Asked extends Pick<Scenario, 'endpoint' | 'stream' | 'need'> {
  readonly mark: string
  readonly timeoutMs: number
}

/** Stands in the words of one upstream and of no other. */
export const markOf = (index: number): string => `by-u${index}.`

/** What a transport makes of a script: an answer, or a failure of its own. */
export type Played = Play | { readonly throws: 'not-sent' | 'connect-timeout' | 'broken' | 'undecodable' }

/** What the upstream sends. */
export function playOf(script: Script, asked: Asked): Played {
  const { stream, timeoutMs } = asked
  const afterMs = script.delay * timeoutMs
  const whole = (text: string, label: Label = script.label): Play => ({
    afterMs,
    headers: typeOf('json', label),
    body: [text],
  })
  const events = (pieces: Play['body'], end: Play['end'] = 'close'): Play => ({
    afterMs,
    headers: typeOf('events', script.label),
    body: pieces ?? [],
    end,
  })
  switch (script.does) {
    case 'answer':
      return goodPlay(script, asked, afterMs)
    case 'lack':
      if (script.what !== asked.need) return goodPlay(script, asked, afterMs)
      return { ...whole(lackText(script, asked)), status: 400 }
    case 'cut': {
      const text = cutText(script, asked)
      const ends = { reset: 'reset', silence: 'stall', close: 'close' } as const
      if (!stream) return { ...whole(text), end: ends[script.how] }
      return events(piecesOf(text, script.pieceBytes), ends[script.how])
    }
    case 'chatter': {
      const life = Array.from({ length: 40 }, () => [0.3 * timeoutMs, ': still here\n\n']).flat()
      return events([...script.preamble.map((name) => preambleText(name, asked)), ...life], 'stall')
    }
    case 'refuse': {
      const { status, shape } = script
      const hasBody = status !== 204 && status !== 304
      const body = hasBody ? [refusalText(script, asked)] : []
      const type = shape === 'page' && script.label === 'right' ? { 'content-type': 'text/html' } : undefined
      const headers = { ...(type ?? typeOf('json', script.label)), ...hintOf(script), ...redirectOf(status) }
      return { afterMs, status, headers, body }
    }
    case 'err-inside': {
      const text = insideText(script, asked)
      if (!isInEvent(script, asked)) return whole(text)
      return events([...script.preamble.map((name) => preambleText(name, asked)), `data: ${text}\n\n`])
    }
    case 'fail':
      return script.how === 'silence' ? { afterMs: Infinity } : { throws: script.how }
    case 'page':
      return { ...whole(pageText(asked)), ...(script.label === 'right' && { headers: HTML }) }
    case 'empty': {
      const text = emptyText(script, asked)
      return stream && script.form !== 'no-bytes' ? events([text]) : whole(text)
    }
    case 'other-form':
      return otherFormPlay(asked, afterMs)
  }
}

const HTML = { 'content-type': 'text/html; charset=utf-8' }

function typeOf(form: 'json' | 'events', label: Label): Record<string, string> {
  switch (label) {
    case 'right':
      return form === 'json' ? JSON_TYPE : SSE
    case 'swapped':
      return form === 'json' ? SSE : JSON_TYPE
    case 'plain':
      return { 'content-type': 'text/plain; charset=utf-8' }
    case 'html':
      return HTML
    case 'octets':
      return { 'content-type': 'application/octet-stream' }
    case 'none':
      return {}
  }
}

function goodPlay(script: GoodAnswer & { label: Label }, asked: Asked, afterMs: number): Play {
  if (!asked.stream) {
    const text = wholeText(script, asked)
    return { afterMs, headers: typeOf('json', script.label), body: piecesOf(text, script.pieceBytes) }
  }
  const { text, eventEnds } = streamText(script, asked)
  const end =
    script.ending === 'done-then-cut' ? 'reset' : script.ending === 'done-then-silence' ? 'stall' : 'close'
  const pieces =
    script.pieceBytes > 0
      ? piecesOf(text, script.pieceBytes)
      : eventEnds.map((at, nth) => text.slice(nth === 0 ? 0 : eventEnds[nth - 1], at))
  return { afterMs, headers: typeOf('events', script.label), body: pieces, end }
}

const piecesOf = (text: string, bytes: number): string[] =>
  bytes === 0
    ? [text]
    : Array.from({ length: Math.ceil(text.length / bytes) }, (_, nth) =>
        text.slice(nth * bytes, (nth + 1) * bytes),
      )

/** A whole good answer. All texts of scripts are ASCII: a character is a byte. */
export function wholeText({ content, isPadded }: GoodAnswer, { endpoint, mark }: Asked): string {
  return (isPadded ? '\n \n' : '') + JSON.stringify(wholeAnswer(content, endpoint, mark))
}

function wholeAnswer(content: GoodAnswer['content'], endpoint: Endpoint, mark: string): object {
  const id = `id-${mark}`
  switch (endpoint) {
    case 'chat': {
      const message = { role: 'assistant', content: null, ...deltaOf(content, mark) }
      const finish = content === 'length' ? 'length' : content === 'tool-call' ? 'tool_calls' : 'stop'
      const choices = [{ index: 0, message, finish_reason: finish }]
      return { id, object: 'chat.completion', choices, usage: { prompt_tokens: 3, completion_tokens: 4 } }
    }
    case 'completions':
      return {
        id,
        object: 'text_completion',
        choices: [{ index: 0, text: `fine ${mark}`, finish_reason: 'stop' }],
      }
    case 'responses':
      return { id, object: 'response', status: 'completed', output: [outputItem(`fine ${mark}`)] }
    case 'embeddings':
      return { object: 'list', model: mark, data: [{ object: 'embedding', index: 0, embedding: [0.1, 0.2] }] }
  }
}

const outputItem = (text: string): object => ({
  type: 'message',
  role: 'assistant',
  content: [{ type: 'output_text', text, annotations: [] }],
})

function deltaOf(content: GoodAnswer['content'], mark: string): object {
  switch (content) {
    case 'text':
      return { content: `fine ${mark}` }
    case 'reasoning':
      return { reasoning_content: `hm ${mark}` }
    case 'tool-call':
      return {
        tool_calls: [{ index: 0, id: mark, type: 'function', function: { name: 'f', arguments: '{}' } }],
      }
    case 'refusal':
      return { refusal: `I would rather not ${mark}` }
    case 'parts':
      return { content: [{ type: 'text', text: `fine ${mark}` }] }
    case 'length':
      return {}
  }
}

/** A good stream, and where its events end. */
export interface StreamText {
  readonly text: string
  /** Behind the blank line of each event. */
  readonly eventEnds: readonly number[]
  /** The first event with content: behind its last line, and behind its blank line. */
  readonly firstContent: { readonly lineEnd: number; readonly end: number }
  /** The event that ends it (`[DONE]`, `response.completed`), the same; undefined where none does. */
  readonly done: { readonly lineEnd: number; readonly end: number } | undefined
  /** Behind the last line of the event with a `finish_reason`. */
  readonly finishLineEnd: number
}

export function streamText(good: GoodAnswer, asked: Asked): StreamText {
  const { endpoint, mark } = asked
  const preamble = good.preamble.map((name) => preambleText(name, asked))
  const blocks = [
    ...(endpoint === 'responses' ? CREATED(mark) : []),
    ...preamble,
    ...contentBlocks(good, asked),
  ]
  const firstAt = blocks.length - contentBlocks(good, asked).length
  const finishAt = blocks.length - 1
  const hasDone = good.ending !== 'finish-only' && endpoint !== 'responses'
  if (hasDone) blocks.push('data: [DONE]\n\n')
  let text = ''
  const ends: { lineEnd: number; end: number }[] = []
  for (const [nth, block] of blocks.entries()) {
    const isLast = nth === blocks.length - 1
    const framed = framedAs(good, block, isLast)
    const end = text.length + framed.length
    ends.push({ lineEnd: text.length + framed.trimEnd().length, end })
    text += framed
  }
  const last = ends.at(-1)!
  return {
    text,
    eventEnds: ends.map(({ end }) => end),
    firstContent: ends[firstAt]!,
    done: hasDone || endpoint === 'responses' ? last : undefined,
    finishLineEnd: ends[finishAt]!.lineEnd,
  }
}

function framedAs({ framing, ending }: GoodAnswer, block: string, isLast: boolean): string {
  // What never ends in order can't leave its last blank line out: nobody would know that the event is whole.
  const isOpen = ending === 'done-then-cut' || ending === 'done-then-silence'
  switch (framing) {
    case 'blank-line':
      return block
    case 'crlf':
      return block.replaceAll('\n', '\r\n')
    case 'one-lf':
      return isOpen ? block : block.replace(/\n\n$/, '\n')
    case 'no-last-blank':
      return isLast && !isOpen ? block.replace(/\n\n$/, '\n') : block
  }
}

const data = (value: unknown): string => `data: ${JSON.stringify(value)}\n\n`
const typed = (type: string, fields: object): string => `event: ${type}\n${data({ type, ...fields })}`

const CREATED = (mark: string): string[] => [
  typed('response.created', { response: { id: `id-${mark}`, status: 'in_progress', output: [] } }),
]

function chatChunk(mark: string, delta: object, finish: string | null = null): string {
  const choices = [{ index: 0, delta, finish_reason: finish }]
  return data({ id: `id-${mark}`, object: 'chat.completion.chunk', choices })
}

function textChunk(mark: string, text: string, finish: string | null = null): string {
  return data({
    id: `id-${mark}`,
    object: 'text_completion',
    choices: [{ index: 0, text, finish_reason: finish }],
  })
}

function contentBlocks({ content }: GoodAnswer, { endpoint, mark }: Asked): string[] {
  if (endpoint === 'responses') {
    const deltas = ['one', 'two'].map((word) =>
      typed('response.output_text.delta', { item_id: 'm', delta: `${word} ${mark}` }),
    )
    const response = { id: `id-${mark}`, status: 'completed', output: [outputItem(`one two ${mark}`)] }
    return [...deltas, typed('response.completed', { response })]
  }
  if (endpoint === 'completions')
    return [textChunk(mark, `one ${mark}`), textChunk(mark, 'two'), textChunk(mark, '', 'stop')]
  if (content === 'length') return [chatChunk(mark, {}, 'length')]
  const finish = content === 'tool-call' ? 'tool_calls' : 'stop'
  return [
    chatChunk(mark, deltaOf(content, mark)),
    chatChunk(mark, { content: 'more' }),
    chatChunk(mark, {}, finish),
  ]
}

/** An event without content. */
function preambleText(name: Preamble, { endpoint, mark }: Asked): string {
  if (endpoint === 'responses') {
    const response = { id: `id-${mark}`, status: 'in_progress', output: [] }
    if (name === 'role') return typed('response.queued', { response })
    if (name === 'empty-delta' || name === 'filter') return typed('response.in_progress', { response })
  }
  switch (name) {
    case 'comment':
      return `: processing ${mark}\n\n`
    case 'blank':
      return '\n\n'
    case 'ping':
      return 'event: ping\ndata: {"type":"ping"}\n\n'
    case 'braces':
      return 'data: {}\n\n'
    case 'no-json':
      return `data: warming up ${mark}\n\n`
    case 'role':
      return endpoint === 'completions'
        ? textChunk(mark, '')
        : chatChunk(mark, { role: 'assistant', content: '' })
    case 'empty-delta':
      return endpoint === 'completions' ? textChunk(mark, '') : chatChunk(mark, {})
    case 'filter':
      return data({ id: '', choices: [], model: '', prompt_filter_results: [{ prompt_index: 0 }] })
  }
}

/** What a cut script sends: the beginning of its good answer, never all of it. */
export function cutText(script: Extract<Script, { does: 'cut' }>, asked: Asked): string {
  const text = asked.stream ? streamText(script, asked).text : wholeText(script, asked)
  return text.slice(0, Math.floor((text.length * script.at) / 1_000))
}

export function emptyText({ form, preamble }: Extract<Script, { does: 'empty' }>, asked: Asked): string {
  const { endpoint, stream, mark } = asked
  const id = `id-${mark}`
  if (form === 'no-bytes') return ''
  if (stream) {
    const head = preamble.map((name) => preambleText(name, asked)).join('')
    if (endpoint === 'responses') {
      const response = { id, status: 'completed', output: [] }
      return CREATED(mark).join('') + head + typed('response.completed', { response })
    }
    const stop = endpoint === 'chat' ? chatChunk(mark, {}, 'stop') : textChunk(mark, '', 'stop')
    const last = form === 'no-content' ? stop : form === 'braces' ? 'data: {}\n\n' : data({ id, choices: [] })
    return `${head}${last}data: [DONE]\n\n`
  }
  if (form === 'braces') return '{}'
  if (endpoint === 'embeddings') return JSON.stringify({ id, data: form === 'no-choices' ? [] : null })
  if (endpoint === 'responses') {
    const output = form === 'no-choices' ? [] : [outputItem('')]
    return JSON.stringify({ id, object: 'response', status: 'completed', output })
  }
  const choice =
    endpoint === 'chat'
      ? { index: 0, message: { role: 'assistant', content: '' }, finish_reason: 'stop' }
      : { index: 0, text: '', finish_reason: 'stop' }
  return JSON.stringify({ id, choices: form === 'no-choices' ? [] : [choice] })
}

const PLAIN_GOOD: GoodAnswer = {
  preamble: [],
  content: 'text',
  framing: 'blank-line',
  ending: 'done',
  pieceBytes: 0,
  isPadded: false,
}

export const otherFormText = (asked: Asked): string =>
  asked.stream ? wholeText(PLAIN_GOOD, asked) : streamText(PLAIN_GOOD, asked).text

function otherFormPlay(asked: Asked, afterMs: number): Play {
  return { afterMs, headers: asked.stream ? JSON_TYPE : SSE, body: [otherFormText(asked)] }
}

const pageText = ({ mark }: Asked): string =>
  `<!DOCTYPE html>\n<html><head><title>Sorry ${mark}</title></head><body>nobody at home</body></html>`

/** An error's words and codes, whatever form they are put into. */
interface Says {
  readonly message: string
  readonly code: string
  readonly type: string
  /** As an HTTP status. */
  readonly number: number
  /** As MiniMax numbers it. */
  readonly ownNumber: number
}

const SAYINGS: Readonly<
  Record<Meaning, readonly (readonly [message: string, code: string, type: string])[]>
> = {
  plain: [
    ['Invalid value for seed: must be a small integer', 'invalid_value', 'invalid_request_error'],
    ['Unrecognized request argument supplied: logit_bias', 'unknown_parameter', 'invalid_request_error'],
    ['the last message must come from the user', 'invalid_messages', 'BadRequestError'],
  ],
  'too-long': [
    [
      "This model's maximum context length is 8192 tokens, however you requested 9001 tokens.",
      'context_length_exceeded',
      'invalid_request_error',
    ],
    [
      'prompt is too long: 210000 tokens > 200000 maximum',
      'context_length_exceeded',
      'invalid_request_error',
    ],
    [
      'The input token count (1100000) exceeds the maximum number of tokens allowed (1048576).',
      'context_length_exceeded',
      'invalid_request_error',
    ],
    [
      'Please reduce the length of the messages: they exceed the context window.',
      'context_length_exceeded',
      'invalid_request_error',
    ],
  ],
  rate: [
    ['Rate limit reached for requests, slow down', 'rate_limit_exceeded', 'rate_limit_error'],
    ['Requests are throttled: too many requests', 'Throttling.RateQuota', 'Throttling'],
    ['Too Many Requests', 'too_many_requests', 'too_many_requests'],
  ],
  account: [
    [
      'You exceeded your current quota, please check your plan and billing details.',
      'insufficient_quota',
      'insufficient_quota',
    ],
    ['Your account has insufficient balance.', 'insufficient_balance', 'billing_error'],
    ['Access denied: payment for this account is overdue.', 'Arrearage', 'Arrearage'],
  ],
  capacity: [
    ['The engine is currently overloaded, please try again later', 'engine_overloaded', 'overloaded_error'],
    ['Service is overloaded', 'overloaded', 'overloaded_error'],
  ],
  content: [
    [
      'Your request was flagged by our moderation system.',
      'content_policy_violation',
      'invalid_request_error',
    ],
    ['The prompt triggered the content management policy.', 'content_filter', 'content_filter'],
    ['Input data may contain inappropriate content.', 'data_inspection_failed', 'data_inspection_failed'],
  ],
  model: [
    ['The model does not exist or you do not have access to it.', 'model_not_found', 'invalid_request_error'],
  ],
  auth: [['Incorrect API key provided.', 'invalid_api_key', 'authentication_error']],
  affordable: [
    [
      'This request requires more credits, or fewer max_tokens. You requested up to 4096 tokens, but can only afford 1200.',
      'insufficient_credits',
      'payment_required',
    ],
  ],
  encrypted: [
    [
      'The encrypted content could not be verified: it belongs to another organization.',
      'invalid_encrypted_content',
      'invalid_request_error',
    ],
  ],
  broken: [
    ['The server had an error while processing your request', 'server_error', 'server_error'],
    ['Internal error during generation', 'internal_error', 'api_error'],
  ],
}
const NUMBERS: Readonly<Record<Meaning, readonly [http: number, own: number]>> = {
  plain: [400, 2013],
  'too-long': [400, 2013],
  rate: [429, 1002],
  account: [402, 1008],
  capacity: [503, 1000],
  content: [400, 1026],
  model: [404, 2013],
  auth: [401, 1004],
  broken: [500, 1013],
  affordable: [402, 1008],
  encrypted: [400, 2013],
}

function saysOf(meaning: Meaning, words: number, { mark }: Asked): Says {
  const sayings = SAYINGS[meaning]
  const [message, code, type] = sayings[words % sayings.length]!
  const [number, ownNumber] = NUMBERS[meaning]
  return { message: `${message} (${mark})`, code, type, number, ownNumber }
}

const LACKS: Readonly<Record<Need, readonly string[]>> = {
  tools: [
    'Tool calling is not supported by this model.',
    '`tools` is not supported with this model',
    'function calling is not enabled for this deployment',
  ],
  images: [
    'This model does not support image input.',
    'unknown variant `image_url`, expected one of `text`',
    'image_url is not supported by this model',
  ],
  length: [
    'Requested tokens (40000) exceed context window of 32768',
    'input is too long for this model: 40000 tokens, the limit is 32768 tokens',
  ],
}

function lackOf({ what, words }: Extract<Script, { does: 'lack' }>, { mark }: Asked): Says {
  const lacks = LACKS[what]
  const message = `${lacks[words % lacks.length]} (${mark})`
  return { message, code: 'invalid_request', type: 'invalid_request_error', number: 400, ownNumber: 2013 }
}

/** The same error in each of the forms that vendors have. */
function errorText(shape: ErrorShape, { message, code, type, number, ownNumber }: Says): string {
  const error = { message, type, param: null, code }
  switch (shape) {
    case 'envelope':
      return JSON.stringify({ error })
    case 'flat':
      return JSON.stringify({ object: 'error', message, type, code })
    case 'string':
      return JSON.stringify({ error: message })
    case 'array':
      return JSON.stringify([{ error: { code: number, message, status: code } }])
    case 'detail':
      return JSON.stringify({ detail: message })
    case 'base_resp':
      return JSON.stringify({ base_resp: { status_code: ownNumber, status_msg: message } })
    case 'error_code':
      return JSON.stringify({ error_code: ownNumber, error_msg: message })
    case 'failed':
    case 'finish':
    // Inside a 200 alone.
    case 'page':
      return `<html><head><title>${number}</title></head><body>${message}</body></html>`
    case 'empty':
      return ''
    case 'truncated':
      return JSON.stringify({ error }).slice(0, 25)
  }
}

/** The body of an HTTP error. */
export const refusalText = (
  { shape, meaning, words }: Extract<Script, { does: 'refuse' }>,
  asked: Asked,
): string => errorText(shape, saysOf(meaning, words, asked))

/** The body with which a request is refused that needs what is not there. */
export const lackText = (script: Extract<Script, { does: 'lack' }>, asked: Asked): string =>
  errorText('envelope', lackOf(script, asked))

/** An error as it stands inside a 200. */
function insideText(script: Extract<Script, { does: 'err-inside' }>, asked: Asked): string {
  const { shape, meaning, words } = script
  const { endpoint, stream, mark } = asked
  const says = saysOf(meaning, words, asked)
  const { message, code, type, number, ownNumber } = says
  const isOdd = words % 2 === 1
  switch (shape) {
    case 'envelope':
      return JSON.stringify({
        ...(isOdd && { id: '', choices: null }),
        error: { message, type, code: words % 3 === 0 ? number : code },
      })
    case 'flat':
      return JSON.stringify(
        isOdd ? { code: number, msg: message, success: false } : { code: number, message },
      )
    case 'array':
      return JSON.stringify({ errors: [{ message, code: isOdd ? code : number }] })
    case 'base_resp':
      return JSON.stringify({ choices: null, base_resp: { status_code: ownNumber, status_msg: message } })
    case 'failed': {
      const failed = {
        id: `id-${mark}`,
        object: 'response',
        status: 'failed',
        error: { code, message },
        output: [],
      }
      const isEvent = endpoint === 'responses' && isInEvent(script, asked)
      return JSON.stringify(isEvent ? { type: 'response.failed', response: failed } : failed)
    }
    case 'finish': {
      const said =
        endpoint === 'completions' ? { text: '' } : stream ? { delta: {} } : { message: { content: '' } }
      const choice = { index: 0, ...said, finish_reason: 'error' }
      return JSON.stringify({
        id: `id-${mark}`,
        ...(isOdd && { error: { code: number, message } }),
        choices: [choice],
      })
    }
    default:
      return errorText(shape, says)
  }
}

/** Whether an error inside a 200 comes as an event. */
export const isInEvent = (
  { preamble, words }: Extract<Script, { does: 'err-inside' }>,
  { stream }: Asked,
): boolean => stream && (preamble.length > 0 || words % 2 === 0)

function hintOf({ hint, status }: Extract<Script, { does: 'refuse' }>): Record<string, string> {
  if (status !== 429 && status !== 503) return {}
  switch (hint) {
    case 'none':
      return {}
    case 'seconds':
      return { 'retry-after': '7' }
    case 'ms':
      return { 'retry-after-ms': '1500' }
    case 'date':
      return { 'retry-after': 'Wed, 01 Jan 2020 00:00:00 GMT' }
    case 'absurd':
      return { 'retry-after': '99999999999999999999' }
  }
}

const redirectOf = (status: number): Record<string, string> =>
  status >= 300 && status < 400 ? { location: 'https://elsewhere.test/secret' } : {}
