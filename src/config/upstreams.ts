import { fingerprint, hash01 } from '../lib/hash.ts'
import {
  endpoints,
  upstreamNames,
  type Claim,
  type Endpoint,
  type LimitScope,
  type Upstream,
} from '../pool/upstream.ts'
import type { Config, ModelConfig } from './config.ts'

/** One upstream for each key of each entry, disabled ones too, in the order of the file. */
export function upstreamsOf(config: Config): Upstream[] {
  const names = upstreamNames(config.models)
  return config.models
    .flatMap((model) => model.apiKeys.map((apiKey) => ({ ...model, apiKey })))
    .map((model, at) => upstreamOf({ ...model, name: names[at] ?? model.model }, config))
}

function upstreamOf(one: ModelConfig & { name: string; apiKey: string }, config: Config): Upstream {
  const { root, apiKey, model, name, groups, weight, priority, headers, enabled } = one
  const id = fingerprint(`${root}\n${apiKey}\n${model}`)
  const { origin } = new URL(root)
  // Named by fingerprints: the state is written to disk, and no key may stand there.
  const draws: LimitScope[] = [
    { scope: id, role: 'upstream', ...(one.limits && { limits: one.limits }) },
    { scope: `key ${fingerprint(`${origin}\n${apiKey}`)}`, role: 'key' },
    { scope: `origin ${origin}`, role: 'origin' },
    ...one.quotas.flatMap((quota) => {
      const limits = config.quotas[quota]
      return limits ? [{ scope: `quota ${quota}`, role: 'quota' as const, limits }] : []
    }),
  ]
  const claimFor = (endpoint: Endpoint): Claim => ({
    id,
    priority,
    draws: [...draws, { scope: `endpoint ${id} ${endpoint}`, role: 'endpoint' }],
  })
  return {
    id,
    rendezvousHash: hash01(id),
    name,
    model,
    root,
    query: one.query ?? '',
    apiKey,
    endpoints: new Set(one.endpoints ?? endpoints),
    groups,
    weight,
    priority,
    headers,
    timeoutMs: one.timeoutMs ?? config.settings.timeoutMs,
    connectTimeoutMs: config.settings.connectTimeoutMs,
    enabled,
    claims: Object.fromEntries(endpoints.map((each) => [each, claimFor(each)])) as Upstream['claims'],
  }
}
