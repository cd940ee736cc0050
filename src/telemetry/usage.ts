import { endpoints } from '../pool/upstream.ts'
import type { GatewayEvent, RequestEvent } from '../relay/deps.ts'

/** Sums of what clients asked, by minutes, hours and days; see `createUsage`. */
export type UsageHistory = ReturnType<typeof createUsage>
/** What `GET /admin/usage` answers of all requests together. */
export type UsageStatus = ReturnType<UsageHistory['show']>
export type UsagePointStatus = ReturnType<typeof shownPoint>

/** Sums of one span of time. Plain data. */
export interface UsageSums {
  answered: number
  clientFaults: number
  refused: number
  failed: number
  left: number
  inputTokens: number
  outputTokens: number
  /** First bytes of answers from the arrival of the request on, counted by `bucketOf`. */
  firstBytes: Uint32Array
  /** Requests by the name of who answered. */
  byUpstream: Map<string, number>
}
export const usageCounts = [
  'answered',
  'clientFaults',
  'refused',
  'failed',
  'left',
  'inputTokens',
  'outputTokens',
] as const

export const newUsageSums = (): UsageSums => ({
  answered: 0,
  clientFaults: 0,
  refused: 0,
  failed: 0,
  left: 0,
  inputTokens: 0,
  outputTokens: 0,
  firstBytes: new Uint32Array(BUCKETS),
  byUpstream: new Map(),
})

/** Buckets of first bytes: each is wider than the one before by a fifth, so that a percentile is right within a tenth. */
const BUCKETS = 76
const WIDENING = Math.log(1.2)
/** The first is up to 1 ms, the last over 12 minutes. */
const bucketOf = (ms: number): number =>
  Math.min(BUCKETS - 1, Math.max(0, Math.ceil(Math.log(ms) / WIDENING)))
/** The middle of one, ms. */
const middleOf = (bucket: number): number => Math.round(Math.exp((bucket - 0.5) * WIDENING))

/** What is summed up, how long a point of it is and how many points are kept. */
const SERIES = [
  { name: 'hour', stepMs: 60_000, points: 60 },
  { name: 'day', stepMs: 3_600_000, points: 24 },
  { name: 'days', stepMs: 86_400_000, points: 90 },
] as const

/** Of the upstreams so many have a sum of their own in a point that is over: the busiestUpstreams; the others are one. */
const MOST_NAMES = 20
const OTHERS = 'other'

const RELAYED: ReadonlySet<string> = new Set([...endpoints, 'passthrough'])

/** Whether a request was one for a model, and none of the operator's. */
export const isOfClient = ({ endpoint, attempts }: RequestEvent): boolean =>
  RELAYED.has(endpoint) && attempts[0]?.why !== 'trial'

/**
 * How a request ended: an answer that broke off is none; 429 and 402 are refusals for want of room; what else is 4xx is the
 * client's own fault, but for 408, which is a failure as 5xx are.
 */
function outcomeOf({
  status,
  code,
}: RequestEvent): 'answered' | 'clientFaults' | 'refused' | 'failed' | 'left' {
  if (status === 499) return 'left'
  if (status < 400) return code === undefined ? 'answered' : 'failed'
  if (status === 429 || status === 402) return 'refused'
  return status < 500 && status !== 408 ? 'clientFaults' : 'failed'
}

/**
 * Sums up requests by minutes of the last hour, hours of a day and days of a quarter, all of UTC and by the wall clock.
 * Where that was set back, what was counted ahead of it belongs to the present. An event costs about 0.3 µs.
 *
 * @param wall epoch ms
 */
export function createUsage(wall: () => number) {
  const all = SERIES.map((series) => createSeries(series))
  let changes = 0

  return {
    report(event: GatewayEvent): void {
      if (event.kind !== 'request' || !isOfClient(event)) return
      const now = wall()
      const outcome = outcomeOf(event)
      const { firstByteMs, upstream } = event
      const bucket = outcome === 'answered' && firstByteMs !== undefined ? bucketOf(firstByteMs) : undefined
      changes += 1
      for (const series of all) {
        const sums = series.at(now)
        sums[outcome] += 1
        sums.inputTokens += amountIn(event.inputTokens)
        sums.outputTokens += amountIn(event.outputTokens)
        if (bucket !== undefined) sums.firstBytes[bucket] = (sums.firstBytes[bucket] ?? 0) + 1
        if (upstream !== undefined) addTo(sums.byUpstream, upstream, 1)
      }
    },
    /** What `GET /admin/usage` answers. Points are in order, the present one last; those of days begin with the first request. */
    show() {
      const now = wall()
      const [hour, day, days] = all.map((series) => series.show(now))
      return { hour, day, days }
    },
    /** The last sixty minutes, for `/admin/status`. What clients did wrong and who left is no part of the share. */
    lastHour() {
      const sum = newUsageSums()
      for (const sums of all[0]?.last(wall()) ?? []) addSums(sum, sums)
      const { answered, refused, failed, firstBytes } = sum
      const judged = answered + refused + failed
      return {
        requests: requestsIn(sum),
        answered_share: judged === 0 ? null : answered / judged,
        first_byte_ms: percentilesOf(firstBytes),
      }
    },
    /** The points themselves, for keeping them across a restart. */
    series: all,
    /** How many requests were counted; moves only up. */
    get changes() {
      return changes
    },
  }
}

/** A point, and which it is of its length since 1970. */
export interface UsagePoint {
  readonly nth: number
  readonly sums: UsageSums
}

/** Points of one length. */
function createSeries({ name, stepMs, points: most }: (typeof SERIES)[number]) {
  let points: UsagePoint[] = []

  /** The present point, once nothing lies ahead of it and nothing too far behind. */
  function at(now: number): UsageSums {
    const nth = Math.floor(now / stepMs)
    const last = points.at(-1)
    if (last?.nth === nth) return last.sums
    const sums = newUsageSums()
    for (const point of points) if (point.nth >= nth) addSums(sums, point.sums)
    points = [...points.filter((point) => point.nth < nth && point.nth > nth - most), { nth, sums }]
    for (const point of points.slice(0, -1)) point.sums.byUpstream = busiestUpstreams(point.sums.byUpstream)
    return sums
  }

  /** The sums of the last points that are there. */
  function last(now: number): UsageSums[] {
    const nth = Math.floor(now / stepMs)
    return points.filter((point) => point.nth > nth - most).map(({ sums }) => sums)
  }

  return {
    name,
    at,
    last,
    show(now: number) {
      const nth = Math.floor(now / stepMs)
      const first =
        stepMs === SERIES[2].stepMs ? Math.max(points[0]?.nth ?? nth, nth - most + 1) : nth - most + 1
      const known = new Map(points.map((point) => [point.nth, point.sums]))
      const shown = Array.from({ length: Math.max(1, nth - first + 1) }, (_, index) =>
        shownPoint((first + index) * stepMs, known.get(first + index) ?? newUsageSums()),
      )
      return { step_ms: stepMs, points: shown }
    },
    /** Those that are there, oldest first; what is counted in all but the last changes no more. */
    points: (): readonly UsagePoint[] => points,
    /** Takes points of an earlier process; what was counted meanwhile is added. */
    restore(kept: readonly UsagePoint[]): void {
      const own = points
      points = kept.toSorted((a, b) => a.nth - b.nth).slice(-most)
      for (const { nth, sums } of own) addSums(at(nth * stepMs), sums)
    },
  }
}

function addTo(counts: Map<string, number>, name: string, amount: number): void {
  counts.set(name, (counts.get(name) ?? 0) + amount)
}

/** An amount that is unknown or no amount would spoil a sum for ever. */
const amountIn = (amount: number | undefined): number =>
  amount !== undefined && amount >= 0 && amount < Infinity ? amount : 0

function addSums(to: UsageSums, from: UsageSums): void {
  for (const name of usageCounts) to[name] += from[name]
  for (const [bucket, count] of from.firstBytes.entries())
    to.firstBytes[bucket] = (to.firstBytes[bucket] ?? 0) + count
  for (const [name, count] of from.byUpstream) addTo(to.byUpstream, name, count)
}

/** At most `MOST_NAMES`, the others in one. */
export function busiestUpstreams(counts: Map<string, number>): Map<string, number> {
  if (counts.size <= MOST_NAMES) return counts
  const sorted = [...counts].toSorted(([, a], [, b]) => b - a)
  const kept = new Map(sorted.slice(0, MOST_NAMES - 1))
  for (const [, count] of sorted.slice(MOST_NAMES - 1)) addTo(kept, OTHERS, count)
  return kept
}

const requestsIn = ({ answered, clientFaults, refused, failed, left }: UsageSums): number =>
  answered + clientFaults + refused + failed + left

/** A point as `GET /admin/usage` shows it. */
const shownPoint = (from: number, sums: UsageSums) => ({
  at: new Date(from).toISOString(),
  answered: sums.answered,
  client_faults: sums.clientFaults,
  /** 429 and 402 that went out. */
  refused: sums.refused,
  failed: sums.failed,
  /** Clients that left before the end. */
  left: sums.left,
  input_tokens: sums.inputTokens,
  output_tokens: sums.outputTokens,
  first_byte_ms: percentilesOf(sums.firstBytes),
  by_upstream: Object.fromEntries(busiestUpstreams(sums.byUpstream)),
})

/** Null where nothing was answered. */
function percentilesOf(firstBytes: Uint32Array) {
  const total = firstBytes.reduce((sum, count) => sum + count, 0)
  const percentile = (percent: number): number => {
    let left = Math.ceil((percent / 100) * total)
    const bucket = firstBytes.findIndex((count) => (left -= count) <= 0)
    return middleOf(bucket)
  }
  return total === 0 ? null : { p50: percentile(50), p95: percentile(95) }
}
