/*
 * openai: what clients of the OpenAI API send, and what its answers hold. Read from the bytes; nothing is built that
 * the gateway does not need.
 *
 * request       a body read once: its model, whether it streams, what it will cost in tokens
 * affinity-key  what makes a request stick to its upstream (the first messages identify a conversation), and the earlier
 *               answers that it builds on
 * usage         the tokens that an answer says it has cost
 */
import { GatewayError } from '../errors.ts'
import { bytesBetween, createByteSearch, utf8Bytes, utf8Text } from '../lib/bytes.ts'
import { type MemberEdits, namesIn, replaceField } from '../lib/json/edit.ts'
import { type JsonScan, JsonScanner, numberField, stringField } from '../lib/json/scan.ts'
import type { IsUtf8 } from '../lib/json/utf8.ts'
import { JsonSyntaxError } from '../lib/json/walk.ts'
import { FormScanner, MultipartError, replaceFormField } from '../lib/multipart.ts'
import type { Ability } from '../pool/outcome.ts'
import type { Endpoint } from '../pool/upstream.ts'
import { AFFINITY_FIELDS, checkNames, MOST_NAME_BYTES, nameTooLong } from './affinity-key.ts'
import { BYTES_PER_TOKEN } from './usage.ts'

/** A request body, read once. */
export interface ParsedBody {
  /** The model that the client named; empty = none. */
  readonly model: string
  readonly stream: boolean
  /** Whether the answer is to be kept, to be asked for by its id later. */
  readonly store: boolean
  /** The form that it asks a transcript for; empty = it does not say. */
  readonly responseFormat: string
  /** Undefined for multipart. */
  readonly scan: JsonScan | undefined
  /** The same bytes with another model name, in parts to be sent one after the other. */
  readonly withModel: (model: string) => readonly Uint8Array[]
}

/** The top-level fields that an estimate reads. */
export const ESTIMATE_FIELDS = ['max_tokens', 'max_completion_tokens', 'max_output_tokens', 'n'] as const

/** The top-level fields that tell what a request needs. */
const NEED_FIELDS = ['tools', 'functions', 'response_format', 'text', 'stream_options'] as const
const WANTED: readonly string[] = [
  'model',
  'stream',
  'store',
  ...ESTIMATE_FIELDS,
  ...NEED_FIELDS,
  ...AFFINITY_FIELDS,
]

/** The fields that a body is searched for where `edits` may change it. */
export const fieldsFor = (edits: readonly MemberEdits[]): readonly string[] =>
  edits.length === 0 ? WANTED : [...new Set([...WANTED, ...edits.flatMap(namesIn)])]

/** Types of parts that not every model takes. */
const PART_ABILITIES: readonly (readonly [word: string, ability: Ability])[] = [
  ['image_url', 'images'],
  ['input_image', 'images'],
  ['input_audio', 'audio'],
]
const PART_WORDS = PART_ABILITIES.map(([word]) => word)

/** Reads a body while it comes. */
export interface BodyParser {
  /** Looks at the next chunk. Throws nothing. */
  push(chunk: Uint8Array): void
  /**
   * Checks the body and finds its model.
   *
   * @param pieces all of it again
   * @throws GatewayError `invalid_json`, `invalid_model` or `invalid_multipart`
   */
  end(pieces: readonly Uint8Array[]): ParsedBody
}

/**
 * Anything that is not multipart is read as JSON.
 *
 * @param fields those of `fieldsFor`
 */
export function createBodyParser(
  contentType: string,
  isUtf8?: IsUtf8,
  fields: readonly string[] = WANTED,
): BodyParser {
  if (/^\s*multipart\//i.test(contentType)) {
    const model = new FormScanner(contentType, 'model')
    const format = new FormScanner(contentType, 'response_format')
    return {
      push(chunk) {
        model.push(chunk)
        format.push(chunk)
      },
      end: (pieces) => parseMultipart(pieces, { model, format }),
    }
  }
  const scanner = new JsonScanner(fields, isUtf8, PART_WORDS)
  return { push: (chunk) => scanner.push(chunk), end: (pieces) => parseJson(scanner, pieces) }
}

function parseJson(scanner: JsonScanner, pieces: readonly Uint8Array[]): ParsedBody {
  const scan = scanned(scanner, pieces)
  checkNames(scan)
  return {
    model: modelOf(scan),
    stream: isTrue(scan, 'stream'),
    store: isTrue(scan, 'store'),
    responseFormat: stringField(scan, 'response_format') ?? '',
    scan,
    withModel: (model) => replaceField(scan, 'model', utf8Bytes(JSON.stringify(model))),
  }
}

const isTrue = ({ fields }: JsonScan, name: string): boolean => fields.get(name)?.at(-1)?.kind === 'true'

function scanned(scanner: JsonScanner, pieces: readonly Uint8Array[]): JsonScan {
  try {
    return scanner.end(pieces)
  } catch (error) {
    if (!(error instanceof JsonSyntaxError)) throw error
    const what =
      pieces.length === 0
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
  return stringField(scan, 'model') ?? ''
}

function kindName(kind: string): string {
  if (kind === 'true' || kind === 'false') return 'a boolean'
  return kind === 'object' || kind === 'array' ? `an ${kind}` : `a ${kind}`
}

function parseMultipart(
  pieces: readonly Uint8Array[],
  { model, format }: Readonly<Record<'model' | 'format', FormScanner>>,
): ParsedBody {
  const textOf = ({ span }: ReturnType<FormScanner['end']>): string =>
    span === undefined ? '' : utf8TextOf(bytesBetween(pieces, span.start, span.end))
  try {
    const field = model.end(pieces)
    const { span } = field
    if (span !== undefined && span.end - span.start > MOST_NAME_BYTES) throw nameTooLong('model')
    return {
      model: textOf(field),
      responseFormat: textOf(format.end(pieces)),
      // What comes back says by its type whether it is a stream; a form is not searched twice for that.
      stream: false,
      store: false,
      scan: undefined,
      withModel: (model) => replaceFormField(field, model),
    }
  } catch (error) {
    if (!(error instanceof MultipartError)) throw error
    throw new GatewayError('invalid_multipart', `The multipart body is not usable: ${error.message}.`)
  }
}

const utf8TextOf = (bytes: Uint8Array): string => utf8Text(bytes, 0, bytes.length)

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

/** Bounded work: four fields, and what the scan has counted. */
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

const searchSchema = createByteSearch(utf8Bytes('json_schema'))
/** A format is looked at so far; its type mostly stands in front. */
const MOST_FORMAT_BYTES = 65_536

/** What whoever answers a request has to be able to do, as far as its bytes prove it. */
export function abilitiesNeeded({ stream, scan }: Pick<ParsedBody, 'stream' | 'scan'>): readonly Ability[] {
  const needs: Ability[] = stream ? ['stream'] : []
  if (scan === undefined) return needs
  const { fields, words, pieces } = scan
  const spanOf = (name: string) => fields.get(name)?.at(-1)
  const isList = (name: string): boolean => {
    const span = spanOf(name)
    return span?.kind === 'array' && span.end - span.start > 2
  }
  if (isList('tools') || isList('functions')) needs.push('tools')
  for (const [word, ability] of PART_ABILITIES)
    if (words.has(word) && !needs.includes(ability)) needs.push(ability)
  if (spanOf('stream_options')?.kind === 'object') needs.push('stream_usage')
  const format = spanOf('response_format') ?? spanOf('text')
  if (format?.kind === 'object') {
    const bytes = bytesBetween(pieces, format.start, Math.min(format.end, format.start + MOST_FORMAT_BYTES))
    if (searchSchema(bytes, 0) >= 0) needs.push('json_schema')
  }
  return needs
}

/** Text by its bytes, unescaped; a file by its number, since its bytes say nothing of its tokens. */
const inputOf = ({ length, files, escapedBytes }: JsonScan): number =>
  Math.ceil(Math.max(0, length - files.bytes - escapedBytes) / BYTES_PER_TOKEN) + files.count * IMAGE_TOKENS
