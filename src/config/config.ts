/*
 * config: from the text of a file to a checked configuration. Every mistake is told at once, with its line, its path and
 * what would be right, and never with a value, since any of them may be a secret.
 *
 * source        the text: JSON with comments, and where each part of it stands
 * plain-source  the same with a small parser, for runtimes that load the program anew in each isolate
 * problem       what is wrong, where, and how it is told; references to environment variables
 * schema        the file as people write it
 * rules         what the schema is made of: rules of single values
 * load          reads and checks a text as a whole
 * checks        what no schema can say: names that refer to nothing, warnings, misspelt keys
 * config        the checked configuration with its defaults, and what a reload may change
 * upstreams     the upstreams that it describes
 */
import type { AffinityRule, Endpoint, Limits, StrategyName } from '../pool/upstream.ts'
import { pathText, type ConfigProblem } from './problem.ts'
import { isRefusal, parseBaseUrl, parseOrigin } from './rules.ts'
import type { ConfigFile, ModelEntry } from './schema.ts'
import { readSource } from './source.ts'

/** A checked configuration: defaults applied, durations in ms, nothing left to parse. Never changed in place. */
export interface Config {
  /** The client token, trimmed. `''` = none yet: one is made at start, and a reload is refused. */
  readonly authToken: string
  /** At least one, in the order of the file; disabled ones too. */
  readonly models: readonly ModelConfig[]
  /** Limits that several upstreams share, by name. */
  readonly quotas: Readonly<Record<string, Limits>>
  readonly server: ServerConfig
  readonly settings: Settings
}

/** One entry of `models`: an upstream for each of its keys. */
export interface ModelConfig {
  /** Trimmed, at least one; `''` = an own server that gets no `Authorization`. */
  readonly apiKeys: readonly string[]
  /** `base_url` without `/chat/completions`, query and trailing slash: an endpoint's path is appended to it. */
  readonly root: string
  /** The query of `base_url` without its `?` (Azure's `api-version=…`), to be put after every endpoint's path. */
  readonly query?: string
  /** The name sent to the upstream, as written. */
  readonly model: string
  /** As configured; what an upstream is really called is decided by `upstreamNames`. */
  readonly name?: string
  /** Absent = all. */
  readonly endpoints?: readonly Endpoint[]
  readonly groups: readonly string[]
  readonly weight: number
  /** Lower first. */
  readonly priority: number
  readonly limits?: Limits
  /** Names that exist in `Config.quotas`. */
  readonly quotas: readonly string[]
  /** Extra request headers; names are lower-case. */
  readonly headers: Readonly<Record<string, string>>
  /** Absent = `Settings.timeoutMs`. */
  readonly timeoutMs?: number
  readonly enabled: boolean
  /** Where it stands in the file, such as `models[0]`, for messages. */
  readonly path: string
}

export interface ServerConfig {
  /** 0 = any free port. */
  readonly port: number
  readonly host: string
  readonly mode: 'release' | 'debug'
  /** Addresses, CIDR ranges, or `private`. Empty = nobody is believed. */
  readonly trustedProxies: readonly string[]
  readonly maxBodyBytes: number
  readonly maxBufferedBytes: number
  readonly cors: '*' | readonly string[] | false
  readonly metricsPublic: boolean
}

interface Settings {
  readonly timeoutMs: number
  readonly connectTimeoutMs: number
  readonly strategy: StrategyName
  readonly affinity: AffinityRule
  readonly affinityTtlMs: number
  /** 0 = a request never waits. */
  readonly queueTimeoutMs: number
  readonly queueSize: number
  /** The name of an upstream that exists. */
  readonly passthrough?: string
  readonly unknownModel: 'reject' | 'auto'
  readonly state: { readonly kind: 'memory' }
  /** Absent = no cap but those of the classes of failure. */
  readonly maxAttempts?: number
  readonly drainTimeoutMs: number
}

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

/** The keys of an entry, trimmed, each once, in the order written; `['']` when it has none. */
export const keysOf = (apiKey: string | readonly string[] | undefined): string[] => [
  ...new Set([apiKey ?? ''].flat().map((key) => key.trim())),
]

/** True for keys that documentation and templates show and that no vendor ever gave out. */
export const isPlaceholderKey = (key: string): boolean =>
  /^(?:sk-)?(?:x{3,}|\.{3}|…|<.*>|your[-_ ]?(?:api[-_ ]?)?key.*)$/i.test(key)

/** The text of a configuration and the name under which messages speak of it. */
interface NamedText {
  readonly text: string
  readonly fileName: string
}

/** Keys whose change takes effect only after a restart: those of them in which two configurations differ. */
export function needsRestart(running: Config, next: Config): string[] {
  const differs = {
    'server.port': running.server.port !== next.server.port,
    'server.host': running.server.host !== next.server.host,
    'settings.state': running.settings.state.kind !== next.settings.state.kind,
  }
  return Object.entries(differs).flatMap(([key, changed]) => (changed ? [key] : []))
}

/**
 * Why a valid configuration can't replace a running one, or undefined when it can. A token is made at start
 * only: were one made at reload, a slip of the editor would lock out every client.
 */
export function reloadProblem(next: Config, { text, fileName }: NamedText): ConfigProblem | undefined {
  if (next.authToken !== '') return undefined
  const path = ['auth_token']
  return {
    file: fileName,
    ...readSource(text).placeOf(path),
    path: pathText(path),
    message: 'is empty or missing, which a reload refuses',
    hint: 'write the token; one is made only at start',
  }
}
