import type { Cause } from '../pool/outcome.ts'

/** Why and until when something rests. Plain data; all times in ms on the monotonic clock. */
export interface Cooldown {
  readonly cause: Cause
  readonly coolUntil: number
  /** When the present cooldown began. Requests sent before it neither deepen nor lift it. */
  readonly coolSince: number
  /** Own back-offs in a row, each after the cooldown of the one before: the exponent of the next. */
  readonly strikes: number
  /** The lease that may try while it is half-open, and until when it has the right alone. */
  readonly probe?: { readonly lease: string; readonly until: number }
  /** When somebody last got that right, be it before its time. */
  readonly lastResortAt?: number
  /** Credits are missing: nobody can say when they are there again, so it may be tried before its time. */
  readonly unpaid?: true
}

/** Own back-offs: the first pause, doubled with each strike up to the last. */
const BACK_OFF_MS: Readonly<Record<Cause, { first: number; last: number }>> = {
  'rate-limited': { first: 5_000, last: 300_000 },
  overloaded: { first: 1_000, last: 1_000 },
  quota: { first: 3_600_000, last: 86_400_000 },
  auth: { first: 300_000, last: 3_600_000 },
  'not-found': { first: 600_000, last: 86_400_000 },
  failure: { first: 1_000, last: 60_000 },
}

/** What an upstream may ask for: a longer hint is cut, a shorter one stretched. */
const LEAST_HINT_MS = 1_000
const LONGEST_HINT_MS = 3_600_000
const LONGEST_QUOTA_HINT_MS = 31 * 86_400_000

/** Between two tries of something that rests for its key or its model, where nothing else is left. */
const LAST_RESORT_PAUSE_MS = 10_000

/** A failure as a cooldown sees it. */
export interface Blame {
  readonly cause: Cause
  readonly hintMs?: number
  readonly unpaid?: true
  /** When the failed request was sent. */
  readonly sentAt: number
  /** Whether it was sent to find out if the cooldown is over: then it is news, whenever it was sent. */
  readonly role: 'probe' | 'ordinary'
  readonly now: number
  /** Uniform in [0, 1): spreads own back-offs by ±20 %, so that replicas do not come back as one. */
  readonly draw: () => number
}

/**
 * Starts or prolongs a cooldown. A later deadline always wins, and a hint is never shortened.
 *
 * Many requests that fail together are one strike: only a request that was sent after the present
 * cooldown began adds another. A hint is the upstream's own word and adds none.
 */
export function blame(before: Cooldown | undefined, failure: Blame): Cooldown {
  const { cause, hintMs, now, unpaid } = failure
  const isNews = before === undefined || isAfter(before, failure)
  const sameCause = before?.cause === cause
  if (before !== undefined && !isNews && sameCause && hintMs === undefined) return before
  const past = sameCause ? before.strikes : 0
  const strikes = hintMs === undefined && isNews ? past + 1 : past
  const restMs =
    hintMs === undefined ? backOffMs(cause, Math.max(1, strikes), failure.draw) : clampHint(cause, hintMs)
  const coolUntil = now + restMs
  if (before !== undefined && before.coolUntil > coolUntil) return before
  return {
    cause,
    coolUntil,
    coolSince: isNews ? now : before.coolSince,
    strikes,
    ...(before?.lastResortAt !== undefined && { lastResortAt: before.lastResortAt }),
    ...(unpaid && { unpaid }),
  }
}

function isAfter({ coolSince }: Cooldown, { sentAt, role }: Pick<Blame, 'sentAt' | 'role'>): boolean {
  return role === 'probe' || sentAt > coolSince
}

function backOffMs(cause: Cause, strikes: number, draw: () => number): number {
  const { first, last } = BACK_OFF_MS[cause]
  return Math.min(last, first * 2 ** Math.min(strikes - 1, 30)) * (0.8 + 0.4 * draw())
}

function clampHint(cause: Cause, hintMs: number): number {
  const longest = cause === 'quota' ? LONGEST_QUOTA_HINT_MS : LONGEST_HINT_MS
  return Math.min(longest, Math.max(LEAST_HINT_MS, hintMs))
}

/** A success lifts a cooldown, unless it began after the successful request was sent. */
export function relieve(
  before: Cooldown | undefined,
  success: Pick<Blame, 'sentAt' | 'role'>,
): Cooldown | undefined {
  return before !== undefined && isAfter(before, success) ? undefined : before
}

/** Gives a lease the right to try alone. */
export function startProbe(before: Cooldown, probe: { lease: string; until: number; now: number }): Cooldown {
  return { ...before, probe: { lease: probe.lease, until: probe.until }, lastResortAt: probe.now }
}

/** Takes the right back, without a verdict. */
export function endProbe(before: Cooldown | undefined, lease: string): Cooldown | undefined {
  if (before?.probe?.lease !== lease) return before
  const { probe: _, ...rest } = before
  return rest
}

/** Whether a cooldown lets a request through. */
type Gate =
  | { readonly open: true; readonly probing: boolean }
  | { readonly open: false; readonly block: GateBlock }

/** What a closed gate says; see `Block`. */
interface GateBlock {
  readonly why: Cause
  readonly until: number
  readonly onRelease: boolean
  readonly unpaid?: true
}

/**
 * Closed until `coolUntil`; then half-open: one request at a time probes until it succeeds or fails.
 *
 * With `lastResort` a cooldown for failures is no obstacle, and one for the key, the model or missing
 * credits is none once in 10 seconds; one for a limit stays closed.
 */
export function gateOf(cooldown: Cooldown | undefined, ask: { now: number; lastResort: boolean }): Gate {
  if (cooldown === undefined) return { open: true, probing: false }
  const { cause, coolUntil, probe, unpaid } = cooldown
  const { now } = ask
  const isProbed = probe !== undefined && probe.until > now
  if (coolUntil <= now && !isProbed) return { open: true, probing: true }
  if (ask.lastResort && mayBeForced(cooldown, now)) return { open: true, probing: true }
  const rests = coolUntil > now
  const until = rests ? coolUntil : (probe?.until ?? now)
  return { open: false, block: { why: cause, until, onRelease: !rests, ...(unpaid && { unpaid }) } }
}

function mayBeForced({ cause, lastResortAt, unpaid }: Cooldown, now: number): boolean {
  if (cause === 'failure') return true
  if (cause !== 'auth' && cause !== 'not-found' && unpaid === undefined) return false
  return now - (lastResortAt ?? -Infinity) >= LAST_RESORT_PAUSE_MS
}
