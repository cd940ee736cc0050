import type { Endpoint, Limits } from './vocabulary.ts'

/** One model at one endpoint called with one key. */
export interface Upstream {
  /**
   * Who it is: a fingerprint of root URL, key and model. Name, weight and position are no part of it, so
   * cooldowns, quotas and affinity survive an edit of the configuration.
   */
  readonly id: string
  /** `hash01` of the id: where rendezvous hashing sees it. */
  readonly place: number
  /** Unique; shown in logs, metrics and headers. */
  readonly name: string
  /** The model name that it is asked for. */
  readonly model: string
  /** Root URL without a trailing slash, such as `https://api.openai.com/v1`. */
  readonly root: string
  /** A query string that goes with every request, without `?`. Empty = none. */
  readonly query: string
  /** Empty for a server that wants no key. */
  readonly apiKey: string
  readonly endpoints: ReadonlySet<Endpoint>
  readonly groups: readonly string[]
  readonly weight: number
  readonly priority: number
  readonly headers: Readonly<Record<string, string>>
  readonly timeoutMs: number
  readonly connectTimeoutMs: number
  readonly enabled: boolean
  /** What one request draws on, for each endpoint. */
  readonly claims: Readonly<Record<Endpoint, Claim>>
}

/** One scope that a request draws on: something that can rest, and whose limits are counted. */
export interface Draw {
  /** Key of the scope's state in the store; never contains a secret. */
  readonly scope: string
  readonly role: 'upstream' | 'key' | 'endpoint' | 'origin' | 'quota'
  /** Configured limits; learned ones are kept with the state. */
  readonly limits?: Limits
}

/** Everything that one request to one upstream draws on. All scopes must have room, or none is taken. */
export interface Claim {
  /** The upstream's id, which is also the scope of its own state. */
  readonly id: string
  /** The upstream's: of an order it is never moved in front of a lower one. */
  readonly priority: number
  /** The upstream's own scope is the first. */
  readonly draws: readonly Draw[]
}
