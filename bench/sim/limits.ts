/*
 * Single upstreams as vendors run them, below, at and above what they let through: every way to enforce with every way to
 * report, spans that have no name, limits that change, clocks that are off, limits that somebody else spends too. Nothing
 * is configured: the relay knows what it is told.
 */
import { SPAN_MS } from '../../src/pool/outcome.ts'
import { poisson, type Arrivals } from './arrivals.ts'
import type { DialectName } from './dialect.ts'
import type { Forgetting, LimitSpec } from '../../src/cli/what-if/enforce.ts'
import type { Scenario } from './scenario.ts'
import { overloaded, requests, tenAMinute } from './scenarios.ts'

const { second: SECOND_MS, minute: MINUTE_MS, hour: HOUR_MS, day: DAY_MS } = SPAN_MS

export interface LimitRow {
  /** Its table. */
  readonly kind: string
  readonly enforces: string
  readonly reports: DialectName
  readonly load: string
  readonly scenario: Scenario
}

/** A row but for its load. */
interface Played {
  readonly kind: string
  readonly enforces: string
  readonly reports: DialectName
  readonly limit: LimitSpec
  /** What is let through, requests a minute; where that changes, in the end. */
  readonly perMinute: number
  readonly spanMs: number
  readonly clockOffMs?: number
  readonly others?: Arrivals
}

const LOADS = { '0.8x': 0.8, '1x': 1, '2x': 2 } as const

/** Noon, and some seconds: no window begins with the run. */
const START = Date.UTC(2026, 10, 23, 12, 0, 7)

function atEachLoad({ kind, enforces, reports, limit, perMinute, spanMs, ...vendor }: Played): LimitRow[] {
  return Object.entries(LOADS).map(([load, factor]) => {
    const arrivals = poisson(factor * perMinute, spanMs, 5)
    const upstream = tenAMinute({ ...vendor, limits: [limit], dialect: reports })
    const scenario = overloaded(upstream, { start: START, spanMs, arrivals, knows: 'nothing' })
    return { kind, enforces, reports, load, scenario }
  })
}

const ENFORCED = {
  'token bucket': 'bucket',
  'GCRA, 5 at once': { burst: 5 },
  'sliding log': 'rolling',
  'window of the clock': 'wall',
  'window from the first request': 'first',
} as const satisfies Record<string, Forgetting>
const HEADERS = ['openai', 'azure', 'ietf', 'ietf-6', 'epoch', 'anthropic', 'mistral', 'kong'] as const
const REFUSALS = ['retry-after', 'wait in words', 'limit in words', 'silent'] as const

/** What these dialects say, in a few words. */
export const REPORTED: Partial<Record<DialectName, string>> = {
  openai: 'what is left, and `7.5s` until all is free (OpenAI)',
  azure: 'the same in whole seconds (Azure)',
  ietf: '`RateLimit` and `RateLimit-Policy` (IETF)',
  'ietf-6': 'the same by draft 6',
  epoch: 'the reset in seconds of the epoch',
  anthropic: 'the reset as a date (Anthropic)',
  mistral: 'a minute by its name, no reset (Mistral)',
  kong: 'the same, and a reset (Kong)',
  'retry-after': 'only `retry-after` with a 429',
  'wait in words': 'only the wait, in words',
  'limit in words': 'only the limit, in words',
  silent: 'nothing',
}

/** Every way to enforce with every way to report, 20 a minute. */
function grid(): Played[] {
  return Object.entries(ENFORCED).flatMap(([enforces, forgets]) =>
    [...HEADERS, ...REFUSALS].map((reports) => ({
      kind: '20 a minute',
      enforces,
      reports,
      limit: requests(20, { forgets }),
      perMinute: 20,
      spanMs: 10 * MINUTE_MS,
    })),
  )
}

function oddSpans(): Played[] {
  const spans = [
    { limit: 10, ofMs: 10 * SECOND_MS, name: '10 in 10 s', spanMs: 5 * MINUTE_MS },
    { limit: 100, ofMs: 5 * MINUTE_MS, name: '100 in 5 min', spanMs: 20 * MINUTE_MS },
    { limit: 60, ofMs: HOUR_MS, name: '60 in an hour', spanMs: 5 * HOUR_MS },
    { limit: 288, ofMs: DAY_MS, name: '288 in a day', spanMs: 30 * HOUR_MS },
  ]
  return spans.flatMap(({ limit, ofMs, name, spanMs }) =>
    (['bucket', 'wall'] as const).flatMap((forgets) =>
      (['openai', 'azure', 'ietf-6', 'epoch', 'retry-after'] as const).map((reports) => ({
        kind: 'Other spans',
        enforces: `${name}, ${forgets}`,
        reports,
        limit: requests(limit, { spanMs: ofMs, forgets }),
        perMinute: (limit * MINUTE_MS) / ofMs,
        spanMs,
      })),
    ),
  )
}

/** The limit of a minute is another one after a third of the run. */
function changes(): Played[] {
  const spanMs = 15 * MINUTE_MS
  return [
    { enforces: 'raised from 10 to 40', from: 10, to: 40 },
    { enforces: 'lowered from 40 to 10', from: 40, to: 10 },
  ].flatMap(({ enforces, from, to }) =>
    (['openai', 'ietf-6', 'epoch', 'mistral', 'retry-after', 'limit in words', 'silent'] as const).map(
      (reports) => ({
        kind: 'Limits that change',
        enforces,
        reports,
        limit: requests(from, {
          forgets: reports === 'openai' ? 'bucket' : 'wall',
          changes: [{ at: spanMs / 3, limit: to }],
        }),
        perMinute: to,
        spanMs,
      }),
    ),
  )
}

function clocks(): Played[] {
  return [90 * SECOND_MS, -40 * SECOND_MS, 37 * MINUTE_MS].flatMap((clockOffMs) =>
    (['epoch', 'anthropic', 'mistral'] as const).map((reports) => ({
      kind: "Vendors' clocks that are off",
      enforces: `a clock ${Math.abs(clockOffMs) / SECOND_MS} s ${clockOffMs > 0 ? 'ahead' : 'behind'}`,
      reports,
      limit: requests(20, { forgets: reports === 'anthropic' ? 'bucket' : 'wall' }),
      perMinute: 20,
      spanMs: 10 * MINUTE_MS,
      clockOffMs,
    })),
  )
}

function shared(): Played[] {
  const half = (['openai', 'epoch', 'retry-after', 'silent'] as const).map((reports) => ({
    kind: 'Limits that others share',
    enforces: '40 a minute, others send 20',
    reports,
    limit: requests(40, { forgets: reports === 'openai' ? 'bucket' : 'wall' } as const),
    perMinute: 20,
    spanMs: 10 * MINUTE_MS,
    others: poisson(20, 10 * MINUTE_MS, 77),
  }))
  const nearlyAll = (['openai', 'groq'] as const).map((reports) => ({
    kind: 'Limits that others share',
    enforces: 'a bucket of 288 a day, 285 spent at first',
    reports,
    limit: requests(288, { spanMs: DAY_MS, forgets: 'bucket' }),
    perMinute: 288 / 1_440,
    spanMs: 12 * HOUR_MS,
    others: Array.from({ length: 285 }, () => 0),
  }))
  return [...half, ...nearlyAll]
}

export function limitRows(): LimitRow[] {
  return [...grid(), ...oddSpans(), ...changes(), ...clocks(), ...shared()].flatMap(atEachLoad)
}
