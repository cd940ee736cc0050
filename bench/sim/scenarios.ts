import { SPAN_MS } from '../../src/pool/outcome.ts'
import { bursts, dayCurve, poisson, steady, type Arrivals } from './arrivals.ts'
import { logNormal, uniform } from './dice.ts'
import type { Forgetting, LimitSpec } from '../../src/cli/what-if/enforce.ts'
import { boundOfDay } from './perfect.ts'
import type { Scenario } from './scenario.ts'
import type { VendorSpec } from './vendor.ts'

const HOUR_MS = SPAN_MS.hour
/** A Monday at 00:00 UTC: Pacific's day ends eight hours later. */
const MIDNIGHT = Date.UTC(2026, 10, 23)
const tokens = { input: 600, output: 400 }

/** How a limit is counted: a rolling minute, unless it says otherwise. */
interface Counted {
  readonly spanMs?: number
  readonly forgets?: Forgetting
  readonly changes?: NonNullable<LimitSpec['changes']>
}
const limitOf =
  (counts: LimitSpec['counts']) =>
  (limit: number, how: Counted = {}): LimitSpec => ({
    counts,
    limit,
    spanMs: SPAN_MS.minute,
    forgets: 'rolling',
    ...how,
  })
export const requests = limitOf('requests')
export const tokensOf = limitOf('tokens')

/** One upstream that lets ten requests through in a minute. */
export function tenAMinute(how: Partial<VendorSpec> & { forgets?: Forgetting } = {}): VendorSpec {
  const { forgets = 'rolling', ...rest } = how
  return {
    name: 'ten',
    limits: [requests(10, { forgets })],
    latency: uniform(300, 800),
    dialect: 'silent',
    ...rest,
  }
}

/** Ten a minute, and twenty asked of it. */
export function overloaded(vendor: VendorSpec, how: Partial<Scenario> = {}): Scenario {
  const spanMs = how.spanMs ?? HOUR_MS
  return {
    title: vendor.name,
    start: MIDNIGHT,
    spanMs,
    arrivals: steady(20, spanMs),
    vendors: [vendor],
    knows: 'limits',
    tokens: { input: 20, output: 20 },
    seed: 1,
    ...how,
  }
}

const chat = logNormal(1_500, 0.6)
const quick = logNormal(600, 0.5)
const ofDay = (forgets: Forgetting): Counted => ({ spanMs: SPAN_MS.day, forgets })
const utc = ofDay({ zone: 'UTC' })
const pacific = ofDay({ zone: 'America/Los_Angeles' })
const bucket: Counted = { forgets: 'bucket' }
const wall: Counted = { forgets: 'wall' }

/**
 * Eight free tiers of 2026, by the vendors' pages: Groq 8B 30 rpm, 14,400 rpd, 6K tpm; Groq 70B 30, 1,000, 12K;
 * Cerebras 30 rpm, 14,400 rpd, 60K tpm, 1M tpd; Gemini Flash 5 rpm, 20 rpd and Flash-Lite 15 rpm, 500 rpd, both
 * until midnight Pacific; OpenRouter 20 rpm, 50 rpd; GitHub Models 10 rpm, 150 rpd, five at once; NVIDIA 40 rpm.
 */
export const freeTiers: readonly VendorSpec[] = [
  {
    name: 'groq-8b',
    limits: [requests(30, bucket), requests(14_400, ofDay('bucket')), tokensOf(6_000, bucket)],
    latency: quick,
    dialect: 'groq',
  },
  {
    name: 'groq-70b',
    limits: [requests(30, bucket), requests(1_000, ofDay('bucket')), tokensOf(12_000, bucket)],
    latency: quick,
    dialect: 'groq',
  },
  {
    name: 'cerebras',
    limits: [requests(30), requests(14_400, utc), tokensOf(60_000), tokensOf(1_000_000, utc)],
    latency: quick,
    dialect: 'cerebras',
  },
  { name: 'gemini-flash', limits: [requests(5), requests(20, pacific)], latency: chat, dialect: 'gemini' },
  {
    name: 'gemini-flash-lite',
    limits: [requests(15), requests(500, pacific)],
    latency: chat,
    dialect: 'gemini',
  },
  {
    name: 'openrouter',
    limits: [requests(20, wall), requests(50, utc)],
    latency: chat,
    dialect: 'openrouter',
  },
  {
    name: 'github',
    limits: [requests(10), requests(150, utc)],
    concurrency: 5,
    latency: chat,
    dialect: 'github',
  },
  { name: 'nvidia', limits: [requests(40)], latency: chat, dialect: 'silent' },
]

const sambanova: VendorSpec = {
  name: 'sambanova',
  limits: [requests(20, wall)],
  latency: chat,
  dialect: 'soonest',
}

/** The same with SambaNova's 20 rpm in NVIDIA's place: half of what there is, and the days weigh more. */
export const scarceTiers: readonly VendorSpec[] = [
  ...freeTiers.filter(({ name }) => name !== 'nvidia'),
  sambanova,
]

/** A part of what the upstreams let through in a whole day, as requests a minute. */
export function shareOfBound(share: number, vendors: readonly VendorSpec[]): number {
  return (share * boundOfDay(vendors, tokens.input + tokens.output)) / 1_440
}

/** Traffic for a set of free tiers. */
export function freeTierDay(
  how: { vendors?: readonly VendorSpec[]; arrivals?: (spanMs: number) => Arrivals } & Partial<
    Omit<Scenario, 'arrivals' | 'vendors'>
  > = {},
): Scenario {
  const { vendors = freeTiers, arrivals, ...rest } = how
  const spanMs = rest.spanMs ?? 24 * HOUR_MS
  const seed = rest.seed ?? 1
  return {
    title: 'free tiers',
    start: MIDNIGHT,
    spanMs,
    arrivals: arrivals?.(spanMs) ?? poisson(shareOfBound(0.8, vendors), spanMs, seed),
    vendors,
    knows: 'limits',
    tokens,
    seed,
    ...rest,
  }
}

/** The same mean load as a day that sleeps at night and is busiest in the afternoon. */
export const curve =
  (share: number, vendors: readonly VendorSpec[]) =>
  (spanMs: number): Arrivals =>
    dayCurve(shareOfBound(share, vendors), spanMs, 1)

/** The same mean load, in heaps of `size`. */
export const heaps =
  (size: number, share: number, vendors: readonly VendorSpec[]) =>
  (spanMs: number): Arrivals =>
    bursts(size, (size * 60_000) / shareOfBound(share, vendors), spanMs)
