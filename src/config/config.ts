import type { AffinityRule, Endpoint, Limits, StrategyName } from '../pool/vocabulary.ts'

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

export interface Settings {
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
