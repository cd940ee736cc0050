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
import { eligibleFor } from './candidates.ts'
import { createJourney, createRecord, fitFor, type Journey, type RequestRecord } from './context.ts'
import type { RelayDeps } from './deps.ts'
import { crowdedOut, exhausted } from './exhausted.ts'
import type { RelayAnswer, RelayRequest } from './request.ts'
import { select, survey, type Selection, type SelectTask, type Traffic } from './select.ts'

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
  const eligible = request.answerIds.length === 0 ? undefined : await eligibleFor(request, deps)
  const journey = createJourney(request, eligible)
  const task: SelectTask = { journey, settings, traffic, deps }
  const record = createRecord(journey, deps)
  traffic.budget.began(deps.clock.now())
  try {
    for (;;) {
      if (request.gone.aborted) throw clientGone()
      const found = await select(task)
      if (!('lease' in found)) return record.answered(keptOr(task, found))
      const end = await attempt(begun(task, record, found.lease))
      if (end.kind === 'aborted') throw clientGone()
      if (end.kind === 'committed') {
        journey.kept?.discard()
        return end.answer
      }
      journey.failures.push(end.failure)
      if (end.failure.scope === 'none') journey.unfit = new Set([...journey.unfit, found.lease.claim.id])
      const last = await lastAnswer(task, end)
      if (last !== undefined) return record.answered(last)
    }
  } catch (error) {
    journey.kept?.discard()
    const isOurs = error instanceof GatewayError
    record.end({ status: isOurs ? error.status : 500, code: isOurs ? error.code : 'internal_error' })
    throw error
  }
}

/** The attempt that a lease is for, noted in the journey. */
function begun(task: SelectTask, record: RequestRecord, lease: Lease): AttemptTask {
  const { journey, deps, settings, traffic } = task
  const upstream = journey.upstreams.find(({ id }) => id === lease.claim.id)
  if (upstream === undefined)
    throw new GatewayError('internal_error', 'The choice named an unknown upstream.')
  journey.tried.add(upstream.id)
  journey.firstSentAt ??= deps.clock.now()
  journey.deadline = journey.firstSentAt + 2 * Math.max(settings.timeoutMs, upstream.timeoutMs)
  return { upstream, lease, journey, record, settings, traffic, deps }
}

/** What ends a request that found nobody: the answer kept for that, or the error. */
function keptOr({ journey, deps }: SelectTask, found: Exclude<Selection, { lease: Lease }>): RelayAnswer {
  if (found.why === 'gone') throw clientGone()
  if (journey.kept !== undefined) return keptAnswer(journey, journey.kept)
  const { failures } = journey
  const { resting, why } = found
  if (why === 'crowded-out' && failures.length === 0 && resting.length === 0) throw crowdedOut()
  throw exhausted({ failures, resting, now: deps.clock.now() })
}

function keptAnswer(journey: Journey, { answer }: NonNullable<Journey['kept']>): RelayAnswer {
  return { ...answer, attempts: journey.attempts.length }
}

/**
 * The answer with which a failure ends the request; undefined when the next upstream is tried.
 *
 * @throws GatewayError where a rule forbids another attempt
 */
async function lastAnswer(
  task: SelectTask,
  { failure, verbatim }: Extract<AttemptEnd, { kind: 'failed' }>,
): Promise<RelayAnswer | undefined> {
  const { journey } = task
  if (journey.kept !== undefined) {
    verbatim?.discard()
    return keptAnswer(journey, journey.kept)
  }
  if (failure.class === 'client' && verbatim !== undefined) return keptAnswer(journey, verbatim)
  if (failure.class === 'other-model') {
    journey.kept = verbatim
    refuseModelOf(journey)
  }
  const last = lastFailures(task, failure)
  if (last === undefined) return undefined
  if (journey.kept !== undefined) return keptAnswer(journey, journey.kept)
  const { resting } = await survey(
    task,
    fitFor(journey).filter(({ id }) => journey.tried.has(id)),
  )
  throw exhausted({ failures: last, resting: isLimited(last) ? resting : [], now: task.deps.clock.now() })
}

/** The next upstream must not have this model: it refused what another may accept. */
function refuseModelOf(journey: Journey): void {
  const model = journey.attempts.at(-1)?.model
  if (model !== undefined) journey.refusingModels = new Set([...journey.refusingModels, model])
  journey.order = []
}

const isLimited = (failures: readonly Failure[]): boolean =>
  failures.some(({ cause }) => cause === 'rate-limited' || cause === 'quota' || cause === 'overloaded')

/** The failures that the client is told of, where a rule forbids another attempt; undefined where none does. */
function lastFailures(
  { journey, settings, traffic, deps }: SelectTask,
  failure: Failure,
): readonly Failure[] | undefined {
  const now = deps.clock.now()
  const { failures, attempts, deadline } = journey
  if (settings.maxAttempts !== undefined && attempts.length >= settings.maxAttempts) return failures
  if (now >= deadline) return failures
  if (failure.class !== 'ambiguous') return undefined
  journey.ambiguous += 1
  if (journey.ambiguous > AMBIGUOUS_RETRIES) return failures
  return hasOthers(journey) && !traffic.budget.spend(now) ? failures.slice(0, 1) : undefined
}

/** A retry that has nowhere to go costs no budget. */
function hasOthers({ upstreams, tried }: Journey): boolean {
  return upstreams.some(({ id }) => !tried.has(id))
}

function clientGone(): GatewayError {
  return new GatewayError('client_closed_request', 'The client left before the answer began.')
}
