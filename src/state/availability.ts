import type { Cause } from '../pool/outcome.ts'
import type { Claim, Draw } from '../pool/upstream.ts'
import { gateOf } from './circuit-breaker.ts'
import { claimOutlookOf, outlookOf, standingOf, type Standing } from './headroom.ts'
import {
  CONFIGURABLE,
  configuredLimit,
  countsRequests,
  EMPTY,
  freeIn,
  limitOf,
  SPAN_MS,
  spanOf,
  windowOpensAt,
  type WindowName,
} from './rate-window.ts'
import { concurrencyOf, expectedOutput, UNKNOWN, type ScopeState } from './scope.ts'
import type { Ask } from './store.ts'

/** Looks up the state of a scope; undefined = nothing is known of it. */
export type StateOf = (scope: string) => ScopeState | undefined

/** What keeps an upstream from taking a request. */
export interface Block {
  readonly scope: string
  readonly why: Cause | 'concurrency' | 'too-large' | WindowName
  /** When it may open, ms; Infinity = never for this request. */
  readonly until: number
  /** It may open earlier: when somebody else's request ends. */
  readonly onRelease: boolean
  /** Credits are missing: only somebody who pays, or a try, ends it before its time. */
  readonly unpaid?: true
}

/** Free, with the scopes that it would be probing and the share of its tightest limit left; or blocked. */
type Availability =
  | {
      readonly free: true
      readonly probing: readonly string[]
      readonly tokens: number
      readonly headroom: number
    }
  | { readonly free: false; readonly block: Block }

const NOTHING: readonly string[] = []

interface Given {
  readonly ask: Ask
  readonly now: number
}

/**
 * Whether an upstream may take a request now. Of several blocks the one that lasts longest is told, but
 * one that waiting cures (a limit) before one that trying cures (a failure).
 */
export function availabilityOf(claim: Claim, stateOf: StateOf, given: Given): Availability {
  return judged(claim, standingOf(claim.draws.map(({ scope }) => stateOf(scope))), given)
}

/** The same for states that are at hand. Most claims are free and have nothing about them: those are told at once. */
export function judged(claim: Claim, standing: Standing, given: Given): Availability {
  const { states } = standing
  const tokens = tokensFor(states[0], given.ask)
  const outlook = claimOutlookOf(claim, standing, given.now)
  const isFree = outlook.isPlain && outlook.requests >= 1 && (tokens === 0 || outlook.tokens >= tokens)
  if (!isFree) return examined(claim, states, given)
  return {
    free: true,
    probing: NOTHING,
    tokens,
    headroom: tokens > 0 ? outlook.share : outlook.requestShare,
  }
}

/** Scope by scope. */
function examined(claim: Claim, states: Standing['states'], given: Given): Availability {
  const { ask, now } = given
  const verdict: Verdict = { tokens: tokensFor(states[0], ask), now, headroom: 1, block: undefined }
  let probing: string[] | undefined
  for (let at = 0; at < claim.draws.length; at++) {
    const draw = claim.draws[at]
    const state = states[at]
    if (draw === undefined || (state === undefined && draw.limits === undefined)) continue
    if (state?.cooldown !== undefined) {
      const gate = gateOf(state.cooldown, { now, lastResort: ask.lastResort })
      if (!gate.open) verdict.block = worse(verdict.block, { scope: draw.scope, ...gate.block })
      else if (gate.probing) (probing ??= []).push(draw.scope)
    }
    lookAt(draw, state ?? UNKNOWN, verdict)
  }
  const { block, tokens, headroom } = verdict
  return block === undefined
    ? { free: true, probing: probing ?? NOTHING, tokens, headroom }
    : { free: false, block }
}

/** What is known of an upstream while its scopes are looked at. */
interface Verdict {
  readonly tokens: number
  readonly now: number
  /** Share of the tightest limit so far that is free. */
  headroom: number
  /** The worst of the blocks so far. */
  block: Block | undefined
}

function lookAt(draw: Draw, state: ScopeState, verdict: Verdict): void {
  const { tooLarge } = state
  if (tooLarge !== undefined && tooLarge.until > verdict.now && verdict.tokens > tooLarge.tokens) {
    verdict.block = worse(verdict.block, {
      scope: draw.scope,
      why: 'too-large',
      until: Infinity,
      onRelease: false,
    })
  }
  lookAtCrowd(draw, state, verdict)
  const outlook = outlookOf(draw, state, verdict.now)
  verdict.headroom = Math.min(verdict.headroom, verdict.tokens > 0 ? outlook.share : outlook.requestShare)
  const fits = outlook.requests >= 1 && (verdict.tokens === 0 || outlook.tokens >= verdict.tokens)
  if (!fits) verdict.block = worse(verdict.block, fullWindow(draw, state, verdict))
}

function lookAtCrowd({ scope, limits }: Draw, state: ScopeState, verdict: Verdict): void {
  const most = concurrencyOf(state, limits?.concurrency, verdict.now)
  if (most === Infinity) return
  verdict.headroom = Math.min(verdict.headroom, Math.max(0, 1 - state.inFlight / most))
  if (state.inFlight < most) return
  verdict.block = worse(verdict.block, { scope, why: 'concurrency', until: verdict.now, onRelease: true })
}

/** The window that stays full for longest. A request that spends no tokens passes by those that count them. */
function fullWindow(
  draw: Draw,
  state: ScopeState,
  { tokens, now }: Pick<Verdict, 'tokens' | 'now'>,
): Block | undefined {
  let block: Block | undefined
  for (const [name, configured] of windowsOf(draw, state)) {
    const amount = amountOf(name, tokens)
    const window = state.windows[name]
    const limit = limitOf(window, configured, now)
    if (amount === 0 || amount <= freeIn(window, limit, now)) continue
    const demand = { amount, limit, now, spanMs: SPAN_MS[spanOf(name)] }
    const { until, onRelease } = windowOpensAt(window ?? EMPTY, demand)
    // A request under way will be counted; tokens under way may turn out to be fewer.
    const mayShrink = onRelease && !countsRequests(name)
    block = worse(block, { scope: draw.scope, why: name, until, onRelease: mayShrink })
  }
  return block
}

/** Configured windows, and those that only the upstream spoke of. */
function windowsOf(draw: Draw, state: ScopeState): [WindowName, number | undefined][] {
  const all: [WindowName, number | undefined][] = []
  for (const { name, key } of CONFIGURABLE) {
    const configured = draw.limits?.[key]
    if (configured !== undefined) all.push([name, configured])
  }
  for (const known in state.windows) {
    const name = known as WindowName
    if (configuredLimit(draw.limits, name) === undefined) all.push([name, undefined])
  }
  return all
}

function worse(a: Block | undefined, b: Block | undefined): Block | undefined {
  if (a === undefined || b === undefined) return a ?? b
  if (cureOf(a) !== cureOf(b)) return rank(a) > rank(b) ? a : b
  return a.until >= b.until ? a : b
}

/**
 * What to do about a block: `wait` until a limit reopens, `try` anyway after failures, `mend` the key or
 * the model name (an operator's work), `never` for a request that cannot fit.
 */
type Cure = 'wait' | 'try' | 'mend' | 'never'

export function cureOf({ why, until }: Block): Cure {
  if (until === Infinity) return 'never'
  if (why === 'failure') return 'try'
  return why === 'auth' || why === 'not-found' ? 'mend' : 'wait'
}

const RANK: Readonly<Record<Cure, number>> = { try: 0, mend: 1, wait: 2, never: 3 }
const rank = (block: Block): number => RANK[cureOf(block)]

/**
 * Whether a block may be overridden when nothing else is left: after failures always, for a key, a model or
 * missing credits once in ten seconds, for a limit never.
 */
export function lastResortOf(block: Block): 'always' | 'sometimes' | 'never' {
  const cure = cureOf(block)
  if (cure === 'try') return 'always'
  return cure === 'mend' || block.unpaid === true ? 'sometimes' : 'never'
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
