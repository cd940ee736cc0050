import type { AttemptEvent, GatewayEvent, Report } from '../relay/deps.ts'
import { BLAMELESS, failureText } from './recent.ts'

/** The same trouble of the same upstream is told once in this time, however often it comes and goes. */
const QUIET_MS = 60_000
/** Failures in a row before an upstream that can be reached is said to fail: single ones are nobody's concern. */
const ENOUGH_FAILURES = 3

/** What an operator would want to know of: each of these lasts, and mostly somebody has to do something. */
type Trouble = 'auth' | 'quota' | 'not-found' | 'failure'

interface Condition {
  failures: number
  /** What the operator was told last; undefined = that all is well. */
  told: Trouble | undefined
  /** Where something was not found; others may work. */
  endpoint: string
  /** When each was told last, ms on the clock. */
  readonly toldAt: Map<Trouble, number>
}

/**
 * Watches attempts and tells once of each change of an upstream's condition: its key refused, its quota spent, its model
 * not found, out of reach or failing, and back again. Limits of minutes are daily bread and not told.
 *
 * @param tell takes the notices
 */
export function createNotices(tell: Report, { now, wall }: { now: () => number; wall: () => number }) {
  const conditions = new Map<string, Condition>()

  function notice(upstream: string, what: string): void {
    tell({ kind: 'notice', level: 'warning', upstream, message: `upstream ${upstream}: ${what}` })
  }

  function trouble(condition: Condition, kind: Trouble, { upstream, ...event }: AttemptEvent): void {
    if (condition.told === kind) return
    if (now() - (condition.toldAt.get(kind) ?? -Infinity) < QUIET_MS) return
    condition.told = kind
    condition.endpoint = event.endpoint
    condition.toldAt.set(kind, now())
    notice(upstream, whatHappened(kind, event, { failures: condition.failures, wallNow: wall() }))
  }

  return {
    report(event: GatewayEvent): void {
      if (event.kind !== 'attempt' || event.outcome === 'aborted') return
      const { upstreamId, outcome } = event
      let condition = conditions.get(upstreamId)
      if (BLAMELESS.has(outcome)) {
        if (condition === undefined) return
        condition.failures = 0
        if (condition.told === 'not-found' && condition.endpoint !== event.endpoint) return
        if (condition.told !== undefined) notice(event.upstream, 'works again')
        condition.told = undefined
        return
      }
      if (condition === undefined)
        conditions.set(
          upstreamId,
          (condition = { failures: 0, told: undefined, endpoint: '', toldAt: new Map() }),
        )
      if (outcome === 'auth' || outcome === 'quota' || outcome === 'not-found')
        return trouble(condition, outcome, event)
      if (outcome !== 'failure' && outcome !== 'broken') return
      condition.failures += 1
      if (event.failure?.isUnsent || condition.failures >= ENOUGH_FAILURES)
        trouble(condition, 'failure', event)
    },
    /** Forgets all but `ids`; for after a reload. */
    prune(ids: Iterable<string>): void {
      const kept = new Set(ids)
      for (const id of conditions.keys()) if (!kept.has(id)) conditions.delete(id)
    },
  }
}

type Told = Pick<AttemptEvent, 'status' | 'failure' | 'endpoint'>

function whatHappened(kind: Trouble, event: Told, more: { failures: number; wallNow: number }): string {
  const { status, failure, endpoint } = event
  const said = status === undefined ? '' : ` (${status})`
  const where = failure === undefined ? '' : ` at ${failure.url}`
  if (kind === 'auth') return `its key was refused${said}${where}`
  if (kind === 'not-found') return `its model or the endpoint ${endpoint} was not found${said}${where}`
  if (kind === 'quota') {
    const until =
      failure?.hintMs === undefined ? '' : ` until ${new Date(more.wallNow + failure.hintMs).toISOString()}`
    return `its quota is spent${until}${said}`
  }
  const why = failureText(status, failure?.reason)
  return failure?.isUnsent
    ? `out of reach: ${why}${where}`
    : `fails: ${why}, ${more.failures} in a row${where}`
}
