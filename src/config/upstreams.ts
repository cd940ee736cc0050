import { fingerprint, hash01 } from '../lib/hash.ts'
import {
  endpoints,
  upstreamNames,
  type Claim,
  type LimitScope,
  type Endpoint,
  type Upstream,
} from '../pool/upstream.ts'
import type { Config, ModelConfig } from './config.ts'

/** One upstream for each key of each entry, disabled ones too, in the order of the file. */
export function upstreamsOf(config: Config): Upstream[] {
  const names = upstreamNames(config.models)
  return config.models
    .flatMap((model) => model.apiKeys.map((apiKey) => ({ model, apiKey })))
    .map(({ model, apiKey }, at) => upstreamOf(config, model, { apiKey, name: names[at] ?? model.model }))
}

function upstreamOf(config: Config, model: ModelConfig, one: { apiKey: string; name: string }): Upstream {
  const id = fingerprint(`${model.root}\n${one.apiKey}\n${model.model}`)
  const draws = limitScopesOf(config, model, { id, apiKey: one.apiKey })
  const claimFor = (endpoint: Endpoint): Claim => ({
    id,
    priority: model.priority,
    draws: [...draws, { scope: `endpoint ${id} ${endpoint}`, role: 'endpoint' }],
  })
  return {
    id,
    rendezvousHash: hash01(id),
    name: one.name,
    model: model.model,
    root: model.root,
    query: (model.query ?? '').replace(/^\?/, ''),
    apiKey: one.apiKey,
    endpoints: new Set(model.endpoints ?? endpoints),
    groups: model.groups,
    weight: model.weight,
    priority: model.priority,
    headers: model.headers,
    timeoutMs: model.timeoutMs ?? config.settings.timeoutMs,
    connectTimeoutMs: config.settings.connectTimeoutMs,
    enabled: model.enabled,
    claims: {
      chat: claimFor('chat'),
      completions: claimFor('completions'),
      embeddings: claimFor('embeddings'),
      responses: claimFor('responses'),
      images: claimFor('images'),
      audio: claimFor('audio'),
      moderations: claimFor('moderations'),
      rerank: claimFor('rerank'),
    },
  }
}

/** Scopes are named by fingerprints: the state is written to disk, and no key may stand there. */
function limitScopesOf(
  config: Config,
  model: ModelConfig,
  one: { id: string; apiKey: string },
): LimitScope[] {
  const origin = new URL(model.root).origin
  const draws: LimitScope[] = [
    { scope: one.id, role: 'upstream', ...(model.limits && { limits: model.limits }) },
    { scope: `key ${fingerprint(`${origin}\n${one.apiKey}`)}`, role: 'key' },
    { scope: `origin ${origin}`, role: 'origin' },
  ]
  for (const name of model.quotas) {
    const limits = config.quotas[name]
    if (limits !== undefined) draws.push({ scope: `quota ${name}`, role: 'quota', limits })
  }
  return draws
}
