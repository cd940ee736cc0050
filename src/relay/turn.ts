import type { Upstream } from '../pool/upstream.ts'
import type { StrategyName } from '../pool/vocabulary.ts'
import type { Lease, MaybePromise } from '../state/store.ts'
import type { RelayDeps } from './deps.ts'
import { endLease } from './end-lease.ts'
import { fitFor, openTo, type Journey } from './journey.ts'
import type { Queue } from './queue.ts'
import type { Turn } from './queue-place.ts'
import { reopeningOf } from './reopening.ts'
import type { RetryBudget } from './retry-budget.ts'
import type { Resting, Survey } from './survey.ts'
import { survey, takeCandidate, takeFromNewOrder, takeLeastBad } from './take.ts'

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
  const reopening = reopeningOf(resting)
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
  const reopening = reopeningOf(resting)
  // Somebody may have become free while this was found out: then the queue is walked once more.
  const isNews = taken.size > 0 || candidates.length > 0
  return { until: reopening?.at ?? Infinity, onRelease: isNews || reopening?.onRelease === true }
}
