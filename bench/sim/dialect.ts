/*
 * How vendors speak of their limits. Nothing here agrees with what the relay believes: each dialect says what its vendors
 * say, with their rounding, also where that is not enough to know when the next request may come.
 */
import type { HeaderBag } from '../../src/lib/headers.ts'
import { SPAN_MS } from '../../src/pool/outcome.ts'
import type { LimitSpec } from '../../src/cli/what-if/enforce.ts'

/** One of a vendor's limits at the moment when it took or refused a request. */
export interface Gauge extends Pick<LimitSpec, 'counts' | 'spanMs'> {
  readonly limit: number
  /** What is let through in a span in the long run. */
  readonly perSpan: number
  readonly left: number
  /** Ms until nothing is counted any more. */
  readonly resetsIn: number
  /** Ms until something is forgotten. */
  readonly freesIn: number
}

/** Why a vendor refuses. */
export interface Refusal {
  /** The limit that takes longest to open; undefined = too many requests at once. */
  readonly spent: Gauge | undefined
  /** Ms until the same request would be let through. */
  readonly opensIn: number
  /** Epoch ms on the vendor's clock. */
  readonly wall: number
}

/** How a vendor speaks of its limits: in the headers of every answer, and on top of them in a refusal. */
export interface Dialect {
  /** @param wall epoch ms on the vendor's clock */
  headers(gauges: readonly Gauge[], wall: number): HeaderBag
  refusal(refusal: Refusal): { readonly headers?: HeaderBag; readonly body: unknown }
}

const seconds = (ms: number): string => String(Math.max(0, Math.ceil(ms / 1000)))
const secondsFromOne = (ms: number): string => String(Math.max(1, Math.ceil(ms / 1000)))
const hundredths = (ms: number): string => (ms / 1000).toFixed(2)
const epochSeconds = (ms: number, wall: number): string => seconds(wall + ms)
const isoDate = (ms: number, wall: number): string =>
  new Date(1000 * Math.ceil((wall + ms) / 1000)).toISOString().replace('.000Z', 'Z')

/** A Go duration as OpenAI and Groq write it: `12ms`, `8.64s`, `6m0s`, `23h55m0s`. */
function goDuration(ms: number): string {
  const whole = Math.ceil(ms)
  if (whole < 1000) return whole === 0 ? '0s' : `${whole}ms`
  const hours = Math.floor(whole / SPAN_MS.hour)
  const minutes = Math.floor((whole % SPAN_MS.hour) / SPAN_MS.minute)
  const tail = `${(whole % SPAN_MS.minute) / 1000}s`
  if (hours > 0) return `${hours}h${minutes}m${tail}`
  return minutes > 0 ? `${minutes}m${tail}` : tail
}

/** What a span is called: that of the smallest unit that is not shorter. */
const spanName = (spanMs: number): string =>
  Object.entries(SPAN_MS).find(([, ms]) => spanMs <= ms)?.[0] ?? 'month'
const isDay = ({ spent }: Refusal): boolean => spent !== undefined && spanName(spent.spanMs) === 'day'

const nothing = (): HeaderBag => ({})
const merged = (bags: readonly HeaderBag[]): HeaderBag => Object.assign({}, ...bags)
const gaugeOf = (gauges: readonly Gauge[], counts: Gauge['counts'], span?: string): Gauge | undefined =>
  gauges.find((one) => one.counts === counts && (span === undefined || spanName(one.spanMs) === span))

/** Limit, what is left, and the reset where it is said, under the names that `nameOf` makes of the three words. */
function words(
  gauge: Gauge | undefined,
  nameOf: (word: 'limit' | 'remaining' | 'reset') => string,
  reset?: (gauge: Gauge) => string,
): HeaderBag {
  if (gauge === undefined) return {}
  return {
    [nameOf('limit')]: String(gauge.limit),
    [nameOf('remaining')]: String(gauge.left),
    ...(reset !== undefined && { [nameOf('reset')]: reset(gauge) }),
  }
}

type WriteTime = (ms: number, wall: number) => string

/** `x-ratelimit-limit<tail>` and its two companions. */
const xRateLimit = (gauge: Gauge | undefined, tail: string, write: WriteTime, wall = 0): HeaderBag =>
  words(
    gauge,
    (word) => `x-ratelimit-${word}${tail}`,
    ({ resetsIn }) => write(resetsIn, wall),
  )

/** Requests and tokens, each by its first limit. */
const requestsAndTokens =
  (write: WriteTime): Dialect['headers'] =>
  (gauges, wall) => ({
    ...xRateLimit(gaugeOf(gauges, 'requests'), '-requests', write, wall),
    ...xRateLimit(gaugeOf(gauges, 'tokens'), '-tokens', write, wall),
  })

const envelope = (message: string, code: string, type = code): object => ({
  error: { message, type, param: null, code },
})
const limited = envelope('Rate limit reached. Slow down.', 'rate_limit_exceeded')
const retryAfter = ({ opensIn }: Refusal): HeaderBag => ({ 'retry-after': secondsFromOne(opensIn) })
const retryAfterMs = (refusal: Refusal): HeaderBag => ({
  'retry-after-ms': String(Math.max(1, Math.ceil(refusal.opensIn))),
  ...retryAfter(refusal),
})

/** "… on requests per min (RPM): Limit 30, Used 30, Requested 1. Please try again in 2s." */
function openaiProse({ spent, opensIn }: Refusal): string {
  if (spent === undefined) return 'Too many requests at once.'
  const span = spanName(spent.spanMs)
  const short = `${spent.counts === 'tokens' ? 'T' : 'R'}P${span.charAt(0).toUpperCase()}`
  const name = span === 'minute' ? 'min' : span
  const used = spent.limit - spent.left
  return `Rate limit reached for model-x in organization org on ${spent.counts} per ${name} (${short}): Limit ${spent.limit}, Used ${used}, Requested 1. Please try again in ${goDuration(opensIn)}.`
}

/** The time until all is whole again, as a Go duration. */
const openai: Dialect = {
  headers: requestsAndTokens(goDuration),
  refusal: (why) => ({
    headers: retryAfterMs(why),
    body: envelope(openaiProse(why), 'rate_limit_exceeded', why.spent?.counts ?? 'requests'),
  }),
}

/** The same in whole seconds. */
const azure: Dialect = {
  headers: requestsAndTokens(seconds),
  refusal: (why) => ({
    headers: retryAfterMs(why),
    body: envelope(
      `Requests have exceeded the call rate limit of your current tier. Please retry after ${secondsFromOne(why.opensIn)} seconds.`,
      '429',
    ),
  }),
}

/** Requests are those of the day, tokens those of the minute; the minute's requests only in words. */
const groq: Dialect = {
  headers: (gauges) => ({
    ...xRateLimit(gaugeOf(gauges, 'requests', 'day'), '-requests', goDuration),
    ...xRateLimit(gaugeOf(gauges, 'tokens', 'minute'), '-tokens', goDuration),
  }),
  refusal: (why) => ({
    headers: retryAfter(why),
    body: envelope(openaiProse(why), 'rate_limit_exceeded', why.spent?.counts ?? 'requests'),
  }),
}

/** Each window by its name, resets in fractions of a second, a flat error. */
const cerebras: Dialect = {
  headers: (gauges) =>
    merged(
      gauges.map((gauge) => xRateLimit(gauge, `-${gauge.counts}-${spanName(gauge.spanMs)}`, hundredths)),
    ),
  refusal(why) {
    const what = why.spent?.counts ?? 'requests'
    const body = {
      message: 'Limit exceeded',
      type: `too_many_${what}_error`,
      param: 'quota',
      code: `${what.slice(0, -1)}_quota_exceeded`,
    }
    return { headers: retryAfter(why), body }
  },
}

/** Windows by their names: what they let through in so long, and what is left at once; no reset. */
const mistral: Dialect = {
  headers: (gauges) =>
    merged(
      gauges.map((gauge) => {
        const name = `${gauge.counts === 'tokens' ? 'tokens' : 'req'}-${spanName(gauge.spanMs)}`
        return words({ ...gauge, limit: gauge.perSpan }, (word) => `x-ratelimit-${word}-${name}`)
      }),
    ),
  refusal: () => ({
    body: {
      object: 'error',
      message: 'Rate limit exceeded',
      type: 'rate_limited',
      param: null,
      code: '1300',
    },
  }),
}

/** Windows by their names without a reset, and the first of them once more with one. */
const kong: Dialect = {
  headers: (gauges) =>
    merged([
      ...gauges.map((gauge) => words(gauge, (word) => `x-ratelimit-${word}-${spanName(gauge.spanMs)}`)),
      words(
        gauges[0],
        (word) => `ratelimit-${word}`,
        ({ resetsIn }) => seconds(resetsIn),
      ),
    ]),
  refusal: (why) => ({ headers: retryAfter(why), body: { message: 'API rate limit exceeded' } }),
}

/** When all is whole again, as a date. */
const anthropic: Dialect = {
  headers: (gauges, wall) =>
    merged(
      gauges.map((gauge) =>
        words(
          gauge,
          (word) => `anthropic-ratelimit-${gauge.counts}-${word}`,
          ({ resetsIn }) => isoDate(resetsIn, wall),
        ),
      ),
    ),
  refusal: (why) => ({
    headers: retryAfter(why),
    body: {
      type: 'error',
      error: { type: 'rate_limit_error', message: 'This request would exceed your rate limit' },
    },
  }),
}

/** How much, and in which time it comes back. */
const policyOf = ({ limit, perSpan, spanMs }: Gauge): string =>
  `${limit};w=${seconds((spanMs * limit) / perSpan)}`
const plainRefusal: Dialect['refusal'] = (why) => ({ headers: retryAfter(why), body: limited })

/** `RateLimit` and `RateLimit-Policy` of the drafts from 8 on. */
const ietf: Dialect = {
  headers: ([gauge]) =>
    gauge === undefined
      ? {}
      : {
          'ratelimit-policy': `"default";q=${policyOf(gauge)}`,
          ratelimit: `"default";r=${gauge.left};t=${seconds(gauge.resetsIn)}`,
        },
  refusal: plainRefusal,
}

/** Draft 6: three headers and a policy. */
const ietf6: Dialect = {
  headers: ([gauge]) => ({
    ...(gauge !== undefined && { 'ratelimit-policy': policyOf(gauge) }),
    ...words(
      gauge,
      (word) => `ratelimit-${word}`,
      ({ resetsIn }) => seconds(resetsIn),
    ),
  }),
  refusal: plainRefusal,
}

/** The reset is a point in time, in whole seconds of the epoch. */
const epoch: Dialect = {
  headers: (gauges, wall) => xRateLimit(gaugeOf(gauges, 'requests'), '', epochSeconds, wall),
  refusal: () => ({ body: limited }),
}

/** Silent until it refuses, then a list that names the quota. Its `retryDelay` is that of a minute also for a day. */
const gemini: Dialect = {
  headers: nothing,
  refusal(why) {
    const details = [
      {
        '@type': 'type.googleapis.com/google.rpc.QuotaFailure',
        violations: [
          {
            quotaId: `GenerateRequests${isDay(why) ? 'PerDay' : 'PerMinute'}PerProjectPerModel-FreeTier`,
            quotaValue: String(why.spent?.limit ?? 1),
          },
        ],
      },
      {
        '@type': 'type.googleapis.com/google.rpc.RetryInfo',
        retryDelay: `${(Math.min(why.opensIn, 59_000) / 1000).toFixed(1)}s`,
      },
    ]
    const message = 'You exceeded your current quota.'
    return { body: [{ error: { code: 429, message, status: 'RESOURCE_EXHAUSTED', details } }] }
  },
}

/** Silent until it refuses, then headers inside the body, the reset in epoch ms. */
const openrouter: Dialect = {
  headers: nothing,
  refusal(why) {
    const headers = {
      'X-RateLimit-Limit': String(why.spent?.limit ?? 1),
      'X-RateLimit-Remaining': '0',
      'X-RateLimit-Reset': String(Math.ceil(why.wall + why.opensIn)),
    }
    const message = `Rate limit exceeded: free-models-per-${isDay(why) ? 'day' : 'min'}`
    return { body: { error: { message, code: 429, metadata: { headers } } } }
  },
}

/** Advertises a minute, and names the limit that really refused. */
const github: Dialect = {
  headers: (gauges) => ({
    ...xRateLimit(gaugeOf(gauges, 'requests', 'minute'), '-requests', seconds),
    'x-ratelimit-renewalperiod-requests': '60',
  }),
  refusal(why) {
    const isConcurrency = why.spent === undefined
    const name = isConcurrency ? 'UserConcurrentRequests' : `UserByModelBy${isDay(why) ? 'Day' : 'Minute'}`
    const wait = isConcurrency ? '0' : secondsFromOne(why.opensIn)
    const message = `Rate limit of ${why.spent?.limit ?? 5} per ${isDay(why) ? 86_400 : isConcurrency ? 0 : 60}s exceeded for ${name}. Please wait ${wait} seconds before retrying.`
    return {
      headers: { 'x-ratelimit-type': name, 'x-ratelimit-timeremaining': wait, 'retry-after': wait },
      body: envelope(message, 'RateLimitReached'),
    }
  },
}

/** The reset is when the next one is free, in whole seconds. */
const soonest: Dialect = {
  headers: (gauges) =>
    words(
      gaugeOf(gauges, 'requests'),
      (word) => `x-ratelimit-${word}`,
      ({ freesIn }) => seconds(freesIn),
    ),
  refusal: plainRefusal,
}

/** Silent until it refuses, then only when to come back, in a header. */
const onlyRetryAfter: Dialect = { headers: nothing, refusal: plainRefusal }

/** The same in words. */
const waitInWords: Dialect = {
  headers: nothing,
  refusal: ({ opensIn }) => ({
    body: envelope(`Slow down. Please try again in ${goDuration(opensIn)}.`, 'rate_limit_exceeded'),
  }),
}

/** Silent until it refuses, then only the limit, in words (Cohere). */
const limitInWords: Dialect = {
  headers: nothing,
  refusal({ spent }) {
    const span = spanName(spent?.spanMs ?? SPAN_MS.minute)
    const message = `You are using a Trial key, which is limited to ${spent?.perSpan ?? 1} API calls / ${span}.`
    return { body: { message } }
  },
}

/** Never says a number; the bare form that NVIDIA gives. */
const silent: Dialect = {
  headers: nothing,
  refusal: () => ({ body: { status: 429, title: 'Too Many Requests' } }),
}

export const dialects = {
  openai,
  azure,
  groq,
  cerebras,
  mistral,
  kong,
  anthropic,
  ietf,
  'ietf-6': ietf6,
  epoch,
  gemini,
  openrouter,
  github,
  soonest,
  'retry-after': onlyRetryAfter,
  'wait in words': waitInWords,
  'limit in words': limitInWords,
  silent,
} as const satisfies Record<string, Dialect>
export type DialectName = keyof typeof dialects
