import { midnightAfter } from '../../src/lib/time.ts'
import { SPAN_MS } from '../../src/pool/outcome.ts'
import { createLedger, type LimitSpec } from '../../src/cli/what-if/enforce.ts'
import { patienceOf, type Scenario } from './scenario.ts'
import { costOf, ownTime, type VendorSpec } from './vendor.ts'

const MINUTE_MS = SPAN_MS.minute
const DAY_MS = SPAN_MS.day

/** The yardstick of a scenario: exact for one upstream, a bound for several. */
export function perfectYield(scenario: Scenario): number {
  const [vendor] = scenario.vendors
  const isCounted = vendor !== undefined && scenario.vendors.length === 1 && vendor.concurrency === undefined
  return isCounted ? firstComeFirstServed(vendor, scenario) : boundOf(scenario)
}

/**
 * What somebody answers who sees the upstream's own books: each request at the first moment at which there is room for it, in
 * the order of arrival and within the patience of the relay's queue.
 */
function firstComeFirstServed(vendor: VendorSpec, scenario: Scenario): number {
  const { arrivals, start, tokens } = scenario
  const ledger = createLedger(vendor)
  const cost = costOf(tokens)
  const patience = patienceOf(scenario)
  const startsAt = ownTime(vendor, start)
  let happened = 0
  let at = 0
  let answered = 0

  /** Whether it is let through by then; moves on to where that is known. */
  function isTakenBy(latest: number): boolean {
    for (;;) {
      for (let next; (next = ledger.happenings[happened]) !== undefined && next.at <= at; happened++)
        next.run(startsAt + next.at)
      const opensIn = ledger.opensIn(cost, startsAt + at)
      if (opensIn <= 0) return true
      // A ms at least: fractions of it get lost in the digits of an epoch.
      const soonest = at + Math.max(1, opensIn)
      const next = Math.min(soonest, ledger.happenings[happened]?.at ?? Infinity)
      if (next > latest) return false
      at = next
    }
  }

  for (const arrival of arrivals) {
    at = Math.max(at, arrival)
    if (!isTakenBy(arrival + patience)) continue
    ledger.count(cost, startsAt + at)
    answered += 1
  }
  return answered
}

/**
 * The most requests that anybody could have got answered, knowing all arrivals beforehand: no scheduler can
 * beat it, and a real one need not reach it.
 *
 * It is the smallest cut of the flow from arrivals, minute by minute, into upstreams with a limit for each minute
 * and one for each day: for every way to take some upstreams by their days and the others by their minutes, what
 * the former have in all, and what the latter can take of the arrivals as they come. With waiting: a request may
 * be served in its own minute or, when it came within the queue time of the end, in the next one.
 */
function boundOf(scenario: Scenario): number {
  const { vendors, arrivals } = scenario
  const demand = demandOf(scenario)
  let best = arrivals.length
  for (let byDay = 0; byDay < 2 ** vendors.length; byDay++) {
    let days = 0
    const minutes: VendorSpec[] = []
    vendors.forEach((vendor, at) => {
      if ((byDay >> at) % 2 === 1) days += dayYield(vendor, scenario)
      else minutes.push(vendor)
    })
    if (days < best) best = Math.min(best, days + served(demand, minutes))
  }
  return best
}

/** What all upstreams together let through in a whole day: the sum of the smaller of day and 1,440 minutes. */
export function boundOfDay(vendors: readonly VendorSpec[], tokens: number): number {
  return vendors.reduce(
    (sum, vendor) => sum + Math.min(perDay(vendor, tokens), 1_440 * perMinute(vendor, tokens)),
    0,
  )
}

/** How many requests a limit of this span lets through, of requests and of tokens the tighter one. */
function most({ limits }: VendorSpec, { spanMs, tokens }: { spanMs: number; tokens: number }): number {
  const ofSpan = limits.filter((limit) => limit.spanMs === spanMs)
  return Math.min(
    ...ofSpan.map(({ counts, limit }) => (counts === 'tokens' ? Math.floor(limit / tokens) : limit)),
  )
}
const perMinute = (vendor: VendorSpec, tokens: number): number => most(vendor, { spanMs: MINUTE_MS, tokens })
const perDay = (vendor: VendorSpec, tokens: number): number => most(vendor, { spanMs: DAY_MS, tokens })

const forgets = ({ limits }: VendorSpec, spanMs: number): LimitSpec['forgets'] =>
  limits.find((limit) => limit.spanMs === spanMs)?.forgets ?? 'rolling'

/** Each calendar day that the run touches brings a whole quota; a bucket is full at first and is refilled once a day. */
function dayYield(vendor: VendorSpec, { start, spanMs, tokens }: Scenario): number {
  const quota = perDay(vendor, tokens.input + tokens.output)
  if (quota === Infinity) return Infinity
  const how = forgets(vendor, DAY_MS)
  if (how === 'bucket') return quota + Math.floor((quota * spanMs) / DAY_MS)
  const end = start + spanMs
  const zone = typeof how === 'object' && 'zone' in how ? how.zone : undefined
  let days = 0
  for (let at = start; at < end; at = zone === undefined ? at + DAY_MS : midnightAfter(zone, at)) days += 1
  return days * quota
}

interface Demand {
  readonly inMinute: readonly number[]
  /** Of these the ones that can wait for the next minute. */
  readonly late: readonly number[]
  readonly tokens: number
}

function demandOf(scenario: Scenario): Demand {
  const { arrivals, spanMs, tokens } = scenario
  const patience = patienceOf(scenario)
  const size = Math.ceil(spanMs / MINUTE_MS) + 1
  const inMinute = Array.from({ length: size }, () => 0)
  const late = Array.from({ length: size }, () => 0)
  for (const at of arrivals) {
    const minute = Math.floor(at / MINUTE_MS)
    inMinute[minute] = (inMinute[minute] ?? 0) + 1
    if (at + patience >= (minute + 1) * MINUTE_MS) late[minute] = (late[minute] ?? 0) + 1
  }
  return { inMinute, late, tokens: tokens.input + tokens.output }
}

/** What upstreams can take whose minutes alone are limits. A bucket lets a second minute's worth through when it is full. */
function served({ inMinute, late, tokens }: Demand, vendors: readonly VendorSpec[]): number {
  const capacityOf = (isBucket: boolean): number =>
    vendors
      .filter((vendor) => (forgets(vendor, MINUTE_MS) === 'bucket') === isBucket)
      .reduce((sum, vendor) => sum + perMinute(vendor, tokens), 0)
  const windows = capacityOf(false)
  const refill = capacityOf(true)
  let level = refill
  let waiting = 0
  let total = 0
  inMinute.forEach((arrived, minute) => {
    const wanting = arrived + waiting
    const fromWindows = Math.min(wanting, windows)
    const fromBuckets = Math.min(wanting - fromWindows, level + refill)
    level = Math.min(refill, level + refill - fromBuckets)
    waiting = Math.min(wanting - fromWindows - fromBuckets, late[minute] ?? 0)
    total += fromWindows + fromBuckets
  })
  return total
}
