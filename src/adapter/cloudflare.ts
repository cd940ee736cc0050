import { waitUntil } from 'cloudflare:workers'
import { createWorker } from './cloudflare-gateway.ts'
import type { WorkerEnv } from './cloudflare-platform.ts'

export { AiloadState } from './cloudflare-state.ts'

/** One gateway for each isolate and environment. */
const workers = new WeakMap<WorkerEnv, ReturnType<typeof createWorker>>()

export default {
  async fetch(request: Request, env: WorkerEnv): Promise<Response> {
    const known = workers.get(env)
    const worker = known ?? createWorker(env, waitUntil)
    if (known === undefined) workers.set(env, worker)
    return worker(request)
  },
}
