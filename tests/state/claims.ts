import { limitsFrom, type WrittenLimits } from '../../src/config/model-schema.ts'
import type { Failure, MeterReading, Outcome } from '../../src/pool/outcome.ts'
import type { Claim, LimitScope } from '../../src/pool/upstream.ts'
import type { Instant } from '../../src/lib/clock.ts'
import type { Ask } from '../../src/state/store.ts'

/** A Sunday noon in UTC, far from every midnight that matters. */
export const NOON = Date.UTC(2026, 10, 22, 12)

/** A moment `ms` after noon, on both clocks. */
export const at = (ms: number): Instant => ({ now: NOON + ms, wall: NOON + ms })

/** What one request draws on, as the configuration would build it. */
export function claimOf(
  id: string,
  more: {
    limits?: WrittenLimits
    key?: string
    origin?: string
    proxy?: string
    quotas?: Record<string, WrittenLimits>
    endpoint?: string
    priority?: number
  } = {},
): Claim {
  const quotas = Object.entries(more.quotas ?? {}).map(([name, limits]): LimitScope => ({
    scope: `quota ${name}`,
    role: 'quota',
    limits: limitsFrom(limits),
  }))
  return {
    id,
    priority: more.priority ?? 0,
    draws: [
      { scope: id, role: 'upstream', ...(more.limits && { limits: limitsFrom(more.limits) }) },
      { scope: `key ${more.key ?? id}`, role: 'key' },
      { scope: `origin ${more.origin ?? id}`, role: 'origin' },
      ...(more.proxy === undefined ? [] : [{ scope: `proxy ${more.proxy}`, role: 'proxy' as const }]),
      ...quotas,
      { scope: `endpoint ${id} ${more.endpoint ?? 'chat'}`, role: 'endpoint' },
    ],
  }
}

/** A request without tokens. */
export const ASK: Ask = {
  inputTokens: undefined,
  outputTokens: undefined,
  probeMs: 10_000,
  lastResort: false,
}
export const LAST_RESORT: Ask = { ...ASK, lastResort: true }
/** A request that spends tokens, input and output together. */
export const tokens = (amount: number): Ask => ({ ...ASK, inputTokens: amount, outputTokens: 0 })

export const OK: Outcome = { kind: 'ok' }
export const NOT_SENT: Outcome = { kind: 'aborted', sent: false }
export const LEFT: Outcome = { kind: 'aborted', sent: true }

/** A failed attempt; a 500 where nothing else is said. */
export function failed(more: Partial<Failure> = {}): Failure {
  return {
    kind: 'failed',
    class: 'refused',
    scope: 'upstream',
    cause: 'failure',
    code: 'upstream_error',
    readings: [],
    ...more,
  }
}

/** A 429 that names no time. */
export const limited = (more: Partial<Failure> = {}): Failure =>
  failed({ cause: 'rate-limited', code: 'rate_limit_exceeded', ...more })

/** What an upstream's headers say of its requests. */
export const told = (more: Partial<MeterReading>): MeterReading => ({
  meter: `x-ratelimit-*-${more.counts ?? 'requests'}`,
  counts: 'requests',
  scope: 'upstream',
  remaining: 1,
  ...more,
})
