import type { Settings } from '../config/config.ts'
import { instantOf } from '../lib/clock.ts'
import type { Outcome } from '../pool/outcome.ts'
import { orderOf, chargeRoundRobin, strategies, type Candidate } from '../pool/strategy.ts'
import type { Claim, Upstream } from '../pool/upstream.ts'
import type { UnavailableReason } from '../state/availability.ts'
import { lastResortOf } from '../state/circuit-breaker.ts'
import type { Ask, Lease, MaybePromise } from '../state/store.ts'
import { pinnedUpstreams, retryAt, evaluate, type Unavailable, type Evaluation } from './candidates.ts'
import { suitableUpstreams, untriedUpstreams, type RelayState } from './context.ts'
import type { RelayDeps } from './deps.ts'
import type { Queue, TryOutcome } from './queue.ts'
import type { RetryBudget } from './retry-budget.ts'

/** What all requests of a process share and no configuration changes. */
export interface Traffic {
  /** Credits of smooth round robin, by upstream id. */
  readonly credits: Map<string, number>
  readonly budget: RetryBudget
  readonly queue: Queue
}

/** One request, and everything that choosing its next upstream needs. */
export interface SelectTask {
  readonly state: RelayState
  readonly settings: Settings
  readonly traffic: Traffic
  readonly deps: RelayDeps
}

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
export async function select(task: SelectTask): Promise<Selection> {
  const { state, deps } = task
  const { unresolvedPins } = state
  const untried = untriedUpstreams(state)
  const eligible = withoutAwaited(task, untried)
  if (eligible.length === 0 && untried.length > 0) return waitInQueue(task)

  const lease =
    (await acquireFromRemainingOrder(task)) ??
    (await acquireNext(task, eligible)) ??
    (await acquireLastResort(task, await unavailableOf(task, eligible)))
  if (lease !== undefined) return { lease }
  // Others may take it than it seemed, now that it is known who holds the answer that it builds on.
  if (state.unresolvedPins !== unresolvedPins) return select(task)

  const known = await evaluateFor(task, suitableUpstreams(state))
  const deadline = queueDeadlineOf(task)
  const isWorthIt = mayOpen(state, known, deadline) && deps.clock.now() < deadline
  return isWorthIt ? waitInQueue(task) : { unavailable: known.unavailable, why: 'exhausted' }
}

/** A newcomer leaves to the waiting what they wait for. */
function withoutAwaited({ state, traffic }: SelectTask, open: readonly Upstream[]): readonly Upstream[] {
  const { queue } = traffic
  if (queue.size === 0 || state.attempts.length > 0) return open
  return open.filter(({ id }) => !queue.isAwaited(id))
}

/** Who of `upstreams` may take the request now, and what keeps the others. */
export function evaluateFor(task: SelectTask, upstreams: readonly Upstream[]): MaybePromise<Evaluation> {
  const { state, traffic, deps } = task
  return evaluate(upstreams, askOf(task, NORMAL), {
    endpoint: state.request.endpoint,
    now: deps.clock.now(),
    credits: traffic.credits,
    store: deps.store,
  })
}

async function unavailableOf(
  task: SelectTask,
  upstreams: readonly Upstream[],
): Promise<readonly Unavailable[]> {
  const { unavailable } = await evaluateFor(task, upstreams)
  return unavailable
}

/** As many are put in order at once: mostly the first serves, and the rest would be judged by old news. */
export const MOST_IN_ORDER = 8

/** The first of the present order that still has room. */
function acquireFromRemainingOrder(task: SelectTask): MaybePromise<Lease | undefined> {
  const { order } = task.state
  return order.length === 0 ? undefined : acquireInOrder(task, order, NORMAL)
}

/** The first candidate of `upstreams` with room, in an order made now. */
async function acquireNext(task: SelectTask, upstreams: readonly Upstream[]): Promise<Lease | undefined> {
  const { state, settings, traffic, deps } = task
  const { unresolvedPins } = state
  const { affinityKey, endpoint } = state.request
  for (let left = upstreams; left.length > 0;) {
    const evaluating = evaluateFor(task, left)
    const { candidates } = evaluating instanceof Promise ? await evaluating : evaluating
    if (candidates.length === 0) {
      // Perhaps those who hold the room are gone.
      deps.store.reclaim(instantOf(deps.clock))
      return undefined
    }
    const recalling = affinityKey === '' ? undefined : deps.store.recall(affinityKey, instantOf(deps.clock))
    const remembered = recalling instanceof Promise ? await recalling : recalling
    // A remote store may know who goes first, and that may be anybody.
    const storeMayReorder = remembered === null || unresolvedPins.length > 0
    const order = orderOf(candidates, {
      strategy: strategies[settings.strategy],
      context: { random: deps.random, key: affinityKey, most: storeMayReorder ? Infinity : MOST_IN_ORDER },
      stickTo: remembered ?? undefined,
    })
    const claims = order.map(({ upstream }) => upstream.claims[endpoint])
    const how = remembered === null ? { lastResort: false, stickTo: affinityKey } : NORMAL
    const acquiring = acquireInOrder(task, claims, how)
    const lease = acquiring instanceof Promise ? await acquiring : acquiring
    if (lease !== undefined) {
      if (settings.strategy === 'round_robin') chargeTopTier(traffic.credits, candidates, lease)
      return lease
    }
    if (state.unresolvedPins !== unresolvedPins) return undefined
    // A store that is elsewhere may know better than the evaluation did: then it is the others' turn.
    left = without(left, order)
  }
  return undefined
}

function without(upstreams: readonly Upstream[], order: readonly Candidate[]): readonly Upstream[] {
  const ordered = new Set(order.map(({ upstream }) => upstream))
  return upstreams.filter((upstream) => !ordered.has(upstream))
}

/** A pick of the top tier is paid for by smooth round robin's rule; one further down was nobody's turn. */
function chargeTopTier(
  credits: Map<string, number>,
  candidates: readonly Candidate[],
  { claim }: Lease,
): void {
  const top = Math.min(...candidates.map(({ upstream }) => upstream.priority))
  const tier = candidates.filter(({ upstream }) => upstream.priority === top)
  const picked = tier.find(({ upstream }) => upstream.id === claim.id)
  if (picked !== undefined) chargeRoundRobin(credits, tier, picked.upstream)
}

/** Has the store give a lease for the first of `order` that has room, and remembers the rest for the next attempt. */
function acquireInOrder(
  task: SelectTask,
  order: readonly Claim[],
  how: Pick<Ask, 'lastResort' | 'stickTo'>,
): MaybePromise<Lease | undefined> {
  const acquiring = acquire(task, order, how)
  const withRemainingOrder = (lease: Lease | undefined): Lease | undefined => {
    const { state } = task
    // It may have turned out meanwhile that one alone may answer.
    const hasOthers = lease !== undefined && state.upstreams.length > 1
    const rest = hasOthers ? order.filter(({ id }) => id !== lease.claim.id) : []
    state.order = rest.length > MOST_IN_ORDER ? rest.slice(0, MOST_IN_ORDER) : rest
    return lease
  }
  return acquiring instanceof Promise ? acquiring.then(withRemainingOrder) : withRemainingOrder(acquiring)
}

/** The failing ones by the end of their cooldowns, then those that wait for an operator or for credit. */
async function acquireLastResort(
  task: SelectTask,
  unavailable: readonly Unavailable[],
): Promise<Lease | undefined> {
  const { state } = task
  const { unresolvedPins, request } = state
  for (const often of ['always', 'sometimes'] as const) {
    const claims = unavailable
      .filter(({ reason }) => lastResortOf(reason) === often)
      .sort((a, b) => reopensAt(a.reason) - reopensAt(b.reason))
      .map(({ upstream }) => upstream.claims[request.endpoint])
    if (claims.length === 0) continue
    const lease = await acquire(task, claims, LAST_RESORT)
    if (lease !== undefined || state.unresolvedPins !== unresolvedPins) return lease
  }
  return undefined
}

/** The cooldown of one that somebody else probes has ended already. */
const reopensAt = ({ onRelease, until }: UnavailableReason): number => (onRelease ? 0 : until)

/** Whether a limit reopens in time, or somebody has become free since the order was tried. */
function mayOpen({ tried }: RelayState, { candidates, unavailable }: Evaluation, deadline: number): boolean {
  if (candidates.some(({ upstream }) => !tried.has(upstream.id))) return true
  const reopening = retryAt(unavailable)
  return reopening !== undefined && (reopening.onRelease || reopening.at <= deadline)
}

function queueDeadlineOf({ state, settings, deps }: SelectTask): number {
  const left = Math.max(0, settings.queueTimeoutMs - state.queuedMs)
  return Math.min(state.deadline, deps.clock.now() + left)
}

/** Waits in the queue, first come, first served, until one of all that fit can be acquired. */
async function waitInQueue(task: SelectTask): Promise<Selection> {
  const { state, traffic, deps } = task
  const since = deps.clock.now()
  const waited = await traffic.queue.wait<Lease>({
    wants: new Set(suitableUpstreams(state).map(({ id }) => id)),
    tryNow: (taken) => selectAfterWait(task, taken, since),
    release: (lease) => endLease({ lease, deps, traffic }, { kind: 'aborted', sent: false }),
    deadline: queueDeadlineOf(task),
    clientSignal: state.request.clientSignal,
  })
  state.queuedMs += deps.clock.now() - since
  if (typeof waited === 'object') return { lease: waited.got }
  const unavailable = await unavailableOf(task, suitableUpstreams(state))
  return { unavailable, why: waited === 'gone' ? 'gone' : 'not-admitted' }
}

/** After a wait the order is made anew, of everybody but those that others wait for. */
async function selectAfterWait(
  task: SelectTask,
  taken: ReadonlySet<string>,
  since: number,
): Promise<TryOutcome<Lease>> {
  const { state, deps } = task
  const isFree = ({ id }: Upstream): boolean => !taken.has(id)
  // If no time has passed, an upstream that has just failed must not be tried again.
  const hasWaited = deps.clock.now() > since
  const untried = untriedUpstreams(state).filter(isFree)
  const eligible = hasWaited ? suitableUpstreams(state).filter(isFree) : untried
  const lease =
    (await acquireNext(task, eligible)) ?? (await acquireLastResort(task, await unavailableOf(task, untried)))
  if (lease !== undefined) {
    if (hasWaited) state.tried.clear()
    return { got: lease }
  }
  const { candidates, unavailable } = await evaluateFor(task, suitableUpstreams(state))
  const reopening = retryAt(unavailable)
  // Somebody may have become free while this was found out: then the queue is walked once more.
  const isNews = taken.size > 0 || candidates.length > 0
  return { until: reopening?.at ?? Infinity, onRelease: isNews || reopening?.onRelease === true }
}

const NORMAL = { lastResort: false }
const LAST_RESORT = { lastResort: true }

function acquire(
  task: SelectTask,
  order: readonly Claim[],
  how: Pick<Ask, 'lastResort' | 'stickTo'>,
): MaybePromise<Lease | undefined> {
  const { state, deps } = task
  const lease = deps.store.acquire(order, askOf(task, how), instantOf(deps.clock))
  return state.unresolvedPins.length === 0 ? lease : resolvePins(task, lease)
}

function askOf(
  { state, settings }: SelectTask,
  { lastResort, stickTo }: Pick<Ask, 'lastResort' | 'stickTo'>,
): Ask {
  const { inputTokens, outputTokens, choices } = state.request
  return {
    inputTokens,
    outputTokens,
    choices,
    probeMs: settings.connectTimeoutMs + settings.timeoutMs,
    lastResort,
    stickTo,
    pinKeys: state.unresolvedPins.length === 0 ? undefined : state.unresolvedPins,
  }
}

/** What was not known of earlier answers before an acquire is known after it. */
async function resolvePins(
  { state, deps }: SelectTask,
  lease: MaybePromise<Lease | undefined>,
): Promise<Lease | undefined> {
  const got = await lease
  const { upstreams } = await pinnedUpstreams(state.request, deps)
  state.upstreams = upstreams
  state.unresolvedPins = []
  return got
}

/** A lease, and who has to hear of its end. */
interface HeldLease {
  readonly lease: Lease
  readonly deps: RelayDeps
  readonly traffic: Traffic
}

/** Ends a lease; then the waiting try for its place. */
export function endLease({ lease, deps, traffic }: HeldLease, outcome: Outcome): void {
  wakeAfter(deps.store.settle(lease, outcome, instantOf(deps.clock)), traffic)
}

/** Lets the waiting try, as soon as the store knows what has changed. */
export function wakeAfter(step: MaybePromise<void>, { queue }: Traffic): void {
  const wake = (): void => queue.wake()
  if (step instanceof Promise) void step.then(wake, wake)
  else wake()
}
