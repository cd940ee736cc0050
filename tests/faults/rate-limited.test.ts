import { errorBody } from '../support/believable.ts'
import { answer } from '../support/scripted-scenes.ts'
import type { Scene } from '../support/scripted-upstream.ts'
import { about, plays, testFaults, type Fault } from './matrix-bed.ts'

interface Limit {
  readonly form: string
  readonly because: string
  readonly headers?: () => Record<string, string>
  readonly body?: string
  /** What it rests for, if not the refusal: headers that say what is left say also when there is more. */
  readonly why?: RegExp
  /** How long it must rest, ms. */
  readonly ms: readonly [least: number, most: number]
  /** Of a date some of a second is lost; anything else is held to the millisecond. */
  readonly loses?: number
}

const inSeconds = (s: number): number => Math.floor(Date.now() / 1000) + s

const usedUp = /^requests used up/

const limits: readonly Limit[] = [
  {
    form: 'seconds',
    because: 'the hint is held',
    headers: () => ({ 'retry-after': '30' }),
    ms: [30_000, 30_000],
  },
  {
    form: 'a date',
    because: 'the hint is held',
    headers: () => ({ 'retry-after': new Date(Date.now() + 40_000).toUTCString() }),
    ms: [38_000, 40_000],
  },
  {
    form: 'milliseconds',
    because: 'they are finer than the seconds beside them',
    headers: () => ({ 'retry-after-ms': '20500' }),
    ms: [20_500, 20_500],
  },
  {
    form: 'an epoch',
    because: 'the window reopens at that second',
    headers: () => ({ 'x-ratelimit-remaining': '0', 'x-ratelimit-reset': String(inSeconds(50)) }),
    why: usedUp,
    ms: [48_000, 50_000],
  },
  {
    form: 'a duration',
    because: 'minutes and seconds stand in one word',
    headers: () => ({ 'x-ratelimit-remaining-requests': '0', 'x-ratelimit-reset-requests': '1m30s' }),
    why: usedUp,
    ms: [89_000, 90_000],
  },
  {
    form: 'a hint in the body',
    because: 'some say it in words only',
    body: errorBody(
      'rate_limit_exceeded',
      'Rate limit reached for m: Limit 3, Used 3. Please try again in 27.5s.',
    ),
    ms: [27_400, 27_500],
  },
  { form: 'nothing', because: 'a back-off of our own begins at 5 s', ms: about(5_000) },
  {
    form: 'junk',
    because: 'it tells nothing',
    headers: () => ({ 'retry-after': 'soon, -5' }),
    ms: about(5_000),
  },
  {
    form: 'an absurd time',
    because: 'no minute limit lasts longer than an hour',
    headers: () => ({ 'retry-after': '99999999999' }),
    ms: [3_599_000, 3_600_000],
  },
  {
    form: 'a negative time',
    because: 'nobody may come back before he was sent away',
    headers: () => ({ 'retry-after': '-30' }),
    ms: about(5_000),
  },
]

const limitedBy =
  ({ headers, body }: Limit) =>
  (): Scene =>
  (exchange) =>
    answer({ status: 429, headers: headers?.() ?? {}, body: body ?? errorBody('rate_limit_exceeded') })(
      exchange,
    )

testFaults(
  limits.map((limit): Fault => ({
    fault: `429 with ${limit.form}`,
    because: limit.because,
    place: plays(limitedBy(limit)),
    exhausted: {
      status: 429,
      code: 'rate_limit_exceeded',
      retryAfter: [Math.floor(limit.ms[0] / 1000) - 10, Math.ceil(limit.ms[1] / 1000)],
    },
    rests: { why: limit.why ?? 'rate-limited', ms: limit.ms },
  })),
)
