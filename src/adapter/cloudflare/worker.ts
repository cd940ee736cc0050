/*
 * adapter/cloudflare: the Worker. Its configuration comes from secrets and variables; its state is kept in one Durable
 * Object where `wrangler.toml` binds one, else in the memory of each isolate.
 *
 * worker        the entry: the fetch handler, and the class of the object
 * gateway       the gateway of one isolate, and what a Worker is bound to
 * state-object  the Durable Object on its SQLite storage
 * workers.d     the part of workerd's own module that is used
 */
import { waitUntil } from 'cloudflare:workers'
import { createWorker, type WorkerEnv } from './gateway.ts'

export { AiloadState } from './state-object.ts'

/** One gateway for each isolate and environment. */
const workers = new WeakMap<WorkerEnv, ReturnType<typeof createWorker>>()

export default {
  async fetch(request: Request, env: WorkerEnv): Promise<Response> {
    let worker = workers.get(env)
    if (worker === undefined) workers.set(env, (worker = createWorker(env, waitUntil)))
    return worker(request)
  },
}
