/*
 * What an upstream lets through, found out from what it took and what it refused: every way to count is tried on the
 * requests as they were sent, and the one that agrees best with what was said and done is taken.
 */
import { SPAN_MS, type Failure, type MeterReading } from '../../pool/outcome.ts'
import { createCounter, type Counter, type Forgetting, type LimitSpec } from './enforce.ts'
import type { Sending } from './log.ts'

/** A limit that a log shows. */
export interface FittedLimit extends LimitSpec {
  /** What shows it: the headers of answers, the words of refusals, or where they fell. */
  readonly source: 'headers' | 'words' | 'refusals'
  /** What its headers have said, where they speak of it; and whether they tell when all of it is whole, or the next is free. */
  readonly meter?: MeterReading | undefined
  readonly tellsNext?: boolean | undefined
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

/** A request to an upstream, taken or refused. */
interface Step {
  readonly sending: Sending
  readonly at: number
  readonly isRefused: boolean
  readonly requests: number
  readonly tokens: number
  /** How many it worked on already. */
  readonly working: number
}

type Rule = Pick<LimitSpec, 'counts' | 'spanMs' | 'forgets'>

/** So many of the newest requests are tried out: each is, some hundred times. */
const MOST_STEPS = 6_000
const SPANS = [SPAN_MS.minute, SPAN_MS.second, 10_000, SPAN_MS.hour, SPAN_MS.day]
const FORGETTING = ['rolling', 'bucket', 'wall', 'first'] as const
const MIDNIGHTS: readonly Forgetting[] = [{ zone: 'UTC' }, { zone: 'America/Los_Angeles' }]

const rulesFor = (counts: Rule['counts'], spans: readonly number[]): Rule[] =>
  spans.flatMap((spanMs) =>
    [...FORGETTING, ...(spanMs === SPAN_MS.day ? MIDNIGHTS : [])].map((forgets) => ({
      counts,
      spanMs,
      forgets,
    })),
  )

/** @param sendings to one upstream, in order */
export function fitLimits(sendings: readonly Sending[]): FittedLimits {
  const steps = stepsOf(sendings)
  const limits: FittedLimit[] = metersIn(steps).map((readings) => fitMeter(steps, readings))
  for (const told of toldIn(steps)) {
    const isKnown = limits.some(({ counts, spanMs }) => counts === told.counts && spanMs === told.spanMs)
    if (isKnown) continue
    const { rule } = best(rulesFor(told.counts, [told.spanMs]), (one) => mistakesOf(steps, one, told.limit))
    limits.push({ ...rule, limit: told.limit, source: 'words' })
  }
  let concurrency: number | undefined
  let open = unexplainedIn(steps, { limits, concurrency })
  const refusals = steps.filter(({ isRefused }) => isRefused).length
  // One that was not told of at all, and a longer one behind it.
  for (let turn = 0; turn < 2 && open.size > Math.max(0, refusals * 0.05); turn++) {
    const unclear = steps.filter(({ isRefused, sending }) => !isRefused || open.has(sending))
    const found = fitUntold(unclear)
    if (found === undefined) break
    if ('concurrency' in found) concurrency = found.concurrency
    else limits.push(found)
    open = unexplainedIn(steps, { limits, concurrency })
  }
  return { limits, concurrency, unexplained: open }
}

/** In order of when they were decided: a refusal comes at once then, and of a crowd those that were taken came first. */
function stepsOf(sendings: readonly Sending[]): Step[] {
  let working: number[] = []
  const decided = sendings.filter((one) => isTaken(one) || isLimitRefusal(one)).slice(-MOST_STEPS)
  return decided
    .map((sending) => ({ sending, isRefused: !isTaken(sending) }))
    .map((one) => ({ ...one, at: one.isRefused ? one.sending.endedAt : one.sending.at }))
    .toSorted((a, b) => a.at - b.at)
    .map(({ sending, isRefused, at }) => {
      working = working.filter((end) => end > at)
      const step = { sending, at, isRefused, requests: 1, tokens: tokensOf(sending), working: working.length }
      if (!isRefused) working.push(sending.endedAt)
      return step
    })
}

interface Scored<Value> {
  readonly rule: Value
  readonly score: number
}

/** The first with the lowest score. */
function best<Value>(all: readonly Value[], scoreOf: (one: Value) => number): Scored<Value> {
  let found: Scored<Value> | undefined
  for (const rule of all) {
    const score = scoreOf(rule)
    if (found === undefined || score < found.score) found = { rule, score }
  }
  if (found === undefined) throw new Error('nothing to choose from')
  return found
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
  let tellsNext = false
  const scoreOf = (one: Rule): number => {
    const counter = createCounter(limit, one)
    // Used before the log begins, or by somebody else.
    const before = first === undefined ? 0 : counter.limit - first.reading.remaining - first.step[counts]
    if (first !== undefined && before > 0) counter.count(before, first.step.at)
    let [off, whole, next] = [0, 0, 0]
    for (const step of steps) {
      if (!step.isRefused) counter.count(step[counts], step.at)
      const reading = saidOf.get(step)
      if (reading === undefined) continue
      off += Math.abs(counter.left(step.at) - reading.remaining) / limit
      if (reading.resetMs === undefined) continue
      whole += Math.min(1, Math.abs(counter.resetsIn(step.at) - reading.resetMs) / one.spanMs)
      next += Math.min(1, Math.abs(counter.freesIn(step.at) - reading.resetMs) / one.spanMs)
    }
    tellsNext = next < whole
    return off + Math.min(whole, next)
  }
  const rules = rulesFor(counts, named === undefined ? SPANS : [named])
  // What is left at once may never come near the limit: GCRA.
  const burst = Math.max(
    ...said.map(({ step, reading }) => reading.remaining + (step.isRefused ? 0 : step[counts])),
  )
  const bursts = burst < limit / 2 ? rules.filter(({ forgets }) => forgets === 'bucket') : []
  const { rule } = best([...rules, ...bursts.map((one) => ({ ...one, forgets: { burst } }))], scoreOf)
  scoreOf(rule)
  return { ...rule, limit, source: 'headers', meter: last, tellsNext }
}

/** The newest of the limits that refusals name, one for each span. */
function toldIn(steps: readonly Step[]) {
  const told = new Map<string, NonNullable<Failure['told']>[number]>()
  for (const { sending } of steps)
    if (sending.outcome.kind === 'failed')
      for (const one of sending.outcome.told ?? []) told.set(`${one.counts} ${one.spanMs}`, one)
  return [...told.values()]
}

/** How often a limit would have done otherwise than the upstream did, or opened at another time than it said. */
function mistakesOf(steps: readonly Step[], rule: Rule, limit: number): number {
  const counter = createCounter(limit, rule)
  const usual = usualTokens(steps)
  let mistakes = 0
  for (const step of steps) {
    const amount = amountOf(step, rule, usual)
    const opensIn = counter.opensIn(amount, step.at)
    // What it counts a moment later, or a moment earlier, is no mistake.
    if (step.isRefused) mistakes += opensIn > 0 ? hintMistake(step, opensIn) : 1
    else {
      if (opensIn > Math.max(MOMENT_MS, rule.spanMs / 50)) mistakes += 1
      counter.count(amount, step.at)
    }
  }
  return mistakes
}
const MOMENT_MS = 500

/** @returns 0 to 1/2 */
function hintMistake({ sending: { outcome } }: Step, opensIn: number): number {
  const hintMs = outcome.kind === 'failed' ? outcome.hintMs : undefined
  if (hintMs === undefined) return 0
  return Math.abs(hintMs - opensIn) > Math.max(1_500, hintMs / 5) ? 0.5 : 0
}

const amountOf = (step: Step, { counts }: Rule, usualTokenCount: number): number =>
  counts === 'requests' ? 1 : step.isRefused ? Math.max(step.tokens, usualTokenCount) : step.tokens

function usualTokens(steps: readonly Step[]): number {
  const taken = steps.filter(({ isRefused }) => !isRefused)
  return taken.reduce((sum, { tokens }) => sum + tokens, 0) / Math.max(1, taken.length)
}

/** More than anything counts to. */
const NO_LIMIT = 1e12
/** A way to count has to explain so much of the refusals, and may contradict so much of what was taken. */
const LEAST_EXPLAINED = 0.6
const MOST_CONTRADICTED = 0.02

/** The limit that agrees best with where refusals fell; undefined where none does. */
function fitUntold(steps: readonly Step[]): FittedLimit | { readonly concurrency: number } | undefined {
  const refused = steps.filter(({ isRefused }) => isRefused).length
  if (refused === 0 || refused === steps.length) return undefined
  const sizes = steps.filter(({ isRefused }) => !isRefused).map(({ tokens }) => tokens)
  // Where all are alike, nobody can tell tokens from requests.
  const isVaried = Math.max(...sizes) > 1.2 * Math.min(...sizes)
  const rules = [...rulesFor('requests', SPANS), ...(isVaried ? rulesFor('tokens', SPANS) : [])]
  const tried = rules.flatMap((rule) => limitsFor(steps, rule).map((limit) => ({ ...rule, limit })))
  const atOnce = bestCut(steps.map(({ working, isRefused }) => ({ amount: working + 1, isRefused })))
  const { rule, score } = best(tried, (one) => mistakesOf(steps, one, one.limit))
  const allowed = (1 - LEAST_EXPLAINED) * refused + MOST_CONTRADICTED * (steps.length - refused)
  if (Math.min(score, atOnce.mistakes) > allowed) return undefined
  return atOnce.mistakes < score ? { concurrency: atOnce.cut } : { ...rule, source: 'refusals' }
}

/** Limits worth trying for a way to count. */
function limitsFor(steps: readonly Step[], rule: Rule): number[] {
  const counter: Counter = createCounter(
    NO_LIMIT,
    rule.forgets === 'bucket' ? { ...rule, forgets: 'rolling' } : rule,
  )
  const usual = usualTokens(steps)
  if (rule.counts === 'tokens' && usual === 0) return []
  const sums = steps.map((step) => {
    const amount = amountOf(step, rule, usual)
    const sum = NO_LIMIT - counter.left(step.at) + amount
    if (!step.isRefused) counter.count(amount, step.at)
    return { amount: sum, isRefused: step.isRefused }
  })
  if (rule.forgets !== 'bucket') return [bestCut(sums).cut].filter((limit) => limit > 0)
  // What passes in a span is at most twice a bucket's size.
  const most = sums.reduce((max, { amount, isRefused }) => (isRefused ? max : Math.max(max, amount)), 0)
  const step = Math.max(1, Math.floor(most / 2 / BUCKETS))
  return Array.from({ length: BUCKETS + 1 }, (_, at) => Math.ceil(most / 2) + at * step).filter(
    (limit) => limit <= most + step,
  )
}
const BUCKETS = 24

/** Up to which amount all was taken and from which on all refused, with as few mistakes as can be. */
function bestCut(sums: readonly { readonly amount: number; readonly isRefused: boolean }[]) {
  const sorted = sums.toSorted((a, b) => a.amount - b.amount)
  let mistakes = sorted.filter(({ isRefused }) => !isRefused).length
  let found = { cut: 0, mistakes }
  for (let at = 0; at < sorted.length; at++) {
    const one = sorted[at]
    if (one === undefined) continue
    mistakes += one.isRefused ? 1 : -1
    if (sorted[at + 1]?.amount !== one.amount && mistakes < found.mistakes)
      found = { cut: one.amount, mistakes }
  }
  return found
}

/** What is refused with so much of a limit left is refused for something else. */
const NEAR = 0.04

function unexplainedIn(
  steps: readonly Step[],
  { limits, concurrency = Infinity }: Pick<FittedLimits, 'limits' | 'concurrency'>,
): Set<Sending> {
  const counters = limits.map((limit) => ({ limit, counter: createCounter(limit.limit, limit) }))
  const usual = usualTokens(steps)
  const unexplained = new Set<Sending>()
  for (const step of steps) {
    const isNear =
      step.working + 1 >= concurrency ||
      counters.some(({ limit, counter }) => {
        const amount = amountOf(step, limit, usual)
        return counter.left(step.at) < amount + Math.max(counter.limit * NEAR, amount / 2)
      })
    if (step.isRefused && !isNear) unexplained.add(step.sending)
    if (!step.isRefused)
      for (const { limit, counter } of counters) counter.count(amountOf(step, limit, usual), step.at)
  }
  return unexplained
}
