import { bursts, dayCurve, poisson, steady, type Arrivals } from './arrivals.ts'
import { logNormal, uniform } from './dice.ts'
import { boundOfDay } from './perfect.ts'
import type { Scenario } from './scenario.ts'
import type { VendorSpec } from './vendor.ts'

const HOUR_MS = 3_600_000
/** A Monday at 00:00 UTC: Pacific's day ends eight hours later. */
const MIDNIGHT = Date.UTC(2026, 10, 23)
const tokens = { input: 600, output: 400 }

/** One upstream that lets ten requests through in a minute. */
export function tenAMinute(how: Partial<VendorSpec>): VendorSpec {
  return {
    name: 'ten',
    limits: { rpm: 10 },
    minute: 'rolling',
    day: 'UTC',
    latency: uniform(300, 800),
    dialect: 'none',
    retryAfter: false,
    ...how,
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
const free = { minute: 'rolling', day: 'UTC', latency: chat, dialect: 'none', retryAfter: true } as const

/**
 * Eight free tiers of 2026, by the vendors' pages: Groq 8B 30 rpm, 14,400 rpd, 6K tpm; Groq 70B 30, 1,000, 12K;
 * Cerebras 30 rpm, 14,400 rpd, 60K tpm, 1M tpd; Gemini Flash 5 rpm, 20 rpd and Flash-Lite 15 rpm, 500 rpd, both
 * until midnight Pacific; OpenRouter 20 rpm, 50 rpd; GitHub Models 10 rpm, 150 rpd, five at once; NVIDIA 40 rpm.
 */
export const freeTiers: readonly VendorSpec[] = [
  {
    ...free,
    name: 'groq-8b',
    limits: { rpm: 30, rpd: 14_400, tpm: 6_000 },
    minute: 'bucket',
    day: 'bucket',
    latency: quick,
    dialect: 'groq',
  },
  {
    ...free,
    name: 'groq-70b',
    limits: { rpm: 30, rpd: 1_000, tpm: 12_000 },
    minute: 'bucket',
    day: 'bucket',
    latency: quick,
    dialect: 'groq',
  },
  {
    ...free,
    name: 'cerebras',
    limits: { rpm: 30, rpd: 14_400, tpm: 60_000, tpd: 1_000_000 },
    latency: quick,
    dialect: 'cerebras',
  },
  {
    ...free,
    name: 'gemini-flash',
    limits: { rpm: 5, rpd: 20 },
    day: 'America/Los_Angeles',
    dialect: 'gemini',
    retryAfter: false,
  },
  {
    ...free,
    name: 'gemini-flash-lite',
    limits: { rpm: 15, rpd: 500 },
    day: 'America/Los_Angeles',
    dialect: 'gemini',
    retryAfter: false,
  },
  {
    ...free,
    name: 'openrouter',
    limits: { rpm: 20, rpd: 50 },
    minute: 'wall',
    dialect: 'openrouter',
    retryAfter: false,
  },
  { ...free, name: 'github', limits: { rpm: 10, rpd: 150, concurrency: 5 }, dialect: 'github' },
  { ...free, name: 'nvidia', limits: { rpm: 40 }, retryAfter: false },
]

const sambanova: VendorSpec = {
  ...free,
  name: 'sambanova',
  limits: { rpm: 20 },
  minute: 'wall',
  dialect: 'plain',
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
