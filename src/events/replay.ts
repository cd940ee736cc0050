import type { Instant } from '../lib/clock.ts'
import { orderOf, strategies, type StrategyName } from '../pool/strategy.ts'
import type { Claim, Endpoint, Upstream } from '../pool/upstream.ts'
import { evaluate, standingFor, type Evaluation } from '../relay/candidates.ts'
import { chargeTopTier, lastResorts, MOST_IN_ORDER } from '../relay/select.ts'
import { createMemoryStore, type CapturedState, type MemoryStore } from '../state/memory.ts'
import type { Ask, Lease, TokenDemand } from '../state/store.ts'
import { claimAt, restoredConfig, type KnownConfig, type RecordedConfig } from './configs.ts'
import { FrameReader } from './frames.ts'
import {
  FRAMES,
  readAbility,
  readAnswer,
  readBegin,
  readChoice,
  readEnd,
  readLease,
  readScopes,
  readSettle,
  type AskFrame,
  type BeginFrame,
  type ChoiceFrame,
  type EndFrame,
} from './record.ts'
import { seededDice, unmasked, type RecordedState, type Segment } from './recorder.ts'

/** A choice that was made again. */
export interface ReplayedChoice {
  readonly frame: ChoiceFrame
  readonly strategy: StrategyName
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

/** Goes through a segment once more: the same state, the same choices. @throws for one that is damaged */
export function replay(...how: Parameters<typeof replaySteps>): void {
  for (const _ of replaySteps(...how));
}

/** The same, frame by frame. */
export function* replaySteps(segment: Segment, secret: Uint32Array, watch: ReplayWatch): Generator<void> {
  const { config, bytes } = segment
  const reader = new FrameReader(bytes)
  if (reader.frame() !== FRAMES.state) return
  reader.moment()
  yield* new Replay(config, secret, watch).run(reader, reader.json() as RecordedState)
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

  constructor(config: RecordedConfig, secret: Uint32Array, watch: ReplayWatch) {
    const own = restoredConfig(config)
    this.configs = [own]
    this.secret = secret
    this.watch = watch
    this.store.expect(own.pools.upstreams)
  }

  *run(reader: FrameReader, state: RecordedState): Generator<void> {
    this.reinstate(state)
    for (;;) {
      yield
      const type = reader.frame()
      if (type === undefined) return
      if (type === FRAMES.begin) this.begin(readBegin(reader))
      else if (type === FRAMES.earlier) this.configs.push(restoredConfig(reader.json() as RecordedConfig))
      else if (type === FRAMES.choice) this.choice(readChoice(reader))
      else if (type === FRAMES.lease) {
        const frame = readLease(reader)
        const order = frame.granted === undefined ? [] : [claimAt(this.configOf(frame), frame.granted)]
        this.take(order, askFrom(frame.demand, frame), frame.at)
      } else if (type === FRAMES.foreignLease) {
        if (reader.byte() === 1) this.store.skipLease()
      } else if (type === FRAMES.answer) {
        const { lease, answer, at: moment } = readAnswer(reader)
        const held = this.leases.get(lease)
        if (held !== undefined) this.store.confirm(held, answer, moment)
      } else if (type === FRAMES.settle) {
        const { lease, outcome, dice, at: moment } = readSettle(reader)
        const held = this.leases.get(lease)
        this.dice.splice(0, this.dice.length, ...dice)
        if (held !== undefined) this.store.settle(held, outcome, moment)
        this.leases.delete(lease)
      } else if (type === FRAMES.breakers) {
        const { scopes, at: moment } = readScopes(reader)
        this.store.closeBreakers(scopes, moment)
      } else if (type === FRAMES.pause || type === FRAMES.resume) {
        const { scopes, at: moment } = readScopes(reader)
        for (const scope of scopes) this.store.pause(scope, type === FRAMES.pause, moment)
      } else if (type === FRAMES.ability) {
        const { upstreamId, knowledge } = readAbility(reader)
        this.store.abilities.put(upstreamId, knowledge)
      } else if (type === FRAMES.end) {
        const end = readEnd(reader)
        const request = this.requests.get(end.request)
        this.requests.delete(end.request)
        if (request !== undefined) this.watch.onEnd?.(request, end, this.configOf(request).config)
      }
    }
  }

  private reinstate({ credits, leases, ...state }: RecordedState): void {
    const own = this.configOf(OWN)
    const held = leases.map(({ lease: { claim, ...lease }, ...record }) => ({
      ...record,
      lease: { ...lease, claim: typeof claim === 'number' ? claimAt(own, claim) : claim },
    }))
    this.store.reinstate({ ...state, leases: held } satisfies CapturedState)
    for (const { lease } of held) this.leases.set(Number(lease.id), lease)
    for (const [id, credit] of credits) this.credits.set(id, credit)
  }

  private begin(request: BeginFrame): void {
    this.requests.set(request.request, request)
    this.watch.onBegin?.(request)
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
