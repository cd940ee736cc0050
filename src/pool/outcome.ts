import type { ErrorCode } from '../errors.ts'

/** What a cooldown or a learned limit applies to. */
export type Scope =
  | 'upstream' // one key with one model at one origin: the upstream itself
  | 'key' // everything called with this key
  | 'endpoint' // this upstream for the endpoint that was asked, such as `embeddings`
  | 'quota' // the shared quotas that the upstream draws on; the upstream itself where it draws on none
  | 'none' // nobody

/**
 * Why something rests. The cause picks the back-off (see `state/circuit-breaker.ts`), what the operator reads and
 * which error a client gets when nothing is left.
 */
export type Cause =
  | 'rate-limited' // a limit that reopens within seconds or minutes
  | 'overloaded' // too many at once, or a full queue at the vendor: clears within a second or so
  | 'quota' // a day's quota, credits or a plan: reopens at a reset, or when somebody pays
  | 'auth' // the key is refused
  | 'not-found' // the model, or this endpoint of it, does not exist there
  | 'failure' // anything broken: connection, status 5xx, a bad answer

/** What a failure says of trying elsewhere; `relay/walk.ts` has how often each may be. */
export type FailureClass =
  | 'not-sent' // it certainly did not reach the upstream
  | 'refused' // the upstream answered that it did no work, for reasons of its own
  | 'ambiguous' // the work may have been done
  | 'too-long' // beyond a limit of this model that others may not have
  | 'refused-body' // it did not like a body that our own reading finds sound
  | 'unfit' // a success without content, or in another form than asked

/** What an upstream may be able to do, or not. */
export const abilities = ['tools', 'images', 'audio', 'json_schema', 'stream', 'stream_usage'] as const
export type Ability = (typeof abilities)[number]

/** What has a limit on a single request: input and output together, output alone (tokens), the body (bytes). */
export type Size = 'context' | 'output' | 'body'

/** What a refusal names as its reason, and the limit where it said one. */
export interface Lesson {
  readonly about: Ability | Size
  readonly limit?: number | undefined
}

/** Something an upstream said about a counted limit, in its headers or its error. */
export interface QuotaSignal {
  readonly counts: 'requests' | 'tokens'
  readonly window: 'second' | 'minute' | 'hour' | 'day' | 'month'
  /** The size of the window, where it was said; positive. */
  readonly limit?: number
  /** What is left; 0 = nothing before the reset. Never negative. */
  readonly remaining?: number
  /** Ms from now until the window is full again, clamped to 0…31 days. */
  readonly resetMs?: number
  /** Whose limit it is. */
  readonly scope: Scope
}

/** How long the windows of counted limits are, ms, from the shortest to the longest; a month is 30 days. */
export const SPAN_MS: Readonly<Record<QuotaSignal['window'], number>> = {
  second: 1_000,
  minute: 60_000,
  hour: 3_600_000,
  day: 86_400_000,
  month: 2_592_000_000,
}

/** A failed attempt, classified. */
export interface Failure {
  readonly kind: 'failed'
  readonly class: FailureClass
  /** What rests; `none` for the client's faults and for single requests that are too large. */
  readonly scope: Scope
  readonly cause: Cause
  /** How long the upstream asked us to stay away, in ms from now, clamped; absent when it did not say. */
  readonly hintMs?: number
  /** A limit on one request that the answer named: requests estimated above it ask this upstream last. */
  readonly maxTokensPerRequest?: number
  /** What the answer says that this upstream can't do. */
  readonly lesson?: Lesson | undefined
  /** The client may have to read the upstream's own words. */
  readonly isForClient?: true | undefined
  /** The status the upstream answered with; absent when there was no answer. */
  readonly status?: number
  /** Why, in a few words of our own that anybody may read, such as `connection refused`. */
  readonly reason?: string
  /** What the upstream said, in its own words; may quote its key and the client. Absent where it said nothing. */
  readonly words?: string
  /** The code of the error that a client gets when this was the last word. */
  readonly code: ErrorCode
  readonly signals: readonly QuotaSignal[]
}

/** How a lease ended. Exactly one for each attempt. */
export type Outcome =
  /** The body ended as it should. `tokens`: all tokens used; `outputTokens`: of each answer in it; as far as known. */
  | { readonly kind: 'ok'; readonly tokens?: number | undefined; readonly outputTokens?: number | undefined }
  | Failure
  /** It broke after the commit point: nothing is retried, the upstream rests. */
  | {
      readonly kind: 'broken'
      readonly code: 'upstream_disconnected' | 'upstream_timeout'
      readonly tokens?: number | undefined
    }
  /** The client left; blames nobody. `sent`: whether the upstream had got the request. */
  | { readonly kind: 'aborted'; readonly sent: boolean; readonly tokens?: number | undefined }

/** The same without what an upstream said in its own words, which state has no use for. */
export function withoutWords(outcome: Outcome): Outcome {
  if (outcome.kind !== 'failed' || outcome.words === undefined) return outcome
  const { words: _, ...rest } = outcome
  return rest
}
