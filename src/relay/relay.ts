/*
 * relay: one request on its way over the upstreams. `relay` is the loop: a lease, an attempt, the next one; the other
 * files are its steps and what they share.
 *
 * request       what comes in and what goes out
 * deps          everything impure that is used, and the events that are reported
 * relay         the loop, and the rules of trying again
 * context       what one request has been through, and its record
 * candidates    who may take it now, what keeps the others, who holds an earlier answer
 * select        the next upstream and its lease: by the order, as a last resort, or after a wait
 * queue         the wait: first come, first served
 * attempt       one request to one upstream, from the sending to the end of its body
 * commit        when an answer counts as begun, and after which nothing is tried again
 * stream        the tap that a streamed body passes
 * exhausted     the error when nothing is left
 * passthrough   requests that only one upstream can mean: no loop and no rewriting
 * headers       what of a request an upstream may see
 * retry-budget  keeps retries from multiplying the load
 */
import type { Settings } from '../config/config.ts'
import { GatewayError } from '../errors.ts'
import type { Failure } from '../pool/outcome.ts'
import type { Lease } from '../state/store.ts'
import { attempt, type AttemptEnd, type AttemptTask } from './attempt.ts'
import { pinnedUpstreams } from './candidates.ts'
import {
  createRelayState,
  createRecord,
  suitableUpstreams,
  type RelayState,
  type RequestRecord,
} from './context.ts'
import type { RelayDeps } from './deps.ts'
import { clientClosedRequest, exhausted, queueFull } from './exhausted.ts'
import type { RelayAnswer, RelayRequest } from './request.ts'
import { select, evaluateFor, type Selection, type SelectTask, type Traffic } from './select.ts'

/** A request, the settings it runs under, and what it shares with others. */
export interface RelayTask {
  readonly request: RelayRequest
  readonly settings: Settings
  readonly traffic: Traffic
  readonly deps: RelayDeps
}

/** Further attempts after failures that may have cost the upstream work. */
const AMBIGUOUS_RETRIES = 2

/**
 * Tries the upstreams of a request in the order of the strategy until one begins a real answer.
 *
 * The request ends when the answer's body ends: only then its lease is settled and its event reported.
 *
 * @throws GatewayError when nothing is left, or the client has left
 */
export async function relay({ request, settings, traffic, deps }: RelayTask): Promise<RelayAnswer> {
  const pins = request.answerIds.length === 0 ? undefined : await pinnedUpstreams(request, deps)
  const state = createRelayState(request, pins)
  const task: SelectTask = { state, settings, traffic, deps }
  const record = createRecord(state, deps)
  traffic.budget.recordRequest(deps.clock.now())
  try {
    for (;;) {
      if (request.clientSignal.aborted) throw clientClosedRequest()
      const selection = await select(task)
      if (!('lease' in selection)) return record.answered(fallbackOrThrow(task, selection))
      const end = await attempt(beginAttempt(task, record, selection.lease))
      if (end.kind === 'aborted') throw clientClosedRequest()
      if (end.kind === 'committed') {
        state.fallbackResponse?.discard()
        return end.answer
      }
      state.failures.push(end.failure)
      if (end.failure.scope === 'none')
        state.refusedBy = new Set([...state.refusedBy, selection.lease.claim.id])
      const last = await lastAnswer(task, end)
      if (last !== undefined) return record.answered(last)
    }
  } catch (error) {
    state.fallbackResponse?.discard()
    const isOurs = error instanceof GatewayError
    record.end({ status: isOurs ? error.status : 500, code: isOurs ? error.code : 'internal_error' })
    throw error
  }
}

/** The attempt that a lease is for, noted in the state of the request. */
function beginAttempt(task: SelectTask, record: RequestRecord, lease: Lease): AttemptTask {
  const { state, deps, settings, traffic } = task
  const upstream = state.upstreams.find(({ id }) => id === lease.claim.id)
  if (upstream === undefined)
    throw new GatewayError('internal_error', 'The choice named an unknown upstream.')
  state.tried.add(upstream.id)
  state.firstSentAt ??= deps.clock.now()
  state.deadline = state.firstSentAt + 2 * Math.max(settings.timeoutMs, upstream.timeoutMs)
  return { upstream, lease, state, record, settings, traffic, deps }
}

/** What ends a request that no upstream is left for: the fallback response, or the error. */
function fallbackOrThrow(
  { state, deps }: SelectTask,
  selection: Exclude<Selection, { lease: Lease }>,
): RelayAnswer {
  if (selection.why === 'gone') throw clientClosedRequest()
  if (state.fallbackResponse !== undefined) return relayAnswerFrom(state, state.fallbackResponse)
  const { failures } = state
  const { unavailable, why } = selection
  if (why === 'not-admitted' && failures.length === 0 && unavailable.length === 0) throw queueFull()
  throw exhausted({ failures, unavailable, now: deps.clock.now() })
}

function relayAnswerFrom(
  state: RelayState,
  { answer }: NonNullable<RelayState['fallbackResponse']>,
): RelayAnswer {
  return { ...answer, attempts: state.attempts.length }
}

/**
 * The answer with which a failure ends the request; undefined when the next upstream is tried.
 *
 * @throws GatewayError where a rule forbids another attempt
 */
async function lastAnswer(
  task: SelectTask,
  { failure, upstreamErrorResponse }: Extract<AttemptEnd, { kind: 'failed' }>,
): Promise<RelayAnswer | undefined> {
  const { state } = task
  if (state.fallbackResponse !== undefined) {
    upstreamErrorResponse?.discard()
    return relayAnswerFrom(state, state.fallbackResponse)
  }
  if (failure.class === 'client' && upstreamErrorResponse !== undefined)
    return relayAnswerFrom(state, upstreamErrorResponse)
  if (failure.class === 'other-model') {
    state.fallbackResponse = upstreamErrorResponse
    excludeModel(state)
  }
  const last = lastFailures(task, failure)
  if (last === undefined) return undefined
  if (state.fallbackResponse !== undefined) return relayAnswerFrom(state, state.fallbackResponse)
  const { unavailable } = await evaluateFor(
    task,
    suitableUpstreams(state).filter(({ id }) => state.tried.has(id)),
  )
  throw exhausted({
    failures: last,
    unavailable: isLimited(last) ? unavailable : [],
    now: task.deps.clock.now(),
  })
}

/** The next upstream must not have this model: it refused what another may accept. */
function excludeModel(state: RelayState): void {
  const model = state.attempts.at(-1)?.model
  if (model !== undefined) state.refusingModels = new Set([...state.refusingModels, model])
  state.order = []
}

const isLimited = (failures: readonly Failure[]): boolean =>
  failures.some(({ cause }) => cause === 'rate-limited' || cause === 'quota' || cause === 'overloaded')

/** The failures that the client is told of, where a rule forbids another attempt; undefined where none does. */
function lastFailures(
  { state, settings, traffic, deps }: SelectTask,
  failure: Failure,
): readonly Failure[] | undefined {
  const now = deps.clock.now()
  const { failures, attempts, deadline } = state
  if (settings.maxAttempts !== undefined && attempts.length >= settings.maxAttempts) return failures
  if (now >= deadline) return failures
  if (failure.class !== 'ambiguous') return undefined
  state.ambiguousFailures += 1
  if (state.ambiguousFailures > AMBIGUOUS_RETRIES) return failures
  return hasOthers(state) && !traffic.budget.spend(now) ? failures.slice(0, 1) : undefined
}

/** A retry that has nowhere to go costs no budget. */
function hasOthers({ upstreams, tried }: RelayState): boolean {
  return upstreams.some(({ id }) => !tried.has(id))
}
