import type { Instant } from '../lib/clock.ts'
import type { Claim, LimitScope } from '../pool/upstream.ts'
import type { StateOf } from '../state/availability.ts'
import type { CircuitBreakerState } from '../state/circuit-breaker.ts'

/** What waits for the operator, in words; `since` is epoch ms. */
interface Need {
  readonly kind:
    | 'key_refused'
    | 'not_found'
    | 'no_credits'
    | 'reload_refused'
    | 'config_warning'
    | 'state_not_kept'
  /** Null where it is about none, or about several. */
  readonly upstream: string | null
  readonly text: string
  readonly since: number | null
}

/** What is looked at: the upstreams that are enabled, each with what its requests draw on. */
interface NeedsTask {
  readonly judged: readonly { readonly name: string; readonly claim: Claim }[]
  readonly configState: {
    readonly lastReload?: { at: number; ok: boolean; problems: readonly string[] } | undefined
    readonly warnings: readonly string[]
    readonly stateProblem?: string | undefined
  }
  readonly stateOf: StateOf
  readonly at: Instant
}

/**
 * All that does not heal by itself, and what would be right: what upstreams refuse, each of it once for all that share it,
 * then what is wrong with the configuration and the state.
 */
export function needsOf({ judged, configState, stateOf, at }: NeedsTask): Need[] {
  const concerned = new Map<string, { limitScope: LimitScope; names: string[] }>()
  for (const { name, claim } of judged)
    for (const limitScope of claim.draws) {
      const known = concerned.get(limitScope.scope)
      if (known === undefined) concerned.set(limitScope.scope, { limitScope, names: [name] })
      else known.names.push(name)
    }
  const refused = [...concerned.values()].flatMap(({ limitScope, names }): Need[] => {
    const breaker = stateOf(limitScope.scope)?.breaker
    const kind = breaker && kindOf(breaker)
    if (breaker === undefined || kind === undefined) return []
    const [first = null] = names
    const since = at.wall + (breaker.openSince - at.now)
    return [{ kind, upstream: names.length === 1 ? first : null, text: WORDS[kind](listed(names)), since }]
  })
  const { lastReload, warnings, stateProblem } = configState
  const own: Need[] = warnings.map((text) => ({ kind: 'config_warning', upstream: null, text, since: null }))
  if (lastReload?.ok === false) {
    const text = `the changed configuration is refused: ${lastReload.problems.join('; ')}`
    own.unshift({ kind: 'reload_refused', upstream: null, text, since: lastReload.at })
  }
  if (stateProblem !== undefined)
    own.unshift({ kind: 'state_not_kept', upstream: null, text: stateProblem, since: null })
  return [...refused, ...own]
}

type Refusal = 'key_refused' | 'not_found' | 'no_credits'

function kindOf({ cause, unpaid }: CircuitBreakerState): Refusal | undefined {
  if (unpaid) return 'no_credits'
  if (cause === 'auth') return 'key_refused'
  return cause === 'not-found' ? 'not_found' : undefined
}

const WORDS: Readonly<Record<Refusal, (names: string) => string>> = {
  key_refused: (names) =>
    `the key of ${names} was refused; write another one into the configuration, or have it enabled at the vendor`,
  not_found: (names) =>
    `the model or the endpoint of ${names} was not found; correct model or base_url in the configuration`,
  no_credits: (names) => `the account of ${names} has no credit left; pay, then end the rest by hand`,
}

const MOST_NAMED = 5

function listed(names: readonly string[]): string {
  const left = names.length - MOST_NAMED
  return `${names.slice(0, MOST_NAMED).join(', ')}${left > 0 ? ` and ${left} more` : ''}`
}
