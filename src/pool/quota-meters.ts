import type { QuotaSignal } from './outcome.ts'
import type { Span } from './quota-span.ts'

/** The headers that carry one counted limit, by lower-case name. */
export interface Meter {
  readonly counts: QuotaSignal['counts']
  /** `unsaid`: the names do not tell; see `quota-signals.ts` for how it is found out. */
  readonly window: Span | 'unsaid'
  readonly scope: QuotaSignal['scope']
  readonly limit?: string
  readonly remaining?: string
  readonly reset?: string
  /** Names the length of the window in seconds. */
  readonly period?: string
  /** Without a reset of its own it ends with the minute of the clock on the wall. */
  readonly endsWith?: 'wall-minute'
  /** A limit of 0 means that the model is not in the plan, for good. */
  readonly zero?: 'not-in-plan'
  /** It counts so only where this header is there as well. */
  readonly beside?: string
  /** It counts something else where this header is there. */
  readonly unless?: string
}

const amounts = ['requests', 'tokens'] as const
const spans = ['second', 'minute', 'hour', 'day', 'month'] as const

const named = (counts: Meter['counts'], tail: string): Omit<Meter, 'window'> => ({
  counts,
  scope: 'upstream',
  limit: `x-ratelimit-limit-${tail}`,
  remaining: `x-ratelimit-remaining-${tail}`,
  reset: `x-ratelimit-reset-${tail}`,
})

/**
 * Every dialect in which vendors count in their headers. Where two meters count the same over the same window,
 * the tighter one holds.
 */
export const meters: readonly Meter[] = [
  // OpenAI, Azure, GitHub Models, SambaNova: a minute. Groq, and OpenAI's smallest plans: requests are per day.
  ...amounts.map((counts) => ({
    ...named(counts, counts),
    window: 'unsaid' as const,
    period: `x-ratelimit-renewalperiod-${counts}`,
  })),
  // Cerebras; SambaNova's day. Mistral's tokens have the same names and never a reset.
  ...amounts.flatMap((counts) =>
    spans.map((window): Meter => ({
      ...named(counts, `${counts}-${window}`),
      window,
      endsWith: 'wall-minute',
    })),
  ),
  // Mistral's requests.
  ...spans.map((window): Meter => ({
    ...named('requests', `req-${window}`),
    window,
    endsWith: 'wall-minute',
    zero: 'not-in-plan',
  })),
  // Anthropic. Its plain tokens are the tightest of its token limits.
  ...(['requests', 'tokens', 'input-tokens', 'output-tokens'] as const).map((what): Meter => ({
    counts: what === 'requests' ? 'requests' : 'tokens',
    window: 'minute',
    scope: 'upstream',
    limit: `anthropic-ratelimit-${what}-limit`,
    remaining: `anthropic-ratelimit-${what}-remaining`,
    reset: `anthropic-ratelimit-${what}-reset`,
  })),
  // Together counts each second.
  ...(['', '-dynamic'] as const).flatMap((tail): Meter[] => [
    {
      counts: 'requests',
      window: 'second',
      scope: 'upstream',
      limit: `x-ratelimit-limit${tail}`,
      remaining: `x-ratelimit-remaining${tail}`,
      reset: 'x-ratelimit-reset',
      beside: 'x-tokenlimit-limit',
    },
    {
      counts: 'tokens',
      window: 'second',
      scope: 'upstream',
      limit: `x-tokenlimit-limit${tail}`,
      remaining: `x-tokenlimit-remaining${tail}`,
      reset: 'x-tokenlimit-reset',
    },
  ]),
  // OpenRouter (inside its bodies), DigitalOcean (epoch seconds), and whoever names no amount.
  ...(['x-ratelimit', 'ratelimit'] as const).map((prefix): Meter => ({
    counts: 'requests',
    window: 'unsaid',
    scope: 'upstream',
    limit: `${prefix}-limit`,
    remaining: `${prefix}-remaining`,
    reset: `${prefix}-reset`,
    unless: 'x-tokenlimit-limit',
  })),
  // Cohere's trial keys: 20 calls in any minute for each endpoint, 1,000 a month for the key.
  {
    counts: 'requests',
    window: 'minute',
    scope: 'upstream',
    limit: 'x-trial-endpoint-call-limit',
    remaining: 'x-trial-endpoint-call-remaining',
  },
  { counts: 'requests', window: 'month', scope: 'key', limit: 'x-endpoint-monthly-call-limit' },
]
