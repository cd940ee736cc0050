/*
 * What an upstream lets through, found out from what it took and what it refused: every way to count is tried on the
 * requests as they were sent, and the one that agrees best with what was said and done is taken.
 */
import { SPAN_MS, type MeterReading, type ToldLimit } from '../../pool/outcome.ts'
import { createCounter, type Counter, type Forgetting, type LimitSpec } from './enforce.ts'
import type { Sending } from './log.ts'

/** A limit that a log shows. */
export interface FittedLimit extends LimitSpec {
  /** What shows it: the headers of answers, the words of refusals, or where they fell. */
  readonly source: 'headers' | 'words' | 'refusals'
  /** What its headers have said, where they speak of it, and which reset they mean. */
  readonly meter?: MeterReading | undefined
  readonly reset?: Reset | undefined
}

/** What headers mean by a reset: all is whole again, the next is free, or their clock has come round to the span. */
type Reset = 'whole' | 'next' | { readonly behindMs: number }

/** Ms until that. */
export function resetIn(
  counter: Counter,
  { reset = 'whole', spanMs }: Pick<FittedLimit, 'reset' | 'spanMs'>,
  now: number,
) {
  if (typeof reset === 'object') return spanMs - ((now - reset.behindMs) % spanMs)
  return reset === 'whole' ? counter.resetsIn(now) : counter.freesIn(now)
}

/** All limits of an upstream that its log shows. */
export interface FittedLimits {
  readonly limits: readonly FittedLimit[]
  /** How many requests it works on at once; undefined = no limit was seen. */
  readonly concurrency: number | undefined
  /** Refusals that no limit explains. */
  readonly unexplained: ReadonlySet<Sending>
}

/** A limit, told by its status or its words; credit that is spent comes back by no clock. */
export const isLimitRefusal = ({ outcome }: Sending): boolean =>
  outcome.kind === 'failed' &&
  outcome.scope !== 'none' &&
  outcome.code !== 'insufficient_quota' &&
  outcome.class === 'refused' &&
  (outcome.status === 429 || LIMITS.has(outcome.cause))

const LIMITS: ReadonlySet<string> = new Set(['rate-limited', 'quota', 'overloaded'])

/** Whether it was worked on. */
export const isTaken = ({ outcome }: Sending): boolean =>
  outcome.kind === 'ok' || outcome.kind === 'broken' || (outcome.kind === 'aborted' && outcome.sent)

/** What a request has cost, as far as it is known. */
export const tokensOf = ({ outcome, arrival }: Sending): number =>
  ('tokens' in outcome ? outcome.tokens : undefined) ??
  (arrival?.demand.inputTokens ?? 0) + (arrival?.demand.outputTokens ?? 0)

/** A request to an upstream, taken or refused, some time between two moments. */
interface Step {
  readonly sending: Sending
  readonly from: number
  readonly to: number
  readonly isRefused: boolean
  readonly requests: number
  readonly tokens: number
  /** Of a refusal: after how many ms more will be let through. */
  readonly hintMs: number | undefined
  /** With how many at once it was taken at least, or refused at most. */
  readonly atOnce: number
}

type Rule = Pick<LimitSpec, 'counts' | 'spanMs' | 'forgets'>

/** A limit that was not told of, and how much speaks against it. */
interface Tried extends Rule {
  readonly limit: number
  readonly score: number
}
type Untold = Tried | { readonly concurrency: number; readonly score: number }

/** So many requests are tried out, those among which most were refused: each is, some hundred times. */
const MOST_STEPS = 6_000
const SPANS = [SPAN_MS.minute, SPAN_MS.second, 10_000, SPAN_MS.hour, SPAN_MS.day]
const FORGETTING = ['rolling', 'wall', 'first'] as const
const MIDNIGHTS: readonly Forgetting[] = [{ zone: 'UTC' }, { zone: 'America/Los_Angeles' }]
/** An upstream's minute may begin at any time of ours. */
const PHASES = 30
/** More than anything counts to. */
const ENDLESS = 1e9
const MOST_UNTOLD = 3
/** So few of all refusals need no limit of their own. */
const FEW_REFUSALS = 0.05
/** A limit has to explain so much of the refusals, and may contradict so much of what was taken. */
const LEAST_EXPLAINED = 0.5
const MOST_CONTRADICTED = 0.02
/** Who takes what a limit forbids has another; who refuses what it allows may have two. */
const CONTRADICTION = 2
/** A way to count with more that can be chosen has to explain so much more of the refusals. */
const DOUBT = 0.02

/** @param sendings to one upstream, in order */
export function fitLimits(sendings: readonly Sending[]): FittedLimits {
  const all = stepsOf(sendings)
  const steps = busiestOf(all)
  const told: FittedLimit[] = metersIn(steps).map((readings) => fitMeter(steps, readings))
  for (const one of toldIn(steps)) {
    const isKnown = told.some(({ counts, spanMs }) => counts === one.counts && spanMs === one.spanMs)
    if (isKnown) continue
    // Words may be of another limit than was met.
    const those = steps.filter((step) => !step.isRefused || toldBy(step).some((other) => isSame(one, other)))
    const known = best(knownAs(those, one))
    if (known.score <= allowedIn(those)) told.push({ ...known, source: 'words' })
  }
  const few = Math.max(0, FEW_REFUSALS * refusedIn(steps))
  const fittedWith = (untold: readonly Untold[]) => ({
    limits: [
      ...told,
      ...untold.flatMap((one) => ('limit' in one ? [{ ...one, source: 'refusals' as const }] : [])),
    ],
    concurrency: untold.flatMap((one) => ('concurrency' in one ? one.concurrency : []))[0],
  })
  const another = (untold: readonly Untold[]): Untold | undefined => {
    const open = unexplainedIn(steps, fittedWith(untold))
    if (open.size <= few) return undefined
    const next = fitUntold(steps.filter(({ isRefused, sending }) => !isRefused || open.has(sending)))
    const left = next && unexplainedIn(steps, fittedWith([...untold, next])).size
    return left !== undefined && left <= 0.7 * open.size ? next : undefined
  }
  let untold: Untold[] = []
  for (let next; untold.length < MOST_UNTOLD && (next = another(untold)) !== undefined;) {
    untold = [...untold, next]
    // The earlier ones had to explain what is the new one's.
    for (const one of untold.slice(0, -1)) {
      const others = untold.filter((other) => other !== one)
      const again = another(others)
      untold = again === undefined ? others : [again, ...others]
    }
  }
  const fitted = fittedWith(untold)
  return { ...fitted, unexplained: unexplainedIn(all, fitted) }
}

/** What a bucket holds that is refilled with more or less than that in its span; undefined for others. */
export const burstOf = (forgets: Forgetting): number | undefined =>
  typeof forgets === 'object' && 'burst' in forgets ? forgets.burst : undefined

const decidedAt = ({ isRefused, from, to }: Omit<Step, 'atOnce'>): number => (isRefused ? to : from)

const refusedIn = (steps: readonly { readonly isRefused: boolean }[]): number =>
  steps.reduce((sum, { isRefused }) => sum + (isRefused ? 1 : 0), 0)

/** In order of when they were decided: a refusal comes at once then, and of a crowd those that were taken came first. */
function stepsOf(sendings: readonly Sending[]): Step[] {
  const decided = sendings.filter((one) => isTaken(one) || isLimitRefusal(one))
  const [taken, refused] = [decided.filter(isTaken), decided.filter((one) => !isTaken(one))]
  const usual = taken.reduce((sum, one) => sum + tokensOf(one), 0) / Math.max(1, taken.length)
  const times = refused.map(({ at, endedAt }) => endedAt - at).toSorted((a, b) => a - b)
  const usualMs = times[Math.floor(times.length * 0.9)] ?? 0
  let working: number[] = []
  return decided
    .map((sending): Omit<Step, 'atOnce'> => {
      const { at, endedAt, outcome, firstByteMs = endedAt - at } = sending
      const isRefused = !isTaken(sending)
      const tokens = isRefused ? Math.max(tokensOf(sending), usual) : tokensOf(sending)
      const to = isRefused ? endedAt : at + Math.min(usualMs, firstByteMs)
      const hintMs = outcome.kind === 'failed' ? outcome.hintMs : undefined
      return { sending, from: at, to, isRefused, requests: 1, tokens, hintMs }
    })
    .toSorted((a, b) => decidedAt(a) - decidedAt(b))
    .map((step) => {
      working = working.filter((end) => end > step.from)
      const besides = step.isRefused ? working : working.filter((end) => end > step.to)
      const atOnce = besides.length + 1
      if (!step.isRefused) working.push(step.sending.endedAt)
      return { ...step, atOnce }
    })
}

function busiestOf(steps: readonly Step[], most = MOST_STEPS): readonly Step[] {
  let refused = refusedIn(steps.slice(0, most))
  let found = { refused: 0, start: 0 }
  for (let start = 0; start + most <= steps.length; start++) {
    if (refused >= found.refused) found = { refused, start }
    refused += (steps[start + most]?.isRefused ? 1 : 0) - (steps[start]?.isRefused ? 1 : 0)
  }
  return steps.slice(found.start, found.start + most)
}

/** The first with the lowest score. */
function best<One extends { readonly score: number }>(all: readonly One[]): One {
  return all.reduce((found, one) => (one.score < found.score ? one : found))
}

/** What headers say, a list for each limit, with the step that it was said of. */
type Said = readonly { readonly step: Step; readonly reading: MeterReading }[]

function metersIn(steps: readonly Step[]): Said[] {
  const meters = new Map<string, { step: Step; reading: MeterReading }[]>()
  for (const step of steps)
    for (const reading of step.sending.readings) {
      const said = meters.get(reading.meter)
      if (said === undefined) meters.set(reading.meter, [{ step, reading }])
      else said.push({ step, reading })
    }
  return [...meters.values()].filter((said) => said.some(({ reading }) => reading.limit !== undefined))
}

/** The limit that headers speak of: the way to count by which the numbers in them come out. */
function fitMeter(steps: readonly Step[], said: Said): FittedLimit {
  const last = said.findLast(({ reading }) => reading.limit !== undefined)?.reading
  const { counts = 'requests', spanMs: named, limit = 1 } = last ?? {}
  const saidOf = new Map(said.map(({ step, reading }) => [step, reading]))
  const first = said[0]
  const timed = said.findLast(({ reading }) => reading.resetMs !== undefined)
  const scored = (rule: Rule) => {
    const { spanMs } = rule
    const slackMs = slackIn(steps, spanMs)
    const behindMs = timed === undefined ? 0 : (decidedAt(timed.step) + (timed.reading.resetMs ?? 0)) % spanMs
    const counter = createCounter(limit, rule)
    // Used before the log begins, or by somebody else.
    const before = first === undefined ? 0 : counter.limit - first.reading.remaining - first.step[counts]
    if (first !== undefined && before > 0) counter.count(before, decidedAt(first.step))
    let left = 0
    const resets = (['whole', 'next', { behindMs }] as const).map((reset) => ({ reset, score: 0 }))
    for (const step of steps) {
      const now = decidedAt(step)
      if (!step.isRefused) {
        if (counter.used(step.to + slackMs) + step[counts] > counter.limit) left += 1
        counter.count(step[counts], now)
      }
      const reading = saidOf.get(step)
      if (reading === undefined) continue
      left += (2 * Math.abs(counter.left(now) - reading.remaining)) / limit
      const { resetMs } = reading
      if (resetMs === undefined) continue
      for (const one of resets) {
        const ms = resetIn(counter, { ...one, spanMs }, now)
        one.score += Math.min(1, Math.abs(ms - resetMs) / Math.max(1_000, resetMs))
      }
    }
    const { reset, score } = best(resets)
    return { rule, reset, score: left + score }
  }
  const rules: Rule[] = (named === undefined ? SPANS : [named]).flatMap((spanMs) =>
    [...windowsOf(spanMs), 'bucket' as const].map((forgets) => ({ counts, spanMs, forgets })),
  )
  // What is missing of a bucket, rounded up, and when it is whole again tell how quickly it is refilled.
  const refills = said
    .flatMap(({ reading: { remaining, resetMs = 0 } }) =>
      remaining < limit && resetMs > 0 ? (resetMs * limit) / (limit - remaining) : [],
    )
    .toSorted((one, other) => one - other)
  const spanMs = refills[Math.floor(0.95 * refills.length)]
  if (named === undefined && spanMs !== undefined) rules.push({ counts, spanMs, forgets: 'bucket' })
  // What is left at once may never come near the limit: GCRA.
  const burst = Math.max(
    ...said.map(({ step, reading }) => reading.remaining + (step.isRefused ? 0 : step[counts])),
  )
  const bursts = burst < 0.9 * limit ? rules.filter(({ forgets }) => forgets === 'bucket') : []
  const { rule, reset } = best(
    [...rules, ...bursts.map((one) => ({ ...one, forgets: { burst } }))].map(scored),
  )
  return { ...rule, limit, source: 'headers', meter: last, reset }
}

const toldBy = ({ sending: { outcome } }: Step): readonly ToldLimit[] =>
  (outcome.kind === 'failed' ? outcome.told : undefined) ?? []

const isSame = (one: ToldLimit, other: ToldLimit): boolean =>
  one.counts === other.counts && one.spanMs === other.spanMs

/** The newest of the limits that refusals name, one for each span. */
const toldIn = (steps: readonly Step[]): ToldLimit[] =>
  steps.flatMap(toldBy).filter((one, at, all) => all.findLastIndex((other) => isSame(one, other)) === at)

/**
 * Windows are seldom exact, ms. A fiftieth of the log at most: the edge of some day may be half an hour away, and all of a
 * short log would be at it.
 */
const slackIn = (steps: readonly Step[], spanMs: number): number =>
  Math.min(spanMs, (steps.at(-1)?.to ?? 0) - (steps[0]?.from ?? 0)) / 50

/** What was counted with each request, or would have been: what was taken at the most favourable moment, and so what was refused. */
function sumsOf(steps: readonly Step[], rule: Rule, limit = ENDLESS) {
  const counter = createCounter(limit, rule)
  const isBucket = rule.forgets === 'bucket' || burstOf(rule.forgets) !== undefined
  const slackMs = isBucket ? 0 : slackIn(steps, rule.spanMs)
  return steps.map(({ from, to, isRefused, [rule.counts]: amount }) => {
    const used = isRefused
      ? Math.max(counter.used(from), counter.used(to))
      : Math.min(counter.used(from), counter.used(to + slackMs))
    if (!isRefused) counter.count(amount, from)
    return { amount: used + amount, isRefused }
  })
}

/** Up to which amount all was taken and from which on all refused, with as little against it as can be. */
function bestCut(sums: readonly { readonly amount: number; readonly isRefused: boolean }[], unit = 1) {
  const sorted = sums.toSorted((a, b) => a.amount - b.amount)
  let score = CONTRADICTION * (sums.length - refusedIn(sums))
  let found = { low: 0, high: sorted[0]?.amount ?? 0, score }
  for (const [at, { amount, isRefused }] of sorted.entries()) {
    score += isRefused ? 1 : -CONTRADICTION
    const next = sorted[at + 1]?.amount ?? amount + unit
    if (next - amount > HAIR && score < found.score) found = { low: amount, high: next, score }
  }
  return { limit: roundest(found.low, found.high), score: found.score }
}
/** Sums of fractions. */
const HAIR = 1e-6

/** The whole number with the fewest digits from `low` to below `high`: that is how limits are set. */
function roundest(low: number, high: number): number {
  for (let unit = 1e9; unit >= 1; unit /= 10)
    for (const step of [unit, unit / 2]) {
      const one = Math.ceil((low - HAIR) / step) * step
      if (one < high && one > 0 && Number.isInteger(one)) return one
    }
  return (low + high) / 2
}

/** How often the upstream said of another time that it opens then, half a mistake each; nobody knows when one of a crowd is done. */
function hintScore(steps: readonly Step[], limit?: Omit<Tried, 'score'>): number {
  if (steps.every(({ hintMs }) => hintMs === undefined)) return 0
  const counter = limit && createCounter(limit.limit, limit)
  let score = 0
  for (const step of steps) {
    const { from, to, isRefused, hintMs } = step
    const amount = step[limit?.counts ?? 'requests']
    if (!isRefused) counter?.count(amount, from)
    else if (hintMs !== undefined) {
      const opensIn = counter?.opensIn(amount, to) ?? 1
      if (Math.abs(hintMs - opensIn) > Math.max(1_500, hintMs / 5)) score += 0.5
    }
  }
  return score
}

/** @param limit where it is known */
function windowAs(steps: readonly Step[], rule: Rule, limit?: number): Tried {
  const sums = sumsOf(steps, rule)
  const cut = limit === undefined ? bestCut(sums) : { limit, score: scoreAt(sums, limit) }
  return { ...rule, ...cut, score: cut.score + hintScore(steps, { ...rule, ...cut }) }
}

const scoreAt = (sums: ReturnType<typeof sumsOf>, limit: number): number =>
  sums.reduce(
    (score, { amount, isRefused }) =>
      score + (amount > limit + HAIR ? (isRefused ? 0 : CONTRADICTION) : isRefused ? 1 : 0),
    0,
  )

/** A bucket that is refilled with so much in a span, as large as fits best unless that is known. */
function bucketAs(steps: readonly Step[], rule: Rule & { readonly limit: number }, burst?: number): Tried {
  const sums = sumsOf(steps, { ...rule, forgets: { burst: ENDLESS } }, rule.limit)
  const cut = burst === undefined ? bestCut(sums) : { limit: burst, score: scoreAt(sums, burst) }
  const forgets = cut.limit === rule.limit ? 'bucket' : { burst: cut.limit }
  const { score } = cut
  return { ...rule, forgets, score: score + hintScore(steps, { ...rule, forgets }) }
}

/** The ways to count a limit of which only this is known. */
function knownAs(
  steps: readonly Step[],
  { counts, spanMs, limit }: Pick<LimitSpec, 'counts' | 'spanMs' | 'limit'>,
) {
  const bucket = { counts, spanMs, limit, forgets: 'bucket' } as const
  return [
    ...windowsOf(spanMs).map((forgets) => windowAs(steps, { counts, spanMs, forgets }, limit)),
    bucketAs(steps, bucket, limit),
    ...doubted(steps, [
      ...phasesOf(spanMs).map((forgets) => windowAs(steps, { counts, spanMs, forgets }, limit)),
      bucketAs(steps, bucket),
    ]),
  ]
}

const windowsOf = (spanMs: number): readonly Forgetting[] => [
  ...FORGETTING,
  ...(spanMs === SPAN_MS.day ? MIDNIGHTS : []),
]
const phasesOf = (spanMs: number): readonly Forgetting[] =>
  spanMs < SPAN_MS.minute
    ? []
    : Array.from({ length: PHASES }, (_, nth) => ({ behindMs: (nth * spanMs) / PHASES }))

const doubted = (steps: readonly Step[], tried: readonly Tried[]): Tried[] =>
  tried.map((one) => ({ ...one, score: one.score + 1 + DOUBT * refusedIn(steps) }))

/** Against a limit may speak so much. */
function allowedIn(steps: readonly Step[]): number {
  const refused = refusedIn(steps)
  return (1 - LEAST_EXPLAINED) * refused + MOST_CONTRADICTED * (steps.length - refused)
}

/** The limit that agrees best with where refusals fell; undefined where none does. */
function fitUntold(steps: readonly Step[]): Untold | undefined {
  const refused = refusedIn(steps)
  if (refused === 0 || refused === steps.length) return undefined
  const sizes = steps.flatMap(({ isRefused, tokens }) => (isRefused ? [] : tokens))
  // Where all are alike, nobody can tell tokens from requests.
  const isVaried = Math.max(...sizes) > 1.2 * Math.min(...sizes)
  const ways: Rule['counts'][] = isVaried ? ['requests', 'tokens'] : ['requests']
  const plain = ways.flatMap((counts) =>
    SPANS.flatMap((spanMs) => [
      ...windowsOf(spanMs).map((forgets) => windowAs(steps, { counts, spanMs, forgets })),
      wholeBucket(steps, { counts, spanMs, forgets: 'bucket' }),
    ]),
  )
  const crowds = bestCut(steps.map(({ atOnce, isRefused }) => ({ amount: atOnce, isRefused })))
  const crowd = { concurrency: crowds.limit, score: crowds.score + hintScore(steps) }
  const simple = best<Untold>([...plain, crowd])
  const found =
    simple.score <= DOUBT * refused
      ? simple
      : best<Untold>([
          simple,
          ...doubted(
            steps,
            ways.flatMap((counts) => [
              ...SPANS.flatMap((spanMs) =>
                phasesOf(spanMs).map((forgets) => windowAs(steps, { counts, spanMs, forgets })),
              ),
              ...smallBuckets(steps, counts),
            ]),
          ),
        ])
  return found.score > allowedIn(steps) ? undefined : found
}

/** A bucket that holds what it is refilled with in a span. */
function wholeBucket(steps: readonly Step[], rule: Rule): Tried {
  const { limit: most } = bestCut(sumsOf(steps, { ...rule, forgets: 'rolling' }))
  // The more is refilled, the smaller it seems to be.
  let [low, high] = [1, most + 1]
  while (high - low > Math.max(1, low / 200)) {
    const limit = Math.floor((low + high) / 2)
    const { limit: size } = bestCut(sumsOf(steps, { ...rule, forgets: { burst: ENDLESS } }, limit))
    if (size >= limit) low = limit
    else high = limit
  }
  const limits = new Set([low, high, roundest(low, high)])
  return best([...limits].map((limit) => bucketAs(steps, { ...rule, limit }, limit)))
}

/** Rates are told apart by so much, from a quarter of what was taken up to a hundred times that, in so many requests. */
const GRAIN = 1.01
const RATES = 600
const FEW_STEPS = 400

/** Those that hold less, or more, the best first. */
function smallBuckets(steps: readonly Step[], counts: Rule['counts']): Tried[] {
  const at = (rate: number, some = steps): Tried => {
    const spanMs = [SPAN_MS.minute, SPAN_MS.hour].find((span) => rate * span >= 1) ?? SPAN_MS.day
    return bucketAs(some, { counts, spanMs, limit: rate * spanMs, forgets: 'bucket' })
  }
  // In the long run all but the true rate lead far astray.
  const few = busiestOf(steps, FEW_STEPS)
  const taken = few.reduce((sum, { isRefused, [counts]: amount }) => sum + (isRefused ? 0 : amount), 0)
  const perMs = taken / Math.max(1, (few.at(-1)?.to ?? 0) - (few[0]?.from ?? 0))
  const near = best(Array.from({ length: RATES }, (_, nth) => at((perMs / 4) * GRAIN ** nth, few)))
  const { spanMs } = near
  const all = Array.from({ length: 41 }, (_, nth) => at((near.limit / spanMs) * GRAIN ** ((nth - 20) / 5)))
  const { score } = best(all)
  const alike = all.filter((one) => one.score === score)
  const whole = alike.filter(({ forgets }) => forgets === 'bucket' || Number.isInteger(burstOf(forgets)))
  const rates = (whole.length > 0 ? whole : alike).map((one) => (one.limit * spanMs) / one.spanMs)
  const round = roundest(Math.min(...rates) / GRAIN, Math.max(...rates) * GRAIN)
  return [bucketAs(steps, { counts, spanMs, limit: round, forgets: 'bucket' }), ...whole, ...alike]
}

/** What is refused with so much of a limit left is refused for something else. */
const NEAR = 0.04

function unexplainedIn(
  steps: readonly Step[],
  { limits, concurrency = Infinity }: Pick<FittedLimits, 'limits' | 'concurrency'>,
): Set<Sending> {
  const sums = limits.map((rule) => ({
    most: (1 - NEAR) * createCounter(rule.limit, rule).limit,
    sums: sumsOf(steps, rule, rule.limit),
  }))
  return new Set(
    steps
      .filter(
        ({ isRefused, atOnce }, at) =>
          isRefused &&
          atOnce <= concurrency &&
          sums.every(({ most, sums: all }) => (all[at]?.amount ?? 0) <= most),
      )
      .map(({ sending }) => sending),
  )
}
