import type { Config } from '../config/config.ts'
import type { TokenConfig } from '../config/token-schema.ts'
import { fingerprint, secretMatcher, sha256Hex } from '../lib/hash.ts'
import { isAmong, parseTrusted } from '../lib/ip.ts'
import { createPools, type Pools } from '../pool/pool.ts'
import type { Claim, Upstream } from '../pool/upstream.ts'

/** Who asks. */
export interface Client {
  /** 32 hex digits that stand for the token that was shown. */
  readonly fingerprint: string
  /** Undefined = a holder of `auth_token`, who may do everything. */
  readonly token?: ClientToken
}

/** One of `tokens`, ready for requests. */
export interface ClientToken extends TokenConfig {
  /** What its requests are counted in; see `Account`. */
  readonly claim: Claim
  /** The upstreams that it may use, by the names that it may ask for. */
  readonly pools: () => Pools
  /** Whether an address may use it, as far as `allow_ips` says. */
  readonly allows: (address: string) => boolean
}

/** Longer ones can't be configured: they are not even hashed. */
const MOST_LENGTH = 256
/** Of a digest so much finds the entry; the rest is compared in constant time. */
const KEY_LENGTH = 8

/** Who shows a token; undefined = nobody that is known. */
export type ClientOf = (given: string) => Client | undefined

/**
 * Finds whose token a text is. Those of `auth_token` are compared as they are, at the cost that they always had. Any other is
 * looked up by its SHA-256, which nobody can choose: the part of it by which the entry is found tells nothing of the token,
 * and the entry is compared in constant time. What was shown is kept nowhere, so that each request hashes it again, which
 * takes 5 µs.
 */
export function createClients(
  { authTokens }: Pick<Config, 'authTokens'>,
  tokens: readonly ClientToken[],
): ClientOf {
  const holders = new Map(authTokens.map((token) => [token, { fingerprint: fingerprint(token) }]))
  const authTokenOf = secretMatcher(authTokens)
  const entries = new Map<string, { client: Client; isDigest: (given: string) => string | undefined }[]>()
  for (const token of tokens) {
    const { digest } = token
    const key = digest.slice(0, KEY_LENGTH)
    // What `fingerprint` makes of the token itself.
    const client = { fingerprint: digest.slice(0, 32), token }
    entries.set(key, [...(entries.get(key) ?? []), { client, isDigest: secretMatcher([digest]) }])
  }
  return (given) => {
    const held = authTokenOf(given)
    if (held !== undefined) return holders.get(held)
    if (entries.size === 0 || given.length > MOST_LENGTH) return undefined
    const digest = sha256Hex(given)
    const found = entries.get(digest.slice(0, KEY_LENGTH))
    return found?.find(({ isDigest }) => isDigest(digest) !== undefined)?.client
  }
}

/** The tokens of a configuration. Those with the same `models` share their pools, which are made when one is first used. */
export function clientTokensOf(config: Config, pools: Pools): readonly ClientToken[] {
  const parts = new Map<string, () => Pools>()
  function poolsOf(models: readonly string[] | undefined): () => Pools {
    if (models === undefined) return () => pools
    const part = JSON.stringify([...new Set(models)].toSorted())
    let own = parts.get(part)
    if (own === undefined) {
      let made: Pools | undefined
      const { unknownModel } = config.settings
      // By a fingerprint: names are as long as they like.
      own = () =>
        (made ??= createPools(allowedUpstreams(models, pools), unknownModel, ` ${fingerprint(part)}`))
      parts.set(part, own)
    }
    return own
  }
  return config.tokens.map((token) => {
    const { name, models, limits, allowIps } = token
    const scope = `token ${name}`
    const ranges = allowIps && parseTrusted(allowIps)
    return {
      ...token,
      claim: { id: scope, priority: 0, draws: [{ scope, role: 'token', ...(limits && { limits }) }] },
      pools: poolsOf(models),
      allows: (address) => ranges === undefined || isAmong(address, ranges),
    }
  })
}

/** All upstreams that a list of names stands for, in the order of the configuration. */
function allowedUpstreams(models: readonly string[], pools: Pools): readonly Upstream[] {
  const allowed = new Set(models.flatMap((name) => pools.named(name) ?? []))
  return pools.upstreams.filter((upstream) => allowed.has(upstream))
}
