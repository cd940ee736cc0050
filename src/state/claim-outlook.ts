import type { Claim, Draw } from '../pool/upstream.ts'
import { outlookOf } from './outlook.ts'
import { UNKNOWN, type ScopeState } from './scope-state.ts'
import type { ClaimOutlook, Standing } from './standing.ts'

/**
 * Looks at all scopes of a claim at once.
 *
 * A standing is replaced when anything in it changes, so what was worked out for one holds until a window
 * forgets something. Of a hundred upstreams a request changes one, and those that share a quota with it.
 */
export function claimOutlookOf(claim: Claim, standing: Standing, now: number): ClaimOutlook {
  const { outlook } = standing
  if (outlook !== undefined && outlook.until > now && outlook.claim === claim) return outlook
  const fresh = lookedAt(claim, standing.states, now)
  standing.outlook = fresh
  return fresh
}

function lookedAt(claim: Claim, states: Standing['states'], now: number): ClaimOutlook {
  const sum = {
    claim,
    isPlain: true,
    requests: Infinity,
    tokens: Infinity,
    requestShare: 1,
    share: 1,
    until: Infinity,
  }
  for (let at = 0; at < states.length; at++) {
    const draw = claim.draws[at]
    const state = states[at]
    if (draw === undefined || (state === undefined && draw.limits === undefined)) continue
    const outlook = outlookOf(draw, state ?? UNKNOWN, now)
    const free = freePlaces(draw, state)
    sum.isPlain &&= free > 0 && (state === undefined || isPlain(state))
    sum.requests = Math.min(sum.requests, outlook.requests)
    sum.tokens = Math.min(sum.tokens, outlook.tokens)
    sum.requestShare = Math.min(sum.requestShare, outlook.requestShare, free)
    sum.share = Math.min(sum.share, outlook.share, free)
    sum.until = Math.min(sum.until, outlook.until)
  }
  return sum
}

const isPlain = ({ cooldown, tooLarge, crowd }: ScopeState): boolean =>
  cooldown === undefined && tooLarge === undefined && crowd === undefined

/** Share of the configured number at once that is free; 1 without one. */
function freePlaces({ limits }: Draw, state: ScopeState | undefined): number {
  const most = limits?.concurrency
  return most === undefined ? 1 : 1 - (state?.inFlight ?? 0) / most
}
