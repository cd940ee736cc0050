import type { AffinityRule, Limits } from '../pool/vocabulary.ts'
import { keysOf } from './api-keys.ts'
import { isRefusal, parseBaseUrl } from './base-url.ts'
import type { Config, ModelConfig, ServerConfig, Settings } from './config.ts'
import { parseOrigin } from './origin.ts'
import type { ConfigFile, ModelEntry } from './schema.ts'

type LimitsEntry = NonNullable<ModelEntry['limits']>

/** A checked file as the gateway uses it: every default applied, every duration in ms. */
export function configOf(file: ConfigFile): Config {
  const quotas = Object.entries(file.quotas ?? {}).map(([name, limits]) => [name, limitsOf(limits)])
  return {
    authToken: (file.auth_token ?? '').trim(),
    models: file.models.map(modelOf),
    quotas: Object.fromEntries(quotas) as Record<string, Limits>,
    server: serverOf(file.server ?? {}),
    settings: settingsOf(file.settings ?? {}),
  }
}

function modelOf(entry: ModelEntry, at: number): ModelConfig {
  const { name, endpoints, limits, timeout, quota = [], headers = {} } = entry
  const url = parseBaseUrl(entry.base_url)
  if (isRefusal(url)) throw new TypeError('a base_url got past the schema')
  return {
    apiKeys: keysOf(entry.api_key),
    ...url,
    model: entry.model,
    groups: unique((entry.groups ?? []).map((group) => group.trim())),
    weight: entry.weight ?? 1,
    priority: entry.priority ?? 0,
    quotas: unique([quota].flat()),
    headers: Object.fromEntries(
      Object.entries(headers).map(([key, value]) => [key.toLowerCase(), value.trim()]),
    ),
    enabled: entry.enabled ?? true,
    path: `models[${at}]`,
    ...(name === undefined ? {} : { name: name.trim() }),
    ...(endpoints === undefined ? {} : { endpoints: unique(endpoints) }),
    ...(limits === undefined ? {} : { limits: limitsOf(limits) }),
    ...(timeout === undefined ? {} : { timeoutMs: msOf(timeout) }),
  }
}

const limitsOf = ({ day_resets: dayResets = 'UTC', ...counts }: LimitsEntry): Limits => ({
  ...counts,
  dayResets,
})

function serverOf(server: NonNullable<ConfigFile['server']>): ServerConfig {
  const mode = server.mode ?? server.model ?? 'release'
  return {
    port: server.port ?? 2081,
    host: server.host ?? '0.0.0.0',
    mode: mode === 'debug' ? 'debug' : 'release',
    trustedProxies: unique(server.trusted_proxies ?? ['private']),
    maxBodyBytes: server.max_body ?? 32 * 2 ** 20,
    maxBufferedBytes: server.max_buffered ?? 256 * 2 ** 20,
    cors: corsOf(server.cors ?? '*'),
    metricsPublic: server.metrics_public ?? false,
  }
}

const corsOf = (cors: '*' | false | readonly string[]): ServerConfig['cors'] =>
  Array.isArray(cors) ? unique(cors.map((origin) => parseOrigin(origin) ?? origin)) : cors

function settingsOf(settings: NonNullable<ConfigFile['settings']>): Settings {
  const { passthrough, max_attempts: maxAttempts } = settings
  return {
    timeoutMs: msOf(settings.timeout ?? 120),
    connectTimeoutMs: msOf(settings.connect_timeout ?? 5),
    strategy: settings.strategy ?? 'random',
    affinity: affinityOf(settings.affinity ?? (settings.ip_hash === false ? 'off' : 'ip')),
    affinityTtlMs: msOf(settings.affinity_ttl ?? 300),
    queueTimeoutMs: msOf(settings.queue_timeout ?? 5),
    queueSize: settings.queue_size ?? 256,
    unknownModel: settings.unknown_model ?? 'reject',
    state: { kind: 'memory' },
    drainTimeoutMs: msOf(settings.drain_timeout ?? 8),
    ...(passthrough === undefined ? {} : { passthrough: passthrough.trim() }),
    ...(maxAttempts === undefined ? {} : { maxAttempts }),
  }
}

function affinityOf(text: string): AffinityRule {
  if (text.startsWith('header:')) return { kind: 'header', name: text.slice('header:'.length).toLowerCase() }
  return { kind: text as Exclude<AffinityRule['kind'], 'header'> }
}

/** Whole ms, so that what is not 0 never becomes 0. */
const msOf = (seconds: number): number => Math.ceil(seconds * 1000)

const unique = <T>(items: readonly T[]): T[] => [...new Set(items)]
