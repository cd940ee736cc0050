/*
 * openai: what clients of the OpenAI API send, and what its answers hold. Read from the bytes; nothing is built that
 * the gateway does not need.
 *
 * request       a body read once: its model, whether it streams, what it will cost in tokens
 * affinity-key  what makes a request stick to its upstream, and the earlier answers that it builds on
 * messages      the first messages of a request, which identify a conversation
 * usage         the tokens that an answer says it has cost
 */
import { GatewayError } from '../errors.ts'
import { createByteSearch, utf8Bytes, type NativeBytes } from '../lib/bytes.ts'
import { type JsonScan, JsonSyntaxError, QUOTE, replaceField, scanTopLevel } from '../lib/json/scan.ts'
import { numberValue, stringValue } from '../lib/json/values.ts'
import { findFormField, MultipartError, replaceFormField } from '../lib/multipart.ts'
import type { Endpoint } from '../pool/upstream.ts'
import { AFFINITY_FIELDS } from './affinity-key.ts'
import { BYTES_PER_TOKEN } from './usage.ts'

/** A request body, read once. */
export interface ParsedBody {
  /** The model that the client named; empty = none. */
  readonly model: string
  readonly stream: boolean
  /** Undefined for multipart. */
  readonly scan: JsonScan | undefined
  /** The same bytes with another model name, in parts to be sent one after the other. */
  readonly withModel: (model: string) => readonly Uint8Array[]
}

/** The top-level fields that an estimate reads. */
export const ESTIMATE_FIELDS = ['max_tokens', 'max_completion_tokens', 'max_output_tokens', 'n'] as const

const WANTED = ['model', 'stream', ...ESTIMATE_FIELDS, ...AFFINITY_FIELDS]

/**
 * Checks a body and finds its model. Anything that is not multipart is read as JSON.
 *
 * @throws GatewayError `invalid_json`, `invalid_model` or `invalid_multipart`
 */
export function parseBody(bytes: Uint8Array, contentType: string, native?: NativeBytes): ParsedBody {
  return /^\s*multipart\//i.test(contentType) ? parseMultipart(bytes, contentType) : parseJson(bytes, native)
}

function parseJson(bytes: Uint8Array, native: NativeBytes | undefined): ParsedBody {
  const scan = scanned(bytes, native)
  return {
    model: modelOf(scan),
    stream: scan.fields.get('stream')?.at(-1)?.kind === 'true',
    scan,
    withModel: (model) => replaceField(scan, 'model', utf8Bytes(JSON.stringify(model))),
  }
}

function scanned(bytes: Uint8Array, native: NativeBytes | undefined): JsonScan {
  try {
    return scanTopLevel(bytes, WANTED, native)
  } catch (error) {
    if (!(error instanceof JsonSyntaxError)) throw error
    const what =
      bytes.length === 0
        ? 'The body is empty; it must be a JSON object.'
        : `The body is not usable JSON: ${error.message}.`
    throw new GatewayError('invalid_json', what)
  }
}

/** All occurrences are replaced; the last one is what parsers go by. */
function modelOf(scan: JsonScan): string {
  const spans = scan.fields.get('model') ?? []
  const other = spans.find(({ kind }) => kind !== 'string' && kind !== 'null')
  if (other !== undefined) {
    throw new GatewayError('invalid_model', `\`model\` must be a string, not ${kindName(other.kind)}.`, {
      param: 'model',
    })
  }
  const last = spans.at(-1)
  return last === undefined || last.kind === 'null' ? '' : stringValue(scan.bytes, last)
}

function kindName(kind: string): string {
  if (kind === 'true' || kind === 'false') return 'a boolean'
  return kind === 'object' || kind === 'array' ? `an ${kind}` : `a ${kind}`
}

function parseMultipart(bytes: Uint8Array, contentType: string): ParsedBody {
  try {
    const field = findFormField(bytes, contentType, 'model')
    return {
      model: field.value ?? '',
      // What comes back says by its type whether it is a stream; a form is not searched twice for that.
      stream: false,
      scan: undefined,
      withModel: (model) => replaceFormField(field, model),
    }
  } catch (error) {
    if (!(error instanceof MultipartError)) throw error
    throw new GatewayError('invalid_multipart', `The multipart body is not usable: ${error.message}.`)
  }
}

/** What a request will use of a token quota, estimated from its bytes. */
interface TokenEstimate {
  /** Undefined = the endpoint counts no tokens. */
  readonly inputTokens: number | undefined
  /** For all choices together; undefined = the client named no maximum. */
  readonly outputTokens: number | undefined
  /** How many answers the client wants (`n`): each costs its output. */
  readonly choices: number
}

/** What a picture costs at the vendors' usual detail, in tokens. */
const IMAGE_TOKENS = 800
/** No model takes or gives more; beyond it a number is a mistake and would not add up. */
const MOST_TOKENS = 1e9
const SPENDS_TOKENS = new Set<Endpoint>([
  'chat',
  'completions',
  'responses',
  'embeddings',
  'moderations',
  'rerank',
])
const WRITES = new Set<Endpoint>(['chat', 'completions', 'responses'])

/** Bounded work: four fields, and one pass over the body for pictures in it. */
export function estimateOf(scan: JsonScan, endpoint: Endpoint): TokenEstimate {
  if (!SPENDS_TOKENS.has(endpoint)) return { inputTokens: undefined, outputTokens: undefined, choices: 1 }
  const inputTokens = inputOf(scan)
  if (!WRITES.has(endpoint)) return { inputTokens, outputTokens: 0, choices: 1 }
  const most =
    numberField(scan, 'max_completion_tokens') ??
    numberField(scan, 'max_tokens') ??
    numberField(scan, 'max_output_tokens')
  const choices = Math.max(1, Math.min(128, Math.floor(numberField(scan, 'n') ?? 1)))
  return {
    inputTokens,
    outputTokens: most === undefined ? undefined : Math.min(MOST_TOKENS, Math.max(0, most) * choices),
    choices,
  }
}

function numberField(scan: JsonScan, name: string): number | undefined {
  const span = scan.fields.get(name)?.at(-1)
  return span?.kind === 'number' ? numberValue(scan.bytes, span) : undefined
}

const DATA = new TextEncoder().encode(';base64,')
const searchData = createByteSearch(DATA)
/** What comes behind so many files counts as text: no request has more, and each costs a search. */
const MOST_IMAGES = 1_000
/** Shorter bodies hold no picture worth the search. */
const LEAST_WITH_IMAGE = 2048

/** Text by its bytes; a file inside it (a `data:` URL) by its number, since its bytes say nothing of its tokens. */
function inputOf({ bytes, native }: JsonScan): number {
  const nextData = (from: number): number => native?.find(bytes, DATA, from) ?? searchData(bytes, from)
  let images = 0
  let imageBytes = 0
  let at = bytes.length > LEAST_WITH_IMAGE ? nextData(0) : -1
  while (at >= 0 && images < MOST_IMAGES) {
    const end = bytes.indexOf(QUOTE, at)
    if (end < 0) break
    images += 1
    imageBytes += end - at
    at = nextData(end)
  }
  return Math.ceil((bytes.length - imageBytes) / BYTES_PER_TOKEN) + images * IMAGE_TOKENS
}
