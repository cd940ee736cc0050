/*
 * cli/what-if: what another configuration would have made of the requests of an event log. The real relay is sent the
 * recorded requests once more, in a simulation with a clock of its own, whose upstreams behave as the log has seen them.
 *
 * predict   the whole of it: the log, the present configuration and the new one in, figures out
 * log       requests and what was sent to upstreams, out of the frames of an event log
 * fit       the limits of an upstream, found out from what it took and what it refused
 * troubles  when and how often an upstream fails
 * world     upstreams that behave as they were seen to
 * simulate  requests through the relay to those upstreams
 * enforce   how upstreams count, for simulations here and in `bench/sim`
 * clock     a clock that jumps from one timer to the next, for both
 */
import type { Config } from '../../config/config.ts'
import { upstreamIdOf, type ListedBy } from '../../config/upstreams.ts'
import type { ArchivedSegment } from '../../events/archive.ts'
import { createRuntimeConfig, type RuntimeConfig } from '../../http/deps.ts'
import { SPAN_MS } from '../../pool/outcome.ts'
import type { Upstream } from '../../pool/upstream.ts'
import { originOfRoot } from '../../relay/candidates.ts'
import { burstOf, isTaken } from './fit.ts'
import { eventLogIn, type Arrival, type EventLog } from './log.ts'
import { simulate, type Ended } from './simulate.ts'
import { behavioursOf, type Behaviour } from './world.ts'

/** What clients and upstreams got; of several runs the mean. Shares are 0 to 1, times ms. */
export interface Figures {
  readonly requests: number
  /** Of all but those whose client left or was at fault itself. */
  readonly answered_share: number | null
  /** Of several runs the lowest and the highest. */
  readonly answered_range: readonly [number, number] | null
  /** What clients were refused with, by the code of the error or the status of the upstream's own words. */
  readonly refused: Readonly<Record<string, number>>
  /** Refusals of upstreams at a limit, and their other failures. */
  readonly limits_met: number
  readonly failures_met: number
  /** Who waited for a place, and how long. */
  readonly queued: { readonly share: number; readonly p50: number | null; readonly p95: number | null }
  readonly first_byte_ms: { readonly p50: number | null; readonly p95: number | null }
  readonly attempts_per_request: number
  /** Of the answered requests, by the name of the upstream. */
  readonly upstreams: Readonly<Record<string, number>>
}

/** What is known of an upstream of the new configuration. */
export interface KnownUpstream {
  readonly name: string
  readonly known_by: Behaviour['knownBy']
  readonly like: string | null
  readonly limits: readonly {
    readonly counts: 'requests' | 'tokens'
    readonly limit: number
    readonly span_ms: number
    /** Of a bucket how much it holds, where that is not the limit: so much is let through at once. */
    readonly burst: number | null
    readonly source: 'headers' | 'words' | 'refusals'
  }[]
  readonly at_once: number | null
  /** Times in which it did nothing but fail. */
  readonly outages: number
  /** The most requests that it took within a minute: in the log, and in a run of the new configuration. */
  readonly busiest_minute: { readonly log: number; readonly new: number }
}

export interface Prediction {
  /** ISO 8601: of the first and the last request that are counted. */
  readonly from: string
  readonly to: string
  /** Of the requests in that time so many were simulated, the newest ones. */
  readonly found: number
  readonly runs: number
  readonly recorded: Figures
  readonly present: Figures
  readonly new: Figures
  readonly upstreams: readonly KnownUpstream[]
  /** How often the configuration changed in that time. */
  readonly config_changes: number
  /** Whether requests had an affinity key. */
  readonly had_affinity: boolean
}

/** What a prediction is made from. */
interface Given {
  readonly segments: readonly ArchivedSegment[]
  readonly secret: Uint32Array | undefined
  readonly present: Config
  readonly next: Config
  /** Epoch ms. */
  readonly since: number
  /** How often each is simulated, with other dice; by the number of requests unless given. */
  readonly runs?: number | undefined
}

/** Fewer requests say nothing. */
export const LEAST_REQUESTS = 20
/** More are not simulated. */
const MOST_REQUESTS = 100_000
/** Each run has other dice; together they have so many requests. */
const REQUESTS_OF_RUNS = 100_000
const MOST_RUNS = 3

/** How many requests are too few, and when the newest of all came; epoch ms. */
export interface TooFew {
  readonly count: number
  readonly newest: number | undefined
}

/** @returns what too few there are of to predict anything from */
export async function predict({
  segments,
  secret,
  present,
  next,
  since,
  runs: wished,
}: Given): Promise<Prediction | TooFew> {
  const log = eventLogIn(segments)
  const inTime = log.arrivals.filter(({ at }) => at >= since)
  const counted = inTime.slice(-MOST_REQUESTS)
  const [first, last] = [counted[0], counted.at(-1)]
  const begins = first && beginningOf(log, first.at)
  if (counted.length < LEAST_REQUESTS || begins === undefined || first === undefined || last === undefined)
    return { count: counted.length, newest: log.arrivals.at(-1)?.at }
  const arrivals = log.arrivals.filter(({ at }) => at >= Math.min(begins.at.wall, first.at) && at <= last.at)
  const isCounted = new Set(counted)
  const runs = wished ?? Math.max(1, Math.min(MOST_RUNS, Math.floor(REQUESTS_OF_RUNS / counted.length)))

  const from = begins

  const [runtimePresent, runtimeNext] = [present, next].map((config) =>
    createRuntimeConfig(config, listedIn(log)),
  ) as [RuntimeConfig, RuntimeConfig]
  const { upstreams } = runtimeNext.pools
  const behaviours = behavioursOf(log, [...runtimePresent.pools.upstreams, ...upstreams])

  async function figuresUnder(runtimeConfig: RuntimeConfig) {
    const all: Figures[] = []
    let busiest: ReadonlyMap<string, number> = new Map()
    for (let seed = 1; seed <= runs; seed++) {
      const ran = await simulate({
        runtimeConfig,
        behaviours,
        arrivals,
        begins: from,
        log,
        secret,
        seed,
      })
      all.push(figuresOf([...ran.ended].filter(([arrival]) => isCounted.has(arrival))))
      ;({ busiest } = ran)
    }
    return { figures: meanOf(all), busiest }
  }

  const control = await figuresUnder(runtimePresent)
  const changed = await figuresUnder(runtimeNext)
  return {
    from: isoOf(first.at),
    to: isoOf(last.at),
    found: inTime.length,
    runs,
    recorded: figuresOf(counted.map((arrival) => [arrival, arrival.end])),
    present: control.figures,
    new: changed.figures,
    upstreams: upstreams
      .filter(({ enabled }) => enabled)
      .map((upstream) =>
        knownOf(upstream, { log, behaviour: behaviours.get(upstream.id), busiest: changed.busiest }),
      ),
    config_changes: log.configs.filter(({ from }) => from > first.at && from <= last.at).length,
    had_affinity: counted.some(({ maskedKey }) => maskedKey !== 0),
  }
}

const isoOf = (ms: number): string => new Date(ms).toISOString()

/** The last known state before a moment, else the first of all. */
const beginningOf = ({ states }: EventLog, at: number) =>
  states.findLast((state) => state.at.wall <= at) ?? states[0]

/** The models that the log knows of a list that nobody is asked for: those of the same key, else of the same host. */
function listedIn({ sendings, configs }: EventLog): ListedBy {
  const known = new Map(
    [...configs.flatMap(({ config }) => config.upstreams), ...sendings.map(({ upstream }) => upstream)].map(
      (one) => [one.id, one],
    ),
  )
  return ({ root, apiKey }) => {
    const atHost = [...known.values()].filter(({ origin }) => origin === originOfRoot(root))
    const own = atHost.filter(({ id, model }) => id === upstreamIdOf({ root, apiKey, model }))
    const models = new Set((own.length > 0 ? own : atHost).map(({ model }) => model))
    return [...models].map((id) => ({ id }))
  }
}

function knownOf(
  { id, name }: Upstream,
  {
    log,
    behaviour,
    busiest,
  }: { log: EventLog; behaviour: Behaviour | undefined; busiest: ReadonlyMap<string, number> },
): KnownUpstream {
  const minutes = new Map<number, number>()
  for (const sending of log.sendings) {
    if (sending.upstream.id !== id || !isTaken(sending)) continue
    const minute = Math.floor(sending.at / SPAN_MS.minute)
    minutes.set(minute, (minutes.get(minute) ?? 0) + 1)
  }
  const { knownBy = 'average', like, fitted, troubles } = behaviour ?? {}
  return {
    name,
    known_by: knownBy,
    like: like ?? null,
    limits: (fitted?.limits ?? []).map(({ counts, limit, spanMs, forgets, source }) => ({
      counts,
      limit,
      span_ms: spanMs,
      burst: burstOf(forgets) ?? null,
      source,
    })),
    at_once: fitted?.concurrency ?? null,
    outages: troubles?.outages.length ?? 0,
    busiest_minute: {
      log: [...minutes.values()].reduce((most, each) => Math.max(most, each), 0),
      new: busiest.get(id) ?? 0,
    },
  }
}

const AT_LIMITS: ReadonlySet<string> = new Set(['rate-limited', 'overloaded', 'quota'])
const NO_FAILURE: ReadonlySet<string> = new Set(['ok', 'aborted', 'client-error', 'other-model'])

/** A client's own fault: a status that is no refusal of ours. */
const isFault = ({ status }: Pick<Ended, 'status'>): boolean =>
  status >= 400 && status < 500 && ![402, 408, 429].includes(status)

/** What is nobody's answer and nobody's refusal: the client left, or was at fault then as now. */
const isLeftOut = (arrival: Arrival, ended: Ended): boolean =>
  ended.status === 499 || (isFault(ended) && isFault(arrival.end))

function figuresOf(all: readonly (readonly [Arrival, Ended])[]): Figures {
  const ended = all.map(([, one]) => one)
  const judged = all.filter(([arrival, one]) => !isLeftOut(arrival, one)).map(([, one]) => one)
  const answered = judged.filter(({ status }) => status < 400)
  const share = judged.length === 0 ? null : answered.length / judged.length
  const attempts = ended.flatMap((one) => one.attempts)
  const waits = ended.map(({ queuedMs }) => queuedMs).filter((ms) => ms > 0)
  const firstBytes = answered.flatMap(({ firstByteMs }) => firstByteMs ?? [])
  const countBy = (names: readonly string[], whole = 1): Record<string, number> => {
    const counts: Record<string, number> = {}
    for (const name of names) counts[name] = (counts[name] ?? 0) + 1 / whole
    return counts
  }
  return {
    requests: all.length,
    answered_share: share,
    answered_range: share === null ? null : [share, share],
    refused: countBy(
      judged.flatMap(({ status, code }) => (status < 400 ? [] : (code ?? `status ${status}`))),
    ),
    limits_met: attempts.filter(({ outcome }) => AT_LIMITS.has(outcome)).length,
    failures_met: attempts.filter(({ outcome }) => !AT_LIMITS.has(outcome) && !NO_FAILURE.has(outcome))
      .length,
    queued: { share: waits.length / Math.max(1, all.length), ...percentiles(waits) },
    first_byte_ms: percentiles(firstBytes),
    attempts_per_request: attempts.length / Math.max(1, all.length),
    upstreams: countBy(
      answered.flatMap(({ upstream }) => upstream ?? []),
      answered.length,
    ),
  }
}

function percentiles(values: readonly number[]) {
  const sorted = values.toSorted((a, b) => a - b)
  const at = (share: number): number | null =>
    sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? null
  return { p50: at(0.5), p95: at(0.95) }
}

/** Of figures that several runs gave. */
function meanOf(all: readonly Figures[]): Figures {
  const shares = all.flatMap(({ answered_share: share }) => share ?? [])
  const [one] = all
  if (one === undefined) throw new Error('no run')
  return {
    ...(mean(all) as Figures),
    answered_range: shares.length === 0 ? null : [Math.min(...shares), Math.max(...shares)],
  }
}

/** The mean of numbers, and of objects member by member; what one lacks counts as 0. */
function mean(values: readonly unknown[]): unknown {
  const there = values.filter((value) => value !== null && value !== undefined)
  const [first] = there
  if (first === undefined) return null
  if (typeof first !== 'object')
    return there.reduce<number>((sum, value) => sum + Number(value), 0) / values.length
  const records = there as unknown as readonly Readonly<Record<string, unknown>>[]
  const keys = new Set(records.flatMap((record) => Object.keys(record)))
  return Object.fromEntries(
    [...keys].map((key) => [
      key,
      mean(records.map((record) => record[key] ?? (key === 'p50' || key === 'p95' ? null : 0))),
    ]),
  )
}
