import type { Limits } from '../pool/upstream.ts'
import { closedUntil, fillMsOf, leftIn, type MeterState } from '../state/rate-limit.ts'
import { leftBelow, type SoftWallState } from '../state/soft-wall.ts'
import { EMPTY_WINDOW, emptyFrom, usedOf, windowOpensAt, windowsOf } from '../state/rate-window.ts'
import { limitInForce, rateOf, type ScopeState } from '../state/scope.ts'

/** How one limit of a scope stands and how it goes on. Moments in ms on the monotonic clock; undefined = nobody can say. */
export interface LimitOutlook {
  readonly counts: 'requests' | 'tokens'
  /** Of a configured limit as it was written; of a learned one undefined. */
  readonly per?: string
  readonly spanMs: number
  /** `preset` is presumed of the vendor, `refused` told by refusals alone. */
  readonly source: 'configured' | 'preset' | 'learned' | 'refused'
  /** The names of the headers that tell of it. */
  readonly meter?: string
  readonly limit: number | undefined
  readonly used: number
  /** Never negative. */
  readonly left: number
  /** What is sent, a minute. */
  readonly rate: number
  /** When at this rate nothing is left; undefined where it is whole again before. */
  readonly runsOutAt: number | undefined
  /** When one more fits; undefined where it does now. */
  readonly reopensAt: number | undefined
  /** When it is whole again; undefined where it is, or nobody said. */
  readonly resetsAt: number | undefined
  /** When it was told. */
  readonly heardAt?: number
}

const MINUTE_MS = 60_000

/** Every limit of a scope: configured ones, what its headers say as long as that holds, and what refusals have told. */
export function outlooksOf(limits: Limits | undefined, state: ScopeState, now: number): LimitOutlook[] {
  const configured = windowsOf(limits).flatMap((one): LimitOutlook[] => {
    const { name, counts, per, spanMs, isPresumed } = one
    const limit = limitInForce(one, state)
    if (limit === Infinity) return []
    const window = state.windows[name] ?? EMPTY_WINDOW
    const used = usedOf(window, now)
    const left = Math.max(0, limit - used)
    const end = emptyFrom(window)
    const outlook = {
      counts,
      per,
      spanMs,
      source: isPresumed ? ('preset' as const) : ('configured' as const),
      limit,
      used,
      left,
      ...coming({ counts, left, until: now + spanMs }, state, now),
      reopensAt:
        left >= 1 ? undefined : windowOpensAt(window, { counts, limit, spanMs }, { amount: 1, now }).until,
      resetsAt: end > now ? end : undefined,
    }
    return [outlook]
  })
  const learned = Object.entries(state.meters).flatMap(([name, meter]) =>
    meter === undefined || meter.resetAt <= now ? [] : [{ ...meterOutlook(meter, state, now), meter: name }],
  )
  const refused = Object.values(state.walls).flatMap((wall) =>
    wall?.limit === undefined || leftBelow(wall, now) === Infinity ? [] : [wallOutlook(wall, state, now)],
  )
  return [...configured, ...learned, ...refused]
}

function meterOutlook(meter: MeterState, state: ScopeState, now: number): LimitOutlook {
  const { counts, limit = 0, spanMs, unitMs = Infinity, resetAt, heardAt, isDated, kind } = meter
  const left = Math.max(0, Math.floor(leftIn(meter, now)))
  const closed = closedUntil(meter, 1)
  const refill = MINUTE_MS * (kind === 'log' ? limit / Math.max(1, spanMs) : 1 / unitMs)
  return {
    counts,
    // A bucket was mostly heard of when little was spent: it fills more slowly than that little came back.
    spanMs: Math.max(spanMs, fillMsOf(meter)),
    source: 'learned',
    limit: meter.limit,
    used: Math.max(0, limit - left),
    left,
    ...coming({ counts, left, until: resetAt, refill }, state, now),
    reopensAt: closed > now ? closed : undefined,
    resetsAt: isDated ? resetAt : undefined,
    heardAt,
  }
}

function wallOutlook(wall: SoftWallState, state: ScopeState, now: number): LimitOutlook {
  const { counts, spanMs, limit, window, askAt, refusedAt } = wall
  const left = Math.max(0, leftBelow(wall, now))
  const end = emptyFrom(window)
  return {
    counts,
    spanMs,
    source: 'refused',
    limit,
    used: usedOf(window, now),
    left,
    ...coming({ counts, left, until: now + spanMs }, state, now),
    reopensAt: left < 1 && askAt > now ? askAt : undefined,
    resetsAt: end > now ? end : undefined,
    heardAt: refusedAt,
  }
}

/** @param one.refill what comes back meanwhile, a minute */
function coming(
  one: {
    readonly counts: 'requests' | 'tokens'
    readonly left: number
    readonly until: number
    readonly refill?: number
  },
  state: ScopeState,
  now: number,
): Pick<LimitOutlook, 'rate' | 'runsOutAt'> {
  const { counts, left, until, refill = 0 } = one
  const rate = rateOf(state, counts, now)
  const net = rate - refill
  const runsOutAt = net > 0 ? now + (left / net) * MINUTE_MS : Infinity
  return { rate, runsOutAt: runsOutAt < until ? runsOutAt : undefined }
}
