import { instantOf } from '../lib/clock.ts'
import type { Outcome } from '../pool/outcome.ts'
import { orderOf, spendTurn, strategies, type Candidate } from '../pool/strategy.ts'
import type { Claim, StrategyName, Upstream } from '../pool/upstream.ts'
import { lastResortOf, type Block } from '../state/availability.ts'
import type { Ask, Lease, MaybePromise } from '../state/store.ts'
import { eligibleFor, retryAt, surveyOf, type Resting, type Survey } from './candidates.ts'
import { fitFor, openTo, type Journey } from './context.ts'
import type { RelayDeps } from './deps.ts'
import type { Queue, Turn } from './queue.ts'
import type { RetryBudget } from './retry-budget.ts'

/** What a configuration says about choosing and trying. */
export interface RelayRules {
  readonly strategy: StrategyName
  readonly affinityTtlMs: number
  readonly timeoutMs: number
  readonly connectTimeoutMs: number
  readonly queueTimeoutMs: number
  readonly maxAttempts: number | undefined
}

/** What all requests of a process share and no configuration changes. */
export interface Traffic {
  /** Credits of smooth round robin, by upstream id. */
  readonly credits: Map<string, number>
  readonly budget: RetryBudget
  readonly queue: Queue
}

/** Everything that finding a turn needs. */
export interface TurnTask {
  readonly journey: Journey
  readonly rules: RelayRules
  readonly traffic: Traffic
  readonly deps: RelayDeps
}

/** A lease, or what stands in the way of one. */
export type Found =
  | { readonly lease: Lease }
  | { readonly resting: readonly Resting[]; readonly why: 'exhausted' | 'crowded-out' | 'gone' }

/** Finds the next upstream for a request: the rest of its order, then the least bad, then a wait. */
export function nextTurn(task: TurnTask): MaybePromise<Found> {
  const { unheard } = task.journey
  // Others may take it than it seemed, once it is known who holds the answer that it builds on.
  const orAgain = (found: Found): MaybePromise<Found> =>
    'lease' in found || task.journey.unheard === unheard ? found : oneTurn(task)
  const found = oneTurn(task)
  return found instanceof Promise ? found.then(orAgain) : orAgain(found)
}

function oneTurn(task: TurnTask): MaybePromise<Found> {
  const open = openTo(task.journey)
  const unclaimed = withoutAwaited(task, open)
  if (unclaimed.length === 0 && open.length > 0) return wait(task)
  const orElse = (lease: Lease | undefined): MaybePromise<Found> =>
    lease === undefined ? lastResortOrWait(task, unclaimed) : { lease }
  const taken = takeCandidate(task, unclaimed)
  return taken instanceof Promise ? taken.then(orElse) : orElse(taken)
}

/** A newcomer leaves to the waiting what they wait for. */
function withoutAwaited({ journey, traffic }: TurnTask, open: readonly Upstream[]): readonly Upstream[] {
  const { queue } = traffic
  if (queue.size === 0 || journey.attempts.length > 0) return open
  return open.filter(({ id }) => !queue.isAwaited(id))
}

async function lastResortOrWait(task: TurnTask, open: readonly Upstream[]): Promise<Found> {
  const { resting } = await survey(task, open)
  const lease = await takeLeastBad(task, resting)
  if (lease !== undefined) return { lease }
  const known = await survey(task, fitFor(task.journey))
  const deadline = queueDeadlineOf(task)
  const isWorthIt = mayOpen(task, known, deadline) && task.deps.clock.now() < deadline
  return isWorthIt ? wait(task) : { resting: known.resting, why: 'exhausted' }
}

/** Whether a limit reopens in time, or somebody has become free since the order was tried. */
function mayOpen({ journey }: TurnTask, { candidates, resting }: Survey, deadline: number): boolean {
  if (candidates.some(({ upstream }) => !journey.tried.has(upstream.id))) return true
  const reopening = retryAt(resting)
  return reopening !== undefined && (reopening.onRelease || reopening.at <= deadline)
}

function queueDeadlineOf({ journey, rules, deps }: TurnTask): number {
  const left = Math.max(0, rules.queueTimeoutMs - journey.queuedMs)
  return Math.min(journey.deadline, deps.clock.now() + left)
}

async function wait(task: TurnTask): Promise<Found> {
  const { journey, traffic, deps } = task
  const since = deps.clock.now()
  const turn = await traffic.queue.wait<Lease>({
    wants: new Set(fitFor(journey).map(({ id }) => id)),
    attempt: (taken) => turnAfterWait(task, taken, since),
    giveBack: (lease) => endLease({ lease, deps, traffic }, { kind: 'aborted', sent: false }),
    deadline: queueDeadlineOf(task),
    gone: journey.request.gone,
  })
  journey.queuedMs += deps.clock.now() - since
  if (typeof turn === 'object') return { lease: turn.got }
  const { resting } = await survey(task, fitFor(journey))
  return { resting, why: turn === 'gone' ? 'gone' : 'crowded-out' }
}

/** After a wait the order is made anew, of everybody. */
async function turnAfterWait(
  task: TurnTask,
  taken: ReadonlySet<string>,
  since: number,
): Promise<Turn<Lease>> {
  const { journey, deps } = task
  const isFree = ({ id }: Upstream): boolean => !taken.has(id)
  // Without a moment in between it would be the same upstream twice.
  const hasWaited = deps.clock.now() > since
  const open = openTo(journey).filter(isFree)
  const lease =
    (await takeFromNewOrder(task, hasWaited ? fitFor(journey).filter(isFree) : open)) ??
    (await takeLeastBad(task, (await survey(task, open)).resting))
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

/** As many are put in order at once: mostly the first serves, and the rest would be judged by old news. */
export const MOST_IN_ORDER = 8

const NORMAL = { lastResort: false }
const LAST_RESORT = { lastResort: true }

type How = Pick<Ask, 'lastResort' | 'stickTo'>

function askOf({ journey, rules }: TurnTask, { lastResort, stickTo }: How): Ask {
  const { inputTokens, outputTokens, choices } = journey.request
  return {
    inputTokens,
    outputTokens,
    choices,
    probeMs: rules.connectTimeoutMs + rules.timeoutMs,
    lastResort,
    stickTo,
    heldBy: journey.unheard.length === 0 ? undefined : journey.unheard,
  }
}

function acquire(task: TurnTask, order: readonly Claim[], how: How): MaybePromise<Lease | undefined> {
  const { journey, deps } = task
  const lease = deps.store.acquire(order, askOf(task, how), instantOf(deps.clock))
  return journey.unheard.length === 0 ? lease : afterHearing(task, lease)
}

/** What was not known of earlier answers before an acquire is known after it. */
async function afterHearing(
  { journey, deps }: TurnTask,
  lease: MaybePromise<Lease | undefined>,
): Promise<Lease | undefined> {
  const got = await lease
  const { upstreams } = await eligibleFor(journey.request, deps)
  journey.upstreams = upstreams
  journey.unheard = []
  return got
}

/** Who of `upstreams` may take the request now, and what keeps the others. */
export function survey(task: TurnTask, upstreams: readonly Upstream[]): Survey | Promise<Survey> {
  const { journey, traffic, deps } = task
  return surveyOf({
    upstreams,
    endpoint: journey.request.endpoint,
    ask: askOf(task, NORMAL),
    now: deps.clock.now(),
    credits: traffic.credits,
    store: deps.store,
  })
}

/** The first of the present order that has room, else of an order made anew of `upstreams`. */
function takeCandidate(task: TurnTask, upstreams: readonly Upstream[]): MaybePromise<Lease | undefined> {
  const { order } = task.journey
  if (order.length === 0) return takeFromNewOrder(task, upstreams)
  const taken = take(task, order)
  if (!(taken instanceof Promise)) return taken ?? takeFromNewOrder(task, upstreams)
  return taken.then((lease) => lease ?? takeFromNewOrder(task, upstreams))
}

/** The first candidate of `upstreams`, in an order made now. */
function takeFromNewOrder(task: TurnTask, upstreams: readonly Upstream[]): MaybePromise<Lease | undefined> {
  if (upstreams.length === 0) return undefined
  const seen = survey(task, upstreams)
  const stickTo = rememberedUpstream(task)
  if (seen instanceof Promise || stickTo instanceof Promise) {
    return Promise.all([seen, stickTo]).then(([found, upstream]) =>
      takeInOrder(task, found, { upstreams, stickTo: upstream }),
    )
  }
  return takeInOrder(task, seen, { upstreams, stickTo })
}

function rememberedUpstream({ journey, deps }: TurnTask): MaybePromise<string | null | undefined> {
  const { affinityKey } = journey.request
  return affinityKey === '' ? undefined : deps.store.recall(affinityKey, instantOf(deps.clock))
}

function takeInOrder(
  task: TurnTask,
  seen: Survey,
  { upstreams, stickTo }: { upstreams: readonly Upstream[]; stickTo: string | null | undefined },
): MaybePromise<Lease | undefined> {
  const { journey, rules, deps } = task
  if (seen.candidates.length === 0) {
    // Perhaps those who hold the room are gone: asked for a lease, a store takes back what nobody settled.
    void deps.store.acquire([], askOf(task, NORMAL), instantOf(deps.clock))
    return undefined
  }
  const { affinityKey } = journey.request
  const { unheard } = journey
  // The store knows who goes first, and that may be anybody.
  const most = stickTo === null || unheard.length > 0 ? Infinity : MOST_IN_ORDER
  const order = orderOf(seen.candidates, {
    strategy: strategies[rules.strategy],
    hashesUnseenKeys: rules.strategy === 'random',
    context: { draw: deps.draw, key: affinityKey, most },
    stickTo: stickTo ?? undefined,
  })
  journey.survey = seen
  const lease = take(
    task,
    order.map(({ upstream }) => upstream.claims[journey.request.endpoint]),
    stickTo === null ? affinityKey : undefined,
  )
  // A store that is elsewhere may know better than the survey did: then it is the others' turn.
  const others = (): MaybePromise<Lease | undefined> =>
    journey.unheard === unheard ? takeFromNewOrder(task, without(upstreams, order)) : undefined
  if (!(lease instanceof Promise)) return lease ?? others()
  return lease.then((got) => got ?? others())
}

function without(upstreams: readonly Upstream[], order: readonly Candidate[]): readonly Upstream[] {
  const asked = new Set(order.map(({ upstream }) => upstream))
  return upstreams.filter((upstream) => !asked.has(upstream))
}

function take(task: TurnTask, order: readonly Claim[], stickTo?: string): MaybePromise<Lease | undefined> {
  const lease = acquire(task, order, stickTo === undefined ? NORMAL : { lastResort: false, stickTo })
  return lease instanceof Promise ? lease.then((got) => taken(task, order, got)) : taken(task, order, lease)
}

function taken(
  { journey, rules, traffic }: TurnTask,
  order: readonly Claim[],
  lease: Lease | undefined,
): Lease | undefined {
  // It may have turned out meanwhile that one alone may answer.
  const hasOthers = lease !== undefined && journey.upstreams.length > 1
  const rest = !hasOthers ? [] : order.filter(({ id }) => id !== lease.claim.id)
  journey.order = rest.length > MOST_IN_ORDER ? rest.slice(0, MOST_IN_ORDER) : rest
  const { survey: seen } = journey
  journey.survey = undefined
  if (lease === undefined || seen === undefined || rules.strategy !== 'round_robin') return lease
  const picked = journey.upstreams.find(({ id }) => id === lease.claim.id)
  const top = Math.min(...seen.candidates.map(({ upstream }) => upstream.priority))
  const tier = seen.candidates.filter(({ upstream }) => upstream.priority === top)
  if (picked?.priority === top) spendTurn(traffic.credits, tier, picked)
  return lease
}

/** The failing ones by the end of their cooldowns, then those whose key, model or credit needs mending. */
async function takeLeastBad(task: TurnTask, resting: readonly Resting[]): Promise<Lease | undefined> {
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
