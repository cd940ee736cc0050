import type { ArchivedSegment } from '../../events/archive.ts'
import type { BeginFrame, ChoiceFrame, EndFrame } from '../../events/record.ts'
import { framesIn } from '../../events/segment.ts'
import { CLAIM_KINDS, type RecordedConfig, type RecordedUpstream } from '../../events/configs.ts'
import type { RecordedState } from '../../events/recorder.ts'
import type { Instant } from '../../lib/clock.ts'
import type { MeterReading, Outcome } from '../../pool/outcome.ts'
import { endpoints, type Endpoint } from '../../pool/upstream.ts'
import type { Demands } from '../../relay/demand.ts'

/** A request as it came, and what became of it. Times are epoch ms. */
export interface Arrival extends Demands {
  readonly at: number
  readonly endpoint: Endpoint
  readonly model: string
  readonly stream: boolean
  /** The name of the client's token; undefined = it has none. */
  readonly token: string | undefined
  /** See `masked`; 0 = none. */
  readonly maskedKey: number
  readonly end: EndFrame
  /** Ids of upstreams: who was remembered for its affinity key, who made what it brings along, who alone has it. */
  readonly stuckTo: string | undefined
  readonly owner: string | undefined
  readonly pinnedTo: string | undefined
  /** What was sent for it, in order. */
  readonly sent: readonly Sending[]
}

/** A request to an upstream, and how it went. Times are epoch ms. */
export interface Sending {
  readonly upstream: RecordedUpstream
  readonly at: number
  endedAt: number
  firstByteMs: number | undefined
  readings: readonly MeterReading[]
  outcome: Outcome
  arrival: Arrival | undefined
}

/** What the state was at a moment. */
interface KnownState {
  readonly at: Instant
  readonly state: RecordedState
}

/** The rest of scopes ended, or they were paused or resumed. Epoch ms. */
interface Intervention {
  readonly kind: 'breakers' | 'pause' | 'resume'
  readonly at: number
  readonly scopes: readonly string[]
}

/** Everything that happened, in order of time. */
export interface EventLog {
  readonly arrivals: readonly Arrival[]
  readonly sendings: readonly Sending[]
  readonly states: readonly KnownState[]
  /** What operators did to scopes. */
  readonly interventions: readonly Intervention[]
  /** The configurations that were in force, from which moment on each, the last one last. */
  readonly configs: readonly { readonly config: RecordedConfig; readonly from: number }[]
}

/** A request under way. */
interface Open {
  readonly begin: BeginFrame
  readonly config: RecordedConfig
  first: ChoiceFrame | undefined
  readonly sent: Sending[]
}

/** What of a process goes on from one of its segments to the next. */
interface Process {
  readonly open: Map<number, Open>
  readonly leases: Map<number, Sending>
}

/** The same while it is read. */
interface Gathered {
  readonly arrivals: Arrival[]
  readonly sendings: Sending[]
  readonly states: KnownState[]
  readonly interventions: Intervention[]
  readonly configs: { readonly config: RecordedConfig; readonly from: number }[]
}

/** Reads segments, the oldest first. What is damaged is passed over. */
export function eventLogIn(segments: readonly ArchivedSegment[]): EventLog {
  const log: Gathered = { arrivals: [], sendings: [], states: [], interventions: [], configs: [] }
  const processes = new Map<string, Process>()
  for (const segment of segments) {
    let process = processes.get(segment.process)
    if (process === undefined)
      processes.set(segment.process, (process = { open: new Map(), leases: new Map() }))
    try {
      readSegment(segment, process, log)
    } catch {
      // Whatever a crash has left behind the last whole frame.
    }
  }
  const byTime = (a: { at: number }, b: { at: number }): number => a.at - b.at
  const { arrivals, sendings, ...rest } = log
  return { ...rest, arrivals: arrivals.toSorted(byTime), sendings: sendings.toSorted(byTime) }
}

function readSegment(segment: ArchivedSegment, { open, leases }: Process, log: Gathered): void {
  const { config } = segment
  /** The segment's own, then those that requests had begun with before. */
  const configs = [config]
  let nextLease: number | undefined

  /** A lease was given; none of what is passed on has an upstream whose requests are modelled. */
  function granted(upstream: RecordedUpstream | undefined, sentAt: Instant, one?: Open): void {
    if (nextLease === undefined) return
    const lease = nextLease++
    if (upstream === undefined) return
    const sending: Sending = {
      upstream,
      at: sentAt.wall,
      endedAt: sentAt.wall,
      firstByteMs: undefined,
      readings: [],
      outcome: { kind: 'aborted', sent: false },
      arrival: undefined,
    }
    leases.set(lease, sending)
    one?.sent.push(sending)
  }

  for (const { kind, of } of framesIn(segment)) {
    if (kind === 'state') {
      const state = of.state()
      nextLease = state.nextLease
      log.states.push({ at: of.at, state })
      if (log.configs.at(-1)?.config !== config) log.configs.push({ config, from: of.at.wall })
    } else if (nextLease === undefined) return
    else if (kind === 'begin') {
      const own = configs[of.config] ?? config
      if (!open.has(of.request)) open.set(of.request, { begin: of, config: own, first: undefined, sent: [] })
    } else if (kind === 'earlier') configs.push(of())
    else if (kind === 'choice') {
      const one = open.get(of.request)
      if (one !== undefined) one.first ??= of
      if (of.granted !== undefined) granted(one?.config.upstreams[of.granted], of.at, one)
    } else if (kind === 'lease') {
      const own = configs[of.config]?.upstreams ?? []
      if (of.granted !== undefined) granted(own[Math.floor(of.granted / CLAIM_KINDS)], of.at)
    } else if (kind === 'foreignLease') {
      if (of) nextLease += 1
    } else if (kind === 'answer') {
      const sending = leases.get(of.lease)
      if (sending !== undefined) Object.assign(sending, of.answer)
    } else if (kind === 'settle') {
      const sending = leases.get(of.lease)
      leases.delete(of.lease)
      if (sending === undefined) continue
      const { outcome, at } = of
      if (outcome.kind === 'failed') sending.readings = outcome.readings
      log.sendings.push(Object.assign(sending, { outcome, endedAt: at.wall }))
    } else if (kind === 'end') {
      const one = open.get(of.request)
      open.delete(of.request)
      const arrival = one && arrivalOf(one, of)
      if (arrival !== undefined) log.arrivals.push(arrival)
    } else if (kind === 'breakers' || kind === 'pause' || kind === 'resume')
      log.interventions.push({ kind, at: of.at.wall, scopes: of.scopes() })
  }
}

/** What a configuration decides, before anybody is chosen. */
const DECIDED_BY_CONFIG: ReadonlySet<string | undefined> = new Set([
  'model_not_found',
  'unsupported_endpoint',
  'no_upstream',
])

/** Undefined for what the relay had nothing to do with, whatever the configuration says of upstreams. */
function arrivalOf({ begin, config, first, sent }: Open, end: EndFrame): Arrival | undefined {
  const endpoint = endpoints.find((one) => one === begin.endpoint)
  if (endpoint === undefined || (first === undefined && !DECIDED_BY_CONFIG.has(end.code))) return undefined
  const idOf = (place: number | undefined): string | undefined =>
    place === undefined ? undefined : config.upstreams[place]?.id
  const isPinned = end.attempts[0]?.why === 'pinned'
  const { at, model, stream, token, maskedKey, demand, demands } = begin
  const arrival: Arrival = {
    at: at.wall,
    endpoint,
    model,
    stream,
    token,
    maskedKey,
    demand,
    demands:
      demands.length === 0
        ? undefined
        : Object.fromEntries(demands.map(([place, one]) => [idOf(place) ?? '', one])),
    end,
    stuckTo: idOf(first?.stickTo),
    owner: idOf(first?.owner),
    pinnedTo: isPinned ? sent[0]?.upstream.id : undefined,
    sent,
  }
  for (const sending of sent) sending.arrival = arrival
  return arrival
}
