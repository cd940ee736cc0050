import type { ErrorCode } from '../errors.ts'

/** What a cooldown or a learned limit applies to. */
export type Scope =
  | 'upstream' // one key with one model at one origin: the upstream itself
  | 'key' // everything called with this key
  | 'proxy' // everything behind the same proxy, and the upstream too: who of them was silent can't always be told
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

/** What a failure says of trying elsewhere; `relay/relay.ts` has how often each may be. */
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

/** What the headers of an answer say of one limit. */
export interface MeterReading {
  /** The names of its headers, with `*` for `limit`, `remaining` and `reset`: who says it again speaks of the same. */
  readonly meter: string
  readonly counts: 'requests' | 'tokens'
  /** Whose limit it is. */
  readonly scope: Scope
  /** Positive. */
  readonly limit?: number | undefined
  /** What is left; never negative. */
  readonly remaining: number
  /** Ms until it is whole again, from when the request was sent, or from a refusal on; positive, at most 31 days. */
  readonly resetMs?: number | undefined
  /** How long its window is, where its name or its policy says so. */
  readonly spanMs?: number | undefined
  /** The reset is a Go duration: those who write such keep buckets, until their words say otherwise. */
  readonly isDuration?: boolean | undefined
}

/** A limit that the words of a refusal name. */
export interface ToldLimit {
  readonly counts: 'requests' | 'tokens'
  readonly scope: Scope
  /** Positive. */
  readonly limit: number
  readonly spanMs: number
}

/** How long the spans of limits are, ms, from the shortest to the longest; a month is 30 days. */
export const SPAN_MS = {
  second: 1_000,
  minute: 60_000,
  hour: 3_600_000,
  day: 86_400_000,
  month: 2_592_000_000,
} as const
export type Span = keyof typeof SPAN_MS

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
  /** What its headers say of limits. */
  readonly readings: readonly MeterReading[]
  /** What its words say of them. */
  readonly told?: readonly ToldLimit[] | undefined
  /** The rest is our guess at when the upstream's day ends: now and then somebody asks whether it is over. */
  readonly isInferred?: true | undefined
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
