import type { Failure } from '../../pool/outcome.ts'
import type { Endpoint } from '../../pool/upstream.ts'
import { isTaken } from './fit.ts'
import type { Arrival, Sending } from './log.ts'

/** A failure, and after how many ms it came. */
export interface Trouble {
  readonly failure: Failure
  readonly ms: number
}

/** A time in which an upstream did nothing but fail, for an endpoint or for all of them. Epoch ms. */
export interface Outage {
  readonly from: number
  readonly to: number
  readonly endpoint: Endpoint | undefined
  readonly troubles: readonly Trouble[]
}

/** When and how often an upstream fails, but for its limits. */
export interface Troubles {
  readonly outages: readonly Outage[]
  /** Of all its requests so many fail now and then, 0 to 1, whether it had room or not, like these. */
  readonly share: number
  readonly samples: readonly Trouble[]
}

/** Fewer failures in a row may be chance. */
const LEAST_FAILURES = 3
/** How often a row that long may come by chance in all of a log. */
const BY_CHANCE = 0.05
/** So long at most is somebody taken to fail before and after he was seen to. */
const UNSEEN_MS = 60_000

/** How many failures in a row are no chance, for somebody who fails as often after a success as this one does. */
function outageLength(seen: readonly Sending[]): number {
  const taken = seen.filter(isTaken).length
  const begun = seen.filter((one, at) => !isTaken(one) && at > 0 && isTaken(seen[at - 1] ?? one)).length
  const share = begun / Math.max(1, taken)
  if (share <= 0 || share >= 1) return LEAST_FAILURES
  return Math.max(LEAST_FAILURES, Math.ceil(Math.log(BY_CHANCE / seen.length) / Math.log(share)))
}

/** What an operator has to mend lasts until he was seen to have. */
const LASTING: ReadonlySet<string> = new Set(['auth', 'not-found', 'quota'])

/**
 * Outages as they were seen: from halfway between the last success and the first failure to halfway between the last
 * failure and the next success, where those are near; who was not asked was not seen. Other failures come by chance.
 *
 * @param own requests to one upstream, in order
 * @param atLimits refusals that its limits explain
 */
export function troublesOf(own: readonly Sending[], atLimits: ReadonlySet<Sending>): Troubles {
  const seen = own.filter((one) => !atLimits.has(one) && (isTaken(one) || isTrouble(one)))
  const lacking = new Set(
    seen.flatMap(({ outcome, arrival }) =>
      outcome.kind === 'failed' && outcome.scope === 'endpoint' && arrival ? [arrival.endpoint] : [],
    ),
  )
  const found = [
    seriesIn(
      seen.filter(({ outcome }) => outcome.kind !== 'failed' || outcome.scope !== 'endpoint'),
      undefined,
    ),
    ...[...lacking].map((endpoint) =>
      seriesIn(
        seen.filter(({ arrival }) => arrival?.endpoint === endpoint),
        endpoint,
      ),
    ),
  ]
  const samples = found[0]?.single ?? []
  return {
    outages: found.flatMap(({ outages }) => outages),
    share: samples.length / Math.max(1, samples.length + seen.filter(isTaken).length + atLimits.size),
    samples,
  }
}

/** Not what a body alone was refused for. */
const isTrouble = ({ outcome }: Sending): boolean =>
  outcome.kind === 'failed' &&
  (outcome.class === 'unfit' || (outcome.scope !== 'none' && !isAboutBody(outcome)))

const isAboutBody = ({ class: kind, scope }: Failure): boolean =>
  kind === 'refused-body' || kind === 'too-long' || (kind === 'refused' && scope === 'none')

function seriesIn(seen: readonly Sending[], endpoint: Endpoint | undefined) {
  const outages: Outage[] = []
  const single: Trouble[] = []
  const length = outageLength(seen)
  let row: Sending[] = []
  let before = -Infinity
  const endRow = (next: number): void => {
    const troubles = row.flatMap(({ outcome, at, endedAt }) =>
      outcome.kind === 'failed' ? [{ failure: outcome, ms: endedAt - at }] : [],
    )
    const [first, last] = [row[0]?.at ?? 0, row.at(-1)?.at ?? 0]
    const isLasting = troubles.some(({ failure }) => LASTING.has(failure.cause))
    const gaps = row.map(({ at }, nth) => at - (row[nth - 1]?.at ?? at))
    const unseenMs = isLasting ? Infinity : Math.max(UNSEEN_MS, ...gaps)
    if (row.length < length) single.push(...troubles)
    else {
      const from = Math.max((before + first) / 2, first - UNSEEN_MS)
      outages.push({ from, to: Math.min((last + next) / 2, last + unseenMs), endpoint, troubles })
    }
    row = []
  }
  for (const one of seen) {
    if (!isTaken(one)) {
      row.push(one)
      continue
    }
    if (row.length > 0) endRow(one.at)
    before = one.at
  }
  if (row.length > 0) endRow(Infinity)
  return { outages, single }
}

/** What happens at a moment; undefined = nothing. */
export function troubleAt(
  { outages, share, samples }: Troubles,
  { now, endpoint, draw }: { now: number; endpoint: Endpoint; draw: () => number },
): Trouble | undefined {
  const outage = outages.find(
    (one) => one.from <= now && now < one.to && (one.endpoint === undefined || one.endpoint === endpoint),
  )
  const among = outage?.troubles ?? (draw() < share ? samples : [])
  return among[Math.floor(draw() * among.length)]
}

/** What a request was refused for by itself: by this upstream, or by whoever had the last word on it. */
export function ownRefusalOf({ end, sent }: Arrival, own: Sending | undefined): Failure | undefined {
  const isFault =
    end.status >= 400 && end.status < 500 && end.upstream !== undefined && end.code === undefined
  const last = isFault && ![402, 408, 429, 499].includes(end.status) ? sent.at(-1) : undefined
  for (const one of [own, last])
    if (one?.outcome.kind === 'failed' && isAboutBody(one.outcome)) return one.outcome
  return undefined
}
