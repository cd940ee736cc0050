import type { Failure } from '../pool/outcome.ts'
import type { Upstream } from '../pool/upstream.ts'
import { readErrorText } from '../vendors/error-body.ts'
import { demandOn } from './demand.ts'
import { fetchModelList } from './model-list.ts'
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

/** The requests that follow at once must not share their upstream with a list of a thousand models. */
const LIST_DELAY_MS = 2_000

/** Reads `/v1/models` of an upstream in the background, at most once an hour. Nobody waits for it. */
function readModelListLater(upstream: Upstream, { deps }: RelayState): void {
  const { clock, abilities } = deps
  if (!abilities.mayRead(upstream.id, clock.now())) return
  const { model } = upstream
  async function read(): Promise<void> {
    const list = await fetchModelList(upstream, deps)
    // It may have no list, or be away: then nothing is learned.
    const entry =
      'failure' in list ? undefined : list.models.find(({ id, name }) => id === model || name === model)
    if (entry !== undefined) abilities.read(upstream.id, entry.told, clock.now())
  }
  clock.after(LIST_DELAY_MS, () => void read())
}
