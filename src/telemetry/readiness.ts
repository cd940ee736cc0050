import type { Settings } from '../config/config.ts'
import { endpoints, type Endpoint, type Upstream } from '../pool/upstream.ts'
import type { Abilities } from '../state/abilities.ts'
import { availabilityOf, remedyOf, type StateOf } from '../state/availability.ts'

/** What is to be judged, and at which moment: ms on the clock. */
interface ReadinessTask {
  readonly upstreams: readonly Upstream[]
  readonly settings: Pick<Settings, 'queueTimeoutMs'>
  readonly abilities: Pick<Abilities, 'hasEmbedded'>
  readonly stateOf: StateOf
  readonly now: number
}

/** One token, since a request without any would pass by the limits that count them. */
const SMALLEST = { inputTokens: 1, outputTokens: 0, probeMs: 0, lastResort: false }

/**
 * Why no request can be answered now; undefined while at least one upstream may take one. One that rests for failures
 * counts as able, since it is tried anyway when nothing else is left; one whose limit reopens within `queue_timeout` does
 * too. One that waits for an operator (401, 403, 404) or is paused does not.
 */
export function whyNotReady({
  upstreams,
  settings,
  abilities,
  stateOf,
  now,
}: ReadinessTask): string | undefined {
  const enabled = upstreams.filter((upstream) => upstream.enabled)
  if (enabled.length === 0) return 'no upstream is enabled'
  const opensInTime = now + settings.queueTimeoutMs
  const found = new Set<string>()
  for (const upstream of enabled)
    for (const endpoint of endpoints) {
      if (!isJudgedBy(upstream, endpoint, abilities)) continue
      const availability = availabilityOf(upstream.claims[endpoint], stateOf, { ask: SMALLEST, now })
      if (availability.free) return undefined
      const { reason } = availability
      const remedy = remedyOf(reason)
      if (remedy === 'retry' || (remedy === 'wait' && reason.until <= opensInTime)) return undefined
      found.add(REASONS[remedy] ?? 'are out of quota')
    }
  const reasons = ['are out of quota', 'need attention', 'are paused'].filter((reason) => found.has(reason))
  return `all upstreams ${reasons.join(' or ')}`
}

const REASONS: Readonly<Record<string, string>> = { operator: 'need attention', resume: 'are paused' }

/** By what it mostly serves: the first of its endpoints. And by embeddings where it has answered them. */
function isJudgedBy(upstream: Upstream, endpoint: Endpoint, abilities: ReadinessTask['abilities']): boolean {
  if (!upstream.endpoints.has(endpoint)) return false
  const first = endpoints.find((one) => upstream.endpoints.has(one))
  return endpoint === first || (endpoint === 'embeddings' && abilities.hasEmbedded(upstream.id))
}
