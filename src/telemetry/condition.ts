import type { Claim, Upstream } from '../pool/upstream.ts'
import type { Endpoint } from '../pool/vocabulary.ts'
import { availabilityOf, type Block, type StateOf } from '../state/availability.ts'
import type { Ask } from '../state/store.ts'
import type { Gauges } from './metrics.ts'

/** Whether an upstream may take the smallest of requests now, and if not, why. */
export type Condition =
  | { readonly available: true; readonly inFlight: number }
  | {
      readonly available: false
      readonly inFlight: number
      readonly why: string
      /** Absent for a disabled upstream: then no state stands in the way. */
      readonly block?: Block
    }

/** Endpoints whose requests spend no tokens, so that a spent token limit does not close them. */
const TOKENLESS: ReadonlySet<Endpoint> = new Set(['images', 'audio'])

/** The endpoint that an upstream is judged by as a whole: `chat`, or the first that it serves. */
export function mainEndpoint({ endpoints }: Upstream): Endpoint {
  if (endpoints.has('chat')) return 'chat'
  for (const endpoint of endpoints) return endpoint
  return 'chat'
}

/** Judges an upstream for one endpoint. */
export function conditionOf(
  upstream: Upstream,
  stateOf: StateOf,
  given: { endpoint: Endpoint; now: number },
): Condition {
  const { endpoint, now } = given
  const claim = upstream.claims[endpoint]
  const inFlight = stateOf(claim.id)?.inFlight ?? 0
  if (!upstream.enabled) return { available: false, inFlight, why: 'disabled' }
  const ask: Ask = {
    inputTokens: TOKENLESS.has(endpoint) ? undefined : 1,
    outputTokens: 0,
    probeMs: 0,
    lastResort: false,
  }
  const found = availabilityOf(claim, stateOf, { ask, now })
  if (found.free) return { available: true, inFlight }
  return { available: false, inFlight, why: whyText(found.block), block: found.block }
}

/** What the metrics show of every upstream at this moment. */
export function upstreamGauges(
  upstreams: readonly Upstream[],
  stateOf: StateOf,
  now: number,
): Gauges['upstreams'] {
  return upstreams.map((upstream) => {
    const { inFlight, available } = conditionOf(upstream, stateOf, { endpoint: mainEndpoint(upstream), now })
    return { name: upstream.name, inFlight, available }
  })
}

const WORDS: Readonly<Record<string, string>> = {
  'rate-limited': 'rate-limited',
  overloaded: 'overloaded',
  quota: 'quota spent',
  auth: 'needs attention: key refused',
  'not-found': 'needs attention: model or endpoint not found',
  failure: 'failure',
  concurrency: 'concurrency limit reached',
  'too-large': 'token limit of a single request',
}

function whyText({ why, onRelease }: Block): string {
  const words = WORDS[why]
  if (words === undefined) return `${why.replace(':', ' per ')} used up`
  // A cause that waits for a release has sat out its time: somebody's request finds out whether it is over.
  return onRelease && why !== 'concurrency' ? `${words}, being tried again` : words
}

/** Whose state a scope is, in a word: nothing of the fingerprints that name it in the store. */
export function scopeWord(claim: Claim, scope: string): string {
  const draw = claim.draws.find((other) => other.scope === scope)
  if (draw === undefined) return 'upstream'
  return draw.role === 'quota' ? scope : draw.role
}
