/*
 * relay: one request on its way over the upstreams. `relay` is the loop: a lease, an attempt, the next one; the other
 * files are its steps and what they share.
 *
 * request       what comes in and goes out, what a request has been through, and its record
 * deps          everything impure that is used, and the events that are reported
 * relay         the loop, and the rules of trying again
 * candidates    who may take it now, what keeps the others, who holds an earlier answer
 * select        the next upstream and its lease: by the order, as a last resort, or after a wait
 * queue         the wait: first come, first served
 * attempt       one request to one upstream, from the sending to the end of its body
 * commit        when an answer counts as begun, and after which nothing is tried again
 * stream        the tap that a streamed body passes
 * exhausted     the error when nothing is left
 * passthrough   requests that only one upstream can mean: no loop and no rewriting
 * headers       what of a request an upstream may see, and of its answer the client
 * secrets       keys that come back in answers: masked before anybody reads them
 * retry-budget  keeps retries from multiplying the load
 */
import { GatewayError } from '../errors.ts'
import type { Failure } from '../pool/outcome.ts'
import type { Lease } from '../state/store.ts'
import { runAttempt, type FailedAttempt } from './attempt.ts'
import { resolvePins } from './candidates.ts'
import { discard } from './commit.ts'
import type { RelayDeps } from './deps.ts'
import { clientClosedRequest, exhausted, queueFull } from './exhausted.ts'
import { recordEnd, type RelayAnswer, type RelayRequest, RelayState } from './request.ts'
import { evaluateFor, select, suitableUpstreams, type Selection } from './select.ts'

/** Further attempts after failures that may have cost the upstream work. */
const AMBIGUOUS_RETRIES = 2

/**
 * Tries the upstreams of a request in the order of the strategy until one begins a real answer.
 *
 * The request ends when the answer's body ends: only then its lease is settled and its event reported.
 *
 * @throws GatewayError when nothing is left, or the client has left
 */
export async function relay(request: RelayRequest, deps: RelayDeps): Promise<RelayAnswer> {
  const state = new RelayState(request, deps)
  deps.traffic.budget.recordRequest(deps.clock.now())
  try {
    if (request.answerIds.length > 0) await resolvePins(state)
    for (;;) {
      if (request.clientSignal.aborted) throw clientClosedRequest()
      const selection = await select(state)
      if (!('lease' in selection)) return lastAnswer(state, fallbackOrThrow(state, selection))
      const end = await runAttempt(state, selection.lease)
      if (!('failure' in end)) {
        discard(state.fallbackResponse?.body)
        return end
      }
      const last = await answerAfter(state, end)
      if (last !== undefined) return lastAnswer(state, last)
    }
  } catch (error) {
    discard(state.fallbackResponse?.body)
    const isOurs = error instanceof GatewayError
    if (isOurs) error.attempts = state.attempts.length
    recordEnd(state, { status: isOurs ? error.status : 500, code: isOurs ? error.code : 'internal_error' })
    throw error
  }
}

/** What ends a request that no upstream is left for: the fallback response, or the error. */
function fallbackOrThrow(
  { fallbackResponse, failures, deps }: RelayState,
  { unavailable, why }: Exclude<Selection, { lease: Lease }>,
): RelayAnswer {
  if (why === 'gone') throw clientClosedRequest()
  if (fallbackResponse !== undefined) return fallbackResponse
  if (why === 'not-admitted' && failures.length === 0 && unavailable.length === 0) throw queueFull()
  throw exhausted(failures, unavailable, deps.clock.now())
}

/** Ends the request with an upstream's own answer, handed on as it came. */
function lastAnswer(state: RelayState, answer: RelayAnswer): RelayAnswer {
  state.firstByteMs = state.deps.clock.now() - state.request.since
  recordEnd(state, answer)
  return { ...answer, attempts: state.attempts.length }
}

/**
 * The answer with which a failure ends the request; undefined when the next upstream is tried. @throws GatewayError
 * where a rule forbids another attempt
 */
async function answerAfter(
  state: RelayState,
  { failure, upstream, upstreamErrorResponse }: FailedAttempt,
): Promise<RelayAnswer | undefined> {
  const { failures, fallbackResponse, deps } = state
  failures.push(failure)
  if (failure.scope === 'none') state.refusedBy = new Set([...state.refusedBy, upstream.id])
  if (fallbackResponse !== undefined) {
    discard(upstreamErrorResponse?.body)
    return fallbackResponse
  }
  if (failure.class === 'client' && upstreamErrorResponse !== undefined) return upstreamErrorResponse
  if (failure.class === 'other-model') {
    state.fallbackResponse = upstreamErrorResponse
    // The next upstream must not have this model: it refused what another may accept.
    state.refusingModels = new Set([...state.refusingModels, upstream.model])
    state.order = []
  }
  const last = lastFailures(state, failure)
  if (last === undefined) return undefined
  if (state.fallbackResponse !== undefined) return state.fallbackResponse
  const tried = suitableUpstreams(state).filter(({ id }) => state.tried.has(id))
  const { unavailable } = await evaluateFor(state, tried)
  throw exhausted(last, last.some(isLimited) ? unavailable : [], deps.clock.now())
}

const isLimited = ({ cause }: Failure): boolean =>
  cause === 'rate-limited' || cause === 'quota' || cause === 'overloaded'

/** The failures that the client is told of, where a rule forbids another attempt; undefined where none does. */
function lastFailures(state: RelayState, failure: Failure): readonly Failure[] | undefined {
  const { deps, failures, attempts, deadline, tried } = state
  const { maxAttempts } = state.request.settings
  const now = deps.clock.now()
  if (maxAttempts !== undefined && attempts.length >= maxAttempts) return failures
  if (now >= deadline) return failures
  if (failure.class !== 'ambiguous') return undefined
  state.ambiguousFailures += 1
  if (state.ambiguousFailures > AMBIGUOUS_RETRIES) return failures
  // A retry that has nowhere to go costs no budget.
  const hasOthers = suitableUpstreams(state).some(({ id }) => !tried.has(id))
  return hasOthers && !deps.traffic.budget.spend(now) ? failures.slice(0, 1) : undefined
}
