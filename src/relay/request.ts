import type { AbortSignalLike } from '../lib/abort.ts'
import type { ByteReader } from '../lib/bytes.ts'
import type { HeaderBag } from '../lib/headers.ts'
import type { Pool } from '../pool/pool.ts'
import type { Endpoint, Upstream } from '../pool/upstream.ts'

/** A request as the relay takes it: read, checked, its pool found. */
export interface RelayRequest {
  readonly id: string
  readonly endpoint: Endpoint
  /** Below an upstream's root, such as `chat/completions`. */
  readonly path: string
  /** The client's own query, without `?`; empty = none. */
  readonly query: string
  readonly pool: Pool
  /** The model that the client named; empty = none. */
  readonly requestedModel: string
  /** Allow-listed already; without the upstream's own key. */
  readonly headers: HeaderBag
  /** The body for one upstream: the client's bytes, with its model name in place of the client's. */
  readonly bodyFor: (upstream: Upstream) => readonly Uint8Array[]
  readonly stream: boolean
  /** Estimated input tokens; undefined = this endpoint counts none. */
  readonly inputTokens: number | undefined
  /** The most output tokens that the client allows, times `n`. */
  readonly outputTokens: number | undefined
  /** How many answers it wants (`n`); 1 or more. */
  readonly choices: number
  /** What makes requests stick together; empty = nothing. */
  readonly affinityKey: string
  /** Remembered ids of earlier answers that the request builds on; it goes where they are, alone. */
  readonly answerIds: readonly string[]
  /** Aborted when the client leaves. */
  readonly clientSignal: AbortSignalLike
  /** Arrival, ms on the clock. */
  readonly since: number
}

/** What the relay gives back; its body ends the request. */
export interface RelayAnswer {
  readonly status: number
  readonly headers: HeaderBag
  readonly body: Uint8Array | ByteReader
  readonly upstream: Upstream
  readonly attempts: number
}
