import type { Instant } from '../lib/clock.ts'
import type { Pools } from '../pool/pool.ts'
import { orderOf, strategies, type StrategyName } from '../pool/strategy.ts'
import type { Claim, Endpoint, Upstream } from '../pool/upstream.ts'
import { evaluate, standingFor, type Evaluation } from '../relay/candidates.ts'
import { chargeTopTier, lastResorts, MOST_IN_ORDER } from '../relay/select.ts'
import { createMemoryStore, type CapturedState, type MemoryStore } from '../state/memory.ts'
import type { Ask, Lease, TokenDemand } from '../state/store.ts'
import { claimAt, restoredConfig, type KnownConfig, type RecordedConfig } from './configs.ts'
import type { AskFrame, BeginFrame, ChoiceFrame, EndFrame } from './record.ts'
import { seededDice, unmasked, type RecordedState, type Segment } from './recorder.ts'
import { framesIn, type Frame } from './segment.ts'

/** A choice that was made again. */
export interface ReplayedChoice {
  readonly frame: ChoiceFrame
  readonly strategy: StrategyName
  /** That it was made by. */
  readonly pools: Pools
  /** All that the request might go to. */
  readonly base: readonly Upstream[]
  /** Of those of `base` among whom the choice was. */
  readonly evaluation: Evaluation
  /** Those whom the store was asked for, in that order. */
  readonly order: readonly Upstream[]
  readonly remembered: Upstream | undefined
  readonly owner: Upstream | undefined
  /** Who took it. */
  readonly chosen: Upstream | undefined
  /** Whether it fell as it had. */
  readonly isSame: boolean
  /** The state in which it was made. */
  readonly store: Pick<MemoryStore, 'snapshot'>
}

/** What a replay tells, in the order in which it happened. */
export interface ReplayWatch {
  /** Whether the choices of a request are to be made again; else only what came of them is taken over. */
  readonly wants: (request: BeginFrame) => boolean
  readonly onBegin?: (request: BeginFrame) => void
  readonly onChoice?: (request: BeginFrame, choice: ReplayedChoice) => void
  readonly onEnd?: (request: BeginFrame, end: EndFrame, config: RecordedConfig) => void
}

/** Goes through a segment once more, a frame a step: the same state, the same choices. @throws for one that is damaged */
export function* replay(segment: Segment, secret: Uint32Array, watch: ReplayWatch): Generator<void> {
  const made = new Replay(segment.config, secret, watch)
  for (const frame of framesIn(segment)) {
    made.step(frame)
    yield
  }
}

class Replay {
  /** The segment's own, then those that requests had begun with before. */
  private readonly configs: KnownConfig[]
  private readonly secret: Uint32Array
  private readonly watch: ReplayWatch
  private readonly dice: number[] = []
  private readonly store = createMemoryStore({ random: () => this.dice.shift() ?? 0 })
  private readonly credits = new Map<string, number>()
  private readonly requests = new Map<number, BeginFrame>()
  private readonly leases = new Map<number, Lease>()
  private isReinstated = false

  constructor(config: RecordedConfig, secret: Uint32Array, watch: ReplayWatch) {
    const own = restoredConfig(config)
    this.configs = [own]
    this.secret = secret
    this.watch = watch
    this.store.expect(own.pools.upstreams)
  }

  step({ kind, of }: Frame): void {
    if (kind === 'state') return this.reinstate(of.state())
    if (!this.isReinstated) throw new RangeError('the state is missing')
    if (kind === 'begin') {
      this.requests.set(of.request, of)
      this.watch.onBegin?.(of)
    } else if (kind === 'earlier') this.configs.push(restoredConfig(of()))
    else if (kind === 'choice') this.choice(of)
    else if (kind === 'lease') {
      const order = of.granted === undefined ? [] : [claimAt(this.configOf(of), of.granted)]
      this.take(order, askFrom(of.demand, of), of.at)
    } else if (kind === 'foreignLease') {
      if (of) this.store.skipLease()
    } else if (kind === 'answer') {
      const held = this.leases.get(of.lease)
      if (held !== undefined) this.store.confirm(held, of.answer, of.at)
    } else if (kind === 'settle') {
      const held = this.leases.get(of.lease)
      this.dice.splice(0, this.dice.length, ...of.dice)
      if (held !== undefined) this.store.settle(held, of.outcome, of.at)
      this.leases.delete(of.lease)
    } else if (kind === 'breakers') this.store.closeBreakers(of.scopes(), of.at)
    else if (kind === 'ability') this.store.abilities.put(of.upstreamId, of.knowledge())
    else if (kind === 'end') {
      const request = this.requests.get(of.request)
      this.requests.delete(of.request)
      if (request !== undefined) this.watch.onEnd?.(request, of, this.configOf(request).config)
    } else for (const scope of of.scopes()) this.store.pause(scope, kind === 'pause', of.at)
  }

  private reinstate({ credits, leases, ...state }: RecordedState): void {
    this.isReinstated = true
    const own = this.configOf(OWN)
    const held = leases.map(({ lease: { claim, ...lease }, ...record }) => ({
      ...record,
      lease: { ...lease, claim: typeof claim === 'number' ? claimAt(own, claim) : claim },
    }))
    this.store.reinstate({ ...state, leases: held } satisfies CapturedState)
    for (const { lease } of held) this.leases.set(Number(lease.id), lease)
    for (const [id, credit] of credits) this.credits.set(id, credit)
  }

  private choice(frame: ChoiceFrame): void {
    const request = this.requests.get(frame.request)
    if (request === undefined) return
    const endpoint = request.endpoint as Endpoint
    const { config, pools } = this.configOf(request)
    const { strategy } = config.settings
    const at = (place: number | undefined): Upstream | undefined =>
      place === undefined ? undefined : pools.upstreams[place]
    const granted = at(frame.granted)
    const ask = this.askOf(request, frame)
    const isWanted = this.watch.wants(request)
    const isCharged = strategy === 'round_robin' && frame.kind === 'next'
    if (!isWanted && !isCharged) {
      if (frame.isAsked) this.take(granted ? [granted.claims[endpoint]] : [], ask, frame.at)
      else this.store.reclaim(frame.at)
      return
    }
    const evaluation = this.evaluationOf(request, frame, ask)
    const order = this.orderIn(request, frame, evaluation)
    const claims = order.map(({ claims: all }) => all[endpoint])
    const seen = isWanted ? frozen(this.store) : undefined
    const lease = frame.isAsked ? this.take(claims, ask, frame.at) : undefined
    if (!frame.isAsked) this.store.reclaim(frame.at)
    if (isCharged && lease !== undefined) chargeTopTier(this.credits, evaluation.candidates, lease)
    if (seen === undefined) return
    const chosen = order.find(({ id }) => id === lease?.claim.id)
    this.watch.onChoice?.(request, {
      frame,
      strategy,
      pools,
      base: this.baseOf(request, frame),
      evaluation,
      order,
      remembered: at(frame.stickTo),
      owner: at(frame.owner),
      chosen,
      isSame: chosen === granted && (frame.isAsked || evaluation.candidates.length === 0),
      store: { snapshot: seen },
    })
  }

  private evaluationOf(request: BeginFrame, frame: ChoiceFrame, ask: Ask): Evaluation {
    const base = this.baseOf(request, frame)
    const left = frame.left === undefined ? base : this.placed(frame.left, request)
    const { now } = frame.at
    const standingOf = standingFor({
      demands: this.demandsOf(request),
      abilities: this.store.abilities,
      upstreams: base,
      refusers: this.placed(frame.refusers, request),
      now,
    })
    const endpoint = request.endpoint as Endpoint
    const { store, credits } = this
    // What is asked of those that rest is judged as if they did: so were they when it was decided.
    const judged = { ...ask, lastResort: false }
    return evaluate(left, judged, { endpoint, now, credits, store, standingOf }) as Evaluation
  }

  private orderIn(request: BeginFrame, frame: ChoiceFrame, evaluation: Evaluation): readonly Upstream[] {
    const { kind } = frame
    if (!frame.isAsked) return []
    if (kind === 'remaining') return this.placed(frame.order, request)
    if (kind !== 'next')
      return lastResorts(evaluation.unavailable, kind === 'last-resort' ? 'always' : 'sometimes')
    const order = orderOf(evaluation.candidates, {
      strategy: strategies[this.configOf(request).config.settings.strategy],
      context: {
        random: seededDice(frame.seed ?? 0),
        keyHash: unmasked(request.maskedKey, this.secret),
        most: MOST_IN_ORDER,
      },
      stickTo: this.idOf(frame.stickTo, request),
      owner: this.idOf(frame.owner, request),
    })
    return order.map(({ upstream }) => upstream)
  }

  private take(order: readonly Claim[], ask: Ask, at: Instant): Lease | undefined {
    const lease = this.store.acquire(order, ask, at)
    if (lease !== undefined) this.leases.set(Number(lease.id), lease)
    return lease
  }

  private askOf(request: BeginFrame, frame: AskFrame): Ask {
    return { ...askFrom(request.demand, frame), demands: this.demandsOf(request).demands }
  }

  private demandsOf(request: BeginFrame) {
    const { demand, demands } = request
    const own = demands.map(([place, each]) => [this.idOf(place, request) ?? '', each] as const)
    return { demand, demands: own.length === 0 ? undefined : Object.fromEntries(own) }
  }

  private baseOf(request: BeginFrame, { base }: ChoiceFrame): readonly Upstream[] {
    if (base !== undefined) return this.placed(base, request)
    const { model, endpoint } = request
    return this.configOf(request).pools.poolFor(model, endpoint as Endpoint)?.upstreams ?? []
  }

  private placed(places: readonly number[], request: OfConfig): Upstream[] {
    const { upstreams } = this.configOf(request).pools
    return places.flatMap((place) => upstreams[place] ?? [])
  }

  private idOf(place: number | undefined, request: OfConfig): string | undefined {
    return place === undefined ? undefined : this.configOf(request).pools.upstreams[place]?.id
  }

  private configOf({ config }: OfConfig): KnownConfig {
    const known = this.configs[config]
    if (known === undefined) throw new RangeError('a configuration is missing')
    return known
  }
}

type OfConfig = Pick<BeginFrame, 'config'>
const OWN: OfConfig = { config: 0 }

/** What was asked, for a body that demands so much. */
const askFrom = (
  demand: TokenDemand,
  { patienceMs, probeMs, lastResort, isTrial = false }: AskFrame,
): Ask => ({
  inputTokens: demand.inputTokens,
  outputTokens: demand.outputTokens,
  ...(demand.choices !== undefined && { choices: demand.choices }),
  patienceMs,
  probeMs,
  lastResort,
  ...(isTrial && { isTrial }),
})

/** States are replaced and never changed: so this one stays what it is. */
function frozen(store: MemoryStore): MemoryStore['snapshot'] {
  const known = new Map(store.capture().scopes)
  return (scopes) => scopes.map((scope) => known.get(scope))
}
