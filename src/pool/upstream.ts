import type { MemberEdits } from '../lib/json/edit.ts'
import { durationMs } from '../lib/time.ts'
import { type Ability, SPAN_MS } from './outcome.ts'
import type { UpstreamRoute } from './route.ts'

/** One model at one endpoint called with one key. */
export interface Upstream {
  /** A fingerprint of root URL, key and model alone: what is known of it survives an edit of its name or weight. */
  readonly id: string
  /** `hash01` of the id, for rendezvous hashing. */
  readonly rendezvousHash: number
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
  /** Which of its entry's keys that is, from 1 on. */
  readonly keyPosition: number
  readonly endpoints: ReadonlySet<Endpoint>
  readonly groups: readonly string[]
  readonly weight: number
  readonly priority: number
  readonly headers: Readonly<Record<string, string>>
  readonly timeoutMs: number
  readonly connectTimeoutMs: number
  /** Absent for a straight connection with the runtime's own certificates. */
  readonly route?: UpstreamRoute | undefined
  /** What the configuration says that it can do; undefined, or without an entry = not said. */
  readonly can?: Readonly<Partial<Record<Ability, boolean>>> | undefined
  /** Tokens of input and output together, by the configuration. It orders: what a request has is an estimate. */
  readonly contextTokens?: number | undefined
  /** What a preset or the vendor's list says where nothing else is known. */
  readonly presumed?: PresumedOfUpstream
  /** What changes in the JSON bodies that it gets besides the model's name; those of one entry share it. */
  readonly edits?: BodyEdits | undefined
  readonly enabled: boolean
  /** What one request draws on, for each endpoint. */
  readonly claims: Readonly<Record<Endpoint, Claim>>
}

/** By whether the client asked for a stream. */
export interface BodyEdits {
  readonly streamed: MemberEdits
  readonly whole: MemberEdits
}

/** What is presumed of an upstream; what was heard of it goes before. */
export interface PresumedOfUpstream {
  readonly can?: Readonly<Partial<Record<Ability, boolean>>> | undefined
  readonly contextTokens?: number | undefined
  /** For other endpoints `auto` passes it over while there are others. */
  readonly endpoints?: ReadonlySet<Endpoint> | undefined
}

/** One scope that a request draws on: something that can rest, and whose limits are counted. */
export interface LimitScope {
  /** Key of the scope's state in the store; never contains a secret. */
  readonly scope: string
  /**
   * `quota` is one of the configuration, `account` what a preset has its models share: a guess, which never refuses. `token`
   * is a client's, and of no upstream.
   */
  readonly role: 'upstream' | 'key' | 'endpoint' | 'origin' | 'proxy' | 'quota' | 'account' | 'token'
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
  readonly draws: readonly LimitScope[]
}

/** What an upstream can serve; each is one or more `/v1` routes. In the order in which it is explained to people. */
export const endpoints = [
  'chat',
  'completions',
  'embeddings',
  'responses',
  'images',
  'audio',
  'moderations',
  'rerank',
] as const
export type Endpoint = (typeof endpoints)[number]

/** What makes requests stick together; `name` is lower-case. */
export type AffinityRule =
  | { readonly kind: 'ip' | 'conversation' | 'user' | 'token' | 'off' }
  | { readonly kind: 'header'; readonly name: string }

/** One counted limit of the configuration: so much in any span, or until the calendar ends it. */
export interface LimitWindow {
  /** Unique among the limits of its scope, such as `requests:minute` or `tokens:5h`. */
  readonly name: string
  readonly counts: 'requests' | 'tokens'
  /** A positive integer. */
  readonly limit: number
  /** How long it is; of a calendar week or month, at most. */
  readonly spanMs: number
  /** As written: `day`, `week`, `month`, or a duration such as `5h`. */
  readonly per: string
  /** `rolling`, or the zone (`UTC` or IANA) whose calendar ends it. */
  readonly resets: string
  /** A vendor's preset says so and not the operator: it orders and delays, never refuses, and gives way to what is heard. */
  readonly isPresumed?: true
}

/** The longest that they can be. `rpm` and `tpm` are of a minute, `rpd` and `tpd` of a day. */
const NAMED_SPANS_MS: Readonly<Record<string, number>> = {
  minute: SPAN_MS.minute,
  day: SPAN_MS.day,
  week: 7 * SPAN_MS.day,
  month: 31 * SPAN_MS.day,
}

/** How long a span is at most, as `LimitWindow.per` writes it, ms; 0 for anything else. */
export const spanMsOf = (per: string): number => NAMED_SPANS_MS[per] ?? durationMs(per) ?? 0

/** The limits of one upstream or of a shared quota. */
export interface Limits {
  readonly windows: readonly LimitWindow[]
  /** Requests under way at once; absent = no limit. */
  readonly concurrency?: number | undefined
}

/**
 * Unique names for upstreams, in the order given: one wished name for each upstream, so an entry with
 * three keys wishes three times. The first to wish a name gets it as it is, the next ones with `-2`,
 * `-3`, …; a number never takes a name that another upstream wishes for itself.
 */
export function uniqueNames(wished: readonly string[]): string[] {
  const taken = new Set(wished)
  const lastNumber = new Map<string, number>()
  return wished.map((name) => {
    let number = (lastNumber.get(name) ?? 0) + 1
    while (number > 1 && taken.has(`${name}-${number}`)) number += 1
    lastNumber.set(name, number)
    const unique = number === 1 ? name : `${name}-${number}`
    taken.add(unique)
    return unique
  })
}
