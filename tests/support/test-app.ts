import type { AbortSignalLike } from '../../src/lib/abort.ts'
import { createApp, type App } from '../../src/app.ts'
import type { Config } from '../../src/config/config.ts'
import { loadConfig } from '../../src/config/load.ts'
import { createRuntimeConfig, type AppDeps } from '../../src/http/deps.ts'
import { createBufferedBytes, createWebReceive, type BufferedBytes } from '../../src/http/incoming.ts'
import { toWebResponse } from '../../src/http/response.ts'
import type { AttemptEvent, GatewayEvent, RequestEvent } from '../../src/relay/deps.ts'
import { createQueue } from '../../src/relay/queue.ts'
import { createRetryBudget } from '../../src/relay/retry-budget.ts'
import type { UpstreamRequest, UpstreamResponse } from '../../src/transport/transport.ts'
import { createMemoryStore, type MemoryStore } from '../../src/state/memory.ts'
import type { StateStore } from '../../src/state/store.ts'
import { tokenStatusesOf, usageWithTokens } from '../../src/telemetry/token-status.ts'
import { instantOf } from '../../src/lib/clock.ts'
import { createLive, type Live } from '../../src/telemetry/live.ts'
import { createRecent } from '../../src/telemetry/recent.ts'
import { knownStates, statusOf, type GatewayStatus } from '../../src/telemetry/status.ts'
import { createUsage } from '../../src/telemetry/usage.ts'
import { createDice } from './dice.ts'
import { createFakeClock, type FakeClock } from './fake-clock.ts'

/** A request as an upstream of a test sees it. */
export interface SeenRequest extends UpstreamRequest {
  /** The host of its URL, such as `a.test`: tests tell their upstreams apart by it. */
  readonly host: string
  /** The whole body as text. */
  readonly text: string
  /** What became of the exchange; told by upstreams that are played (see `played.ts`). */
  readonly exchange: { isOver: boolean; isAborted: boolean }
}

/** What an upstream of a test answers; a thrown `TransportError` is a broken connection. */
export type FakeUpstream = (
  request: SeenRequest,
  signal: AbortSignalLike,
  clock: FakeClock,
) => FakeAnswer | Promise<FakeAnswer>

/** As a transport gives it, or with a stream for its body. */
export type FakeAnswer = Omit<UpstreamResponse, 'body'> & {
  readonly body: UpstreamResponse['body'] | ReadableStream<Uint8Array>
}

/** A client's request besides its body. */
export interface ClientInit {
  readonly headers?: Record<string, string>
  readonly signal?: AbortSignal
  /** Takes the place of the runtime's own word that the client has left. */
  readonly clientSignal?: AbortSignal
  readonly peer?: string
  /** Below `/v1/`. */
  readonly path?: string
  readonly body?: string | Uint8Array
}

/** The whole app in this process, with a clock, dice and upstreams that the test holds. */
export interface TestApp {
  readonly app: App
  /** What the app is made of, for tests that make another with one part replaced. */
  readonly deps: AppDeps
  readonly clock: FakeClock
  readonly store: MemoryStore
  /** Every request that reached an upstream, in order. */
  readonly calls: SeenRequest[]
  readonly events: GatewayEvent[]
  /** Who watches. */
  readonly live: Live
  /** Counts the bodies that are held. */
  readonly memory: BufferedBytes
  apply(config: object): void
  drain(): void
  /** Leases that were given and not settled. */
  readonly openLeases: number
  /** Requests under way, as the state counts them. */
  inFlight(): number
  requests(): RequestEvent[]
  attempts(): AttemptEvent[]
  /** Hosts that were called, in order. */
  hosts(): string[]
  /** `POST /v1/chat/completions`, or another path, with the token. */
  chat(body?: object, init?: ClientInit): Promise<Response>
}

export const TOKEN = 'sk-test-token'

/** A configuration with a token, a model for each host, and no affinity: tests say what they are about. */
export function configOf(
  hosts: readonly string[],
  more: { settings?: object; server?: object; models?: object; quotas?: object; tokens?: object[] } = {},
): object {
  return {
    auth_token: TOKEN,
    models: hosts.map((host) => ({
      base_url: `https://${host}/v1`,
      api_key: `key-${host}`,
      model: `model-${host}`,
      name: host,
      ...more.models,
    })),
    settings: { affinity: 'off', ...more.settings },
    ...(more.server && { server: more.server }),
    ...(more.quotas && { quotas: more.quotas }),
    ...(more.tokens && { tokens: more.tokens }),
  }
}

/** Checks a configuration as the file would be. */
export function checked(config: object): Config {
  const loaded = loadConfig(JSON.stringify(config), {}, 'config.json')
  if (!loaded.ok) throw new Error(loaded.problems.map(({ path, message }) => `${path} ${message}`).join('; '))
  return loaded.config
}

/** What a test may hold itself. */
export interface TestAppOptions {
  /** Of the dice. */
  readonly seed?: number
  /** Takes the place of the store in memory, which it is given. */
  readonly around?: (store: MemoryStore) => StateStore
  readonly clock?: FakeClock
  /** As where the store is shared. */
  readonly isShared?: boolean
  /** What an upstream answers that is asked for its models, which is not among the calls. */
  readonly modelList?: (request: UpstreamRequest) => UpstreamResponse
}

export function createTestApp(
  config: object,
  upstream: FakeUpstream,
  {
    seed = 1,
    around = (store) => store,
    clock = createFakeClock(),
    isShared,
    modelList = () => ({ status: 404, headers: {}, body: new Uint8Array(0) }),
  }: TestAppOptions = {},
): TestApp {
  const random = createDice(seed)
  const leases = new Set<string>()
  const store = counted(createMemoryStore({ random }), leases)
  const calls: SeenRequest[] = []
  const events: GatewayEvent[] = []
  const recent = createRecent(clock.wall)
  const usage = createUsage(clock.wall)
  const shownUsage = usageWithTokens(usage, () => deps.tokenStatuses())
  const live = createLive({ status, usage: shownUsage, clock })
  function report(event: GatewayEvent): void {
    events.push(event)
    for (const one of [recent, usage, live]) one.report(event)
  }
  let runtimeConfig = createRuntimeConfig(checked(config))
  let isDraining = false
  let ids = 0
  const memory = createBufferedBytes(() => runtimeConfig.config.server.maxBufferedBytes)
  const receive = createWebReceive(
    clock,
    (_request, env) => (env as { peer?: string } | undefined)?.peer ?? '203.0.113.1',
  )
  const deps: AppDeps = {
    async send(request, signal) {
      if (request.method === 'GET' && request.url.endsWith('/models')) return modelList(request)
      const text = new TextDecoder().decode(Buffer.concat(request.body ?? []))
      const exchange = { isOver: false, isAborted: false }
      const seen = { ...request, host: new URL(request.url).hostname, text, exchange }
      calls.push(seen)
      const { body, ...head } = await upstream(seen, signal, clock)
      return { ...head, body: body instanceof ReadableStream ? body.getReader() : body }
    },
    store: around(store),
    abilities: store.abilities,
    clock,
    random,
    report,
    runtimeConfig: () => runtimeConfig,
    traffic: {
      credits: new Map(),
      budget: createRetryBudget(),
      queue: createQueue(clock, {
        size: () => runtimeConfig.config.settings.queueSize,
        onSize: (waiting) => report({ kind: 'queue', waiting }),
        isShared,
      }),
      emptyRuns: new Map(),
    },
    receive: (request, env) => {
      const clientSignal = (env as { clientSignal?: AbortSignal } | undefined)?.clientSignal
      const incoming = receive(request, env)
      return clientSignal === undefined ? incoming : { ...incoming, clientSignal }
    },
    toResponse: toWebResponse,
    memory,
    newId: () => `id-${++ids}`,
    isDraining: () => isDraining,
    metricsText: () => 'metrics',
    tokenUsage: store.tokenUsage,
    tokenStatuses: () =>
      tokenStatusesOf({
        tokens: runtimeConfig.tokens,
        stateOf: (scope) => store.snapshot([scope])[0],
        usage: store.tokenUsage,
        at: { now: clock.now(), wall: clock.wall() },
      }),
    status,
    usage: shownUsage,
    live,
  }
  async function status(): Promise<GatewayStatus> {
    const stateOf = await knownStates(runtimeConfig.pools.upstreams, deps.store.snapshot)
    const { queue } = deps.traffic
    const now = { at: instantOf(clock), startedAt: 0, waiting: queue.size, isDraining }
    const told = { recent, usage, abilities: store.abilities, configState: { warnings: [] } }
    return statusOf({ runtimeConfig, version: '0.0.0', stateOf, ...told, ...now })
  }
  const app = createApp(deps)
  return {
    app,
    deps,
    clock,
    store,
    calls,
    events,
    memory,
    live,
    apply(next) {
      runtimeConfig = createRuntimeConfig(checked(next))
      live.review()
    },
    drain() {
      isDraining = true
      live.end()
    },
    get openLeases() {
      return leases.size
    },
    inFlight() {
      const ids = runtimeConfig.pools.upstreams.map(({ id }) => id)
      return store.snapshot(ids).reduce((sum, state) => sum + (state?.inFlight ?? 0), 0)
    },
    requests: () => events.filter((event) => event.kind === 'request'),
    attempts: () => events.filter((event) => event.kind === 'attempt'),
    hosts: () => calls.map(({ host }) => host),
    async chat(
      body = {},
      { headers, signal, peer, clientSignal, path = 'chat/completions', body: raw } = {},
    ) {
      const request = new Request(`http://gateway.test/v1/${path}`, {
        method: 'POST',
        headers: { authorization: `Bearer ${TOKEN}`, 'content-type': 'application/json', ...headers },
        body:
          (raw as string | undefined) ??
          JSON.stringify({ model: 'auto', messages: [{ role: 'user', content: 'hi' }], ...body }),
        ...(signal && { signal }),
      })
      return app.fetch(request, { peer, clientSignal })
    },
  }
}

/** The same store, with its open leases in a set. */
function counted(store: MemoryStore, leases: Set<string>): MemoryStore {
  return {
    ...store,
    get changes() {
      return store.changes
    },
    acquire(order, ask, at) {
      const lease = store.acquire(order, ask, at)
      if (lease !== undefined) leases.add(lease.id)
      return lease
    },
    settle(lease, outcome, at) {
      if (!leases.delete(lease.id)) throw new Error('a lease was settled twice')
      return store.settle(lease, outcome, at)
    },
  }
}

const encoder = new TextEncoder()

/** A believable chat answer. */
export function answer(
  from: string,
  more: { headers?: Record<string, string>; usage?: object } = {},
): UpstreamResponse {
  const body = {
    id: 'chatcmpl-1',
    object: 'chat.completion',
    model: from,
    choices: [{ index: 0, message: { role: 'assistant', content: `from ${from}` }, finish_reason: 'stop' }],
    usage: more.usage ?? { prompt_tokens: 5, completion_tokens: 7, total_tokens: 12 },
  }
  return jsonAnswer(200, body, more.headers)
}

export function jsonAnswer(
  status: number,
  body: unknown,
  headers: Record<string, string> = {},
): UpstreamResponse {
  return {
    status,
    headers: { 'content-type': 'application/json', ...headers },
    body: encoder.encode(JSON.stringify(body)),
  }
}

/** An OpenAI error envelope. */
export function errorAnswer(
  status: number,
  code = 'some_code',
  headers: Record<string, string> = {},
): UpstreamResponse {
  return jsonAnswer(
    status,
    { error: { message: `said ${code}`, type: 'some_type', param: null, code } },
    headers,
  )
}
