import { seededDice, unmasked } from '../../events/recorder.ts'
import type { RuntimeConfig } from '../../http/deps.ts'
import { createAbort } from '../../lib/abort.ts'
import { instantOf } from '../../lib/clock.ts'
import { hash01 } from '../../lib/hash.ts'
import { answerKey } from '../../relay/candidates.ts'
import type { RelayDeps, RequestEvent } from '../../relay/deps.ts'
import { createQueue } from '../../relay/queue.ts'
import { relay } from '../../relay/relay.ts'
import type { RelayRequest } from '../../relay/request.ts'
import { createRetryBudget } from '../../relay/retry-budget.ts'
import { createMemoryStore, type MemoryStore } from '../../state/memory.ts'
import { TransportError } from '../../transport/transport.ts'
import { createSimClock } from './clock.ts'
import type { Arrival, EventLog } from './log.ts'
import { createSimulatedUpstream, type Behaviour, type Exchange } from './world.ts'

/** What a client got, as a log or a simulation has it. */
export type Ended = Pick<RequestEvent, 'status' | 'code' | 'upstream' | 'queuedMs' | 'firstByteMs'> & {
  readonly attempts: readonly { readonly outcome: string }[]
}

/** A run of recorded requests under a configuration. */
interface Run {
  readonly runtimeConfig: RuntimeConfig
  /** By the id of each upstream. */
  readonly behaviours: ReadonlyMap<string, Behaviour>
  /** In order; those before what is counted warm the state up. */
  readonly arrivals: readonly Arrival[]
  /** The state from which it begins. */
  readonly begins: EventLog['states'][number]
  readonly log: EventLog
  /** Of the masks of affinity keys; undefined = it is lost. */
  readonly secret: Uint32Array | undefined
  readonly seed: number
}

/**
 * Sends requests once more, at their times, through the real relay with a clock and a store of its own, to upstreams that
 * behave as they were seen to. Asks nobody. @returns what each client got, and how many requests each upstream took within a minute at most
 */
export async function simulate(run: Run) {
  const { runtimeConfig, behaviours, arrivals, begins, log, seed } = run
  const { sendings } = log
  const start = Math.min(begins.at.wall, arrivals[0]?.at ?? Infinity)
  const clock = createSimClock(start)
  const dice = seededDice(seed)
  const { upstreams } = runtimeConfig.pools
  const { settings } = runtimeConfig.config
  const store = createMemoryStore({ random: dice })
  store.restore(keptOf(begins), { now: start, wall: begins.at.wall })
  store.expect(upstreams)
  for (const upstream of upstreams) store.abilities.presume(upstream, start)
  const world = new Map(
    upstreams.flatMap((upstream) => {
      const behaviour = behaviours.get(upstream.id)
      const draw = seededDice(Math.floor(dice() * 2 ** 32))
      return behaviour === undefined
        ? []
        : [[upstream.id, createSimulatedUpstream(upstream, behaviour, { clock, draw, start, sendings })]]
    }),
  )
  const queue = createQueue(clock, { size: () => settings.queueSize, onSize: () => {} })
  const shared: Omit<RelayDeps, 'send' | 'report'> = {
    store,
    abilities: store.abilities,
    memory: { reserve: () => true, release: () => {} },
    clock,
    random: dice,
    traffic: { credits: new Map(), budget: createRetryBudget(), queue, emptyRuns: new Map() },
  }
  const ended = new Map<Arrival, Ended>()
  const keysSeen = new Set<number>()

  /** What is known of earlier requests of the same client, and of who made what this one brings along. */
  function remember(
    { maskedKey, stuckTo, owner, pinnedTo }: Arrival,
    { affinityKey, ownerKey, answerIds }: RelayRequest,
  ) {
    const at = instantOf(clock)
    const put = (key: string, upstream: string | undefined): void => {
      if (key !== '' && upstream !== undefined)
        store.remember(key, upstream, { ttlMs: settings.affinityTtlMs, at })
    }
    if (!keysSeen.has(maskedKey)) put(affinityKey, stuckTo)
    keysSeen.add(maskedKey)
    put(ownerKey, owner)
    for (const id of answerIds) put(answerKey(id), pinnedTo)
  }

  async function arrive(arrival: Arrival, nth: number): Promise<void> {
    const { end } = arrival
    const client = createAbort()
    const request = requestOf(arrival, {
      run,
      id: String(nth),
      clientSignal: client.signal,
      since: clock.now(),
    })
    if (typeof request === 'string') {
      const status = request === 'no_upstream' ? 503 : 404
      ended.set(arrival, { status, code: request, queuedMs: 0, attempts: [] })
      return
    }
    // Who left then had waited long enough.
    const stay = end.status === 499 ? clock.after(end.durationMs, () => client.abort()) : undefined
    remember(arrival, request)
    const exchange: Exchange = { failure: undefined, readings: [] }
    let asked = ''
    const deps: RelayDeps = {
      ...shared,
      store: heardOf(store, exchange, (id) => (asked = id)),
      send: ({ method }, signal) =>
        // A list of models: who asks for one gets none.
        method === 'GET'
          ? Promise.reject(new TransportError('not-sent', 'not simulated'))
          : (world.get(asked)?.send(arrival, exchange, signal) ??
            Promise.reject(new TransportError('not-sent', 'unknown'))),
      report(event) {
        if (event.kind !== 'request') return
        stay?.()
        const { status, code, upstream, queuedMs, firstByteMs } = event
        const attempts = event.attempts.map(({ outcome }) => ({ outcome }))
        ended.set(arrival, { status, code, upstream, queuedMs, firstByteMs, attempts })
      },
    }
    try {
      const { body } = await relay(request, deps)
      if (body instanceof Uint8Array) return
      while (!(await body.read()).done);
    } catch {
      // What became of it was reported.
    }
  }

  function arriveFrom(nth: number): void {
    const arrival = arrivals[nth]
    if (arrival === undefined) return
    clock.after(arrival.at - clock.now(), () => {
      arriveFrom(nth + 1)
      void arrive(arrival, nth)
    })
  }
  for (const { kind, at, scopes } of log.interventions) {
    if (at < start) continue
    clock.after(at - start, () => {
      if (kind === 'breakers') store.closeBreakers(scopes, instantOf(clock))
      else for (const scope of scopes) store.pause(scope, kind === 'pause', instantOf(clock))
    })
  }
  arriveFrom(0)
  await clock.run()
  const busiest = new Map([...world].map(([id, upstream]) => [id, upstream.busiestMinute()]))
  return { ended, busiest } as const
}

/** As a restart at that moment would have kept it: nothing is under way. */
function keptOf({ at, state }: EventLog['states'][number]): unknown {
  const store = createMemoryStore({ random: () => 0 })
  store.reinstate({ ...state, leases: [] })
  return store.keep(at)
}

/** The store, told of an attempt what its upstream meant and not only what the wire can say. */
function heardOf(store: MemoryStore, exchange: Exchange, onLease: (id: string) => void): MemoryStore {
  // One for each request: to copy all of the store's members would take longer than to relay it.
  const heard = Object.create(store) as { -readonly [Name in keyof MemoryStore]: MemoryStore[Name] }
  heard.acquire = (order, ask, at) => {
    const lease = store.acquire(order, ask, at)
    if (lease !== undefined) onLease(lease.claim.id)
    return lease
  }
  heard.confirm = (lease, answer, at) => store.confirm(lease, { ...answer, readings: exchange.readings }, at)
  heard.settle = (lease, outcome, at) => {
    const { failure } = exchange
    const isMeant = failure !== undefined && outcome.kind === 'failed' && outcome.class === failure.class
    store.settle(lease, isMeant ? failure : outcome, at)
  }
  return heard
}

/** The request as the relay takes it, or the code of the error where nobody serves it. */
function requestOf(
  { endpoint, model, stream, token, maskedKey, demand, demands, owner, pinnedTo }: Arrival,
  given: Pick<RelayRequest, 'id' | 'clientSignal' | 'since'> & { run: Run },
): RelayRequest | 'model_not_found' | 'unsupported_endpoint' | 'no_upstream' {
  const { run, id, clientSignal, since } = given
  const { config, tokens } = run.runtimeConfig
  const pools = tokens.find(({ name }) => name === token)?.pools() ?? run.runtimeConfig.pools
  const pool = pools.poolFor(model, endpoint)
  if (pool === undefined) return 'model_not_found'
  if (pool.upstreams.length === 0)
    return pools.upstreams.some(({ endpoints }) => endpoints.has(endpoint))
      ? 'no_upstream'
      : 'unsupported_endpoint'
  const { settings } = config
  const isSticky = maskedKey !== 0 && settings.affinity.kind !== 'off'
  const affinityKey = isSticky ? `${maskedKey}` : ''
  return {
    id,
    ownId: id,
    endpoint,
    path: endpoint === 'chat' ? 'chat/completions' : endpoint,
    query: '',
    pool,
    settings,
    requestedModel: model,
    client: undefined,
    headers: {},
    bodyFor: () => [],
    stream,
    isForm: false,
    isFree: false,
    demand,
    demands,
    affinityKey,
    keyHash: isSticky ? (run.secret ? unmasked(maskedKey, run.secret) : hash01(affinityKey)) : 0,
    answerIds: pinnedTo === undefined ? [] : [id],
    ownerKey: owner === undefined ? '' : `item ${id}`,
    isStored: false,
    clientSignal,
    since,
  }
}
