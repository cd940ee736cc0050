import type { Environment } from '../../config/problem.ts'
import type { StateReply } from '../../state/durable-object/protocol.ts'
import { createObjectStore } from '../../state/durable-object/store.ts'
import { createFallbackStore } from '../../state/fallback-store.ts'
import { createMemoryStore } from '../../state/memory.ts'
import type { AppDeps, Page } from '../../http/deps.ts'
import { pageOf } from '../../http/page.ts'
import { serveConfigText } from '../edge/config-text.ts'
import type { EdgePlatform } from '../gateway.ts'

const NAMES = { text: 'AILOAD_CONFIG', token: 'AUTH_TOKEN', how: 'npx wrangler secret put NAME' }

/** A Worker's fetch handler. `defer` registers work with the present request, which then outlives it (30 s at most). */
export function createWorker(env: WorkerEnv, defer: (work: Promise<unknown>) => void) {
  const given = { text: env.AILOAD_CONFIG, token: env.AUTH_TOKEN, env: textsOf(env), names: NAMES }
  return serveConfigText(given, (common) => ({
    ...storeOf(env.AILOAD_STATE, { ...common, defer }),
    page: pageIn(env.PAGE),
    peerOf: (request) => request.headers.get('cf-connecting-ip') ?? '',
  }))
}

/** Variables and secrets, which `${NAME}` in the configuration may refer to. Bindings are no texts. */
function textsOf(env: WorkerEnv): Environment {
  return Object.fromEntries(Object.entries(env).filter(([, value]) => typeof value === 'string'))
}

/** The page at `/`, read from the assets of the Worker once for each isolate; its code holds none of it. */
function pageIn(assets: Assets | undefined): AppDeps['page'] {
  if (assets === undefined) return undefined
  let page: Page | undefined
  return async () => {
    if (page !== undefined) return page
    const asset = await assets.fetch('https://assets/page.html')
    if (asset.ok) page = pageOf(await asset.text())
    return page
  }
}

function storeOf(
  namespace: ObjectNamespace | undefined,
  { clock, defer, log }: Pick<EdgePlatform, 'clock' | 'log'> & { defer(work: Promise<unknown>): void },
): Pick<EdgePlatform, 'store' | 'look' | 'isStoreShared'> {
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
  function onLost(why: 'slow' | 'failed'): void {
    const message = `the Durable Object is ${why === 'slow' ? 'slow' : 'out of reach'}; state is kept in this isolate's memory meanwhile`
    log({ kind: 'notice', level: 'warning', message })
  }
  const store = createFallbackStore({ remote, local, now, after, defer, onLost })
  return { store, look: store.look, isStoreShared: true }
}

/** What a Worker is bound to, by the names in wrangler.toml. All of it may be missing. */
export interface WorkerEnv {
  /** The configuration as JSON, a secret or a variable. */
  readonly AILOAD_CONFIG?: string
  /** The client token, a secret. */
  readonly AUTH_TOKEN?: string
  /** Where state is kept for all isolates; without it each has its own. */
  readonly AILOAD_STATE?: ObjectNamespace
  /** Files that were uploaded beside the code; without them `/` is a short text. */
  readonly PAGE?: Assets
}

interface Assets {
  fetch(url: string): Promise<Response>
}

/** Durable Objects of one class. */
interface ObjectNamespace {
  idFromName(name: string): unknown
  get(id: unknown): { fetch(url: string, init: { method: string; body: string }): Promise<Response> }
}
