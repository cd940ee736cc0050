import { abilities } from '../pool/outcome.ts'
import type { Ability, Failure, MeterReading, Outcome, Scope, ToldLimit } from '../pool/outcome.ts'
import type { Demand } from '../relay/demand.ts'
import type { AttemptRecord, ChoiceNote } from '../relay/deps.ts'
import type { Instant } from '../lib/clock.ts'
import type { Knowledge } from '../state/abilities.ts'
import type { AnswerStart } from '../state/store.ts'
import type { FrameReader, FrameWriter } from './frames.ts'

/** What a frame is about. The numbers stand in files: none ever means something else. */
export const FRAMES = {
  head: 1,
  config: 2,
  state: 3,
  begin: 4,
  choice: 5,
  lease: 6,
  foreignLease: 7,
  answer: 8,
  settle: 9,
  breakers: 10,
  ability: 11,
  end: 12,
  pause: 13,
  resume: 14,
  earlier: 15,
  more: 16,
} as const

/** A request, once in each segment in which something is written of it. Upstreams go by their place in the configuration. */
export interface BeginFrame {
  /** Unique in the process. */
  readonly request: number
  /** That it goes by: 0 is that of the segment, the others those of `earlier` frames, counted from 1. */
  readonly config: number
  readonly ownId: string
  /** The client's own id; undefined = it sent none. */
  readonly clientId: string | undefined
  /** The name of the client's token; undefined = it has none. */
  readonly token: string | undefined
  readonly endpoint: string
  readonly model: string
  readonly stream: boolean
  /** Arrival. */
  readonly at: Instant
  /** The hash of the affinity key, masked; 0 = none. */
  readonly maskedKey: number
  readonly demand: Demand
  /** By the place of an upstream: what differs there. */
  readonly demands: readonly (readonly [upstream: number, Demand])[]
}

/** What a lease was asked for with, besides the demand of the request. */
export interface AskFrame {
  readonly patienceMs: number
  readonly probeMs: number
  readonly lastResort: boolean
  /** The operator's own request, which nothing keeps away. */
  readonly isTrial?: boolean
}

export interface ChoiceFrame extends AskFrame {
  readonly request: number
  readonly at: Instant
  readonly kind: ChoiceNote['kind']
  readonly isWaiting: boolean
  /** Undefined = all of the pool. */
  readonly base: readonly number[] | undefined
  /** Undefined = all of `base`. */
  readonly left: readonly number[] | undefined
  readonly refusers: readonly number[]
  readonly stickTo: number | undefined
  readonly owner: number | undefined
  /** Of the dice; undefined where none were thrown. */
  readonly seed: number | undefined
  /** Of a remaining order; else it follows. */
  readonly order: readonly number[]
  /** Whether the store was asked: not where nobody could be taken. */
  readonly isAsked: boolean
  /** Who gave the lease. */
  readonly granted: number | undefined
}

/** A lease that was asked for without a choice. `claims`: see `claimAt`. */
export interface LeaseFrame extends AskFrame {
  /** As in `BeginFrame`. */
  readonly config: number
  readonly at: Instant
  readonly claims: readonly number[]
  readonly demand: Pick<Demand, 'inputTokens' | 'outputTokens'>
  /** The claim that gave it. */
  readonly granted: number | undefined
}

export interface AnswerFrame {
  /** The id of the lease. */
  readonly lease: number
  readonly at: Instant
  readonly answer: AnswerStart
}

export interface SettleFrame {
  readonly lease: number
  readonly at: Instant
  readonly outcome: Outcome
  /** What the store's dice gave. */
  readonly dice: readonly number[]
}

export interface EndFrame {
  readonly request: number
  readonly at: Instant
  readonly status: number
  readonly code: string | undefined
  readonly upstream: string | undefined
  readonly queuedMs: number
  readonly firstByteMs: number | undefined
  readonly durationMs: number
  readonly inputTokens: number | undefined
  readonly outputTokens: number | undefined
  readonly attempts: readonly AttemptFrame[]
}

/** What is written of an attempt, and read again. */
export interface AttemptFrame {
  readonly upstream: string
  readonly model: string
  readonly outcome: string
  readonly status: number | undefined
  readonly firstByteMs: number | undefined
  readonly durationMs: number
  readonly why: string | undefined
  readonly reason: string | undefined
}

const KINDS: readonly ChoiceNote['kind'][] = ['next', 'remaining', 'last-resort', 'rare-last-resort']

/** Tenths of a ms are enough to be looked at. */
const tenths = (ms: number | undefined): number | undefined =>
  ms === undefined ? undefined : Math.max(0, Math.round(ms * 10))
const fromTenths = (written: number | undefined): number | undefined =>
  written === undefined ? undefined : written / 10

export function writeBegin(writer: FrameWriter, frame: BeginFrame): void {
  const { clientId = '', token = '', demands } = frame
  writer.begin(FRAMES.begin)
  writer.count(frame.request)
  writer.count(frame.config)
  writer.id(frame.ownId)
  writer.words(clientId)
  writer.text(token)
  writer.text(frame.endpoint)
  writer.text(frame.model)
  writer.byte(frame.stream ? 1 : 0)
  writer.moment(frame.at)
  writer.number(frame.maskedKey)
  writeDemand(writer, frame.demand)
  writer.count(demands.length)
  for (const [upstream, demand] of demands) {
    writer.count(upstream)
    writeDemand(writer, demand)
  }
  writer.end()
}

export function readBegin(reader: FrameReader): BeginFrame {
  return {
    request: reader.count(),
    config: reader.count(),
    ownId: reader.id(),
    clientId: reader.words() || undefined,
    token: reader.text() || undefined,
    endpoint: reader.text(),
    model: reader.text(),
    stream: reader.byte() === 1,
    at: reader.moment(),
    maskedKey: reader.number() ?? 0,
    demand: readDemand(reader),
    demands: many(reader, () => [reader.count(), readDemand(reader)] as const),
  }
}

function writeDemand(writer: FrameWriter, demand: Demand): void {
  const { inputTokens, outputTokens, choices, needs } = demand
  writer.number(inputTokens)
  writer.number(outputTokens)
  writer.number(choices)
  writer.byte(needs.abilities.reduce((bits, ability) => bits | (1 << abilities.indexOf(ability)), 0))
  writer.number(needs.context)
  writer.number(needs.output)
  writer.number(needs.body)
}

const NO_ABILITIES: readonly Ability[] = []

function readDemand(reader: FrameReader): Demand {
  const [inputTokens, outputTokens, choices = 1] = [reader.number(), reader.number(), reader.number()]
  const bits = reader.byte()
  const needed = bits === 0 ? NO_ABILITIES : abilities.filter((_, at) => (bits & (1 << at)) !== 0)
  const [context = 0, output = 0, body = 0] = [reader.number(), reader.number(), reader.number()]
  return { inputTokens, outputTokens, choices, needs: { abilities: needed, context, output, body } }
}

export function writeChoice(writer: FrameWriter, frame: ChoiceFrame): void {
  writer.begin(FRAMES.choice)
  writer.count(frame.request)
  writer.moment(frame.at)
  writer.byte(
    KINDS.indexOf(frame.kind) +
      (frame.isWaiting ? 4 : 0) +
      (frame.lastResort ? 8 : 0) +
      (frame.isAsked ? 16 : 0) +
      (frame.seed !== undefined ? 32 : 0),
  )
  writer.number(frame.patienceMs)
  writer.number(frame.probeMs)
  writePlaces(writer, frame.base)
  writePlaces(writer, frame.left)
  writePlaces(writer, frame.refusers)
  writer.number(frame.stickTo)
  writer.number(frame.owner)
  if (frame.seed !== undefined) writer.count(frame.seed)
  writePlaces(writer, frame.order)
  writer.number(frame.granted)
  writer.end()
}

export function readChoice(reader: FrameReader): ChoiceFrame {
  const [request, at, bits] = [reader.count(), reader.moment(), reader.byte()]
  return {
    request,
    at,
    kind: KINDS[bits % 4] ?? 'next',
    isWaiting: (bits & 4) !== 0,
    lastResort: (bits & 8) !== 0,
    isAsked: (bits & 16) !== 0,
    patienceMs: reader.number() ?? 0,
    probeMs: reader.number() ?? 0,
    base: readPlaces(reader),
    left: readPlaces(reader),
    refusers: readPlaces(reader) ?? [],
    stickTo: reader.number(),
    owner: reader.number(),
    seed: (bits & 32) !== 0 ? reader.count() : undefined,
    order: readPlaces(reader) ?? [],
    granted: reader.number(),
  }
}

export function writeLease(writer: FrameWriter, frame: LeaseFrame): void {
  writer.begin(FRAMES.lease)
  writer.count(frame.config)
  writer.moment(frame.at)
  writer.byte((frame.lastResort ? 1 : 0) + (frame.isTrial ? 2 : 0))
  writer.number(frame.patienceMs)
  writer.number(frame.probeMs)
  writePlaces(writer, frame.claims)
  writer.number(frame.demand.inputTokens)
  writer.number(frame.demand.outputTokens)
  writer.number(frame.granted)
  writer.end()
}

export function readLease(reader: FrameReader): LeaseFrame {
  const [config, at, bits] = [reader.count(), reader.moment(), reader.byte()]
  return {
    config,
    at,
    lastResort: (bits & 1) !== 0,
    isTrial: (bits & 2) !== 0,
    patienceMs: reader.number() ?? 0,
    probeMs: reader.number() ?? 0,
    claims: readPlaces(reader) ?? [],
    demand: { inputTokens: reader.number(), outputTokens: reader.number() },
    granted: reader.number(),
  }
}

export function writeAnswer(writer: FrameWriter, { lease, at, answer }: AnswerFrame): void {
  writer.begin(FRAMES.answer)
  writer.count(lease)
  writer.moment(at)
  writer.number(answer.firstByteMs)
  writeReadings(writer, answer.readings)
  writer.end()
}

export const readAnswer = (reader: FrameReader): AnswerFrame => ({
  lease: reader.count(),
  at: reader.moment(),
  answer: { firstByteMs: reader.number() ?? 0, readings: readReadings(reader) },
})

export function writeSettle(writer: FrameWriter, { lease, at, outcome, dice }: SettleFrame): void {
  writer.begin(FRAMES.settle)
  writer.count(lease)
  writer.moment(at)
  writeOutcome(writer, outcome)
  writer.count(dice.length)
  for (const value of dice) writer.float(value)
  writer.end()
}

export const readSettle = (reader: FrameReader): SettleFrame => ({
  lease: reader.count(),
  at: reader.moment(),
  outcome: readOutcome(reader),
  dice: many(reader, () => reader.float()),
})

const OUTCOMES = ['ok', 'failed', 'broken', 'aborted'] as const

function writeOutcome(writer: FrameWriter, outcome: Outcome): void {
  writer.byte(OUTCOMES.indexOf(outcome.kind))
  if (outcome.kind === 'failed') return writeFailure(writer, outcome)
  writer.number(outcome.tokens)
  if (outcome.kind === 'ok') writer.number(outcome.outputTokens)
  else if (outcome.kind === 'broken') writer.text(outcome.code)
  else writer.byte(outcome.sent ? 1 : 0)
}

function readOutcome(reader: FrameReader): Outcome {
  const kind = OUTCOMES[reader.byte()] ?? 'ok'
  if (kind === 'failed') return readFailure(reader)
  const tokens = reader.number()
  if (kind === 'ok') return { kind, tokens, outputTokens: reader.number() }
  if (kind === 'broken') return { kind, tokens, code: reader.text() as 'upstream_timeout' }
  return { kind, tokens, sent: reader.byte() === 1 }
}

/** Only what a store goes by. */
function writeFailure(writer: FrameWriter, failure: Failure): void {
  const { class: kind, scope, cause, code, isInferred, hintMs, status, readings, told = [] } = failure
  writer.text([kind, scope, cause, code].join(' '))
  writer.byte(isInferred ? 1 : 0)
  writer.number(hintMs)
  writer.number(status)
  writeReadings(writer, readings)
  writer.count(told.length)
  for (const limit of told) {
    writer.text(`${limit.counts} ${limit.scope}`)
    writer.number(limit.limit)
    writer.number(limit.spanMs)
  }
}

function readFailure(reader: FrameReader): Failure {
  const [kind, scope, cause, code] = reader.text().split(' ')
  const [bits, hintMs, status] = [reader.byte(), reader.number(), reader.number()]
  return {
    kind: 'failed',
    class: kind as Failure['class'],
    scope: scope as Failure['scope'],
    cause: cause as Failure['cause'],
    code: code as Failure['code'],
    ...(bits === 1 && { isInferred: true }),
    ...(hintMs !== undefined && { hintMs }),
    ...(status !== undefined && { status }),
    readings: readReadings(reader),
    told: many(reader, () => {
      const [counts, named] = reader.text().split(' ') as [ToldLimit['counts'], ToldLimit['scope']]
      return { counts, scope: named, limit: reader.number() ?? 0, spanMs: reader.number() ?? 0 }
    }),
  }
}

/** By their places, which stand in files. */
const SCOPES: readonly Scope[] = ['upstream', 'key', 'proxy', 'endpoint', 'quota', 'none']

function writeReadings(writer: FrameWriter, readings: readonly MeterReading[]): void {
  writer.count(readings.length)
  for (const reading of readings) {
    const { counts, scope, isDuration } = reading
    const duration = isDuration === undefined ? 0 : isDuration ? 2 : 4
    writer.byte((counts === 'tokens' ? 1 : 0) + duration + SCOPES.indexOf(scope) * 8)
    writer.text(reading.meter)
    writer.number(reading.limit)
    writer.number(reading.remaining)
    writer.number(reading.resetMs)
    writer.number(reading.spanMs)
  }
}

const readReadings = (reader: FrameReader): MeterReading[] =>
  many(reader, () => {
    const [bits, meter] = [reader.byte(), reader.text()]
    const [limit, remaining = 0] = [reader.number(), reader.number()]
    const [resetMs, spanMs] = [reader.number(), reader.number()]
    const counts = (bits & 1) === 0 ? 'requests' : 'tokens'
    const isDuration = (bits & 6) === 0 ? undefined : (bits & 2) !== 0
    const scope = SCOPES[bits >> 3] ?? 'none'
    return { meter, counts, scope, limit, remaining, resetMs, spanMs, isDuration }
  })

type WrittenEnd = Omit<EndFrame, 'attempts'> & { readonly attempts: readonly AttemptRecord[] }

export function writeEnd(writer: FrameWriter, frame: WrittenEnd): void {
  writer.begin(FRAMES.end)
  writer.count(frame.request)
  writer.moment(frame.at)
  writer.number(frame.status)
  writer.text(frame.code ?? '')
  writer.text(frame.upstream ?? '')
  writer.number(tenths(frame.queuedMs))
  writer.number(tenths(frame.firstByteMs))
  writer.number(tenths(frame.durationMs))
  writer.number(frame.inputTokens)
  writer.number(frame.outputTokens)
  writer.count(frame.attempts.length)
  for (const attempt of frame.attempts) {
    writer.text(attempt.upstream)
    writer.text(attempt.model)
    writer.text(attempt.outcome)
    writer.text(attempt.why ?? '')
    writer.text(attempt.failure?.reason ?? '')
    writer.number(attempt.status)
    writer.number(tenths(attempt.firstByteMs))
    writer.number(tenths(attempt.durationMs))
  }
  writer.end()
}

export function readEnd(reader: FrameReader): EndFrame {
  // One after the other, since all of a log is read so: lists of values take several times as long.
  const request = reader.count()
  const at = reader.moment()
  const status = reader.number() ?? 0
  const code = reader.text() || undefined
  const upstream = reader.text() || undefined
  const queuedMs = fromTenths(reader.number()) ?? 0
  const firstByteMs = fromTenths(reader.number())
  const durationMs = fromTenths(reader.number()) ?? 0
  const inputTokens = reader.number()
  const outputTokens = reader.number()
  const attempts = many(reader, readAttempt)
  const times = { queuedMs, firstByteMs, durationMs }
  return { request, at, status, code, upstream, ...times, inputTokens, outputTokens, attempts }
}

function readAttempt(reader: FrameReader): AttemptFrame {
  const upstream = reader.text()
  const model = reader.text()
  const outcome = reader.text()
  const why = reader.text() || undefined
  const reason = reader.text() || undefined
  const status = reader.number()
  const firstByteMs = fromTenths(reader.number())
  const durationMs = fromTenths(reader.number()) ?? 0
  return { upstream, model, outcome, why, reason, status, firstByteMs, durationMs }
}

/** What an operator did to scopes: ended their rest, paused or resumed them. */
export function writeScopes(
  writer: FrameWriter,
  type: 'breakers' | 'pause' | 'resume',
  { scopes, at }: { readonly scopes: readonly string[]; readonly at: Instant },
): void {
  writer.begin(FRAMES[type])
  writer.moment(at)
  writer.json(scopes)
  writer.end()
}

export const readScopes = (reader: FrameReader) => ({
  at: reader.moment(),
  scopes: reader.json() as () => readonly string[],
})

export function writeAbility(writer: FrameWriter, upstreamId: string, knowledge: Knowledge): void {
  writer.begin(FRAMES.ability)
  writer.text(upstreamId)
  writer.json(knowledge)
  writer.end()
}

export const readAbility = (reader: FrameReader) => ({
  upstreamId: reader.text(),
  knowledge: reader.json() as () => Knowledge,
})

/** A list of places in the configuration, or none. */
function writePlaces(writer: FrameWriter, places: readonly number[] | undefined): void {
  writer.count(places === undefined ? 0 : places.length + 1)
  for (const place of places ?? []) writer.count(place)
}

function readPlaces(reader: FrameReader): number[] | undefined {
  const length = reader.length()
  if (length === 0) return undefined
  const places: number[] = []
  for (let left = length - 1; left > 0; left--) places.push(reader.count())
  return places
}

function many<Item>(reader: FrameReader, read: (reader: FrameReader) => Item): Item[] {
  const items: Item[] = []
  for (let left = reader.length(); left > 0; left--) items.push(read(reader))
  return items
}
