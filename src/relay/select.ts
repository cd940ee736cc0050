import type { Settings } from '../config/config.ts'
import { instantOf } from '../lib/clock.ts'
import type { Outcome } from '../pool/outcome.ts'
import { orderOf, spendTurn, strategies, type Candidate } from '../pool/strategy.ts'
import type { Claim, Upstream } from '../pool/upstream.ts'
import { lastResortOf, type Block } from '../state/availability.ts'
import type { Ask, Lease, MaybePromise } from '../state/store.ts'
import { eligibleFor, retryAt, surveyOf, type Resting, type Survey } from './candidates.ts'
import { fitFor, openTo, type Journey } from './context.ts'
import type { RelayDeps } from './deps.ts'
import type { Queue, Turn } from './queue.ts'
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
  readonly journey: Journey
  readonly settings: Settings
  readonly traffic: Traffic
  readonly deps: RelayDeps
}

/** The right to send the request to one upstream, or why there is none. */
export type Selection =
  | { readonly lease: Lease }
  | { readonly resting: readonly Resting[]; readonly why: 'exhausted' | 'crowded-out' | 'gone' }

/**
 * Finds the next upstream for a request and acquires it. In this order: who may be tried at all; the rest of the order
 * that was made before; a new order of the candidates; the least bad of those that rest for failures; a wait.
 *
 * Called once before each attempt. The steps stand below, in the order in which they are taken.
 */
export async function select(task: SelectTask): Promise<Selection> {
  const { journey, deps } = task
  const { unheard } = journey
  const untried = openTo(journey)
  const open = withoutAwaited(task, untried)
  if (open.length === 0 && untried.length > 0) return enqueue(task)

  const lease =
    (await acquireRestOfOrder(task)) ??
    (await acquireNext(task, open)) ??
    (await acquireLastResort(task, await restingOf(task, open)))
  if (lease !== undefined) return { lease }
  // Others may take it than it seemed, now that it is known who holds the answer that it builds on.
  if (journey.unheard !== unheard) return select(task)

  const known = await survey(task, fitFor(journey))
  const deadline = queueDeadlineOf(task)
  const isWorthIt = mayOpen(journey, known, deadline) && deps.clock.now() < deadline
  return isWorthIt ? enqueue(task) : { resting: known.resting, why: 'exhausted' }
}

/** A newcomer leaves to the waiting what they wait for. */
function withoutAwaited({ journey, traffic }: SelectTask, open: readonly Upstream[]): readonly Upstream[] {
  const { queue } = traffic
  if (queue.size === 0 || journey.attempts.length > 0) return open
  return open.filter(({ id }) => !queue.isAwaited(id))
}

/** Who of `upstreams` may take the request now, and what keeps the others. */
export function survey(task: SelectTask, upstreams: readonly Upstream[]): MaybePromise<Survey> {
  const { journey, traffic, deps } = task
  return surveyOf(upstreams, askOf(task, NORMAL), {
    endpoint: journey.request.endpoint,
    now: deps.clock.now(),
    credits: traffic.credits,
    store: deps.store,
  })
}

async function restingOf(task: SelectTask, upstreams: readonly Upstream[]): Promise<readonly Resting[]> {
  const { resting } = await survey(task, upstreams)
  return resting
}

/** As many are put in order at once: mostly the first serves, and the rest would be judged by old news. */
export const MOST_IN_ORDER = 8

/** The first of the present order that still has room. */
function acquireRestOfOrder(task: SelectTask): MaybePromise<Lease | undefined> {
  const { order } = task.journey
  return order.length === 0 ? undefined : acquireInOrder(task, order, NORMAL)
}

/** The first candidate of `upstreams` with room, in an order made now. */
async function acquireNext(task: SelectTask, upstreams: readonly Upstream[]): Promise<Lease | undefined> {
  const { journey, settings, traffic, deps } = task
  const { unheard } = journey
  const { affinityKey, endpoint } = journey.request
  for (let left = upstreams; left.length > 0;) {
    const looking = survey(task, left)
    const { candidates } = looking instanceof Promise ? await looking : looking
    if (candidates.length === 0) {
      // Perhaps those who hold the room are gone.
      deps.store.reclaim(instantOf(deps.clock))
      return undefined
    }
    const recalling = affinityKey === '' ? undefined : deps.store.recall(affinityKey, instantOf(deps.clock))
    const remembered = recalling instanceof Promise ? await recalling : recalling
    // The store knows who goes first, and that may be anybody.
    const isStoreToSay = remembered === null || unheard.length > 0
    const order = orderOf(candidates, {
      strategy: strategies[settings.strategy],
      hashesUnseenKeys: settings.strategy === 'random',
      context: { draw: deps.draw, key: affinityKey, most: isStoreToSay ? Infinity : MOST_IN_ORDER },
      stickTo: remembered ?? undefined,
    })
    const claims = order.map(({ upstream }) => upstream.claims[endpoint])
    const how = remembered === null ? { lastResort: false, stickTo: affinityKey } : NORMAL
    const acquiring = acquireInOrder(task, claims, how)
    const lease = acquiring instanceof Promise ? await acquiring : acquiring
    if (lease !== undefined) {
      if (settings.strategy === 'round_robin') payTurn(traffic.credits, candidates, lease)
      return lease
    }
    if (journey.unheard !== unheard) return undefined
    // A store that is elsewhere may know better than the survey did: then it is the others' turn.
    left = without(left, order)
  }
  return undefined
}

function without(upstreams: readonly Upstream[], order: readonly Candidate[]): readonly Upstream[] {
  const asked = new Set(order.map(({ upstream }) => upstream))
  return upstreams.filter((upstream) => !asked.has(upstream))
}

/** A pick of the top tier is paid for by smooth round robin's rule; one further down was nobody's turn. */
function payTurn(credits: Map<string, number>, candidates: readonly Candidate[], { claim }: Lease): void {
  const top = Math.min(...candidates.map(({ upstream }) => upstream.priority))
  const tier = candidates.filter(({ upstream }) => upstream.priority === top)
  const picked = tier.find(({ upstream }) => upstream.id === claim.id)
  if (picked !== undefined) spendTurn(credits, tier, picked.upstream)
}

/** Has the store give a lease for the first of `order` that has room, and remembers the rest for the next attempt. */
function acquireInOrder(
  task: SelectTask,
  order: readonly Claim[],
  how: Pick<Ask, 'lastResort' | 'stickTo'>,
): MaybePromise<Lease | undefined> {
  const acquiring = acquire(task, order, how)
  const withRest = (lease: Lease | undefined): Lease | undefined => {
    const { journey } = task
    // It may have turned out meanwhile that one alone may answer.
    const hasOthers = lease !== undefined && journey.upstreams.length > 1
    const rest = hasOthers ? order.filter(({ id }) => id !== lease.claim.id) : []
    journey.order = rest.length > MOST_IN_ORDER ? rest.slice(0, MOST_IN_ORDER) : rest
    return lease
  }
  return acquiring instanceof Promise ? acquiring.then(withRest) : withRest(acquiring)
}

/** The failing ones by the end of their cooldowns, then those whose key, model or credit needs mending. */
async function acquireLastResort(task: SelectTask, resting: readonly Resting[]): Promise<Lease | undefined> {
  const { journey } = task
  const { unheard, request } = journey
  for (const often of ['always', 'sometimes'] as const) {
    const claims = resting
      .filter(({ block }) => lastResortOf(block) === often)
      .sort((a, b) => restsUntil(a.block) - restsUntil(b.block))
      .map(({ upstream }) => upstream.claims[request.endpoint])
    if (claims.length === 0) continue
    const lease = await acquire(task, claims, LAST_RESORT)
    if (lease !== undefined || journey.unheard !== unheard) return lease
  }
  return undefined
}

/** The cooldown of one that somebody else probes has ended already. */
const restsUntil = ({ onRelease, until }: Block): number => (onRelease ? 0 : until)

/** Whether a limit reopens in time, or somebody has become free since the order was tried. */
function mayOpen({ tried }: Journey, { candidates, resting }: Survey, deadline: number): boolean {
  if (candidates.some(({ upstream }) => !tried.has(upstream.id))) return true
  const reopening = retryAt(resting)
  return reopening !== undefined && (reopening.onRelease || reopening.at <= deadline)
}

function queueDeadlineOf({ journey, settings, deps }: SelectTask): number {
  const left = Math.max(0, settings.queueTimeoutMs - journey.queuedMs)
  return Math.min(journey.deadline, deps.clock.now() + left)
}

/** Waits in the queue, first come, first served, until one of all that fit can be acquired. */
async function enqueue(task: SelectTask): Promise<Selection> {
  const { journey, traffic, deps } = task
  const since = deps.clock.now()
  const turn = await traffic.queue.wait<Lease>({
    wants: new Set(fitFor(journey).map(({ id }) => id)),
    attempt: (taken) => selectAfterWait(task, taken, since),
    giveBack: (lease) => endLease({ lease, deps, traffic }, { kind: 'aborted', sent: false }),
    deadline: queueDeadlineOf(task),
    gone: journey.request.gone,
  })
  journey.queuedMs += deps.clock.now() - since
  if (typeof turn === 'object') return { lease: turn.got }
  const resting = await restingOf(task, fitFor(journey))
  return { resting, why: turn === 'gone' ? 'gone' : 'crowded-out' }
}

/** After a wait the order is made anew, of everybody but those that others wait for. */
async function selectAfterWait(
  task: SelectTask,
  taken: ReadonlySet<string>,
  since: number,
): Promise<Turn<Lease>> {
  const { journey, deps } = task
  const isFree = ({ id }: Upstream): boolean => !taken.has(id)
  // Without a moment in between it would be the same upstream twice.
  const hasWaited = deps.clock.now() > since
  const untried = openTo(journey).filter(isFree)
  const open = hasWaited ? fitFor(journey).filter(isFree) : untried
  const lease =
    (await acquireNext(task, open)) ?? (await acquireLastResort(task, await restingOf(task, untried)))
  if (lease !== undefined) {
    if (hasWaited) journey.tried.clear()
    return { got: lease }
  }
  const { candidates, resting } = await survey(task, fitFor(journey))
  const reopening = retryAt(resting)
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
  const { journey, deps } = task
  const lease = deps.store.acquire(order, askOf(task, how), instantOf(deps.clock))
  return journey.unheard.length === 0 ? lease : afterHearing(task, lease)
}

function askOf(
  { journey, settings }: SelectTask,
  { lastResort, stickTo }: Pick<Ask, 'lastResort' | 'stickTo'>,
): Ask {
  const { inputTokens, outputTokens, choices } = journey.request
  return {
    inputTokens,
    outputTokens,
    choices,
    probeMs: settings.connectTimeoutMs + settings.timeoutMs,
    lastResort,
    stickTo,
    heldBy: journey.unheard.length === 0 ? undefined : journey.unheard,
  }
}

/** What was not known of earlier answers before an acquire is known after it. */
async function afterHearing(
  { journey, deps }: SelectTask,
  lease: MaybePromise<Lease | undefined>,
): Promise<Lease | undefined> {
  const got = await lease
  const { upstreams } = await eligibleFor(journey.request, deps)
  journey.upstreams = upstreams
  journey.unheard = []
  return got
}

/** A lease, and who has to hear of its end. */
interface Held {
  readonly lease: Lease
  readonly deps: RelayDeps
  readonly traffic: Traffic
}

/** Ends a lease; then the waiting try for its place. */
export function endLease({ lease, deps, traffic }: Held, outcome: Outcome): void {
  wakeAfter(deps.store.settle(lease, outcome, instantOf(deps.clock)), traffic)
}

/** Lets the waiting try, as soon as the store knows what has changed. */
export function wakeAfter(step: MaybePromise<void>, { queue }: Traffic): void {
  const wake = (): void => queue.wake()
  if (step instanceof Promise) void step.then(wake, wake)
  else wake()
}
