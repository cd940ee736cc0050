import { concatBytes, readerOf } from '../lib/bytes.ts'
import { createAbort } from '../lib/abort.ts'
import type { Ability, Failure } from '../pool/outcome.ts'
import type { Upstream } from '../pool/upstream.ts'
import { readErrorText } from '../vendors/error-body.ts'
import { demandOn } from './demand.ts'
import type { RelayDeps } from './deps.ts'
import { headersFor, urlFor } from './headers.ts'
import type { RelayAnswer, RelayState } from './request.ts'

/**
 * What a failure teaches of its upstream. A limit on sizes is believed at once; what else was refused is remembered only
 * when somebody answers: till then it may be the request.
 */
export function learnFromFailure(
  state: RelayState,
  upstream: Upstream,
  { failure, answer }: { failure: Failure; answer: RelayAnswer | undefined },
): void {
  const { deps, request } = state
  const { maxTokensPerRequest: limit, class: kind } = failure
  const lesson = failure.lesson ?? (limit === undefined ? undefined : ({ about: 'context', limit } as const))
  if (kind === 'refused-body') {
    if (lesson !== undefined || isWordless(answer)) state.lessons.push({ upstream, lesson })
  } else if (lesson !== undefined)
    deps.abilities.refused(upstream.id, demandOn(request, upstream).needs, { lesson, now: deps.clock.now() })
  if (kind === 'too-long' || (kind === 'refused-body' && lesson !== undefined))
    readModelListLater(upstream, state)
}

/** What repeats a status and says nothing of the request: of a message, a code, a type and a part. */
const SAYS_NOTHING =
  /^(\d{3}|none|null)?[: ]{0,2}((bad|invalid)[ _]?request|unprocessable[ _]?(entity|content)|unknown|provider returned)?[ _]?(error)?[.!]?$/i

/** Whether a refusal names no reason at all. */
function isWordless(answer: RelayAnswer | undefined): boolean {
  if (!(answer?.body instanceof Uint8Array)) return false
  const { message, code, type, param } = readErrorText(answer.body, 0)
  return [message, code, type, param].every((words) => SAYS_NOTHING.test(words))
}

/** An upstream has answered: so it can, and what others refused was no fault of the request. */
export function learnFromAnswer(state: RelayState, upstream: Upstream): void {
  const { deps, request, lessons } = state
  const now = deps.clock.now()
  deps.abilities.worked(upstream.id, demandOn(request, upstream).needs, now)
  if (request.endpoint === 'embeddings') deps.abilities.embedded(upstream.id)
  for (const { upstream: refuser, lesson } of lessons)
    deps.abilities.refused(refuser.id, demandOn(request, refuser).needs, { lesson, now })
}

const LIST_TIMEOUT_MS = 15_000
const MOST_LIST_BYTES = 4 * 2 ** 20

/** The requests that follow at once must not share their upstream with a list of a thousand models. */
const LIST_DELAY_MS = 2_000

/** Reads `/v1/models` of an upstream in the background: at most once an hour, 4 MiB and 15 s. Nobody waits for it. */
function readModelListLater(upstream: Upstream, { deps, request }: RelayState): void {
  const { clock, abilities } = deps
  if (!abilities.mayRead(upstream.id, clock.now())) return
  clock.after(LIST_DELAY_MS, () => readModelList(upstream, request.settings.connectTimeoutMs, deps))
}

function readModelList(
  upstream: Upstream,
  connectTimeoutMs: number,
  { clock, abilities, send }: RelayDeps,
): void {
  const { signal, abort } = createAbort()
  const stopClock = clock.after(LIST_TIMEOUT_MS, abort)
  const asked = send(
    {
      method: 'GET',
      url: urlFor(upstream, 'models', ''),
      headers: headersFor(upstream, {}),
      connectTimeoutMs,
      timeoutMs: LIST_TIMEOUT_MS,
      gatherBytes: () => MOST_LIST_BYTES,
    },
    signal,
  )
  const reading = asked.then(async ({ status, body }) => {
    if (status !== 200 || !(body instanceof Uint8Array)) return readerOf(body).cancel()
    const told = toldOf(JSON.parse(new TextDecoder().decode(concatBytes([body]))), upstream.model)
    if (told !== undefined) abilities.read(upstream.id, told, clock.now())
  })
  // It may have no list, or be away: then nothing is learned.
  void reading.catch(() => {}).finally(stopClock)
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

/** What a list of models says of one; undefined where the model is not in it. */
function toldOf(list: unknown, model: string) {
  const models: unknown[] = Array.isArray(list)
    ? list
    : [objectOf(list)['data'], objectOf(list)['models']].flat()
  const entry = models.map(objectOf).find(({ id, name }) => id === model || name === model)
  if (entry === undefined) return undefined
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
