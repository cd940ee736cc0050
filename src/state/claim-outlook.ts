import type { Claim, Draw } from '../pool/upstream.ts'
import { outlookOf, type Outlook } from './outlook.ts'
import { UNKNOWN, type ScopeState } from './scope-state.ts'
import type { Standing } from './store.ts'

/** What everything that a claim draws on leaves free together. */
export interface ClaimOutlook extends Outlook {
  /** Nothing of it rests, is probed, or is limited in another way than by windows and a configured number at once. */
  readonly isPlain: boolean
}

interface Known extends ClaimOutlook {
  readonly claim: Claim
}

/**
 * A standing is replaced when anything in it changes, so what was worked out for one holds until a window
 * forgets something. Of a hundred upstreams a request changes one, and those that share a quota with it.
 */
const known = new WeakMap<Standing, Known>()

/** Looks at all scopes of a claim at once. */
export function claimOutlookOf(claim: Claim, standing: Standing, now: number): ClaimOutlook {
  const found = known.get(standing)
  if (found !== undefined && found.until > now && found.claim === claim) return found
  const outlook = lookedAt(claim, standing, now)
  known.set(standing, outlook)
  return outlook
}

function lookedAt(claim: Claim, standing: Standing, now: number): Known {
  const sum = {
    claim,
    isPlain: true,
    requests: Infinity,
    tokens: Infinity,
    requestShare: 1,
    share: 1,
    until: Infinity,
  }
  for (let at = 0; at < standing.length; at++) {
    const draw = claim.draws[at]
    const state = standing[at]
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
