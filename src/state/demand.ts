import { expectedOutput, type ScopeState } from './scope-state.ts'
import type { Ask } from './store.ts'
import { countsRequests, type WindowName } from './window.ts'

/** Tokens to reserve: 0 where none are counted. */
export function tokensFor(state: ScopeState | undefined, ask: Ask): number {
  if (ask.inputTokens === undefined) return 0
  const output = ask.outputTokens ?? expectedOutput(state) * (ask.choices ?? 1)
  return Math.ceil(ask.inputTokens + output)
}

/** What one request takes from a window. */
export function amountOf(name: WindowName, tokens: number): number {
  return countsRequests(name) ? 1 : tokens
}
