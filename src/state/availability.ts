import { type Cause, SPAN_MS } from '../pool/outcome.ts'
import type { Claim, LimitScope } from '../pool/upstream.ts'
import { admit } from './circuit-breaker.ts'
import { claimHeadroomOf, headroomOf, claimSnapshotOf, type ClaimSnapshot } from './headroom.ts'
import {
  CONFIGURABLE,
  configuredLimit,
  countsRequests,
  EMPTY_WINDOW,
  freeIn,
  limitOf,
  spanOf,
  windowOpensAt,
  type WindowName,
} from './rate-window.ts'
import { concurrencyOf, expectedOutput, UNKNOWN_SCOPE, type ScopeState } from './scope.ts'
import type { Ask } from './store.ts'

/** Looks up the state of a scope; undefined = nothing is known of it. */
export type StateOf = (scope: string) => ScopeState | undefined

/** What keeps an upstream from taking a request. */
export interface UnavailableReason {
  readonly scope: string
  readonly cause: Cause | 'concurrency' | 'too-large' | WindowName
  /** When it may open, ms; Infinity = never for this request. */
  readonly until: number
  /** It may open earlier: when somebody else's request ends. */
  readonly onRelease: boolean
  /** Credits are missing: only somebody who pays, or a try, ends it before its time. */
  readonly unpaid?: true
}

/** Free, with the scopes that it would be probing and the share of its tightest limit left; or not, and why. */
type Availability =
  | {
      readonly free: true
      readonly probing: readonly string[]
      readonly tokens: number
      readonly headroom: number
    }
  | { readonly free: false; readonly reason: UnavailableReason }

const NO_SCOPES: readonly string[] = []

interface EvaluationInput {
  readonly ask: Ask
  readonly now: number
}

/**
 * Whether an upstream may take a request now. Of several reasons against it the one that lasts longest is told, but
 * one that waiting remedies (a limit) before one that trying does (a failure).
 */
export function availabilityOf(claim: Claim, stateOf: StateOf, input: EvaluationInput): Availability {
  return claimAvailability(claim, claimSnapshotOf(claim.draws.map(({ scope }) => stateOf(scope))), input)
}

/** The same for states that are at hand. Most claims are free and have nothing about them: those are told at once. */
export function claimAvailability(
  claim: Claim,
  claimSnapshot: ClaimSnapshot,
  input: EvaluationInput,
): Availability {
  const { states } = claimSnapshot
  const tokens = tokensFor(states[0], input.ask)
  const headroom = claimHeadroomOf(claim, claimSnapshot, input.now)
  const isFree = headroom.isPlain && headroom.requests >= 1 && (tokens === 0 || headroom.tokens >= tokens)
  if (!isFree) return availabilityByScope(claim, states, input)
  return {
    free: true,
    probing: NO_SCOPES,
    tokens,
    headroom: tokens > 0 ? headroom.share : headroom.requestShare,
  }
}

/** Scope by scope. */
function availabilityByScope(
  claim: Claim,
  states: ClaimSnapshot['states'],
  input: EvaluationInput,
): Availability {
  const { ask, now } = input
  const check: ScopeCheck = { tokens: tokensFor(states[0], ask), now, headroom: 1, reason: undefined }
  let probing: string[] | undefined
  for (let at = 0; at < claim.draws.length; at++) {
    const limitScope = claim.draws[at]
    const state = states[at]
    if (limitScope === undefined || (state === undefined && limitScope.limits === undefined)) continue
    if (state?.breaker !== undefined) {
      const admission = admit(state.breaker, { now, lastResort: ask.lastResort })
      if (admission.state === 'open')
        check.reason = worseReason(check.reason, { scope: limitScope.scope, ...admission.reason })
      else if (admission.state === 'half-open') (probing ??= []).push(limitScope.scope)
    }
    checkScope(limitScope, state ?? UNKNOWN_SCOPE, check)
  }
  const { reason, tokens, headroom } = check
  return reason === undefined
    ? { free: true, probing: probing ?? NO_SCOPES, tokens, headroom }
    : { free: false, reason }
}

/** What is known of an upstream while its scopes are looked at. */
interface ScopeCheck {
  readonly tokens: number
  readonly now: number
  /** Share of the tightest limit so far that is free. */
  headroom: number
  /** The worst of the reasons so far. */
  reason: UnavailableReason | undefined
}

function checkScope(limitScope: LimitScope, state: ScopeState, check: ScopeCheck): void {
  const { tooLarge } = state
  if (tooLarge !== undefined && tooLarge.until > check.now && check.tokens > tooLarge.tokens) {
    check.reason = worseReason(check.reason, {
      scope: limitScope.scope,
      cause: 'too-large',
      until: Infinity,
      onRelease: false,
    })
  }
  checkConcurrency(limitScope, state, check)
  const headroom = headroomOf(limitScope, state, check.now)
  check.headroom = Math.min(check.headroom, check.tokens > 0 ? headroom.share : headroom.requestShare)
  const fits = headroom.requests >= 1 && (check.tokens === 0 || headroom.tokens >= check.tokens)
  if (!fits) check.reason = worseReason(check.reason, fullWindowReason(limitScope, state, check))
}

function checkConcurrency({ scope, limits }: LimitScope, state: ScopeState, check: ScopeCheck): void {
  const most = concurrencyOf(state, limits?.concurrency, check.now)
  if (most === Infinity) return
  check.headroom = Math.min(check.headroom, Math.max(0, 1 - state.inFlight / most))
  if (state.inFlight < most) return
  check.reason = worseReason(check.reason, { scope, cause: 'concurrency', until: check.now, onRelease: true })
}

/** The window that stays full for longest. A request that spends no tokens passes by those that count them. */
function fullWindowReason(
  limitScope: LimitScope,
  state: ScopeState,
  { tokens, now }: Pick<ScopeCheck, 'tokens' | 'now'>,
): UnavailableReason | undefined {
  let reason: UnavailableReason | undefined
  for (const [name, configured] of windowsOf(limitScope, state)) {
    const amount = amountOf(name, tokens)
    const window = state.windows[name]
    const limit = limitOf(window, configured, now)
    if (amount === 0 || amount <= freeIn(window, limit, now)) continue
    const demand = { amount, limit, now, spanMs: SPAN_MS[spanOf(name)] }
    const { until, onRelease } = windowOpensAt(window ?? EMPTY_WINDOW, demand)
    // A request under way will be counted; tokens under way may turn out to be fewer.
    const mayShrink = onRelease && !countsRequests(name)
    reason = worseReason(reason, { scope: limitScope.scope, cause: name, until, onRelease: mayShrink })
  }
  return reason
}

/** Configured windows, and those that only the upstream spoke of. */
function windowsOf(limitScope: LimitScope, state: ScopeState): [WindowName, number | undefined][] {
  const all: [WindowName, number | undefined][] = []
  for (const { name, key } of CONFIGURABLE) {
    const configured = limitScope.limits?.[key]
    if (configured !== undefined) all.push([name, configured])
  }
  for (const known in state.windows) {
    const name = known as WindowName
    if (configuredLimit(limitScope.limits, name) === undefined) all.push([name, undefined])
  }
  return all
}

function worseReason(
  a: UnavailableReason | undefined,
  b: UnavailableReason | undefined,
): UnavailableReason | undefined {
  if (a === undefined || b === undefined) return a ?? b
  if (remedyOf(a) !== remedyOf(b)) return rank(a) > rank(b) ? a : b
  return a.until >= b.until ? a : b
}

/**
 * What helps: `wait` until a limit reopens, `retry` anyway after failures, an `operator` who mends the key or the
 * model name, `never` for a request that cannot fit.
 */
type Remedy = 'wait' | 'retry' | 'operator' | 'never'

export function remedyOf({ cause, until }: UnavailableReason): Remedy {
  if (until === Infinity) return 'never'
  if (cause === 'failure') return 'retry'
  return cause === 'auth' || cause === 'not-found' ? 'operator' : 'wait'
}

const RANK: Readonly<Record<Remedy, number>> = { retry: 0, operator: 1, wait: 2, never: 3 }
const rank = (reason: UnavailableReason): number => RANK[remedyOf(reason)]

/**
 * Whether a reason may be overridden when nothing else is left: after failures always, for a key, a model or
 * missing credits once in ten seconds, for a limit never.
 */
export function lastResortOf(reason: UnavailableReason): 'always' | 'sometimes' | 'never' {
  const remedy = remedyOf(reason)
  if (remedy === 'retry') return 'always'
  return remedy === 'operator' || reason.unpaid === true ? 'sometimes' : 'never'
}

/** Tokens to reserve: 0 where none are counted. */
function tokensFor(state: ScopeState | undefined, ask: Ask): number {
  if (ask.inputTokens === undefined) return 0
  const output = ask.outputTokens ?? expectedOutput(state) * (ask.choices ?? 1)
  return Math.ceil(ask.inputTokens + output)
}

/** What one request takes from a window. */
export function amountOf(name: WindowName, tokens: number): number {
  return countsRequests(name) ? 1 : tokens
}
