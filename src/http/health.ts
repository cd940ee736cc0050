import { evaluate } from '../relay/candidates.ts'
import { endpoints, type Endpoint, type Upstream } from '../pool/upstream.ts'
import { remedyOf } from '../state/availability.ts'
import type { RequestContext } from './context.ts'
import { jsonResponse } from './response.ts'

/**
 * Ready while at least one upstream may take a request. One that rests for failures counts as able, since it
 * is tried anyway when nothing else is left; one whose limit reopens within `queue_timeout` does too. One that waits
 * for an operator (401, 403, 404) does not.
 */
export async function readiness(context: RequestContext): Promise<Response> {
  const why = context.deps.isDraining() ? 'draining' : await reasonOf(context)
  return jsonResponse({ status: why ?? 'ready' }, why === undefined ? 200 : 503, context.ownHeaders)
}

/** One token, since a request without any would pass by the limits that count them. */
const SMALLEST = { inputTokens: 1, outputTokens: 0, probeMs: 0, lastResort: false }

async function reasonOf({ deps, runtimeConfig }: RequestContext): Promise<string | undefined> {
  const { pools, config } = runtimeConfig
  const enabled = pools.upstreams.filter((upstream) => upstream.enabled)
  if (enabled.length === 0) return 'no upstream is enabled'
  const now = deps.clock.now()
  const { credits } = deps.traffic
  const opensInTime = now + config.settings.queueTimeoutMs
  const remedies = new Set<ReturnType<typeof remedyOf>>()
  for (const endpoint of endpoints) {
    const asked = enabled.filter((upstream) => isJudgedBy(upstream, endpoint, deps))
    if (asked.length === 0) continue
    const given = { endpoint, now, credits, store: deps.store }
    const { candidates, unavailable } = await evaluate(asked, SMALLEST, given)
    if (candidates.length > 0) return undefined
    for (const { reason } of unavailable) {
      const remedy = remedyOf(reason)
      if (remedy === 'retry' || (remedy === 'wait' && reason.until <= opensInTime)) return undefined
      remedies.add(remedy)
    }
  }
  if (!remedies.has('operator')) return 'all upstreams are out of quota'
  return remedies.size === 1
    ? 'all upstreams need attention'
    : 'all upstreams are out of quota or need attention'
}

/** By what it mostly serves: the first of its endpoints. And by embeddings where it has answered them. */
function isJudgedBy(upstream: Upstream, endpoint: Endpoint, { abilities }: RequestContext['deps']): boolean {
  if (!upstream.endpoints.has(endpoint)) return false
  const first = endpoints.find((one) => upstream.endpoints.has(one))
  return endpoint === first || (endpoint === 'embeddings' && abilities.hasEmbedded(upstream.id))
}
