import type { Environment } from '../../config/problem.ts'
import type { Clock } from '../../lib/clock.ts'
import type { Report } from '../../relay/deps.ts'
import { createPollSchedule } from '../../relay/queue.ts'
import type { StateReply } from '../../state/durable-object/protocol.ts'
import { createObjectStore } from '../../state/durable-object/store.ts'
import { createFallbackStore } from '../../state/fallback-store.ts'
import { createMemoryStore } from '../../state/memory.ts'
import { openConfigText } from '../edge/config.ts'
import { toWholeEventsResponse } from '../edge/whole-events.ts'
import { consoleLog, createClock, createEdgeGateway, type EdgePlatform } from '../gateway.ts'

/** Registers work with the present request, which then outlives its answer (30 s at most). */
type Defer = (work: Promise<unknown>) => void

const NAMES = { text: 'AILOAD_CONFIG', token: 'AUTH_TOKEN', how: 'npx wrangler secret put NAME' }

/** A Worker's fetch handler. To be made inside its first request: before that, clocks stand still. */
export function createWorker(
  env: WorkerEnv,
  defer: Defer,
): (request: Request) => Response | Promise<Response> {
  const opened = openConfigText({
    text: env.AILOAD_CONFIG,
    token: env.AUTH_TOKEN,
    env: textsOf(env),
    names: NAMES,
  })
  if (!opened.ok) return opened.answer
  const clock = createClock()
  const log = consoleLog(opened.config.server.mode)
  const gateway = createEdgeGateway(opened.config, {
    clock,
    log,
    toResponse: toWholeEventsResponse,
    ...storeOf(env.AILOAD_STATE, { clock, defer, log }),
    peerOf: (request) => request.headers.get('cf-connecting-ip') ?? '',
  })
  return (request) => gateway.fetch(request)
}

/** Variables and secrets, which `${NAME}` in the configuration may refer to. Bindings are no texts. */
function textsOf(env: WorkerEnv): Environment {
  return Object.fromEntries(Object.entries(env).filter(([, value]) => typeof value === 'string'))
}

interface Means {
  readonly clock: Clock
  readonly defer: Defer
  readonly log: Report
}

function storeOf(
  namespace: ObjectNamespace | undefined,
  { clock, defer, log }: Means,
): Pick<EdgePlatform, 'store' | 'look' | 'pollSchedule'> {
  const local = createMemoryStore({ random: Math.random })
  if (namespace === undefined) return { store: local }
  const { now, after } = clock
  const remote = createObjectStore({
    isolate: crypto.randomUUID(),
    now,
    defer,
    after,
    ownInFlight: (scope) => local.snapshot([scope])[0]?.inFlight ?? 0,
    async call(question) {
      // A stub belongs to the request that made it, and does not survive an error.
      const stub = namespace.get(namespace.idFromName('state'))
      const answer = await stub.fetch('https://state/', { method: 'POST', body: JSON.stringify(question) })
      if (!answer.ok) throw new Error(`the object answers ${answer.status}`)
      return (await answer.json()) as StateReply
    },
  })
  const onLost = (why: 'slow' | 'failed'): void =>
    log({
      kind: 'notice',
      level: 'warning',
      message: `the Durable Object is ${why === 'slow' ? 'slow' : 'out of reach'}; state is kept in this isolate's memory meanwhile`,
    })
  const store = createFallbackStore({ remote, local, now, after, defer, onLost })
  return { store, look: store.look, pollSchedule: createPollSchedule() }
}

/** What a Worker is bound to, by the names in wrangler.toml. All of it may be missing. */
export interface WorkerEnv {
  /** The configuration as JSON, a secret or a variable. */
  readonly AILOAD_CONFIG?: string
  /** The client token, a secret. */
  readonly AUTH_TOKEN?: string
  /** Where state is kept for all isolates; without it each has its own. */
  readonly AILOAD_STATE?: ObjectNamespace
}

/** Durable Objects of one class. */
interface ObjectNamespace {
  idFromName(name: string): unknown
  get(id: unknown): { fetch(url: string, init: { method: string; body: string }): Promise<Response> }
}

/** What a Durable Object is given of itself; SQLite is its storage. */
export interface ObjectContext {
  readonly storage: { readonly sql: SqlStorage }
}

/** SQLite, as workerd offers it. */
export interface SqlStorage {
  exec(query: string, ...bindings: readonly string[]): Iterable<Record<string, unknown>>
}
