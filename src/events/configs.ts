import type { Settings } from '../config/config.ts'
import { hash01 } from '../lib/hash.ts'
import { createPools, type Pools } from '../pool/pool.ts'
import { endpoints, type Claim, type Endpoint, type LimitScope, type Upstream } from '../pool/upstream.ts'
import { originOfRoot } from '../relay/candidates.ts'
import { passthroughClaim } from '../relay/passthrough.ts'

/** The configuration as choices know it: nothing in it is secret. */
export interface RecordedConfig {
  readonly settings: Pick<Settings, 'strategy' | 'unknownModel'>
  readonly upstreams: readonly RecordedUpstream[]
}

/** An upstream as choices know it. */
export interface RecordedUpstream extends Omit<
  Upstream,
  | 'rendezvousHash'
  | 'root'
  | 'query'
  | 'apiKey'
  | 'keyPosition'
  | 'headers'
  | 'endpoints'
  | 'presumed'
  | 'route'
  | 'edits'
  | 'claims'
> {
  /** Scheme, host and port of its root. */
  readonly origin: string
  readonly endpoints: readonly Endpoint[]
  readonly presumedEndpoints: readonly Endpoint[] | undefined
  readonly hasEdits: boolean
  /** What a request draws on, whatever its endpoint. */
  readonly draws: readonly LimitScope[]
}

/** A configuration that requests were begun with, and who stands where in it. */
export interface KnownConfig {
  readonly config: RecordedConfig
  readonly pools: Pools
  /** By the ids of upstreams. */
  readonly places: ReadonlyMap<string, number>
}

export const knownConfigOf = (config: RecordedConfig, pools: Pools): KnownConfig => ({
  config,
  pools,
  places: new Map(pools.upstreams.map(({ id }, at) => [id, at])),
})

/** The places of a claim in a configuration: of its upstream, then of its endpoint; behind the last what is passed on. */
export const CLAIM_KINDS = endpoints.length + 1

/** A claim of a configuration as a number; see `claimAt`. */
type ClaimRef = number

/** The claim that a number stands for; one without anything for a number that stands for none. */
export function claimAt({ pools }: KnownConfig, ref: ClaimRef): Claim {
  const upstream = pools.upstreams[Math.floor(ref / CLAIM_KINDS)]
  if (upstream === undefined) return { id: '', priority: 0, draws: [] }
  const endpoint = endpoints[ref % CLAIM_KINDS]
  return endpoint === undefined ? passthroughClaim(upstream) : upstream.claims[endpoint]
}

/**
 * The configurations that there were, for as long as a request has an upstream of one: it ends on that which it began with.
 * Found by the first scope of a claim, which each configuration makes anew.
 */
export function createKnownConfigs() {
  const owners = new WeakMap<LimitScope, KnownConfig>()
  const refs = new WeakMap<Claim, ClaimRef>()

  const ownerOfClaim = ({ draws: [own] }: Claim): KnownConfig | undefined => own && owners.get(own)

  /** Of a claim that `ownerOfClaim` knows. */
  function refOf(claim: Claim, { places }: KnownConfig): ClaimRef {
    // What is passed on has a claim of its own each time.
    return refs.get(claim) ?? (places.get(claim.id) ?? 0) * CLAIM_KINDS + CLAIM_KINDS - 1
  }

  return {
    add(settings: Settings, pools: Pools): KnownConfig {
      const known = knownConfigOf(recordedConfigOf(settings, pools.upstreams), pools)
      for (const [place, { claims }] of pools.upstreams.entries())
        for (const [at, endpoint] of endpoints.entries()) {
          const claim = claims[endpoint]
          refs.set(claim, place * CLAIM_KINDS + at)
          if (claim.draws[0] !== undefined) owners.set(claim.draws[0], known)
        }
      return known
    },
    /** Undefined for the limits of a client token, which are of no upstream. */
    ownerOfClaim,
    refOf,
    /** The number of a claim in a configuration that may be another than its own; undefined where it is not the same there. */
    refIn(claim: Claim, known: KnownConfig): ClaimRef | undefined {
      const owner = ownerOfClaim(claim)
      if (owner === undefined || owner === known) return owner && refOf(claim, owner)
      const place = known.places.get(claim.id)
      if (place === undefined) return undefined
      const ref = place * CLAIM_KINDS + (refOf(claim, owner) % CLAIM_KINDS)
      return JSON.stringify(claimAt(known, ref)) === JSON.stringify(claim) ? ref : undefined
    },
  }
}

function recordedConfigOf(
  { strategy, unknownModel }: Settings,
  upstreams: readonly Upstream[],
): RecordedConfig {
  return {
    settings: { strategy, unknownModel },
    upstreams: upstreams.map((upstream) => ({
      id: upstream.id,
      name: upstream.name,
      model: upstream.model,
      origin: originOfRoot(upstream.root),
      endpoints: [...upstream.endpoints],
      groups: upstream.groups,
      weight: upstream.weight,
      priority: upstream.priority,
      timeoutMs: upstream.timeoutMs,
      connectTimeoutMs: upstream.connectTimeoutMs,
      can: upstream.can,
      contextTokens: upstream.contextTokens,
      presumedEndpoints: upstream.presumed?.endpoints && [...upstream.presumed.endpoints],
      hasEdits: upstream.edits !== undefined,
      enabled: upstream.enabled,
      draws: upstream.claims.chat.draws.filter(({ role }) => role !== 'endpoint'),
    })),
  }
}

/** A configuration that was recorded, to make choices by once more. */
export function restoredConfig(config: RecordedConfig): KnownConfig {
  const upstreams = config.upstreams.map(upstreamFrom)
  return knownConfigOf(config, createPools(upstreams, config.settings.unknownModel))
}

/** An upstream as choices need it, which can't be asked. */
function upstreamFrom(recorded: RecordedUpstream): Upstream {
  const { origin, presumedEndpoints, hasEdits, draws, ...upstream } = recorded
  const { id, priority } = upstream
  const claimFor = (endpoint: Endpoint): Claim => {
    const own: LimitScope = { scope: `endpoint ${id} ${endpoint}`, role: 'endpoint' }
    return { id, priority, draws: [...draws, own] }
  }
  return {
    ...upstream,
    rendezvousHash: hash01(id),
    root: origin,
    query: '',
    apiKey: '',
    keyPosition: 0,
    headers: {},
    endpoints: new Set(recorded.endpoints),
    presumed: { endpoints: presumedEndpoints && new Set(presumedEndpoints) },
    edits: hasEdits ? { streamed: new Map(), whole: new Map() } : undefined,
    claims: Object.fromEntries(endpoints.map((each) => [each, claimFor(each)])) as Upstream['claims'],
  }
}
