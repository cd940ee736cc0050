import { orderOf } from '../pool/order.ts'
import { spendTurn, strategies, type Candidate } from '../pool/strategy.ts'
import type { Claim, Upstream } from '../pool/upstream.ts'
import { lastResortOf, type Block } from '../state/availability.ts'
import type { Ask, Lease, MaybePromise } from '../state/store.ts'
import { instantOf } from './clock.ts'
import { surveyOf, type Resting, type Survey } from './survey.ts'
import type { TurnTask } from './turn.ts'

/** As many are put in order at once: mostly the first serves, and the rest would be judged by old news. */
export const MOST_IN_ORDER = 8

const NORMAL = { lastResort: false }
const LAST_RESORT = { lastResort: true }

function askOf({ journey, rules }: TurnTask, { lastResort }: { lastResort: boolean }): Ask {
  const { inputTokens, outputTokens, choices } = journey.request
  const probeMs = rules.connectTimeoutMs + rules.timeoutMs
  return { inputTokens, outputTokens, choices, lastResort, probeMs }
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
export function takeCandidate(
  task: TurnTask,
  upstreams: readonly Upstream[],
): MaybePromise<Lease | undefined> {
  const { order } = task.journey
  if (order.length === 0) return takeFromNewOrder(task, upstreams)
  const taken = take(task, order)
  if (!(taken instanceof Promise)) return taken ?? takeFromNewOrder(task, upstreams)
  return taken.then((lease) => lease ?? takeFromNewOrder(task, upstreams))
}

/** The first candidate of `upstreams`, in an order made now. */
export function takeFromNewOrder(
  task: TurnTask,
  upstreams: readonly Upstream[],
): MaybePromise<Lease | undefined> {
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

function rememberedUpstream({ journey, deps }: TurnTask): MaybePromise<string | undefined> {
  const { affinityKey } = journey.request
  return affinityKey === '' ? undefined : deps.store.recall(affinityKey, instantOf(deps.clock))
}

function takeInOrder(
  task: TurnTask,
  seen: Survey,
  { upstreams, stickTo }: { upstreams: readonly Upstream[]; stickTo: string | undefined },
): MaybePromise<Lease | undefined> {
  const { journey, rules, deps } = task
  if (seen.candidates.length === 0) {
    // Perhaps those who hold the room are gone: asked for a lease, a store takes back what nobody settled.
    void deps.store.acquire([], askOf(task, NORMAL), instantOf(deps.clock))
    return undefined
  }
  const order = orderOf(seen.candidates, {
    strategy: strategies[rules.strategy],
    hashesUnseenKeys: rules.strategy === 'random',
    context: { draw: deps.draw, key: journey.request.affinityKey, most: MOST_IN_ORDER },
    stickTo,
  })
  journey.survey = seen
  const lease = take(
    task,
    order.map(({ upstream }) => upstream.claims[journey.request.endpoint]),
  )
  // A store that is elsewhere may know better than the survey did: then it is the others' turn.
  const others = (): MaybePromise<Lease | undefined> => takeFromNewOrder(task, without(upstreams, order))
  if (!(lease instanceof Promise)) return lease ?? others()
  return lease.then((got) => got ?? others())
}

function without(upstreams: readonly Upstream[], order: readonly Candidate[]): readonly Upstream[] {
  const asked = new Set(order.map(({ upstream }) => upstream))
  return upstreams.filter((upstream) => !asked.has(upstream))
}

function take(task: TurnTask, order: readonly Claim[]): MaybePromise<Lease | undefined> {
  const lease = task.deps.store.acquire(order, askOf(task, NORMAL), instantOf(task.deps.clock))
  return lease instanceof Promise ? lease.then((got) => taken(task, order, got)) : taken(task, order, lease)
}

function taken(
  { journey, rules, traffic }: TurnTask,
  order: readonly Claim[],
  lease: Lease | undefined,
): Lease | undefined {
  journey.order = lease === undefined ? [] : order.filter(({ id }) => id !== lease.claim.id)
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
export async function takeLeastBad(task: TurnTask, resting: readonly Resting[]): Promise<Lease | undefined> {
  const { endpoint } = task.journey.request
  for (const often of ['always', 'sometimes'] as const) {
    const claims = resting
      .filter(({ block }) => lastResortOf(block) === often)
      .sort((a, b) => restsUntil(a.block) - restsUntil(b.block))
      .map(({ upstream }) => upstream.claims[endpoint])
    if (claims.length === 0) continue
    const lease = await task.deps.store.acquire(claims, askOf(task, LAST_RESORT), instantOf(task.deps.clock))
    if (lease !== undefined) return lease
  }
  return undefined
}

/** The cooldown of one that somebody else probes has ended already. */
const restsUntil = ({ onRelease, until }: Block): number => (onRelease ? 0 : until)
