import { orderOf } from '../pool/order.ts'
import { spendTurn, strategies, type Candidate } from '../pool/strategy.ts'
import type { Claim, Upstream } from '../pool/upstream.ts'
import { lastResortOf, type Block } from '../state/availability.ts'
import type { Ask, Lease, MaybePromise } from '../state/store.ts'
import { instantOf } from './clock.ts'
import { eligibleFor } from './holder.ts'
import { surveyOf, type Resting, type Survey } from './survey.ts'
import type { TurnTask } from './turn.ts'

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
export async function takeLeastBad(task: TurnTask, resting: readonly Resting[]): Promise<Lease | undefined> {
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
