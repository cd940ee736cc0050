import { GatewayError } from '../errors.ts'
import { instantOf, type Instant } from '../lib/clock.ts'
import type { Outcome } from '../pool/outcome.ts'
import type { LimitWindow } from '../pool/upstream.ts'
import type { Demand } from '../relay/demand.ts'
import { retryHeaders, wholeSeconds } from '../relay/exhausted.ts'
import type { Account, Cost, RelayAnswer } from '../relay/request.ts'
import { claimAvailability } from '../state/availability.ts'
import { emptyFrom, EMPTY_WINDOW, freeIn, windowsOf } from '../state/rate-window.ts'
import { UNKNOWN_SCOPE, type ScopeState } from '../state/scope.ts'
import type { Ask, Lease } from '../state/store.ts'
import type { ClientToken } from './clients.ts'
import type { RequestContext } from './context.ts'

/** Nothing is known of the tokens that it will cost. */
export const UNCOUNTED: Pick<Demand, 'inputTokens' | 'outputTokens' | 'choices'> = {
  inputTokens: undefined,
  outputTokens: undefined,
  choices: 1,
}

/**
 * Does the work of a request, and counts it for the token that it came with: taken from its limits before anybody is asked,
 * corrected when the answer ends, given back where no upstream has worked for it. One that came with an `auth_token` is
 * counted nowhere.
 *
 * @throws `rate_limit_exceeded` where a limit of the token is reached: that is never waited for
 */
export function withAccount(
  context: RequestContext,
  demand: typeof UNCOUNTED,
  answerTo: (account?: Account) => Promise<RelayAnswer>,
): Promise<RelayAnswer> {
  const token = context.client?.token
  return token === undefined ? answerTo() : withAccountOf(token, { context, demand, answerTo })
}

interface Counted {
  readonly context: RequestContext
  readonly demand: typeof UNCOUNTED
  readonly answerTo: (account: Account) => Promise<RelayAnswer>
}

async function withAccountOf(token: ClientToken, { context, demand, answerTo }: Counted) {
  const lease = token.limits && (await admitted(token, context, demand))
  const account = accountOf(token, context, { lease, demand })
  try {
    return await answerTo(account)
  } catch (error) {
    account.end('nothing')
    throw error
  }
}

/** The right to send a request within the limits of its token, of which the client is told in any case. */
async function admitted(
  { claim, limits, name }: ClientToken,
  context: RequestContext,
  demand: typeof UNCOUNTED,
) {
  const { store, clock } = context.deps
  const at = instantOf(clock)
  const ask = { ...demand, probeMs: 0, lastResort: false }
  const lease = await store.acquire([claim], ask, at)
  const [snapshot] = await store.claimSnapshots([claim])
  const [state = UNKNOWN_SCOPE] = snapshot?.states ?? []
  const told = limitHeaders(windowsOf(limits), state, at)
  context.hasOwnLimits = true
  Object.assign(context.ownHeaders, told)
  if (lease !== undefined) return lease
  const availability = snapshot && claimAvailability(claim, snapshot, { ask, now: at.now })
  const reason = availability?.free === false ? availability.reason : UNKNOWN_REASON
  if (reason.until === Infinity) throw new GatewayError('rate_limit_exceeded', tooLarge(name), NO_RETRY)
  // Where the end of another request helps, nobody knows when that is.
  const waitMs = reason.onRelease || reason.until <= at.now ? UNKNOWN_RETRY_MS : reason.until - at.now
  const what = reasonText(reason.cause, limits)
  const message = `The token "${name}" is at its limit${what}. Please try again in ${wholeSeconds(waitMs)}s.`
  throw new GatewayError('rate_limit_exceeded', message, { headers: retryHeaders(waitMs) })
}

const UNKNOWN_RETRY_MS = 1_000
/** A store that is elsewhere may know better by now. */
const UNKNOWN_REASON = { cause: 'concurrency', until: 0, onRelease: true } as const
const NO_RETRY = { headers: { 'x-should-retry': 'false' } }
const tooLarge = (name: string): string =>
  `The request is estimated to need more tokens than a limit of the token "${name}" allows at all; send a shorter one, or ask for fewer output tokens.`

function reasonText(cause: string, limits: ClientToken['limits']): string {
  const window = windowsOf(limits).find(({ name }) => name === cause)
  if (window !== undefined) return `: ${window.limit} ${window.counts} per ${window.per}`
  return limits?.concurrency === undefined ? '' : `: ${limits.concurrency} requests at once`
}

/**
 * OpenAI's headers of limits: of requests and of tokens the window of which the smallest share is left, with the time until
 * it is whole again. Source: https://platform.openai.com/docs/guides/rate-limits#rate-limits-in-headers
 */
function limitHeaders(windows: readonly LimitWindow[], state: ScopeState, { now }: Instant) {
  const headers: Record<string, string> = {}
  for (const counts of ['requests', 'tokens'] as const) {
    const shares = windows
      .filter((window) => window.counts === counts)
      .map((window) => {
        const counted = state.windows[window.name] ?? EMPTY_WINDOW
        const left = Math.max(0, Math.floor(freeIn(counted, window.limit, now)))
        const resetMs = Math.max(emptyFrom(counted) - now, counted.pending > 0 ? window.spanMs : 0)
        return { limit: window.limit, left, resetMs, share: left / window.limit }
      })
    const tightest = shares.reduce((best, one) => (one.share < best.share ? one : best), shares[0] ?? NONE)
    if (tightest === NONE) continue
    headers[`x-ratelimit-limit-${counts}`] = String(tightest.limit)
    headers[`x-ratelimit-remaining-${counts}`] = String(tightest.left)
    headers[`x-ratelimit-reset-${counts}`] = durationOf(tightest.resetMs)
  }
  return headers
}
const NONE = { limit: 0, left: 0, resetMs: 0, share: 1 }

/** As Go writes a duration: `1h2m3s`, `6m0s`, `1.5s`, `20ms`, `0s`. */
function durationOf(ms: number): string {
  const whole = Math.max(0, Math.ceil(ms))
  if (whole > 0 && whole < 1_000) return `${whole}ms`
  const [hours, minutes] = [Math.floor(whole / 3_600_000), Math.floor(whole / 60_000) % 60]
  const seconds = `${(whole % 60_000) / 1_000}s`
  if (hours > 0) return `${hours}h${minutes}m${seconds}`
  return minutes > 0 ? `${minutes}m${seconds}` : seconds
}

interface Admitted {
  readonly lease: Lease | undefined
  readonly demand: Pick<Ask, 'choices'>
}

function accountOf(token: ClientToken, { deps }: RequestContext, { lease, demand }: Admitted): Account {
  const { store, clock, tokenUsage } = deps
  let hasEnded = false
  return {
    token,
    began() {
      if (lease !== undefined) void store.confirm(lease, BEGUN, instantOf(clock))
    },
    end(cost) {
      if (hasEnded) return
      hasEnded = true
      const at = instantOf(clock)
      if (lease !== undefined) void store.settle(lease, outcomeOf(cost, demand.choices), at)
      if (cost === 'nothing') return
      tokenUsage.record(token, { ...NO_TOKENS, ...(typeof cost === 'object' && cost), requests: 1 }, at.wall)
    },
  }
}

/** How long it took is a matter of upstreams. */
const BEGUN = { firstByteMs: 0, readings: [] }
const NO_TOKENS = { inputTokens: 0, outputTokens: 0 }

function outcomeOf(cost: Cost, choices = 1): Outcome {
  if (cost === 'nothing') return { kind: 'aborted', sent: false }
  if (cost === 'reserved') return { kind: 'ok' }
  if (cost === 'request') return { kind: 'ok', tokens: 0 }
  const { tokens, outputTokens } = cost
  return { kind: 'ok', tokens, ...(outputTokens > 0 && { outputTokens: outputTokens / choices }) }
}
