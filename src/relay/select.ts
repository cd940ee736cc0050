import { instantOf, type Instant } from '../lib/clock.ts'
import { withoutWords, type Outcome } from '../pool/outcome.ts'
import { orderOf, chargeRoundRobin, strategies, type Candidate } from '../pool/strategy.ts'
import type { Claim, Upstream } from '../pool/upstream.ts'
import type { UnavailableReason } from '../state/availability.ts'
import { lastResortOf } from '../state/circuit-breaker.ts'
import type { Ask, Lease, MaybePromise } from '../state/store.ts'
import {
  evaluate,
  resolvePins,
  retryAt,
  standingFor,
  type Evaluation,
  type Unavailable,
} from './candidates.ts'
import type { ChoiceNote, RelayDeps, Why } from './deps.ts'
import type { RelayState } from './request.ts'

/**
 * The right to send the request to one upstream, or why there is none. `not-admitted`: the queue was full, or the wait
 * in it ran out.
 */
export type Selection =
  | { readonly lease: Lease }
  | { readonly unavailable: readonly Unavailable[]; readonly why: 'exhausted' | 'not-admitted' | 'gone' }

/**
 * Finds the next upstream for a request and acquires a lease for it. Called once before each attempt.
 *
 * 1. What others wait for already is left to them. 2. What remains of the order that the last attempt was made from.
 * 3. A new order of the candidates. 4. As a last resort one that cools down: for failures first, then for its key, model
 * or credit. 5. A wait in the queue. Helpers stand beside the step that uses them.
 *
 * A request that builds on an earlier answer (`previous_response_id`) is pinned to the upstream that made it. A remote
 * store tells which one that is only with an acquire; until then the pin is unresolved.
 */
export async function select(state: RelayState): Promise<Selection> {
  const { unresolvedPins, deps } = state
  const untried = untriedUpstreams(state)
  const eligible = withoutAwaited(state, untried)
  if (eligible.length === 0 && untried.length > 0) return waitInQueue(state)

  const lease =
    (await acquireRemaining(state)) ??
    (await acquireNext(state, eligible)) ??
    (await acquireLastResort(state, eligible))
  if (lease !== undefined) return { lease }
  // Others may take it than it seemed, now that it is known who holds the answer that it builds on.
  if (state.unresolvedPins !== unresolvedPins) return select(state)

  const evaluation = await evaluateFor(state, suitableUpstreams(state))
  notePassedOver(state, evaluation)
  const deadline = queueDeadlineOf(state)
  const isWorthIt = mayOpen(state, evaluation, deadline) && deps.clock.now() < deadline
  return isWorthIt ? waitInQueue(state) : { unavailable: evaluation.unavailable, why: 'exhausted' }
}

/** Only where a limit of size or an ability was missing another upstream may be worth a wait. */
const hasAnswer = ({ unfit, refusal, isAboutAbility }: RelayState): boolean =>
  unfit !== undefined || (refusal !== undefined && !isAboutAbility)

/** Who may be tried at all, now or after a wait. */
export function suitableUpstreams({ upstreams, refusedBy }: RelayState): readonly Upstream[] {
  return refusedBy.size === 0 ? upstreams : upstreams.filter(({ id }) => !refusedBy.has(id))
}

/** Who may be tried now: not the same twice. */
export function untriedUpstreams(state: RelayState): readonly Upstream[] {
  const { tried } = state
  const suitable = suitableUpstreams(state)
  return tried.size === 0 ? suitable : suitable.filter(({ id }) => !tried.has(id))
}

/** A newcomer leaves to the waiting what they wait for. */
function withoutAwaited({ attempts, deps }: RelayState, upstreams: readonly Upstream[]): readonly Upstream[] {
  const { queue } = deps.traffic
  if (queue.size === 0 || attempts.length > 0) return upstreams
  return upstreams.filter(({ id }) => !queue.isAwaited(id))
}

/** Who of `upstreams` may take the request now, and what keeps the others. */
export function evaluateFor(
  state: RelayState,
  upstreams: readonly Upstream[],
  how: Pick<Instant, 'now'> & Pick<AskOptions, 'ask'> = { now: state.deps.clock.now() },
): MaybePromise<Evaluation> {
  const { now, ask = askOf(state, { now }) } = how
  const { request, refusers } = state
  const { store, traffic, abilities } = state.deps
  const { endpoint } = request
  const { credits } = traffic
  const standingOf = standingFor({ demands: request, abilities, upstreams: state.upstreams, refusers, now })
  return evaluate(upstreams, ask, { endpoint, now, credits, store, standingOf })
}

/** Whether somebody who was not asked yet may take the request now. */
export async function hasOthersNow(state: RelayState): Promise<boolean> {
  const { candidates, unavailable } = await evaluateFor(state, untriedUpstreams(state))
  return candidates.length > 0 || unavailable.some(({ reason }) => lastResortOf(reason) === 'always')
}

/**
 * Vectors of two models do not mix, so a request for them stays with one: the first that is not known to lack the
 * endpoint. It lacks it where all its upstreams say so, and none has ever answered.
 */
export async function withoutStrangers(state: RelayState): Promise<void> {
  const { upstreams } = state.request.pool
  if (upstreams.every(({ model }) => model === upstreams[0]?.model)) return
  const { store, abilities, clock } = state.deps
  const scopes = upstreams.map(({ claims }) =>
    claims.embeddings.draws.find(({ role }) => role === 'endpoint'),
  )
  const known = await store.snapshot(scopes.map((limitScope) => limitScope?.scope ?? ''))
  const now = clock.now()
  const mayServe = ({ id }: Upstream, at: number): boolean =>
    abilities.hasEmbedded(id) || (known[at]?.breaker?.openUntil ?? 0) <= now
  const serving = new Set(upstreams.filter(mayServe).map(({ model }) => model))
  const first = upstreams.find(({ model }) => serving.has(model)) ?? upstreams[0]
  state.upstreams = upstreams.filter(({ model }) => model === first?.model)
  state.order = []
}

/** As many are put in order at once: mostly the first serves, and the rest would be judged by old news. */
export const MOST_IN_ORDER = 8

/** Has the store give a lease for the first of `order` that has room, and remembers the rest for the next attempt. */
function acquireInOrder(state: RelayState, order: readonly Claim[], how: AskOptions): MaybeLease {
  if (order.length === 0) return undefined
  const acquiring = acquire(state, order, how)
  const withRemainingOrder = (lease: Lease | undefined): Lease | undefined => {
    // It may have turned out meanwhile that one alone may answer.
    const hasOthers = lease !== undefined && state.upstreams.length > 1
    state.order = hasOthers ? order.filter(({ id }) => id !== lease.claim.id).slice(0, MOST_IN_ORDER) : []
    return lease
  }
  return acquiring instanceof Promise ? acquiring.then(withRemainingOrder) : withRemainingOrder(acquiring)
}

/** The next of an order that an earlier attempt was made from. */
function acquireRemaining(state: RelayState): MaybeLease {
  if (state.order.length === 0) return undefined
  state.why = whyOf(state, 'fallback')
  const at = instantOf(state.deps.clock)
  note(state, { kind: 'remaining', at, left: [] })
  return acquireInOrder(state, state.order, at)
}

type NotedChoice = Pick<ChoiceNote, 'kind' | 'at' | 'left' | 'stickTo'> & Partial<Pick<ChoiceNote, 'ask'>>

/** Has it written down how a lease comes to be chosen, where that is done; before the store is asked. On the hot path. */
function note(state: RelayState, { kind, at, left, stickTo, ask }: NotedChoice): void {
  const { recorder } = state.deps
  if (recorder === undefined) return
  recorder.note({
    request: state.request,
    kind,
    at,
    base: state.upstreams,
    left,
    refusers: state.refusers,
    stickTo,
    owner: state.owner,
    ask: ask ?? askOf(state, at),
    isWaiting: (state.waitUntil ?? NOWHERE) > NOWHERE,
  })
}

/** Why an upstream is asked, where what kind of request it is does not say more. */
const whyOf = ({ isPinned, attempts }: RelayState, why: Why): Why => {
  if (isPinned) return 'pinned'
  return attempts.length > 0 && why !== 'last-resort' ? 'fallback' : why
}

/** Why a choice among `candidates` fell on the upstream of a lease. */
function reasonFor({ claim }: Lease, { state, candidates, stickTo }: Choice): Why {
  if (candidates.length === 1) return 'only'
  if (claim.id === state.owner) return 'owner'
  return claim.id === stickTo ? 'affinity' : state.request.settings.strategy
}

interface Choice {
  readonly state: RelayState
  readonly candidates: readonly Candidate[]
  /** Who served the affinity key before, as far as that is known at once. */
  readonly stickTo: MaybePromise<string | null | undefined>
}

/** Remembers for the log who could not be taken. */
function notePassedOver(state: RelayState, { unavailable }: Evaluation, at?: Instant): void {
  state.passedOver =
    unavailable.length === 0 ? undefined : { at: at ?? instantOf(state.deps.clock), unavailable }
}

/** The first candidate of `upstreams` with room, in an order made now. */
async function acquireNext(state: RelayState, upstreams: readonly Upstream[]): Promise<Lease | undefined> {
  const { deps, unresolvedPins } = state
  const { settings, affinityKey, endpoint, keyHash } = state.request
  for (let left = upstreams; left.length > 0;) {
    // One moment for all of a choice, so that it can be made again.
    const at = instantOf(deps.clock)
    const ask = askOf(state, at)
    const evaluating = evaluateFor(state, left, { now: at.now, ask })
    const evaluation = evaluating instanceof Promise ? await evaluating : evaluating
    const { candidates } = evaluation
    notePassedOver(state, evaluation, at)
    if (candidates.length === 0) {
      note(state, { kind: 'next', at, left, ask })
      // Perhaps those who hold the room are gone.
      deps.store.reclaim(at)
      return undefined
    }
    const recalling = affinityKey === '' ? undefined : deps.store.recall(affinityKey, at)
    const remembered = recalling instanceof Promise ? await recalling : recalling
    // A remote store may know who goes first, and that may be anybody.
    const storeMayReorder = remembered === null || unresolvedPins.length > 0
    const stickTo = remembered ?? undefined
    note(state, { kind: 'next', at, left, stickTo, ask })
    const random = deps.recorder?.dice() ?? deps.random
    const order = orderOf(candidates, {
      strategy: strategies[settings.strategy],
      context: { random, keyHash, most: storeMayReorder ? Infinity : MOST_IN_ORDER },
      stickTo,
      owner: state.owner,
    })
    const claims = order.map(({ upstream }) => upstream.claims[endpoint])
    const how = remembered === null ? { ...at, stickTo: affinityKey } : { ...at, ask }
    const acquiring = acquireInOrder(state, claims, how)
    const lease = acquiring instanceof Promise ? await acquiring : acquiring
    if (lease !== undefined) {
      if (settings.strategy === 'round_robin') chargeTopTier(deps.traffic.credits, candidates, lease)
      // A remote store that did not know the key on this side does now.
      const served = remembered === null ? deps.store.recall(affinityKey, instantOf(deps.clock)) : remembered
      state.why = whyOf(state, reasonFor(lease, { state, candidates, stickTo: served }))
      return lease
    }
    if (state.unresolvedPins !== unresolvedPins) return undefined
    // A store that is elsewhere may know better than the evaluation did: then it is the others' turn.
    const ordered = new Set(order.map(({ upstream }) => upstream))
    left = left.filter((upstream) => !ordered.has(upstream))
  }
  return undefined
}

/** A pick of the top tier is paid for by smooth round robin's rule; one further down was nobody's turn. */
export function chargeTopTier(
  credits: Map<string, number>,
  candidates: readonly Candidate[],
  lease: Lease,
): void {
  const top = Math.min(...candidates.map(({ upstream }) => upstream.priority))
  const tier = candidates.filter(({ upstream }) => upstream.priority === top)
  const picked = tier.find(({ upstream }) => upstream.id === lease.claim.id)
  if (picked !== undefined) chargeRoundRobin(credits, tier, picked.upstream)
}

/** The failing ones by the end of their cooldowns, then those that wait for an operator or for credit. */
async function acquireLastResort(state: RelayState, eligible: readonly Upstream[]) {
  const { unresolvedPins, request } = state
  // It may have turned out meanwhile that one alone may answer.
  const upstreams = eligible.filter((upstream) => state.upstreams.includes(upstream))
  const at = instantOf(state.deps.clock)
  const { unavailable } = await evaluateFor(state, upstreams, at)
  state.why = whyOf(state, 'last-resort')
  for (const often of ['always', 'sometimes'] as const) {
    const claims = lastResorts(unavailable, often).map((upstream) => upstream.claims[request.endpoint])
    if (claims.length === 0) continue
    note(state, { kind: often === 'always' ? 'last-resort' : 'rare-last-resort', at, left: upstreams })
    const lease = await acquire(state, claims, { ...at, lastResort: true })
    if (lease !== undefined || state.unresolvedPins !== unresolvedPins) return lease
  }
  return undefined
}

/** Those that may be asked although they rest, the first to reopen first. */
export const lastResorts = (unavailable: readonly Unavailable[], often: 'always' | 'sometimes'): Upstream[] =>
  unavailable
    .filter(({ reason }) => lastResortOf(reason) === often)
    .sort((a, b) => reopensAt(a.reason) - reopensAt(b.reason))
    .map(({ upstream }) => upstream)

/** The cooldown of one that somebody else probes has ended already. */
const reopensAt = ({ onRelease, until }: UnavailableReason): number => (onRelease ? 0 : until)

/** Whether a limit reopens in time, or somebody has become free since the order was tried. */
function mayOpen({ tried }: RelayState, { candidates, unavailable }: Evaluation, deadline: number): boolean {
  if (candidates.some(({ upstream }) => !tried.has(upstream.id))) return true
  const reopening = retryAt(unavailable)
  return reopening !== undefined && (reopening.onRelease || reopening.at <= deadline)
}

/** Until when it may wait; not at all where there is something to answer with. */
function queueDeadlineOf(state: RelayState, now = state.deps.clock.now()): number {
  const { request, queuedMs, deadline } = state
  if (hasAnswer(state)) return now
  return Math.min(deadline, now + Math.max(0, request.settings.queueTimeoutMs - queuedMs))
}

/** Waits in the queue, first come, first served, until one of all that fit can be acquired. */
async function waitInQueue(state: RelayState): Promise<Selection> {
  const { deps } = state
  const since = deps.clock.now()
  const deadline = queueDeadlineOf(state)
  state.waitUntil = deadline
  const waited = await deps.traffic.queue.wait<Lease>({
    wants: new Set(suitableUpstreams(state).map(({ id }) => id)),
    tryNow: (taken) => selectAfterWait(state, taken, since),
    release: (lease) => endLease(lease, { kind: 'aborted', sent: false }, deps),
    deadline,
    clientSignal: state.request.clientSignal,
  })
  state.waitUntil = undefined
  state.queuedMs += deps.clock.now() - since
  if (typeof waited === 'object') return { lease: waited.got }
  const lease = waited === 'full' ? await acquireWithoutWait(state) : undefined
  if (lease !== undefined) return { lease }
  const evaluation = await evaluateFor(state, suitableUpstreams(state))
  notePassedOver(state, evaluation)
  const { unavailable } = evaluation
  return { unavailable, why: waited === 'gone' ? 'gone' : 'not-admitted' }
}

/** `waitUntil` of a request that found the queue full. */
const NOWHERE = -Infinity

/** Where nobody may wait a guess, which only delays, keeps from nothing. */
async function acquireWithoutWait(state: RelayState): Promise<Lease | undefined> {
  state.waitUntil = NOWHERE
  const lease = await acquireNext(state, untriedUpstreams(state))
  state.waitUntil = undefined
  return lease
}

/** After a wait the order is made anew, of everybody but those that others wait for. */
async function selectAfterWait(state: RelayState, taken: ReadonlySet<string>, since: number) {
  const isFree = ({ id }: Upstream): boolean => !taken.has(id)
  // If no time has passed, an upstream that has just failed must not be tried again.
  const hasWaited = state.deps.clock.now() > since
  const untried = untriedUpstreams(state).filter(isFree)
  const eligible = hasWaited ? suitableUpstreams(state).filter(isFree) : untried
  const lease = (await acquireNext(state, eligible)) ?? (await acquireLastResort(state, untried))
  if (lease !== undefined) {
    if (hasWaited) state.tried.clear()
    if (hasWaited && !state.isPinned) state.why = 'waited'
    return { got: lease }
  }
  const { candidates, unavailable } = await evaluateFor(state, suitableUpstreams(state))
  const reopening = retryAt(unavailable)
  // Somebody may have become free while this was found out: then the queue is walked once more.
  const isNews = taken.size > 0 || candidates.length > 0
  return { until: reopening?.at ?? Infinity, onRelease: isNews || reopening?.onRelease === true }
}

type MaybeLease = MaybePromise<Lease | undefined>
/** When it is asked, and what for besides the request's own needs. */
type AskOptions = Instant & Partial<Pick<Ask, 'lastResort' | 'stickTo'>> & { readonly ask?: Ask }

function acquire(state: RelayState, order: readonly Claim[], how: AskOptions): MaybeLease {
  const lease = state.deps.store.acquire(order, how.ask ?? askOf(state, how), how)
  return state.unresolvedPins.length === 0 ? lease : pinsResolved(state, lease)
}

/** What was not known of earlier answers before an acquire is known after it. */
async function pinsResolved(state: RelayState, acquiring: MaybeLease): Promise<Lease | undefined> {
  const lease = await acquiring
  await resolvePins(state)
  state.unresolvedPins = []
  return lease
}

function askOf(state: RelayState, how: Pick<Instant, 'now'> & Partial<AskOptions>): Ask {
  const { request, unresolvedPins } = state
  const { lastResort = false, stickTo, now } = how
  const { settings, demands } = request
  const { inputTokens, outputTokens, choices } = request.demand
  const probeMs = settings.connectTimeoutMs + request.pool.longestTimeoutMs
  const pinKeys = unresolvedPins.length === 0 ? undefined : unresolvedPins
  const patienceMs = Math.max(0, (state.waitUntil ?? queueDeadlineOf(state, now)) - now)
  return { inputTokens, outputTokens, choices, demands, probeMs, patienceMs, lastResort, stickTo, pinKeys }
}

/** Ends a lease; then the waiting try for its place. */
export function endLease(lease: Lease, outcome: Outcome, deps: RelayDeps): void {
  wakeAfter(deps.store.settle(lease, withoutWords(outcome), instantOf(deps.clock)), deps)
}

/** Lets the waiting try, as soon as the store knows what has changed. */
export function wakeAfter(step: MaybePromise<void>, { traffic }: RelayDeps): void {
  const { wake } = traffic.queue
  if (step instanceof Promise) void step.then(wake, wake)
  else wake()
}
