import type { Cause } from '../pool/outcome.ts'
import type { Claim, LimitScope } from '../pool/upstream.ts'
import { admit } from './circuit-breaker.ts'
import {
  claimHeadroomOf,
  claimSnapshotOf,
  headroomOf,
  type ClaimSnapshot,
  type Headroom,
} from './headroom.ts'
import { closedUntil, fitsAt, leftIn, type MeterState } from './rate-limit.ts'
import { leftBelow } from './soft-wall.ts'
import { amountOf, EMPTY_WINDOW, freeIn, windowOpensAt, windowsOf } from './rate-window.ts'
import { concurrencyOf, limitInForce, UNKNOWN_SCOPE, type ScopeState } from './scope.ts'
import type { Ask, TokenDemand } from './store.ts'

/** Looks up the state of a scope; undefined = nothing is known of it. */
export type StateOf = (scope: string) => ScopeState | undefined

/** What keeps an upstream from taking a request. */
export interface UnavailableReason {
  readonly scope: string
  /** Of a configured limit its name, of what the upstream tells `meter:` and what is counted, of a soft wall `wall:`. */
  readonly cause: Cause | 'paused' | 'concurrency' | `${'requests' | 'tokens' | 'meter' | 'wall'}:${string}`
  /** When it may open, ms; Infinity = never for this request, which is larger than a configured limit, or nobody can say. */
  readonly until: number
  /** It may open earlier: when somebody else's request ends. */
  readonly onRelease: boolean
  /** Credits are missing: only somebody who pays, or a try, ends it before its time. */
  readonly unpaid?: true
  /** It is the endpoint that is missing, whatever the model. */
  readonly noEndpoint?: true
}

type Input = { ask: Ask; now: number }

const NO_SCOPES: readonly string[] = []

/** The same as `claimAvailability` of states that are still to be looked up. */
export const availabilityOf = (claim: Claim, stateOf: StateOf, input: Input) =>
  claimAvailability(claim, claimSnapshotOf(claim.draws.map(({ scope }) => stateOf(scope))), input)

/**
 * Whether an upstream may take a request now: with the scopes that it would be probing, the tokens to reserve, the share
 * of its tightest limit that is left, and whether a guess speaks against it (`isDoubtful`: asked last); or why not. Of
 * several reasons the one that lasts longest is told, but one that waiting remedies (a limit) before one that trying does
 * (a failure).
 */
export function claimAvailability(claim: Claim, claimSnapshot: ClaimSnapshot, { ask, now }: Input) {
  const { states } = claimSnapshot
  const { patienceMs = 0 } = ask
  const tokens = tokensFor(states[0], ask.demands?.[claim.id] ?? ask)
  const all = claimHeadroomOf(claim, claimSnapshot, now)
  // Most claims are free and have nothing about them.
  if (all.isPlain && fits(tokens, all))
    return {
      free: true as const,
      probing: NO_SCOPES,
      tokens,
      headroom: shareFor(tokens, all),
      isDoubtful: false,
    }

  let headroom = 1
  const probing: string[] = []
  const reasons: UnavailableReason[] = []
  let isDoubtful = false
  for (const [at, limitScope] of claim.draws.entries()) {
    const { scope, role, limits } = limitScope
    const state = states[at] ?? UNKNOWN_SCOPE
    const { breaker, inFlight, pausedSince } = state
    if (pausedSince !== undefined) reasons.push({ scope, cause: 'paused', until: Infinity, onRelease: false })
    // That keys of one host share a limit, or models of one account, is a guess, which orders and never refuses.
    if (role === 'origin' || role === 'account') isDoubtful ||= (breaker?.openUntil ?? 0) > now
    else {
      const admission = admit(breaker, { now, lastResort: ask.lastResort })
      // Whoever tries what rests finds out whether that is over.
      if (admission.state === 'half-open' || (ask.isTrial && breaker !== undefined)) probing.push(scope)
      if (admission.state === 'open') reasons.push({ scope, ...admission.reason })
    }
    const most = concurrencyOf(state, limits?.concurrency, now)
    const room = headroomOf(limitScope, state, now)
    headroom = Math.min(headroom, 1 - inFlight / most, shareFor(tokens, room))
    const limited = fits(tokens, room) ? [] : limitReasons(limitScope, state, { tokens, now })
    if (inFlight >= most)
      limited.push({ scope, cause: 'concurrency', until: now, onRelease: true, isGuess: false })
    for (const { isGuess, ...reason } of limited) {
      // A guess may delay a request, and refuses none.
      const isTooLate = reason.until <= now || reason.until > now + patienceMs
      const mayRefuse = !isGuess && role !== 'account'
      if (!mayRefuse && (patienceMs === 0 || (isTooLate && !reason.onRelease))) isDoubtful = true
      else reasons.push(reason)
    }
  }
  return reasons.length === 0 || ask.isTrial === true
    ? { free: true as const, probing, tokens, headroom: isDoubtful ? 0 : headroom, isDoubtful }
    : { free: false as const, reason: reasons.reduce(worseReason) }
}

const saysRoom = (meter: MeterState | undefined, counts: string, now: number): boolean =>
  meter?.counts === counts && meter.resetAt > now && (meter.remaining ?? 0) >= 1

type LimitReason = UnavailableReason & { readonly isGuess: boolean }

/** What speaks against a request: configured windows and an upstream's own word surely, the rest as a guess. */
function limitReasons(
  { scope, limits }: LimitScope,
  state: ScopeState,
  { tokens, now }: { readonly tokens: number; readonly now: number },
): LimitReason[] {
  const { windows, meters, walls, unanswered } = state
  const reasons: LimitReason[] = []
  for (const one of windowsOf(limits)) {
    const { name, counts, spanMs, isPresumed: isGuess = false } = one
    const limit = limitInForce(one, state)
    const window = windows[name] ?? EMPTY_WINDOW
    const amount = amountOf(counts, tokens)
    // A request that spends no tokens passes by windows that count them.
    if (amount === 0 || amount <= freeIn(window, limit, now)) continue
    const cause = name as UnavailableReason['cause']
    const opening = windowOpensAt(window, { counts, limit, spanMs }, { amount, now })
    reasons.push({ scope, cause, ...opening, isGuess })
  }
  const onRelease = unanswered > 0
  for (const meter of Object.values(meters)) {
    const amount = amountOf(meter?.counts ?? 'requests', tokens)
    if (meter === undefined || amount === 0 || amount <= leftIn(meter, now)) continue
    const cause = `meter:${meter.counts}` as const
    const closed = closedUntil(meter, amount)
    if (closed > now) reasons.push({ scope, cause, until: closed, onRelease: false, isGuess: false })
    else reasons.push({ scope, cause, until: fitsAt(meter, amount), onRelease, isGuess: true })
  }
  for (const wall of Object.values(walls)) {
    const amount = amountOf(wall?.counts ?? 'requests', tokens)
    if (wall === undefined || amount === 0 || amount <= leftBelow(wall, now)) continue
    // Above it one after the other. A refusal counts for the span of its limit, and while no meter says that there is room;
    // then it only delays.
    const isOver =
      wall.refusedAt + wall.spanMs <= now ||
      Object.values(meters).some((one) => saysRoom(one, wall.counts, now))
    const isGuess = isOver || wall.askAt <= now
    reasons.push({ scope, cause: `wall:${wall.counts}`, until: wall.askAt, onRelease: false, isGuess })
  }
  return reasons
}

const fits = (tokens: number, room: Headroom): boolean =>
  room.requests >= 1 && (tokens === 0 || room.tokens >= tokens)

const shareFor = (tokens: number, room: Headroom): number => (tokens > 0 ? room.share : room.requestShare)

function worseReason(a: UnavailableReason, b: UnavailableReason): UnavailableReason {
  const ranks = REMEDIES.indexOf(remedyOf(a)) - REMEDIES.indexOf(remedyOf(b))
  if (ranks !== 0) return ranks > 0 ? a : b
  return a.until >= b.until ? a : b
}

/**
 * What helps: to `retry` anyway after failures, an `operator` who mends the key or the model name, to `wait` until a
 * limit reopens; `never` for a request that cannot fit; to `resume` what the operator has paused. Of several reasons the
 * one with the last of these is told.
 */
const REMEDIES = ['retry', 'operator', 'wait', 'never', 'resume'] as const

export function remedyOf({ cause, until }: UnavailableReason): (typeof REMEDIES)[number] {
  if (cause === 'paused') return 'resume'
  if (until === Infinity) return 'never'
  if (cause === 'failure') return 'retry'
  return cause === 'auth' || cause === 'not-found' ? 'operator' : 'wait'
}

/** Output tokens that are reserved before anything was measured. */
const FIRST_GUESS_TOKENS = 512

/** Tokens to reserve: 0 where none are counted. */
function tokensFor(
  state: ScopeState | undefined,
  { inputTokens, outputTokens, choices = 1 }: TokenDemand,
): number {
  if (inputTokens === undefined) return 0
  return Math.ceil(inputTokens + (outputTokens ?? (state?.meanOutput ?? FIRST_GUESS_TOKENS) * choices))
}
