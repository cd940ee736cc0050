import type { Clock, Instant } from '../lib/clock.ts'
import type { Cause } from '../pool/outcome.ts'
import type { StrategyName } from '../pool/strategy.ts'
import type { Endpoint, Upstream } from '../pool/upstream.ts'
import type { Abilities } from '../state/abilities.ts'
import type { UnavailableReason } from '../state/availability.ts'
import type { Ask, StateStore } from '../state/store.ts'
import type { Send } from '../transport/transport.ts'
import type { Demands } from './demand.ts'
import type { Queue } from './queue.ts'
import type { RetryBudget } from './retry-budget.ts'

/** Everything impure that the relay uses. Made in exactly one file for each runtime. */
export interface RelayDeps {
  readonly send: Send
  readonly store: StateStore
  readonly clock: Clock
  /** Uniform in [0, 1). */
  readonly random: () => number
  readonly report: Report
  readonly traffic: Traffic
  /** Counts what is held back before the commit point, beside the bodies of requests. False = no more than is held. */
  readonly memory: { reserve(bytes: number): boolean; release(bytes: number): void }
  /** What upstreams can do, as far as this process knows. */
  readonly abilities: Abilities
  /** Writes down how choices are made; absent where nobody does. */
  readonly recorder?: ChoiceRecorder | undefined
}

/** Takes down all that a choice depends on, so that it can be made again. On the hot path. */
export interface ChoiceRecorder {
  /** Of the choice that the next `acquire` of the store is asked for, or which found nobody. */
  note(choice: ChoiceNote): void
  /** The dice of the choice that was noted last. */
  dice(): () => number
}

/** What a choice depends on besides the configuration and the state. */
export interface ChoiceNote {
  readonly request: NotedRequest
  /**
   * `next`: by the strategy; `remaining`: the next of an earlier order; `last-resort`: one that rests for failures;
   * `rare-last-resort`: for its key, model or credit.
   */
  readonly kind: 'next' | 'remaining' | 'last-resort' | 'rare-last-resort'
  readonly at: Instant
  /** All that the request may go to. */
  readonly base: readonly Upstream[]
  /** Those among whom this choice is. */
  readonly left: readonly Upstream[]
  /** Those who refused its body. */
  readonly refusers: readonly Upstream[]
  /** Ids of the upstream that served the affinity key before, and of the one that made what the request brings along. */
  readonly stickTo?: string | undefined
  readonly owner?: string | undefined
  readonly ask: Ask
  /** Whether it was made in the queue. */
  readonly isWaiting: boolean
}

/** A request as a choice knows it. */
export interface NotedRequest extends Demands {
  /** As the client knows it: its own, or ours. */
  readonly id: string
  readonly ownId: string
  /** The name of the client's token; absent where it has none. */
  readonly token?: string | undefined
  readonly endpoint: Endpoint
  readonly requestedModel: string
  readonly stream: boolean
  /** Arrival, ms on the clock. */
  readonly since: number
  /** Of the affinity key; 0 = none. */
  readonly keyHash: number
}

/** What all requests of a process share and no configuration changes. */
interface Traffic {
  /** Credits of smooth round robin, by upstream id. */
  readonly credits: Map<string, number>
  readonly budget: RetryBudget
  readonly queue: Queue
  /** Answers without content in a row, by upstream id. */
  readonly emptyRuns: Map<string, number>
}

/** How an attempt ended, as logs and metrics name it. */
export type AttemptOutcome = 'ok' | Cause | 'client-error' | 'other-model' | 'unfit' | 'broken' | 'aborted'

/** Why an attempt went to its upstream; the first that fits. */
export type Why =
  | 'passthrough' // it is the one that other paths go to
  | 'trial' // the operator tries it, by `POST /admin/test`
  | 'pinned' // it alone has the answer that the request builds on
  | 'waited' // the request waited for a place, and here was one
  | 'last-resort' // it cools down, and nobody else is left
  | 'fallback' // an earlier attempt of the request had failed
  | 'only' // no other might take it
  | 'owner' // it made what the request brings along
  | 'affinity' // it served the same affinity key before
  | StrategyName // the order of the strategy

/** Those whom a choice could not take; at least one. Nothing but their names is told. */
export interface PassedOver {
  /** When the choice was made. */
  readonly at: Instant
  readonly unavailable: readonly {
    readonly upstream: Pick<Upstream, 'name'>
    readonly reason: UnavailableReason
  }[]
}

/** The trace that a request belongs to, where requests are traced. */
export interface RequestTrace {
  /** In hex; undefined where it is not sent. */
  readonly id: string | undefined
  /** An attempt begins, told before the next one does. @returns its `traceparent` (W3C Trace Context) */
  attempt(upstream: Upstream): string
  /** The request has ended; the attempts of the event are those told, in order. */
  end(event: RequestEvent): void
}

/** One attempt in the record of a request. */
export interface AttemptRecord {
  readonly upstream: string
  readonly model: string
  readonly outcome: AttemptOutcome
  /** The upstream's status; absent when it never answered. */
  readonly status?: number | undefined
  /** From sending to the commit point; absent when it never got there. */
  readonly firstByteMs?: number | undefined
  readonly durationMs: number
  /** Of a failure; absent where it was none. */
  readonly failure?: AttemptFailure | undefined
  readonly why?: Why | undefined
}

/** What is told of an attempt that failed. Holds no secret of the upstream's. */
export interface AttemptFailure {
  /** The address that was asked, without a query. */
  readonly url: string
  /** Why, in a few words of ours; absent where the status says it. */
  readonly reason?: string | undefined
  /** The upstream's own words on one line, 300 characters at most. They may quote the client: not for the log. */
  readonly words?: string | undefined
  /** The request certainly did not reach the upstream. */
  readonly isUnsent: boolean
  /** How long the upstream asked us to stay away, ms. */
  readonly hintMs?: number | undefined
}

/** A request has ended with its body. */
export interface RequestEvent {
  readonly kind: 'request'
  /** As the client knows it: its own, or ours. */
  readonly id: string
  /** Ours, which no other request has. */
  readonly ownId: string
  readonly endpoint: string
  /** The model that the client named; empty = none. */
  readonly requestedModel: string
  /** Who answered; absent when nobody did. */
  readonly upstream?: string | undefined
  readonly model?: string | undefined
  /** What the client got; 499 when it left. */
  readonly status: number
  /** Our error code, where we answered ourselves. */
  readonly code?: string | undefined
  readonly attempts: readonly AttemptRecord[]
  /** From arrival to the commit point. */
  readonly firstByteMs?: number | undefined
  readonly durationMs: number
  readonly stream: boolean
  readonly queuedMs: number
  readonly inputTokens?: number | undefined
  readonly outputTokens?: number | undefined
  /** The client's address; absent where it is not to be told. */
  readonly client?: string | undefined
  /** The name of the client token that it came with; absent where that was an `auth_token`, or none. */
  readonly token?: string | undefined
  /** Why the attempt that was answered went where it went. */
  readonly why?: Why | undefined
  /** Where nobody was asked. */
  readonly passedOver?: PassedOver | undefined
  /** Of a request that was refused before an upstream was chosen: what was asked with. */
  readonly method?: string | undefined
  /** The same: what was asked for, without the query; 200 characters at most. */
  readonly path?: string | undefined
  readonly trace?: RequestTrace | undefined
}

export interface AttemptEvent extends AttemptRecord {
  readonly kind: 'attempt'
  readonly requestId: string
  readonly upstreamId: string
  readonly endpoint: string
  /** Absent where all others might have been taken. */
  readonly passedOver?: PassedOver | undefined
}

/** Something the operator should read. Never holds a secret. */
export interface NoticeEvent {
  readonly kind: 'notice'
  readonly level: 'debug' | 'info' | 'warning' | 'error'
  readonly message: string
  /** The upstream that it is about; the message names it too. */
  readonly upstream?: string
}

/** Everything that happened, as the relay tells it. Logs, metrics and the status page are made of these. */
export type GatewayEvent =
  | AttemptEvent
  | RequestEvent
  /** Requests waiting for an upstream, after one joined or left. */
  | { readonly kind: 'queue'; readonly waiting: number }
  | NoticeEvent

/** Takes an event; called on the hot path, so it returns at once and never throws. */
export type Report = (event: GatewayEvent) => void
