import type { TokenConfig } from '../config/token-schema.ts'
import type { Claim } from '../pool/upstream.ts'
import type { MaybePromise } from '../state/store.ts'
import type { TokenUsage, Used } from '../state/token-usage.ts'
import { windowStatuses, type KnownStates } from './status.ts'
import type { UsageHistory } from './usage.ts'

interface TokensTask extends KnownStates {
  /** In the order of the configuration. */
  readonly tokens: readonly (TokenConfig & { readonly claim: Claim })[]
  readonly usage: Pick<TokenUsage, 'of'>
}

export type TokenStatus = ReturnType<typeof tokenStatusOf>

/**
 * What `GET /admin/tokens` answers: the client tokens of the configuration in force, what is left of their limits and what
 * they have used. Holds no part of a token, nor its digest.
 */
export const tokenStatusesOf = (task: TokensTask) => ({
  tokens: task.tokens.map((token) => tokenStatusOf(token, task)),
})

function tokenStatusOf(token: TokensTask['tokens'][number], { stateOf, at, usage }: TokensTask) {
  const { name, claim, expiresAt } = token
  const { day, week, month, total } = usage.of(name, at.wall)
  return {
    name,
    admin: token.admin,
    passthrough: token.passthrough,
    /** Names that it was given; null = all. */
    models: token.models ?? null,
    /** As configured; null = from everywhere. */
    allow_ips: token.allowIps ?? null,
    /** ISO 8601; null = never. */
    expires: expiresAt === undefined ? null : new Date(expiresAt).toISOString(),
    expired: expiresAt !== undefined && expiresAt <= at.wall,
    /** Requests under way, streams included; counted where it has limits. */
    in_flight: stateOf(claim.id)?.inFlight ?? 0,
    limits: claim.draws.flatMap((limitScope) => windowStatuses(limitScope, { stateOf, at })),
    /** By the calendar of the zone of its `day_resets`, and since the start of this process. */
    usage: { day: usedOf(day), week: usedOf(week), month: usedOf(month), since_start: usedOf(total) },
  }
}

const usedOf = ({ requests, inputTokens, outputTokens }: Used) => ({
  requests,
  input_tokens: inputTokens,
  output_tokens: outputTokens,
})

/** The sums of all requests, and beside them those of each client token: what `GET /admin/usage` answers. */
export const usageWithTokens = (
  usage: Pick<UsageHistory, 'show'>,
  statuses: () => MaybePromise<ReturnType<typeof tokenStatusesOf>>,
) => ({
  async show() {
    const { tokens } = await statuses()
    const ofTokens = tokens.map(({ name, usage: { day, week, month } }) => ({ name, day, week, month }))
    return { ...usage.show(), tokens: ofTokens }
  },
})
