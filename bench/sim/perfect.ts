import { midnightAfter } from '../../src/lib/time.ts'
import type { Scenario } from './scenario.ts'
import type { VendorSpec } from './vendor.ts'

const MINUTE_MS = 60_000
const DAY_MS = 86_400_000
/** How long the relay's queue holds a request, unless the scenario says otherwise; s. */
const QUEUE_TIMEOUT = 5

/**
 * The most requests that anybody could have got answered, knowing all arrivals beforehand: no scheduler can
 * beat it, and a real one need not reach it.
 *
 * It is the smallest cut of the flow from arrivals, minute by minute, into upstreams with a limit for each minute
 * and one for each day: for every way to take some upstreams by their days and the others by their minutes, what
 * the former have in all, and what the latter can take of the arrivals as they come. With waiting: a request may
 * be served in its own minute or, when it came within the queue time of the end, in the next one.
 */
export function perfectYield(scenario: Scenario): number {
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

function perMinute({ limits: { rpm = Infinity, tpm = Infinity } }: VendorSpec, tokens: number): number {
  return Math.min(rpm, Math.floor(tpm / tokens))
}

function perDay({ limits: { rpd = Infinity, tpd = Infinity } }: VendorSpec, tokens: number): number {
  return Math.min(rpd, Math.floor(tpd / tokens))
}

/** Each calendar day that the run touches brings a whole quota; a bucket is full at first and is refilled once a day. */
function dayYield(vendor: VendorSpec, { start, spanMs, tokens }: Scenario): number {
  const quota = perDay(vendor, tokens.input + tokens.output)
  if (quota === Infinity) return Infinity
  if (vendor.day === 'bucket') return quota + Math.floor((quota * spanMs) / DAY_MS)
  const end = start + spanMs
  let days = 0
  for (let at = start; at < end; at = vendor.day === 'rolling' ? at + DAY_MS : midnightAfter(vendor.day, at))
    days += 1
  return days * quota
}

interface Demand {
  readonly inMinute: readonly number[]
  /** Of these the ones that can wait for the next minute. */
  readonly late: readonly number[]
  readonly tokens: number
}

function demandOf({ arrivals, spanMs, tokens, settings }: Scenario): Demand {
  const patience = 1000 * Number(settings?.['queue_timeout'] ?? QUEUE_TIMEOUT)
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
      .filter(({ minute }) => (minute === 'bucket') === isBucket)
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
