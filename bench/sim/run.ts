import { loadConfig } from '../../src/config/load.ts'
import { createRuntimeConfig, type RuntimeConfig } from '../../src/http/deps.ts'
import type { RelayDeps, RequestEvent } from '../../src/relay/deps.ts'
import { createQueue } from '../../src/relay/queue.ts'
import { relay } from '../../src/relay/relay.ts'
import type { RelayRequest } from '../../src/relay/request.ts'
import { createRetryBudget } from '../../src/relay/retry-budget.ts'
import { createMemoryStore } from '../../src/state/memory.ts'
import { createSimClock, type SimClock } from '../../src/cli/what-if/clock.ts'
import { createDice } from './dice.ts'
import { perfectYield } from './perfect.ts'
import { configOf, type Figures, type Scenario } from './scenario.ts'
import { createVendor, sendTo, type Vendor } from './vendor.ts'
import { createWatch } from './watch.ts'

/** Vendors and a clock for one run. */
export interface Bed {
  readonly scenario: Scenario
  readonly clock: SimClock
  readonly vendors: readonly Vendor[]
}

/** Lets one request go its way; resolves with the ms that it waited, or undefined when it was refused. */
export type Client = () => Promise<number | undefined>

/**
 * Limits are looked at when a request comes: Envoy, Kong, nginx and Azure's API Management do so before they pass it on.
 * What is configured must hold whenever an upstream counts.
 */
const SOON = 0.1

/** Sends a scenario's traffic through the real relay with a real store, under one strategy. */
export function runRelay(scenario: Scenario, strategy: string): Promise<Figures> {
  return runWith(scenario, (bed) => relayClient(bed, strategy))
}

/** The same traffic, vendors and dice for any way to choose. */
export async function runWith(scenario: Scenario, clientOf: (bed: Bed) => Client): Promise<Figures> {
  const clock = createSimClock(scenario.start)
  const draw = createDice(scenario.seed)
  const countedWithin = scenario.knows === 'limits' ? 1 : SOON
  const vendors = scenario.vendors.map((spec) =>
    createVendor(spec, { clock, draw: createDice(draw() * 2 ** 32), tokens: scenario.tokens, countedWithin }),
  )
  const client = clientOf({ scenario, clock, vendors })
  const watch = createWatch(clock, vendors)
  const waits: number[] = []
  async function ask(): Promise<void> {
    const wait = await client()
    if (wait === undefined) return watch.refused()
    waits.push(wait)
    watch.answered()
  }
  for (const at of scenario.arrivals) clock.after(at, () => void ask())
  await clock.run()
  return {
    offered: scenario.arrivals.length,
    answered: waits.length,
    perfect: perfectYield(scenario),
    ...watch.figures(),
    met: vendors.reduce((sum, { tally }) => sum + tally.refused, 0),
    waits: waits.sort((a, b) => a - b),
  }
}

function relayClient({ scenario, clock, vendors }: Bed, strategy: string): Client {
  const runtimeConfig = runtimeConfigOf(scenario, strategy)
  const random = createDice(scenario.seed + 1)
  const ended = new Map<string, RequestEvent>()
  const queue = createQueue(clock, { size: () => runtimeConfig.config.settings.queueSize, onSize: () => {} })
  const store = createMemoryStore({ random })
  const deps: RelayDeps = {
    send: sendTo(vendors),
    store,
    abilities: store.abilities,
    memory: { reserve: () => true, release: () => {} },
    clock,
    random,
    report: (event) => void (event.kind === 'request' && ended.set(event.id, event)),
    traffic: { credits: new Map(), budget: createRetryBudget(), queue, emptyRuns: new Map() },
  }
  let ids = 0
  return async () => {
    const request = requestOf({ scenario, runtimeConfig, clock, id: String(ids++) })
    await relay(request, deps).catch(() => undefined)
    const event = ended.get(request.id)
    ended.delete(request.id)
    return event?.status === 200 ? waitOf(event) : undefined
  }
}

/** The last attempt is the one that was answered. */
function waitOf({ attempts, durationMs }: RequestEvent): number {
  return Math.max(0, durationMs - (attempts.at(-1)?.durationMs ?? 0))
}

function runtimeConfigOf(scenario: Scenario, strategy: string): RuntimeConfig {
  const loaded = loadConfig(JSON.stringify(configOf(scenario, strategy)), {}, 'config.json')
  if (!loaded.ok) throw new Error(loaded.problems.map(({ path, message }) => `${path} ${message}`).join('; '))
  return createRuntimeConfig(loaded.config)
}

function requestOf(one: {
  scenario: Scenario
  runtimeConfig: RuntimeConfig
  clock: SimClock
  id: string
}): RelayRequest {
  const { scenario, runtimeConfig, clock, id } = one
  const pool = runtimeConfig.pools.poolFor('auto', 'chat')
  if (pool === undefined) throw new Error('no pool')
  const { input } = scenario.tokens
  return {
    id,
    ownId: id,
    endpoint: 'chat',
    path: 'chat/completions',
    query: '',
    pool,
    settings: runtimeConfig.config.settings,
    requestedModel: 'auto',
    client: undefined,
    headers: {},
    bodyFor: () => [],
    stream: false,
    isForm: false,
    isFree: false,
    demand: {
      inputTokens: input,
      outputTokens: undefined,
      choices: 1,
      needs: { abilities: [], context: input, output: 0, body: 0 },
    },
    demands: undefined,
    affinityKey: '',
    keyHash: 0,
    answerIds: [],
    ownerKey: '',
    isStored: false,
    clientSignal: new AbortController().signal,
    since: clock.now(),
  }
}
