import type { ArchivedSegment } from '../../events/archive.ts'
import { passFrame } from '../../events/explain.ts'
import { FrameReader } from '../../events/frames.ts'
import {
  FRAMES,
  readAnswer,
  readBegin,
  readChoice,
  readEnd,
  readLease,
  readScopes,
  readSettle,
  type BeginFrame,
  type ChoiceFrame,
  type EndFrame,
} from '../../events/record.ts'
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

function readSegment({ config, bytes }: ArchivedSegment, { open, leases }: Process, log: Gathered): void {
  const reader = new FrameReader(bytes)
  if (reader.frame() !== FRAMES.state) return
  const at = reader.moment()
  const state = reader.json() as RecordedState
  log.states.push({ at, state })
  if (log.configs.at(-1)?.config !== config) log.configs.push({ config, from: at.wall })
  /** The segment's own, then those that requests had begun with before. */
  const configs = [config]
  let { nextLease } = state

  /** A lease was given; none of what is passed on has an upstream whose requests are modelled. */
  function granted(upstream: RecordedUpstream | undefined, sentAt: Instant, one?: Open): void {
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

  for (let type = reader.frame(); type !== undefined; type = reader.frame()) {
    if (type === FRAMES.begin) {
      const begin = readBegin(reader)
      const own = configs[begin.config] ?? config
      if (!open.has(begin.request))
        open.set(begin.request, { begin, config: own, first: undefined, sent: [] })
    } else if (type === FRAMES.earlier) {
      configs.push(reader.json() as RecordedConfig)
    } else if (type === FRAMES.choice) {
      const choice = readChoice(reader)
      const one = open.get(choice.request)
      if (one !== undefined) one.first ??= choice
      if (choice.granted !== undefined) granted(one?.config.upstreams[choice.granted], choice.at, one)
    } else if (type === FRAMES.lease) {
      const lease = readLease(reader)
      const own = configs[lease.config]?.upstreams ?? []
      if (lease.granted !== undefined) granted(own[Math.floor(lease.granted / CLAIM_KINDS)], lease.at)
    } else if (type === FRAMES.foreignLease) {
      if (reader.byte() === 1) nextLease += 1
    } else if (type === FRAMES.answer) {
      const { lease, answer } = readAnswer(reader)
      const sending = leases.get(lease)
      if (sending !== undefined) Object.assign(sending, answer)
    } else if (type === FRAMES.settle) {
      const { lease, at: settledAt, outcome } = readSettle(reader)
      const sending = leases.get(lease)
      leases.delete(lease)
      if (sending === undefined) continue
      if (outcome.kind === 'failed') sending.readings = outcome.readings
      log.sendings.push(Object.assign(sending, { outcome, endedAt: settledAt.wall }))
    } else if (type === FRAMES.end) {
      const end = readEnd(reader)
      const one = open.get(end.request)
      open.delete(end.request)
      const arrival = one && arrivalOf(one, end)
      if (arrival !== undefined) log.arrivals.push(arrival)
    } else if (type === FRAMES.breakers || type === FRAMES.pause || type === FRAMES.resume) {
      const { at: done, scopes } = readScopes(reader)
      const kind = type === FRAMES.breakers ? 'breakers' : type === FRAMES.pause ? 'pause' : 'resume'
      log.interventions.push({ kind, at: done.wall, scopes })
    } else passFrame(reader, type)
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
