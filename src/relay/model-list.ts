import { createAbort } from '../lib/abort.ts'
import { concatBytes, readerOf } from '../lib/bytes.ts'
import type { Ability } from '../pool/outcome.ts'
import type { Endpoint, Upstream } from '../pool/upstream.ts'
import { TransportError } from '../transport/transport.ts'
import type { RelayDeps } from './deps.ts'
import { headersFor, urlFor } from './headers.ts'

const LIST_TIMEOUT_MS = 15_000
export const MOST_LIST_BYTES = 8 * 2 ** 20
/** More are told by nobody but aggregators of aggregators. */
const MOST_MODELS = 2_000
/** A name that is longer, or would break a line or turn it round, is none that anybody asks for. */
const IS_NAME = /^[^\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]{1,256}$/u

/** Whose list is asked for, and with which key. */
type ListOwner = Pick<Upstream, 'root' | 'query' | 'apiKey' | 'headers' | 'connectTimeoutMs' | 'route'>

/** One model of an upstream's own list, with what it says of it. */
export interface ModelListEntry {
  /** As it is asked for. */
  readonly id: string
  readonly name: string | undefined
  /** What it serves; undefined = not said. */
  readonly endpoints: readonly Endpoint[] | undefined
  readonly told: ReturnType<typeof toldOf>
}

/** Reads `GET /v1/models` of an upstream, 8 MiB and 15 s at most. Costs nothing at any vendor. Never throws. */
export async function fetchModelList(
  owner: ListOwner,
  { send, clock }: Pick<RelayDeps, 'send' | 'clock'>,
): Promise<{ readonly models: readonly ModelListEntry[] } | { readonly failure: string }> {
  const { signal, abort } = createAbort()
  const stopClock = clock.after(LIST_TIMEOUT_MS, abort)
  try {
    const { status, body } = await send(
      {
        method: 'GET',
        url: urlFor(owner, 'models', ''),
        headers: headersFor(owner, {}),
        route: owner.route,
        connectTimeoutMs: owner.connectTimeoutMs,
        timeoutMs: LIST_TIMEOUT_MS,
        gatherBytes: () => MOST_LIST_BYTES,
      },
      signal,
    )
    if (status !== 200) {
      if (!(body instanceof Uint8Array)) await readerOf(body).cancel()
      return { failure: `answered ${status}` }
    }
    if (!(body instanceof Uint8Array)) {
      await readerOf(body).cancel()
      return { failure: 'is larger than 8 MiB' }
    }
    const models = modelEntriesIn(JSON.parse(new TextDecoder().decode(concatBytes([body]))))
    return models === undefined ? { failure: 'is no list of models' } : { models }
  } catch (error) {
    if (error instanceof SyntaxError) return { failure: 'is no JSON' }
    const reason = error instanceof TransportError ? error.reason : undefined
    return { failure: reason === undefined ? 'could not be had' : `could not be had (${reason})` }
  } finally {
    stopClock()
  }
}

type JsonObject = Readonly<Record<string, unknown>>
const objectOf = (value: unknown): JsonObject =>
  typeof value === 'object' && value !== null ? (value as JsonObject) : {}
const wordsOf = (value: unknown): string[] | undefined =>
  Array.isArray(value) ? value.filter((word) => typeof word === 'string') : undefined

/** Names of the size of a context, by vendors and servers; of the input where nothing else is said. */
const CONTEXT_NAMES = [
  'context_length',
  'context_window',
  'max_model_len',
  'max_context_length',
  'max_context_window',
  'max_input_tokens',
]
/** What holds such a name of its own: OpenRouter's, GitHub's. */
const CONTEXT_PLACES = ['top_provider', 'limits']
/** What `capabilities` has for an ability, as Mistral spells it. */
const CAPABILITIES: readonly (readonly [Ability, string])[] = [
  ['tools', 'function_calling'],
  ['images', 'vision'],
]
/** What `supported_parameters` has for an ability, as OpenRouter spells it. */
const PARAMETERS: readonly (readonly [Ability, readonly string[]])[] = [
  ['tools', ['tools', 'tool_choice']],
  ['json_schema', ['structured_outputs', 'response_format']],
]

/** What an entry says of its model. */
function toldOf(entry: JsonObject) {
  const can: Partial<Record<Ability, boolean>> = {}
  const inputs = wordsOf(entry['input_modalities'] ?? objectOf(entry['architecture'])['input_modalities'])
  if (inputs !== undefined) {
    can.images = inputs.some((word) => /image|vision/i.test(word))
    can.audio = inputs.some((word) => /audio/i.test(word))
  }
  const parameters = wordsOf(entry['supported_parameters'])
  if (parameters !== undefined)
    for (const [ability, names] of PARAMETERS) can[ability] = names.some((name) => parameters.includes(name))
  const capabilities = objectOf(entry['capabilities'])
  for (const [ability, name] of CAPABILITIES) {
    const said = capabilities[name]
    if (typeof said === 'boolean') can[ability] = said
  }
  const places = [entry, ...CONTEXT_PLACES.map((name) => objectOf(entry[name]))]
  const sizes = places.flatMap((place) => CONTEXT_NAMES.map((name) => Number(place[name])))
  const context = sizes.find((size) => size > 0)
  return { can, context }
}

/** OpenAI's form, Ollama's and Cohere's `models`, or Together's bare list, each model once; undefined for anything else. */
export function modelEntriesIn(list: unknown): ModelListEntry[] | undefined {
  const { data, models } = objectOf(list)
  const found = [list, data, models].find((value) => Array.isArray(value)) as unknown[] | undefined
  const entries = new Map<string, ModelListEntry>()
  for (const value of found?.slice(0, MOST_MODELS) ?? []) {
    const entry = objectOf(value)
    const name = typeof entry['name'] === 'string' ? entry['name'] : undefined
    const written = typeof entry['id'] === 'string' ? entry['id'] : (name ?? '')
    // Gemini lists its models with the path of its own API before their names.
    const id = written.replace(/^models\//, '')
    if (IS_NAME.test(id) && !entries.has(id))
      entries.set(id, { id, name, endpoints: endpointsIn(entry), told: toldOf(entry) })
  }
  return found && [...entries.values()]
}

/** Words for what a model serves: Together's `type`, Cohere's `endpoints`. */
const ENDPOINT_WORDS: Readonly<Record<string, readonly Endpoint[]>> = {
  chat: ['chat', 'completions', 'responses'],
  language: ['completions'],
  code: ['completions'],
  embedding: ['embeddings'],
  embed: ['embeddings'],
  image: ['images'],
  moderation: ['moderations'],
  rerank: ['rerank'],
  audio: ['audio'],
  transcribe: ['audio'],
}

function endpointsIn(entry: JsonObject): readonly Endpoint[] | undefined {
  const words = wordsOf(entry['endpoints']) ?? (typeof entry['type'] === 'string' ? [entry['type']] : [])
  const named = words.flatMap((word) =>
    Object.hasOwn(ENDPOINT_WORDS, word) ? (ENDPOINT_WORDS[word] ?? []) : [],
  )
  if (named.length > 0) return named
  const outputs = wordsOf(objectOf(entry['architecture'])['output_modalities'])
  if (outputs?.includes('image') && !outputs.includes('text')) return ['images']
  return objectOf(entry['capabilities'])['completion_chat'] === false ? [] : undefined
}
