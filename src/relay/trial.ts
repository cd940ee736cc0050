import { GatewayError } from '../errors.ts'
import { instantOf } from '../lib/clock.ts'
import type { Upstream } from '../pool/upstream.ts'
import { runAttempt } from './attempt.ts'
import { discard } from './commit.ts'
import type { AttemptRecord, RelayDeps } from './deps.ts'
import { exhausted } from './exhausted.ts'
import { recordEnd, RelayState, type RelayRequest } from './request.ts'
import { evaluateFor } from './select.ts'

/** What came of a trial. Holds no secret: the words of its failure are masked. */
export interface Trial {
  readonly attempt: AttemptRecord
  /** What would have kept a client's request away: then the trial went all the same. */
  readonly wasUnavailable: boolean
}

/**
 * One request of the operator's to the only upstream of its pool, whatever its state: no limit, rest or pause keeps it
 * away. Else it is like any other: counted in all limits, it ends a rest by its success and begins one by its failure.
 *
 * @throws GatewayError when the operator has left, or nothing can be sent from here
 */
export async function tryUpstream(request: RelayRequest, deps: RelayDeps): Promise<Trial> {
  const state = new RelayState(request, deps)
  const claims = request.pool.upstreams.map(({ claims: all }) => all[request.endpoint])
  try {
    const { unavailable } = await evaluateFor(state, request.pool.upstreams)
    const { inputTokens, outputTokens } = request.demand
    const probeMs = request.settings.connectTimeoutMs + request.pool.longestTimeoutMs
    const ask = { inputTokens, outputTokens, probeMs, lastResort: true, isTrial: true }
    const lease = await deps.store.acquire(claims, ask, instantOf(deps.clock))
    if (lease === undefined) throw new GatewayError('overloaded', 'The state could not be asked; try again.')
    state.why = 'trial'
    const end = await runAttempt(state, lease)
    if ('failure' in end) {
      discard(end.answer?.body)
      const { failure } = end
      const { status, code } = exhausted({
        failures: [failure],
        unavailable: [],
        now: deps.clock.now(),
        request,
      })
      recordEnd(state, { status, code })
    } else if (!(end.body instanceof Uint8Array)) {
      // A broken stream is told by its record.
      while (
        await end.body.read().then(
          ({ done }) => !done,
          () => false,
        )
      );
    }
    const [attempt] = state.attempts
    if (attempt === undefined) throw new GatewayError('internal_error', 'The trial left no record.')
    return { attempt, wasUnavailable: unavailable.length > 0 }
  } catch (error) {
    const { status, code } = error instanceof GatewayError ? error : { status: 500, code: 'internal_error' }
    recordEnd(state, { status, code })
    throw error
  }
}

/** What a body asks of a model where its size matters most: as little as can be. */
const FEWEST = { max_tokens: 1 }
/** Of who does not know that, or can't say a word with one. */
const A_FEW = { max_completion_tokens: 16 }

/** The smallest questions that an upstream can be tried with, in the order in which they are asked; none for pictures and sound. */
export function trialQuestions({ endpoints, presumed }: Pick<Upstream, 'endpoints' | 'presumed'>) {
  const served = presumed?.endpoints ?? endpoints
  const found = QUESTIONS.filter(({ endpoint }) => served.has(endpoint))
  return found.filter(({ endpoint }) => endpoint === found[0]?.endpoint)
}

const CHAT = { messages: [{ role: 'user', content: 'ping' }] }
const QUESTIONS = [
  { endpoint: 'chat', path: 'chat/completions', body: { ...CHAT, ...FEWEST } },
  { endpoint: 'chat', path: 'chat/completions', body: { ...CHAT, ...A_FEW } },
  { endpoint: 'responses', path: 'responses', body: { input: 'ping', max_output_tokens: 16, store: false } },
  { endpoint: 'completions', path: 'completions', body: { prompt: 'ping', ...FEWEST } },
  { endpoint: 'embeddings', path: 'embeddings', body: { input: 'ping' } },
  { endpoint: 'moderations', path: 'moderations', body: { input: 'ping' } },
  { endpoint: 'rerank', path: 'rerank', body: { query: 'ping', documents: ['ping'] } },
] as const

/** Whether a failure says that another question might be answered. */
export const isAboutLength = ({ failure }: AttemptRecord): boolean =>
  /max_(?:completion_|output_)?tokens/.test(failure?.words ?? '')
