import { knownStates } from '../telemetry/status.ts'
import { whyNotReady } from '../telemetry/readiness.ts'
import type { RequestContext } from './context.ts'
import { jsonResponse } from './response.ts'

/** Ready while at least one upstream may take a request; see `whyNotReady`. */
export async function readiness({ deps, runtimeConfig, ownHeaders }: RequestContext): Promise<Response> {
  const { pools, config } = runtimeConfig
  const { upstreams } = pools
  const stateOf = await knownStates(upstreams, deps.store.snapshot)
  const { settings } = config
  const judged = { upstreams, settings, abilities: deps.abilities, stateOf, now: deps.clock.now() }
  const why = deps.isDraining() ? 'draining' : whyNotReady(judged)
  return jsonResponse({ status: why ?? 'ready' }, why === undefined ? 200 : 503, ownHeaders)
}
