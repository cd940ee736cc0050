import type { Outcome } from '../../pool/outcome.ts'
import type { Claim } from '../../pool/upstream.ts'
import type { ScopeState } from '../scope.ts'
import { breakerFrom, storedBreaker } from '../snapshot.ts'
import type { AnswerStart, Ask, Lease, LocalUsage } from '../store.ts'

/**
 * What isolates and objects must agree on while a version is rolled out. Where they don't, the object answers with an error,
 * and an answer of another version is none: then each isolate counts by itself, which is what an object out of reach means.
 */
export const WIRE_VERSION = 4

/** One round trip to the object: what has happened, and what is asked. Plain JSON, no secret in it. */
export interface StateCall {
  readonly version: typeof WIRE_VERSION
  /** The isolate's clock at sending, ms: events are dated on it, and the object's own clock may be another. */
  readonly now: number
  /** In the order in which they happened; all of them are taken in before anything is answered. */
  readonly events: readonly StateEvent[]
  /** Scopes whose states are wanted. */
  readonly scopes?: readonly string[]
  /** Keys whose upstreams are wanted. */
  readonly keys?: readonly string[]
  readonly acquire?: { readonly order: readonly Claim[]; readonly ask: WireAsk }
}

/** Something that ended or became known, told later and together with others. Telling it twice does no harm. */
export type StateEvent = { /** Ms on the isolate's clock. */ readonly at: number } & (
  | { readonly kind: 'confirm'; readonly lease: Lease; readonly answer: AnswerStart }
  | { readonly kind: 'settle'; readonly lease: Lease; readonly outcome: Outcome }
  | { readonly kind: 'remember'; readonly key: string; readonly upstream: string; readonly ttlMs: number }
  | { readonly kind: 'close'; readonly scopes: readonly string[] }
  | { readonly kind: 'pause'; readonly scope: string; readonly isPaused: boolean }
  /** Sent without a lease of the object, while that was slow or away; `id` is its own among all isolates. */
  | { readonly kind: 'spent'; readonly id: string; readonly spent: LocalUsage }
)

/** What the object answers. */
export interface StateReply {
  readonly version: typeof WIRE_VERSION
  /** One for each scope asked for; with `acquire`, see `scopesInReply`. */
  readonly states: readonly (WireScope | null)[]
  /** One for each key asked for. */
  readonly upstreams: readonly (string | null)[]
  /** Null when nobody has room, or nothing was to be acquired. */
  readonly lease: Lease | null
}

/*
 * Names on the wire stay what they are, whatever the code calls a thing: while a version is rolled out, isolates and
 * objects of two versions talk to each other.
 */
type WireAsk = Omit<Ask, 'pinKeys'> & { readonly heldBy?: Ask['pinKeys'] }
type WireScope = NonNullable<ReturnType<typeof toWireScope>>

export const toWireAsk = ({ pinKeys, ...ask }: Ask): WireAsk => ({ ...ask, heldBy: pinKeys })
export const fromWireAsk = ({ heldBy, ...ask }: WireAsk): Ask => ({ ...ask, pinKeys: heldBy })

/** Null = nothing is known of the scope. */
export function toWireScope(state: ScopeState | undefined) {
  if (state === undefined) return null
  const { breaker, learnedConcurrency: crowd, ...rest } = state
  return { ...rest, cooldown: breaker && storedBreaker(breaker), crowd }
}

export function fromWireScope(state: WireScope | null): ScopeState | undefined {
  if (state === null) return undefined
  const { cooldown, crowd: learnedConcurrency, ...rest } = state
  return { ...rest, breaker: cooldown && breakerFrom(cooldown), learnedConcurrency }
}

/** Where somebody had room, so many of the order are told of besides: the rest is no concern of that request. */
const MOST_CLAIMS_IN_REPLY = 8

/** The scopes whose states are told with a lease, or where nobody had room, each once and in the order of the reply. */
export function scopesInReply(order: readonly Claim[], lease: Lease | undefined): string[] {
  const claims = lease === undefined ? order : [lease.claim, ...order.slice(0, MOST_CLAIMS_IN_REPLY)]
  return [...new Set(claims.flatMap(({ draws }) => draws.map(({ scope }) => scope)))]
}
