/*
 * What the page asks the gateway, and what comes back. Fields are named as in docs/operate.md; those that an older gateway
 * does not send are optional, and what needs them is not shown.
 */

export interface ShownStatus {
  readonly version: string
  readonly started_at: string | null
  readonly strategy: string
  readonly affinity: string
  readonly models: readonly string[]
  readonly queue: { readonly waiting: number }
  readonly draining: boolean
  readonly last_reload: {
    readonly at: string | null
    readonly ok: boolean
    readonly problems: readonly string[]
  } | null
  readonly config_warnings: readonly string[]
  readonly upstreams: readonly ShownUpstream[]
  readonly can_answer?: { readonly now: boolean; readonly why: string | null }
  readonly last_hour?: {
    readonly requests: number
    readonly answered_share: number | null
    readonly first_byte_ms: ShownPercentiles | null
  }
  readonly needs_you?: readonly ShownNeed[]
}

export interface ShownPercentiles {
  readonly p50: number
  readonly p95: number
}

/** What does not heal by itself. */
export interface ShownNeed {
  readonly kind: string
  readonly upstream: string | null
  readonly text: string
  readonly since: string | null
}

export interface ShownUpstream {
  readonly id?: string
  readonly name: string
  readonly model: string
  readonly host: string
  readonly priority: number
  readonly weight: number
  readonly enabled: boolean
  readonly available: boolean
  readonly why: string | null
  readonly blocked_by: string | null
  readonly until: string | null
  readonly in_flight: number
  readonly windows: readonly ShownLimit[]
  readonly last_outcomes: readonly ShownOutcome[]
  readonly last_error: { readonly at: string | null; readonly message: string | null } | null
  readonly first_byte_ms: ShownPercentiles | null
  readonly attempts: number
  readonly failures: number
  readonly paused?: boolean
  readonly key?: { readonly position: number | null; readonly last4: string | null }
  /** Oldest first. */
  readonly first_bytes?: readonly number[]
}

export interface ShownLimit {
  readonly counts: string
  readonly window: string
  readonly scope: string
  readonly used: number
  readonly limit: number | null
  readonly left: number
  readonly source: string
  readonly runs_out_at: string | null
  readonly reopens_at: string | null
  readonly resets_at: string | null
}

export interface ShownOutcome {
  readonly at: string | null
  readonly outcome: string
  readonly status: number | null
  readonly ms: number
}

export interface ShownRequest {
  readonly id: string
  readonly at: string
  readonly endpoint: string
  readonly model: string
  readonly token: string | null
  readonly status: number
  readonly code: string | null
  readonly upstream: string | null
  readonly stream: boolean
  readonly attempts: number
  readonly queued_ms: number
  readonly first_byte_ms: number | null
  readonly duration_ms: number
  readonly input_tokens: number | null
  readonly output_tokens: number | null
}

export interface ShownExplanation {
  readonly request: ShownRequest
  readonly exact?: boolean
  readonly decisions: readonly ShownDecision[]
  readonly attempts: readonly ShownAttempt[]
  /** Null while it is under way. */
  readonly end: { readonly status: number; readonly code: string | null; readonly text: string | null } | null
}

export interface ShownDecision {
  readonly after_ms: number
  readonly kind: string
  readonly strategy?: string | null
  readonly candidates: readonly {
    readonly upstream: string
    /** Null behind those who come into question. */
    readonly rank: number | null
    readonly headroom: number
    readonly in_flight: number
    readonly latency_ms: number | null
    readonly weight: number
    readonly priority: number
    readonly standing: string | null
  }[]
  readonly unavailable: readonly {
    readonly upstream: string
    readonly why: string
    readonly until: string | null
    readonly source: string
  }[]
  readonly order: readonly string[]
  readonly chosen: string | null
  /** Who served the same affinity key before. */
  readonly remembered?: string | null
  /** Who made what the request brings along. */
  readonly owner?: string | null
}

export interface ShownAttempt {
  readonly upstream: string
  readonly model: string
  readonly outcome: string
  readonly status: number | null
  readonly started_ms: number
  readonly first_byte_ms: number | null
  readonly duration_ms: number
  readonly reason: string | null
  readonly why: string | null
}

export interface ShownPoint {
  readonly at: string
  readonly answered: number
  readonly client_faults: number
  readonly refused: number
  readonly failed: number
  readonly left: number
  readonly input_tokens: number
  readonly output_tokens: number
  readonly first_byte_ms: ShownPercentiles | null
}

interface Series {
  readonly step_ms: number
  readonly points: readonly ShownPoint[]
}

export interface ShownUsage {
  readonly hour: Series
  readonly day: Series
  readonly days?: Series
}

interface Sum {
  readonly requests: number
  readonly input_tokens: number
  readonly output_tokens: number
}

export interface ShownSums {
  readonly day?: Sum
  readonly week?: Sum
  readonly month?: Sum
}

export interface ShownToken {
  readonly name: string
  readonly admin?: boolean
  readonly models?: readonly string[] | null
  readonly limits?: readonly ShownLimit[]
  readonly expires?: string | null
  readonly usage?: ShownSums
}

/** An upstream as the file has it, without its keys. */
export type ShownEntry = Readonly<Record<string, unknown>> & {
  readonly index: number
  readonly keys?: readonly ShownKey[]
}

export interface ShownKey {
  readonly position: number
  readonly last4: string | null
  readonly is_variable?: string | null
}

export interface ShownConfig {
  readonly etag: string | null
  readonly writable: boolean
  /** Why it is not. */
  readonly why?: string | null
  readonly file?: string | null
  readonly entries: readonly ShownEntry[]
}

export interface ShownPreset {
  readonly vendor: string
  readonly title: string
  readonly base_url?: string | null
  readonly models?: readonly unknown[]
  readonly key_variable?: string | null
}

export interface ShownProblem {
  /** In the file. */
  readonly path: string
  /** In the entry that was sent; null where it is elsewhere. */
  readonly entry_path?: string | null
  readonly message: string
  readonly hint?: string | null
}

/** What the gateway refuses, or that it can't be reached: then the status is 0. */
export class ApiError extends Error {
  readonly status: number
  readonly problems: readonly ShownProblem[]
  constructor(status: number, message: string, problems: readonly ShownProblem[] = []) {
    super(message)
    this.status = status
    this.problems = problems
  }
}

export interface Api {
  readonly token: string
  /** @throws ApiError for anything but a success */
  json<T>(path: string, init?: { method?: string; body?: unknown; signal?: AbortSignal }): Promise<T>
  /** The answer as it comes, with any status. @throws ApiError when nothing comes */
  raw(path: string, init?: { method?: string; body?: unknown; signal?: AbortSignal }): Promise<Response>
}

/**
 * What asks the gateway with a token, at paths below `root`. `onRefused` is called when the token is no longer the right
 * one.
 */
export function createApi(token: string, root: string, onRefused: () => void): Api {
  const raw: Api['raw'] = async (path, { method = 'GET', body, signal } = {}) => {
    const headers: Record<string, string> = { authorization: `Bearer ${token}` }
    if (body !== undefined) headers['content-type'] = 'application/json'
    const init = { method, headers, cache: 'no-store' as const, ...(signal && { signal }) }
    const sent = body === undefined ? init : { ...init, body: JSON.stringify(body) }
    const answer = await fetch(root + path, sent).catch((error: unknown) => {
      if (signal?.aborted === true) throw error
      throw new ApiError(0, '')
    })
    if (answer.status === 401) onRefused()
    return answer
  }
  return {
    token,
    raw,
    async json<T>(path: string, init?: Parameters<Api['raw']>[1]) {
      const answer = await raw(path, init)
      const value: unknown = await answer.json().catch(() => undefined)
      if (answer.ok) return value as T
      throw errorOf(answer.status, value)
    },
  }
}

/** An error of the gateway's, from its envelope. */
export function errorOf(status: number, value: unknown): ApiError {
  const { error, problems } = (value ?? {}) as {
    error?: { message?: string; problems?: readonly ShownProblem[] }
    problems?: readonly ShownProblem[]
  }
  return new ApiError(status, error?.message ?? '', problems ?? error?.problems ?? [])
}
