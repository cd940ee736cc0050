import type { QuotaSignal } from '../pool/outcome.ts'
import type { DayRule } from './window-count.ts'
import { budgetOf, draftOfWindow, EMPTY, SPAN_MS, type WindowState } from './window.ts'

/** A word of the upstream about a window, and what it can't have known. */
export interface Said extends DayRule {
  readonly signal: QuotaSignal
  /** When the request was sent that this answers. */
  readonly askedAt: number
  /** The part of `pending` that is this request's own: the answer knows of it. */
  readonly own: number
}

/** How long a limit is believed that is not named again. */
const LEARNED_MS = 86_400_000

/**
 * Takes in what the upstream said.
 *
 * Nothing left: closed until the reset, and of several such words the latest deadline holds. Something left:
 * a budget, less what others have under way, since the answer may not hold their cost yet. An answer to
 * an earlier question than the one already heard tells nothing new.
 */
export function learn(window: WindowState | undefined, said: Said): WindowState {
  const { signal, at, askedAt } = said
  const base = window ?? EMPTY
  const next = draftOfWindow(base)
  if (signal.limit !== undefined) {
    next.learnedLimit = signal.limit
    next.learnedUntil = at.now + LEARNED_MS
  }
  if (signal.remaining === undefined) return next
  const resetAt = at.now + (signal.resetMs ?? resetUnsaid(said))
  const closedUntil = base.closedUntil ?? 0
  if (signal.remaining === 0) {
    next.left = 0
    next.closedUntil = next.leftUntil = Math.max(closedUntil, resetAt)
    next.leftAsOf = Math.max(base.leftAsOf ?? 0, askedAt)
    return next
  }
  const isOlder = budgetOf(base, at.now) !== undefined && (base.leftAsOf ?? 0) > askedAt
  if (isOlder || closedUntil > at.now) return next
  const others = Math.max(0, base.pending - said.own)
  next.left = signal.remaining - others
  next.leftUntil = resetAt
  next.leftAsOf = askedAt
  return next
}

/** Where no reset was named: a calendar day ends at midnight, anything else a span from now. */
function resetUnsaid({ signal, at, dayResets, dayEndsAt }: Said): number {
  if (signal.window !== 'day' && signal.window !== 'month') return SPAN_MS[signal.window]
  return dayEndsAt(dayResets ?? 'UTC', at) - at.now
}
