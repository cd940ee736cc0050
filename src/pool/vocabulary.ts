/**
 * The words that the configuration and the pool share. The lists are the allowed values, in the order
 * in which they are explained to people.
 */

/** What an upstream can serve; each is one or more `/v1` routes. */
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

/** How the candidates of a tier are put in order. */
export const strategyNames = [
  'random',
  'round_robin',
  'least_busy',
  'fastest',
  'headroom',
  'in_order',
] as const
export type StrategyName = (typeof strategyNames)[number]

/** What makes requests stick together; `name` is lower-case. */
export type AffinityRule =
  | { readonly kind: 'ip' | 'conversation' | 'user' | 'token' | 'off' }
  | { readonly kind: 'header'; readonly name: string }

/** Counted limits of one upstream or of a shared quota, all positive integers; an absent one is no limit. */
export interface Limits {
  /** Requests in any 60 seconds. */
  readonly rpm?: number
  /** Requests a day. */
  readonly rpd?: number
  /** Tokens in any 60 seconds. */
  readonly tpm?: number
  /** Tokens a day. */
  readonly tpd?: number
  /** Requests under way at once. */
  readonly concurrency?: number
  /** When a day ends: `UTC` or an IANA zone at midnight there, or `rolling` for any 24 hours. */
  readonly dayResets: string
}
