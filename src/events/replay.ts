import { hash01 } from '../lib/hash.ts'
import type { Instant } from '../lib/clock.ts'
import { createPools, type Pools } from '../pool/pool.ts'
import { orderOf, strategies, type StrategyName } from '../pool/strategy.ts'
import { endpoints, type Claim, type Endpoint, type LimitScope, type Upstream } from '../pool/upstream.ts'
import { evaluate, standingFor, type Evaluation } from '../relay/candidates.ts'
import { passthroughClaim } from '../relay/passthrough.ts'
import { chargeTopTier, lastResorts, MOST_IN_ORDER } from '../relay/select.ts'
import { createMemoryStore, type CapturedState, type MemoryStore } from '../state/memory.ts'
import type { Ask, Lease, TokenDemand } from '../state/store.ts'
import { FrameReader } from './frames.ts'
import {
  CLAIM_KINDS,
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
import {
  seededDice,
  unmasked,
  type RecordedConfig,
  type RecordedState,
  type RecordedUpstream,
  type Segment,
} from './recorder.ts'

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

/** Goes through a segment once more: the same state, the same choices. */
export function replay(segment: Segment, secret: Uint32Array, watch: ReplayWatch): void {
  const { config, bytes } = segment
  const reader = new FrameReader(bytes)
  if (reader.frame() !== FRAMES.state) return
  reader.moment()
  new Replay(config, secret, watch).run(reader, reader.json() as RecordedState)
}

class Replay {
  private readonly upstreams: readonly Upstream[]
  private readonly pools: Pools
  private readonly strategy: StrategyName
  private readonly config: RecordedConfig
  private readonly secret: Uint32Array
  private readonly watch: ReplayWatch
  private readonly dice: number[] = []
  private readonly store = createMemoryStore({ random: () => this.dice.shift() ?? 0 })
  private readonly credits = new Map<string, number>()
  private readonly requests = new Map<number, BeginFrame>()
  private readonly leases = new Map<number, Lease>()

  constructor(config: RecordedConfig, secret: Uint32Array, watch: ReplayWatch) {
    this.config = config
    this.secret = secret
    this.watch = watch
    this.upstreams = config.upstreams.map(upstreamFrom)
    this.pools = createPools(this.upstreams, config.settings.unknownModel)
    this.strategy = config.settings.strategy
    this.store.expect(this.upstreams)
  }

  run(reader: FrameReader, state: RecordedState): void {
    this.reinstate(state)
    for (;;) {
      const type = reader.frame()
      if (type === undefined) return
      if (type === FRAMES.begin) this.begin(readBegin(reader))
      else if (type === FRAMES.choice) this.choice(readChoice(reader))
      else if (type === FRAMES.lease) {
        const frame = readLease(reader)
        const order = frame.granted === undefined ? [] : [this.claimOf(frame.granted)]
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
        if (request !== undefined) this.watch.onEnd?.(request, end, this.config)
      }
    }
  }

  private reinstate({ credits, leases, ...state }: RecordedState): void {
    const held = leases.map(({ lease, ...record }) => {
      const { claim } = lease
      return {
        ...record,
        lease: { ...lease, claim: typeof claim === 'number' ? this.claimOf(claim) : claim },
      }
    })
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
    const granted = frame.granted === undefined ? undefined : this.upstreams[frame.granted]
    const ask = this.askOf(request, frame)
    const isWanted = this.watch.wants(request)
    const isCharged = this.strategy === 'round_robin' && frame.kind === 'next'
    if (!isWanted && !isCharged) {
      if (frame.isAsked) this.take(granted ? [granted.claims[endpoint]] : [], ask, frame.at)
      else this.store.reclaim(frame.at)
      return
    }
    const evaluation = this.evaluationOf(request, frame, ask)
    const order = this.orderIn(request, frame, evaluation)
    const claims = order.map(({ claims: all }) => all[endpoint])
    const seen = { snapshot: frozen(this.store) }
    const lease = frame.isAsked ? this.take(claims, ask, frame.at) : undefined
    if (!frame.isAsked) this.store.reclaim(frame.at)
    if (isCharged && lease !== undefined) chargeTopTier(this.credits, evaluation.candidates, lease)
    if (!isWanted) return
    const chosen = order.find(({ id }) => id === lease?.claim.id)
    this.watch.onChoice?.(request, {
      frame,
      strategy: this.strategy,
      evaluation,
      order,
      remembered: frame.stickTo === undefined ? undefined : this.upstreams[frame.stickTo],
      owner: frame.owner === undefined ? undefined : this.upstreams[frame.owner],
      chosen,
      isSame: chosen === granted && (frame.isAsked || evaluation.candidates.length === 0),
      store: seen,
    })
  }

  private evaluationOf(request: BeginFrame, frame: ChoiceFrame, ask: Ask): Evaluation {
    const base = this.baseOf(request, frame)
    const left = frame.left === undefined ? base : this.placed(frame.left)
    const { now } = frame.at
    const standingOf = standingFor({
      demands: this.demandsOf(request),
      abilities: this.store.abilities,
      upstreams: base,
      refusers: this.placed(frame.refusers),
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
    if (kind === 'remaining') return this.placed(frame.order)
    if (kind !== 'next')
      return lastResorts(evaluation.unavailable, kind === 'last-resort' ? 'always' : 'sometimes')
    const order = orderOf(evaluation.candidates, {
      strategy: strategies[this.strategy],
      context: {
        random: seededDice(frame.seed ?? 0),
        keyHash: unmasked(request.maskedKey, this.secret),
        most: MOST_IN_ORDER,
      },
      stickTo: this.idOf(frame.stickTo),
      owner: this.idOf(frame.owner),
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

  private demandsOf({ demand, demands }: BeginFrame) {
    const own = demands.map(([place, each]) => [this.idOf(place) ?? '', each] as const)
    return { demand, demands: own.length === 0 ? undefined : Object.fromEntries(own) }
  }

  private baseOf({ model, endpoint }: BeginFrame, { base }: ChoiceFrame): readonly Upstream[] {
    if (base !== undefined) return this.placed(base)
    return this.pools.poolFor(model, endpoint as Endpoint)?.upstreams ?? []
  }

  private placed(places: readonly number[]): Upstream[] {
    return places.flatMap((place) => this.upstreams[place] ?? [])
  }

  private idOf(place: number | undefined): string | undefined {
    return place === undefined ? undefined : this.upstreams[place]?.id
  }

  private claimOf(ref: number): Claim {
    const upstream = this.upstreams[Math.floor(ref / CLAIM_KINDS)]
    if (upstream === undefined) return { id: '', priority: 0, draws: [] }
    const endpoint = endpoints[ref % CLAIM_KINDS]
    return endpoint === undefined ? passthroughClaim(upstream) : upstream.claims[endpoint]
  }
}

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

/** An upstream as choices need it, which can't be asked. */
function upstreamFrom(recorded: RecordedUpstream): Upstream {
  const { origin, presumedEndpoints, hasEdits, draws, ...upstream } = recorded
  const { id, priority } = upstream
  const claimFor = (endpoint: Endpoint): Claim => {
    const own: LimitScope = { scope: `endpoint ${id} ${endpoint}`, role: 'endpoint' }
    return { id, priority, draws: [...draws, own] }
  }
  return {
    ...upstream,
    rendezvousHash: hash01(id),
    root: origin,
    query: '',
    apiKey: '',
    keyPosition: 0,
    headers: {},
    endpoints: new Set(recorded.endpoints),
    presumed: { endpoints: presumedEndpoints && new Set(presumedEndpoints) },
    edits: hasEdits ? { streamed: new Map(), whole: new Map() } : undefined,
    claims: Object.fromEntries(endpoints.map((each) => [each, claimFor(each)])) as Upstream['claims'],
  }
}
