import type { LimitWindow } from '../pool/upstream.ts'
import type { CircuitBreakerState } from './circuit-breaker.ts'
import { fillMsOf, type MeterState, type Named } from './rate-limit.ts'
import type { SoftWallState } from './soft-wall.ts'
import type { Mutable, WindowState } from './rate-window.ts'

/** What each entry becomes. Most scopes have none, and each request asks a dozen times: then nothing is made. */
export function mapped<From, To>(
  named: Named<From>,
  change: (value: From, name: string) => To,
): Record<string, To> {
  let next: Record<string, To> | undefined
  for (const name in named) {
    const value = named[name]
    if (value !== undefined) (next ??= {})[name] = change(value, name)
  }
  return next ?? NONE
}

/** Sums that only grow. */
export type Sent = Readonly<Record<'requests' | 'tokens', number>>
const NOTHING_SENT: Sent = { requests: 0, tokens: 0 }

/** Everything remembered of one scope. Plain data; every field is always there, so that all states have one shape. */
export interface ScopeState {
  readonly breaker: CircuitBreakerState | undefined
  /** Since when the operator keeps requests away, ms; only a word of his ends it. */
  readonly pausedSince: number | undefined
  /** Requests under way, streams included. */
  readonly inFlight: number
  /** Of these, not answered yet: the upstream may count them at any moment. */
  readonly unanswered: number
  /** Tokens reserved for what is under way. */
  readonly reserved: number
  /** All that was ever sent, and how much it was when those began that were sent last, at about the same time. */
  readonly sent: Sent
  readonly wave: (Sent & { readonly since: number }) | undefined
  /** Our own count for each configured limit, by its name. */
  readonly windows: Named<WindowState>
  /** What the upstream's headers say, by the names of those. */
  readonly meters: Named<MeterState>
  /** What its refusals tell, by what they count and how long. */
  readonly walls: Named<SoftWallState>
  /** A concurrency limit learned from "too many at once"; recovers by one a minute. */
  readonly learnedConcurrency: { readonly limit: number; readonly since: number } | undefined
  /** Peak-sensitive average of the time to the first byte, ms, and when it was last moved. */
  readonly latency: { readonly ms: number; readonly since: number } | undefined
  /** Running mean of output tokens; what is reserved when a request names no maximum. */
  readonly meanOutput: number | undefined
  /** Keys of this origin that were limited without a hint, and when; see `suspectOrigin`. */
  readonly limitedKeys: readonly { readonly key: string; readonly at: number }[] | undefined
  /** What is sent, a minute, and when that was last moved; see `rateOf`. */
  readonly rates: { readonly requests: number; readonly tokens: number; readonly since: number } | undefined
  /** When it last changed, ms. */
  readonly touched: number
}

const NONE: Readonly<Record<string, never>> = {}

/** A copy to be changed; see `mutableWindow`. */
export const mutableCopyOf = (state: Partial<ScopeState>): Mutable<ScopeState> => ({
  breaker: state.breaker,
  pausedSince: state.pausedSince,
  inFlight: state.inFlight ?? 0,
  unanswered: state.unanswered ?? 0,
  reserved: state.reserved ?? 0,
  sent: state.sent ?? NOTHING_SENT,
  wave: state.wave,
  windows: state.windows ?? NONE,
  meters: state.meters ?? NONE,
  walls: state.walls ?? NONE,
  learnedConcurrency: state.learnedConcurrency,
  latency: state.latency,
  meanOutput: state.meanOutput,
  limitedKeys: state.limitedKeys,
  rates: state.rates,
  touched: state.touched ?? 0,
})

/** The state with its rest ended, whatever the cause, and no suspicion left. What is counted and what was learned of limits stays. */
export const withClosedBreaker = (state: ScopeState): ScopeState => ({
  ...mutableCopyOf(state),
  breaker: undefined,
  limitedKeys: undefined,
})

/** The state with the operator's pause begun or ended; one that is paused already stays so since it was. */
export const withPause = (state: ScopeState, isPaused: boolean, now: number): ScopeState => ({
  ...mutableCopyOf(state),
  pausedSince: isPaused ? (state.pausedSince ?? now) : undefined,
  touched: now,
})

/** A scope of which nothing is known: free. */
export const UNKNOWN_SCOPE: ScopeState = mutableCopyOf({})

/** Whether anything is counted there. */
export const isCounting = ({ windows, meters, walls }: ScopeState): boolean =>
  hasEntries(windows) || hasEntries(meters) || hasEntries(walls)

function hasEntries(named: object): boolean {
  // oxlint-disable-next-line no-unreachable-loop
  for (const _ in named) return true
  return false
}

/**
 * How much a limit lets through. A presumed one rises with what was let through, and is Infinity once the upstream has
 * told of that limit itself: its own word is counted elsewhere.
 */
export function limitInForce(one: LimitWindow, { windows, meters, walls }: ScopeState): number {
  const { name, counts, spanMs, limit } = one
  if (one.isPresumed === undefined) return limit
  if (walls[`${counts}:${spanMs}`]?.limit !== undefined) return Infinity
  for (const header in meters) {
    const meter = meters[header]
    if (meter?.counts === counts && meter.limit !== undefined && isOfSpan(meter, spanMs)) return Infinity
  }
  return Math.max(limit, windows[name]?.proven ?? 0)
}

/** A bucket whose header names no span (Groq's and OpenAI's) is known by how long it takes to fill, here within a factor of two. */
function isOfSpan(meter: MeterState, spanMs: number): boolean {
  const fillMs = fillMsOf(meter)
  return meter.spanMs === spanMs || (fillMs >= spanMs / 2 && fillMs <= spanMs * 2)
}

/** How long a learned concurrency limit holds before it recovers by one. */
const CONCURRENCY_RECOVERY_MS = 60_000

/** The concurrency limit in force: the tighter of the configured and the learned one. */
export function concurrencyOf(state: ScopeState, configured = Infinity, now: number): number {
  const learned = state.learnedConcurrency
  if (learned === undefined) return configured
  return Math.min(configured, learned.limit + Math.floor((now - learned.since) / CONCURRENCY_RECOVERY_MS))
}

/** Lowers the concurrency limit below what was under way when the upstream refused a request, which has just left the count. */
export function lowerLearnedConcurrency(state: Mutable<ScopeState>, now: number): void {
  const limit = Math.max(1, Math.min(state.inFlight, concurrencyOf(state, undefined, now) - 1))
  state.learnedConcurrency = { limit, since: now }
}

/** What is this old weighs 1/e in the latency average. */
const LATENCY_MEMORY_MS = 10_000

/** A slower answer counts in full at once, quicker ones sink in over ten seconds (peak EWMA, as in finagle). */
export function recordLatency(state: Mutable<ScopeState>, ms: number, now: number): void {
  const { ms: before, since } = state.latency ?? { ms: 0, since: now }
  const keep = ms >= before ? 0 : Math.exp(-Math.max(0, now - since) / LATENCY_MEMORY_MS)
  state.latency = { ms: before * keep + ms * (1 - keep), since: now }
}

/**
 * The latency to choose by, ms; 0 = not measured. It fades while nobody asks the upstream: a slow moment would else
 * keep it from ever being measured again.
 */
export function latencyOf(state: ScopeState | undefined, now: number): number {
  if (state?.latency === undefined) return 0
  const { ms, since } = state.latency
  return state.inFlight > 0 ? ms : ms * Math.exp((since - now) / LATENCY_MEMORY_MS)
}

/** What is sent within so many ms may come to an upstream in any order. */
const WAVE_MS = 250

/** Counts what is sent now; returns what had been sent before all that was sent at about the same time. */
export function recordSent(state: Mutable<ScopeState>, tokens: number, now: number): Sent {
  const { sent } = state
  if (state.wave === undefined || now - state.wave.since > WAVE_MS) state.wave = { ...sent, since: now }
  state.sent = { requests: sent.requests + 1, tokens: sent.tokens + tokens }
  return state.wave
}

/** What is this old weighs 1/e in the rates. */
const RATE_MEMORY_MS = 300_000

/** Counts what is sent now. */
export function recordRate(state: Mutable<ScopeState>, tokens: number, now: number): void {
  const { requests, tokens: before, since } = state.rates ?? { requests: 0, tokens: 0, since: now }
  const keep = Math.exp((since - now) / RATE_MEMORY_MS)
  const perMinute = 60_000 / RATE_MEMORY_MS
  state.rates = {
    requests: requests * keep + perMinute,
    tokens: before * keep + tokens * perMinute,
    since: now,
  }
}

/** What is sent, a minute, averaged over some. */
export function rateOf({ rates }: ScopeState, counts: 'requests' | 'tokens', now: number): number {
  return rates === undefined ? 0 : rates[counts] * Math.exp((rates.since - now) / RATE_MEMORY_MS)
}

/** Moves the running mean by an eighth of the difference. */
export function recordOutput(state: Mutable<ScopeState>, tokens: number): void {
  const mean = state.meanOutput
  state.meanOutput = mean === undefined ? tokens : mean + (tokens - mean) / 8
}

/** Whether a state holds anything that should outlive its process. */
export const isWorthKeeping = (state: ScopeState | undefined): boolean =>
  state !== undefined && (state.breaker !== undefined || state.pausedSince !== undefined || isCounting(state))
