import type { HeaderBag } from '../../src/lib/headers.ts'
import type { CountName, Gauge, Gauges } from './gauge.ts'

/** Why a vendor refuses. */
export interface Refusal {
  readonly spent: CountName | 'concurrency'
  /** Ms until the same request would be let through. */
  readonly opensIn: number
  readonly gauges: Gauges
  /** Epoch ms. */
  readonly wall: number
}

/** How a vendor speaks of its limits: in the headers of every answer, and in a refusal. */
export interface Dialect {
  headers(gauges: Gauges): HeaderBag
  refusal(refusal: Refusal): { readonly headers?: HeaderBag; readonly body: unknown }
}

const seconds = (ms: number): string => String(Math.max(1, Math.ceil(ms / 1000)))

const fraction = (ms: number): string => (ms / 1000).toFixed(2)

/** A Go duration with the precision that OpenAI and Groq give. */
const goDuration = (ms: number): string => {
  if (ms < 1000) return `${Math.ceil(ms)}ms`
  const whole = Math.ceil(ms)
  const minutes = Math.floor(whole / 60_000)
  return `${minutes > 0 ? `${minutes}m` : ''}${(whole % 60_000) / 1000}s`
}

function trio(gauge: Gauge | undefined, tail: string, write: (ms: number) => string): HeaderBag {
  if (gauge === undefined) return {}
  return {
    [`x-ratelimit-limit${tail}`]: String(gauge.limit),
    [`x-ratelimit-remaining${tail}`]: String(Math.max(0, gauge.left)),
    [`x-ratelimit-reset${tail}`]: write(gauge.resetsIn),
  }
}

const envelope = (message: string, code: string, type = code): object => ({
  error: { message, type, param: null, code },
})
const limited = envelope('Rate limit reached. Slow down.', 'rate_limit_exceeded')

/** The parts of a limit's name; undefined for concurrency. */
function told(spent: Refusal['spent']): { what: 'requests' | 'tokens'; span: 'minute' | 'day' } | undefined {
  if (spent === 'concurrency') return undefined
  return {
    what: spent.startsWith('tokens') ? 'tokens' : 'requests',
    span: spent.endsWith('day') ? 'day' : 'minute',
  }
}

/** OpenAI: requests and tokens of a minute; nothing of days. */
const openai: Dialect = {
  headers: (gauges) => ({
    ...trio(gauges.get('requests:minute'), '-requests', goDuration),
    ...trio(gauges.get('tokens:minute'), '-tokens', goDuration),
  }),
  refusal: () => ({ body: limited }),
}

/** Groq: requests are those of the day, tokens those of the minute; the minute's requests only in words. */
const groq: Dialect = {
  headers: (gauges) => ({
    ...trio(gauges.get('requests:day'), '-requests', goDuration),
    ...trio(gauges.get('tokens:minute'), '-tokens', goDuration),
  }),
  refusal({ spent, opensIn, gauges }) {
    const of = told(spent)
    const gauge = spent === 'concurrency' ? undefined : gauges.get(spent)
    if (of === undefined || gauge === undefined) return { body: limited }
    const short = `${of.what === 'tokens' ? 'T' : 'R'}P${of.span === 'day' ? 'D' : 'M'}`
    const used = gauge.limit - gauge.left
    const message = `Rate limit reached for model in organization org on ${of.what} per ${of.span} (${short}): Limit ${gauge.limit}, Used ${used}, Requested 1. Please try again in ${goDuration(opensIn)}.`
    return { body: envelope(message, 'rate_limit_exceeded', of.what) }
  },
}

/** Cerebras: each window by its name, resets in fractions of a second, a flat error. */
const cerebras: Dialect = {
  headers(gauges) {
    const all = [...gauges].map(([name, gauge]) => trio(gauge, `-${name.replace(':', '-')}`, fraction))
    return Object.fromEntries(all.flatMap((headers) => Object.entries(headers)))
  },
  refusal({ spent }) {
    const what = told(spent)?.what ?? 'requests'
    const body = {
      message: 'Limit exceeded',
      type: `too_many_${what}_error`,
      param: 'quota',
      code: `${what.slice(0, -1)}_quota_exceeded`,
    }
    return { body }
  },
}

/** Gemini: silent until it refuses, then a list that names the quota. */
const gemini: Dialect = {
  headers: () => ({}),
  refusal({ spent, opensIn }) {
    const span = told(spent)?.span === 'day' ? 'PerDay' : 'PerMinute'
    const details = [
      {
        '@type': 'type.googleapis.com/google.rpc.QuotaFailure',
        violations: [{ quotaId: `GenerateRequests${span}PerProjectPerModel-FreeTier` }],
      },
      {
        '@type': 'type.googleapis.com/google.rpc.RetryInfo',
        retryDelay: `${(Math.min(opensIn, 59_000) / 1000).toFixed(1)}s`,
      },
    ]
    return {
      body: [
        {
          error: {
            code: 429,
            message: 'You exceeded your current quota.',
            status: 'RESOURCE_EXHAUSTED',
            details,
          },
        },
      ],
    }
  },
}

/** OpenRouter: silent until it refuses, then headers inside the body, the reset in epoch ms. */
const openrouter: Dialect = {
  headers: () => ({}),
  refusal({ spent, opensIn, gauges, wall }) {
    const gauge = spent === 'concurrency' ? undefined : gauges.get(spent)
    const headers = {
      'X-RateLimit-Limit': String(gauge?.limit ?? 1),
      'X-RateLimit-Remaining': '0',
      'X-RateLimit-Reset': String(Math.ceil(wall + opensIn)),
    }
    const message = `Rate limit exceeded: free-models-per-${told(spent)?.span === 'day' ? 'day' : 'min'}`
    return { body: { error: { message, code: 429, metadata: { headers } } } }
  },
}

/** GitHub Models: advertises a minute, and names the limit that really refused. */
const github: Dialect = {
  headers: (gauges) => ({
    ...trio(gauges.get('requests:minute'), '-requests', seconds),
    'x-ratelimit-renewalperiod-requests': '60',
  }),
  refusal({ spent, opensIn, gauges }) {
    const gauge = spent === 'concurrency' ? undefined : gauges.get(spent)
    const isDay = told(spent)?.span === 'day'
    const name =
      spent === 'concurrency' ? 'UserConcurrentRequests' : `UserByModelBy${isDay ? 'Day' : 'Minute'}`
    const message = `Rate limit of ${gauge?.limit ?? 5} per ${isDay ? 86_400 : 60}s exceeded for ${name}. Please wait ${seconds(opensIn)} seconds before retrying.`
    return {
      headers: { 'x-ratelimit-type': name, 'x-ratelimit-timeremaining': seconds(opensIn) },
      body: envelope(message, 'RateLimitReached'),
    }
  },
}

/** Says how much is left, and when there will be more, without saying of what. */
const plain: Dialect = {
  headers(gauges) {
    const gauge = gauges.get('requests:minute')
    return gauge === undefined ? {} : trio({ ...gauge, resetsIn: gauge.freesIn }, '', seconds)
  },
  refusal: () => ({ body: limited }),
}

/** Never says a number; the bare form that NVIDIA gives. */
const none: Dialect = {
  headers: () => ({}),
  refusal: () => ({ body: { status: 429, title: 'Too Many Requests' } }),
}

export const dialects = {
  openai,
  groq,
  cerebras,
  gemini,
  openrouter,
  github,
  plain,
  none,
} as const satisfies Record<string, Dialect>
export type DialectName = keyof typeof dialects
