/*
 * relay: one request on its way over the upstreams. `relay` is the loop: a lease, an attempt, the next one; the other
 * files are its steps and what they share.
 *
 * request       what comes in and goes out, what a request has been through, and its record
 * demand        what a body asks for, and the body as each upstream gets it
 * deps          everything impure that is used, and the events that are reported
 * relay         the loop, and the rules of trying again
 * candidates    who may take it now, what keeps the others, how they stand to it, who holds an earlier answer
 * select        the next upstream and its lease: by the order, as a last resort, or after a wait
 * queue         the wait: first come, first served
 * attempt       one request to one upstream, from the sending to the end of its body
 * commit        when an answer counts as begun, and after which nothing is tried again
 * stream        the tap that a streamed body passes
 * exhausted     the error when nothing is left
 * lessons       what refusals and successes teach
 * model-list    what an upstream's own list of models says
 * discovery     models that stand in no configuration: asked for at start and daily
 * passthrough   requests that only one upstream can mean: no loop and no rewriting
 * trial         one request of the operator's, to one upstream whatever its state
 * headers       what of a request an upstream may see, and of its answer the client
 * secrets       keys that come back in answers: masked before anybody reads them
 * retry-budget  keeps retries from multiplying the load
 */
import { GatewayError } from '../errors.ts'
import type { Failure, FailureClass } from '../pool/outcome.ts'
import type { Lease } from '../state/store.ts'
import { runAttempt, type FailedAttempt } from './attempt.ts'
import { mayUseAnswer, resolveOwner, resolvePins, type Unavailable } from './candidates.ts'
import { discard } from './commit.ts'
import { demandOn } from './demand.ts'
import type { RelayDeps } from './deps.ts'
import {
  clientClosedRequest,
  exhausted,
  isLimit,
  isWaitedFor,
  queueFull,
  unknownAnswer,
} from './exhausted.ts'
import type { UpstreamResponse } from '../transport/transport.ts'
import { learnFromFailure } from './lessons.ts'
import {
  type Account,
  dropKept,
  recordEnd,
  type RelayAnswer,
  type RelayRequest,
  RelayState,
} from './request.ts'
import { maskedBytes } from './secrets.ts'
import { evaluateFor, select, suitableUpstreams, withoutStrangers, type Selection } from './select.ts'

/** How far a request goes on after failures of a class. */
interface Walk {
  /** Attempts that may follow a failure of the class, beside those that other classes allow. */
  readonly further: number
  /** Whether they are charged to the retry budget: they may double work, or a client's mistake. */
  readonly isBudgeted: boolean
}

/** What becomes of a request after a failure, class by class. */
const WALKS: Readonly<Record<FailureClass, Walk>> = {
  'not-sent': { further: Infinity, isBudgeted: false },
  refused: { further: Infinity, isBudgeted: false },
  'too-long': { further: Infinity, isBudgeted: false },
  ambiguous: { further: 2, isBudgeted: true },
  'refused-body': { further: 2, isBudgeted: true },
  unfit: { further: 1, isBudgeted: false },
}

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
    if (request.answerIds.length > 0) {
      if (request.account !== undefined) await requireOwn(request.answerIds, request.account, deps)
      await resolvePins(state)
    }
    if (request.ownerKey !== '') await resolveOwner(state)
    if (request.endpoint === 'embeddings') await withoutStrangers(state)
    for (;;) {
      if (request.clientSignal.aborted) throw clientClosedRequest()
      const selection = await select(state)
      if (!('lease' in selection)) return lastAnswer(state, endOrThrow(state, selection))
      const end = await runAttempt(state, selection.lease)
      if (!('failure' in end)) return end
      const last = await answerAfter(state, end)
      if (last !== undefined) return lastAnswer(state, last)
    }
  } catch (error) {
    dropKept(state)
    const isOurs = error instanceof GatewayError
    if (isOurs) error.attempts = state.attempts.length
    recordEnd(state, { status: isOurs ? error.status : 500, code: isOurs ? error.code : 'internal_error' })
    throw error
  }
}

/** @throws `not_found` where one of the answers is not the client's */
async function requireOwn(ids: readonly string[], account: Account, deps: RelayDeps): Promise<void> {
  const allowed = await Promise.all(ids.map((id) => mayUseAnswer(id, account, deps)))
  if (allowed.includes(false)) throw unknownAnswer()
}

/** Ends the request with an upstream's own answer, handed on as it came, but for its key where it quotes that. */
function lastAnswer(state: RelayState, answer: RelayAnswer): RelayAnswer {
  state.firstByteMs = state.deps.clock.now() - state.request.since
  dropKept(state, answer)
  const { upstream, asError } = answer
  recordEnd(state, { status: (asError ?? answer).status, upstream })
  const shown = <T extends UpstreamResponse>(said: T): T =>
    said.body instanceof Uint8Array ? { ...said, body: maskedBytes(said.body, upstream) } : said
  const attempts = state.attempts.length
  return { ...shown(answer), ...(asError && { asError: shown(asError) }), attempts }
}

type Exhausted = Exclude<Selection, { lease: Lease }>

/**
 * What ends a request that no upstream is left for: an answer without content rather than none; the first words of who
 * did not like the body; a limit of somebody who might have taken it; else what the last failure says, in the first
 * words of its kind. @throws GatewayError where there are no words
 */
function endOrThrow(state: RelayState, { unavailable, why }: Exhausted): RelayAnswer {
  if (why === 'gone') throw clientClosedRequest()
  const { failures, unfit, refusal, firstWords, lastWords, deps, request } = state
  if (unfit !== undefined) return unfit
  const isLimited = failures.some(isLimit) || unavailable.some(isWaitedFor)
  if (refusal !== undefined && !(state.isAboutAbility && mightHaveTaken(state, unavailable))) return refusal
  const last = failures.at(-1)
  if (!isLimited && firstWords !== undefined && last?.isForClient === true) return firstWords
  if (why === 'not-admitted' && failures.length === 0 && unavailable.length === 0) throw queueFull()
  const { isPinned } = state
  throw exhausted({ failures, unavailable, words: lastWords, now: deps.clock.now(), request, isPinned })
}

/** Whether a limit alone keeps, or has kept, somebody who is not known to be unable. */
function mightHaveTaken(
  { deps, request, limited }: RelayState,
  unavailable: readonly Unavailable[],
): boolean {
  const waitedFor = unavailable.filter(isWaitedFor).map(({ upstream }) => upstream)
  const now = deps.clock.now()
  return [...limited, ...waitedFor].some(
    (upstream) => deps.abilities.fit(upstream, demandOn(request, upstream).needs, now) !== 'no',
  )
}

/**
 * The answer with which a failure ends the request; undefined when the next upstream is tried. @throws GatewayError
 * where a rule forbids another attempt
 */
async function answerAfter(
  state: RelayState,
  { failure, upstream, answer, words }: FailedAttempt,
): Promise<RelayAnswer | undefined> {
  state.failures.push(failure)
  state.lastWords = words
  learnFromFailure(state, upstream, { failure, answer })
  keepWords(state, failure, answer)
  if (isLimit(failure)) state.limited.push(upstream)
  if (failure.scope === 'none') state.refusedBy = new Set([...state.refusedBy, upstream.id])
  if (failure.class === 'too-long' || failure.class === 'refused-body') {
    // Other models and other hosts may think otherwise.
    state.refusers.push(upstream)
    state.order = []
  }
  // Other keys of its host may be asked last by now.
  if (failure.cause === 'rate-limited' && failure.hintMs === undefined) state.order = []
  if (failure.scope === 'endpoint' && state.request.endpoint === 'embeddings') await withoutStrangers(state)
  if (mayGoOn(state, failure)) return undefined
  const tried = suitableUpstreams(state).filter(({ id }) => state.tried.has(id))
  const { unavailable } = await evaluateFor(state, tried)
  return endOrThrow(state, { unavailable, why: 'exhausted' })
}

/** Remembers what the client may have to read: of answers without content the last, of refusals the first. */
function keepWords(state: RelayState, failure: Failure, answer: RelayAnswer | undefined): void {
  if (answer === undefined) return
  if (failure.class === 'unfit') {
    // JSON where a stream was asked is still an answer, and no answer without content is better.
    if (!state.isUnfitWhole) state.unfit = answer
    state.isUnfitWhole ||= failure.lesson?.about === 'stream'
  } else if (failure.class === 'refused') {
    if (state.firstWords === undefined) state.firstWords = answer
    else discard(answer.body)
  } else if (state.refusal === undefined) {
    state.refusal = answer
    // Somebody with a wider limit, or another ability, might have taken it.
    state.isAboutAbility = failure.class === 'too-long' || failure.lesson !== undefined
  } else discard(answer.body)
}

/** Whether another attempt is allowed after a failure. */
function mayGoOn(state: RelayState, { class: kind }: Failure): boolean {
  const { deps, failures, attempts, deadline, tried } = state
  const { maxAttempts = Infinity } = state.request.settings
  const now = deps.clock.now()
  if (attempts.length >= maxAttempts || now >= deadline) return false
  const { further, isBudgeted } = WALKS[kind]
  if (failures.filter((one) => one.class === kind).length > further) return false
  // A retry that has nowhere to go costs no budget.
  const hasOthers = suitableUpstreams(state).some(({ id }) => !tried.has(id))
  return !isBudgeted || !hasOthers || deps.traffic.budget.spend(now)
}
