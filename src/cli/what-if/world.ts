import type { AbortSignalLike } from '../../lib/abort.ts'
import type { ByteChunk } from '../../lib/bytes.ts'
import type { Clock } from '../../lib/clock.ts'
import { SPAN_MS, type Failure, type MeterReading } from '../../pool/outcome.ts'
import type { Endpoint, Upstream } from '../../pool/upstream.ts'
import { originOfRoot } from '../../relay/candidates.ts'
import { TransportError, type TransportFailure, type UpstreamResponse } from '../../transport/transport.ts'
import { bareFailure, classifyStatus, classifyTransport } from '../../vendors/classify.ts'
import { passTime } from './clock.ts'
import { createLedger, type Ledger } from './enforce.ts'
import {
  fitLimits,
  isLimitRefusal,
  isTaken,
  resetIn,
  tokensOf,
  type FittedLimit,
  type FittedLimits,
} from './fit.ts'
import type { Arrival, EventLog, Sending } from './log.ts'
import { ownRefusalOf, troubleAt, troublesOf, type Troubles } from './troubles.ts'

/** How an upstream behaves, as far as a log shows. */
export interface Behaviour {
  /** By what: its own requests, those of another key of its vendor for the same model, or the average of all. */
  readonly knownBy: 'itself' | 'sibling' | 'average'
  /** Whose requests these are; of an average nobody's. */
  readonly like: string | undefined
  readonly fitted: FittedLimits
  readonly troubles: Troubles
  readonly answers: readonly Sending[]
  /** How it has refused at a limit. */
  readonly refusals: readonly Refused[]
}

/** A refusal, and after how many ms it came. */
interface Refused {
  readonly failure: Failure
  readonly ms: number
}

/** Upstreams with fewer answers in the log are not known by them. */
const LEAST_ANSWERS = 5

/** How each upstream behaves that a configuration has, by what the log has of it or of those like it. */
export function behavioursOf({ sendings }: EventLog, upstreams: readonly Upstream[]): Map<string, Behaviour> {
  const bySender = new Map<string, Sending[]>()
  for (const sending of sendings) {
    const known = bySender.get(sending.upstream.id)
    if (known === undefined) bySender.set(sending.upstream.id, [sending])
    else known.push(sending)
  }
  const seen = [...bySender.values()].filter((own) => own.filter(isTaken).length >= LEAST_ANSWERS)
  const made = new Map<readonly Sending[], Shown>()
  function madeOf(own: readonly Sending[]): Shown {
    let behaviour = made.get(own)
    if (behaviour === undefined) made.set(own, (behaviour = behaviourIn(own)))
    return behaviour
  }

  return new Map(
    upstreams.map((upstream): [string, Behaviour] => {
      const own = bySender.get(upstream.id)
      if (own !== undefined && (seen.includes(own) || own.some(({ outcome }) => outcome.kind === 'failed')))
        return [upstream.id, { ...madeOf(own), knownBy: 'itself', like: upstream.name }]
      const siblings = seen.filter(([one]) => one !== undefined && isSibling(one, upstream))
      const [nearest] = siblings.toSorted((a, b) => b.length - a.length)
      if (nearest !== undefined) {
        // What befell the other key alone says nothing of this one.
        const common = nearest.filter(({ outcome }) => outcome.kind !== 'failed' || isOfVendor(outcome))
        const shown = madeOf(nearest)
        return [
          upstream.id,
          {
            ...shown,
            troubles: troublesOf(common, atLimitsOf(nearest, shown.fitted)),
            knownBy: 'sibling',
            like: nearest[0]?.upstream.name,
          },
        ]
      }
      return [upstream.id, { ...averageOf(sendings), knownBy: 'average', like: undefined }]
    }),
  )

  function averageOf(all: readonly Sending[]): Shown {
    const known = made.get(all)
    if (known !== undefined) return known
    const { share, samples } = troublesOf(all, new Set(all.filter(isLimitRefusal)))
    const average = {
      fitted: { limits: [], concurrency: undefined, unexplained: new Set<Sending>() },
      troubles: { outages: [], share, samples },
      answers: all.filter(({ outcome }) => outcome.kind === 'ok' || outcome.kind === 'broken'),
      refusals: [],
    }
    made.set(all, average)
    return average
  }
}

const isSibling = ({ upstream }: Sending, { model, root }: Upstream): boolean =>
  upstream.model === model && upstream.origin === originOfRoot(root)

const isOfVendor = ({ scope, cause }: Failure): boolean => scope !== 'key' && cause === 'failure'

type Shown = Omit<Behaviour, 'knownBy' | 'like'>

/** The refusals that limits explain. */
const atLimitsOf = (own: readonly Sending[], { unexplained }: FittedLimits): ReadonlySet<Sending> =>
  new Set(own.filter((one) => isLimitRefusal(one) && !unexplained.has(one)))

function behaviourIn(own: readonly Sending[]): Shown {
  const fitted = fitLimits(own)
  const explained = atLimitsOf(own, fitted)
  return {
    fitted,
    troubles: troublesOf(own, explained),
    answers: own.filter(({ outcome }) => outcome.kind === 'ok' || outcome.kind === 'broken'),
    refusals: [...explained].flatMap(({ outcome, at, endedAt }) =>
      outcome.kind === 'failed' ? [{ failure: outcome, ms: endedAt - at }] : [],
    ),
  }
}

/** What an attempt comes to, as the store is to hear of it: the words of vendors are in no log. */
export interface Exchange {
  failure: Failure | undefined
  readings: readonly MeterReading[]
}

/** An upstream in a simulation. */
interface SimulatedUpstream {
  /** The most requests that it took within a minute of the clock. */
  busiestMinute(): number
  send(arrival: Arrival, exchange: Exchange, signal: AbortSignalLike): Promise<UpstreamResponse>
}

interface World {
  readonly clock: Clock
  /** Uniform in [0, 1). */
  readonly draw: () => number
  /** Epoch ms. */
  readonly start: number
  readonly sendings: readonly Sending[]
}

/** A refusal is quick. */
const REFUSAL_MS = 50
/** What opens by itself, nobody knows when. */
const CROWDED_MS = 1_000

export function createSimulatedUpstream(
  { id }: Upstream,
  behaviour: Behaviour,
  { clock, draw, start, sendings }: World,
): SimulatedUpstream {
  const { fitted, troubles, refusals } = behaviour
  const ledger = createLedger(fitted)
  const answersFor = createSampler(behaviour.answers)
  if (behaviour.knownBy === 'itself')
    countBefore(
      ledger,
      sendings.filter(({ upstream }) => upstream.id === id),
      start,
    )
  const most = fitted.concurrency ?? Infinity
  let working = 0
  let minute = { of: 0, taken: 0 }
  let busiest = 0

  const after = (ms: number, signal: AbortSignalLike): Promise<void> => passTime(clock, ms, signal)

  const readingsNow = (): MeterReading[] =>
    ledger.entries.flatMap(({ spec, counter }) => {
      const { meter } = spec as FittedLimit
      if (meter === undefined) return []
      const now = clock.wall()
      const resetsIn = resetIn(counter, spec, now)
      return [
        {
          ...meter,
          limit: meter.limit === undefined ? undefined : counter.perSpan,
          remaining: counter.left(now),
          resetMs: meter.resetMs === undefined || resetsIn <= 0 ? undefined : resetsIn,
        },
      ]
    })

  /** As it has refused before, where it has. */
  function refusalNow(cost: { requests: number; tokens: number }): Failure {
    const waits = ledger.entries.map(({ spec, counter }) => ({
      spec: spec as FittedLimit,
      opensIn: counter.opensIn(cost[spec.counts], clock.wall()),
    }))
    const longest = waits.toSorted((a, b) => b.opensIn - a.opensIn)[0]
    const isOverLimit = longest !== undefined && longest.opensIn > 0
    const isLong = isOverLimit && longest.spec.spanMs >= SPAN_MS.day
    const fits = ({ failure: { cause } }: Refused): boolean =>
      isOverLimit ? (cause === 'quota') === isLong : cause === 'overloaded'
    const said = (refusals.findLast(fits) ?? refusals.at(-1))?.failure ?? LIMITED
    const opensIn = isOverLimit ? longest.opensIn : CROWDED_MS
    const { hintMs, ...rest } = said
    return {
      ...rest,
      ...(hintMs !== undefined &&
        Number.isFinite(opensIn) && { hintMs: Math.max(1_000, Math.ceil(opensIn)) }),
      readings: said.readings.length > 0 || said === LIMITED ? readingsNow() : [],
      told: said.told?.filter(
        ({ counts, spanMs }) =>
          isOverLimit && counts === longest.spec.counts && spanMs === longest.spec.spanMs,
      ),
    }
  }

  async function fail(failure: Failure, ms: number, how: { exchange: Exchange; signal: AbortSignalLike }) {
    how.exchange.failure = failure
    const reply = replyFor(failure)
    // The relay's own clock ends it, which another configuration may set otherwise.
    if (reply === 'timeout')
      return new Promise<never>((_, reject) => {
        how.exchange.failure = undefined
        how.signal.addEventListener('abort', () => reject(new TransportError('aborted', 'aborted')))
      })
    await after(ms, how.signal)
    if (typeof reply === 'string') throw new TransportError(reply, reply)
    return reply
  }

  function countMinute(): void {
    const of = Math.floor(clock.wall() / SPAN_MS.minute)
    minute = { of, taken: minute.of === of ? minute.taken + 1 : 1 }
    busiest = Math.max(busiest, minute.taken)
  }

  return {
    busiestMinute: () => busiest,
    async send(arrival, exchange, signal) {
      exchange.failure = undefined
      exchange.readings = []
      const how = { exchange, signal }
      const own = arrival.sent.find(({ upstream }) => upstream.id === id)
      const fault = ownRefusalOf(arrival, own)
      if (fault !== undefined) return fail(fault, REFUSAL_MS, how)
      const trouble = troubleAt(troubles, { now: clock.wall(), endpoint: arrival.endpoint, draw })
      if (trouble !== undefined) return fail(trouble.failure, trouble.ms, how)

      const sample =
        own !== undefined && isAnswered(own) ? own : answersFor(arrival, { now: clock.wall(), draw })
      const usage = usageOn(arrival, sample)
      const cost = { requests: 1, tokens: usage.total_tokens }
      const durationMs = sample === undefined ? DEFAULT_MS : sample.endedAt - sample.at
      const firstByteMs = Math.min(durationMs, sample?.firstByteMs ?? durationMs)
      // It is decided when a refusal would come.
      const decidedMs = Math.min(firstByteMs, refusals[Math.floor(draw() * refusals.length)]?.ms ?? 0)
      if (decidedMs > 0) await after(decidedMs, signal)
      if (working >= most || ledger.opensIn(cost, clock.wall()) > 0)
        return fail(refusalNow(cost), decidedMs > 0 ? 0 : REFUSAL_MS, how)
      ledger.count(cost, clock.wall())
      countMinute()
      exchange.readings = readingsNow()
      working += 1
      let isOver = false
      const over = (): void => {
        if (!isOver) working -= 1
        isOver = true
      }
      const isBroken = sample?.outcome.kind === 'broken'
      try {
        await after((arrival.stream ? firstByteMs : durationMs) - decidedMs, signal)
      } catch (error) {
        over()
        throw error
      }
      if (!arrival.stream) {
        over()
        if (isBroken) throw new TransportError('broken', 'broken')
        // An answer on every endpoint.
        return { status: 200, headers: JSON_TYPE, body: encoded({ output: ['x'], usage }) }
      }
      const parts = partsOf(arrival.endpoint, usage)
      return {
        status: 200,
        headers: EVENTS_TYPE,
        body: {
          async read(): Promise<ByteChunk> {
            const part = parts.shift()
            if (part === undefined) return { done: true }
            if (parts.length > 0) return { done: false, value: part }
            await after(durationMs - firstByteMs, signal).finally(over)
            if (isBroken) throw new TransportError('broken', 'broken')
            return { done: false, value: part }
          },
          cancel: async () => over(),
        },
      }
    },
  }
}

/** Where nothing at all is known. */
const DEFAULT_MS = 1_000

const isAnswered = ({ outcome }: Sending): boolean => outcome.kind === 'ok'

const LIMITED: Failure = {
  kind: 'failed',
  class: 'refused',
  scope: 'upstream',
  cause: 'rate-limited',
  code: 'rate_limit_exceeded',
  status: 429,
  hintMs: 1_000,
  readings: [],
}

/** What was counted before the simulation begins counts on. */
function countBefore(ledger: Ledger, own: readonly Sending[], start: number): void {
  const taken = own.filter(isTaken)
  for (const { spec, counter } of ledger.entries) {
    const amountOf = (one: Sending): number => (spec.counts === 'requests' ? 1 : tokensOf(one))
    const earlier = taken.filter(({ at }) => at < start && at > start - spec.spanMs)
    for (const one of earlier) counter.count(amountOf(one), one.at)
    const { meter } = spec as FittedLimit
    const first = meter && own.find(({ at, readings }) => at >= start && readings.length > 0)
    const told = first?.readings.find((reading) => reading.meter === meter?.meter)
    if (earlier.length > 0 || first === undefined || told === undefined) continue
    const since = taken.filter(({ at }) => at >= start && at <= first.at)
    const before = counter.limit - told.remaining - since.reduce((sum, one) => sum + amountOf(one), 0)
    if (before > 0) counter.count(before, start)
  }
}

/** Answers are drawn from those of the same hour where there are so many, else from all that are alike. */
const ENOUGH = 30
const HOUR_MS = SPAN_MS.hour

function createSampler(answers: readonly Sending[]) {
  const lists = new Map<string, Sending[]>()
  const add = (key: string, one: Sending): void => {
    const list = lists.get(key)
    if (list === undefined) lists.set(key, [one])
    else list.push(one)
  }
  for (const one of answers) {
    const { arrival, at } = one
    if (arrival !== undefined) {
      const kind = `${arrival.endpoint} ${arrival.stream}`
      add(`${kind} ${Math.floor(at / HOUR_MS)}`, one)
      add(kind, one)
      add(arrival.endpoint, one)
    }
    add('', one)
  }
  return ({ endpoint, stream }: Arrival, { now, draw }: { now: number; draw: () => number }) => {
    const kind = `${endpoint} ${stream}`
    const keys = [`${kind} ${Math.floor(now / HOUR_MS)}`, kind, endpoint, '']
    const key = keys.find((one) => (lists.get(one)?.length ?? 0) >= (one === '' ? 1 : ENOUGH))
    const list = lists.get(key ?? '') ?? []
    return list[Math.floor(draw() * list.length)]
  }
}

/** What the answer says of its tokens, for chats and for Responses: as in the log where the request was answered, else as others were. */
function usageOn({ demand, end }: Arrival, sample: Sending | undefined) {
  const ofSample = sample?.arrival?.end
  const input = end.inputTokens ?? demand.inputTokens ?? 0
  const output = end.outputTokens ?? ofSample?.outputTokens ?? 0
  return {
    prompt_tokens: input,
    completion_tokens: output,
    total_tokens: input + output,
    input_tokens: input,
    output_tokens: output,
  }
}

const encoder = new TextEncoder()
const encoded = (value: unknown): Uint8Array => encoder.encode(JSON.stringify(value))
const event = (value: unknown): Uint8Array => encoder.encode(`data: ${JSON.stringify(value)}\n\n`)
const JSON_TYPE = { 'content-type': 'application/json' }
const EVENTS_TYPE = { 'content-type': 'text/event-stream' }
const OUTPUT = [{ type: 'message', content: [{ type: 'output_text', text: 'x' }] }]
function partsOf(endpoint: Endpoint, usage: object): Uint8Array[] {
  if (endpoint === 'responses')
    return [
      event({ type: 'response.output_text.delta', delta: 'x' }),
      event({ type: 'response.completed', response: { status: 'completed', output: OUTPUT, usage } }),
    ]
  const done = encoder.encode('data: [DONE]\n\n')
  const last = event({ choices: [{ index: 0, delta: {}, finish_reason: 'stop' }], usage })
  const first = event({ choices: [{ index: 0, delta: { content: 'x' }, text: 'x' }] })
  return [first, new Uint8Array([...last, ...done])]
}

const TRANSPORT_FAILURES = [
  'not-sent',
  'connect-timeout',
  'proxy',
  'timeout',
  'broken',
  'undecodable',
] as const
/** Bodies of errors by which a failure may have been told from others of its status. */
const ERROR_BODIES = [
  '',
  'server_error',
  'rate_limit_exceeded',
  'model_not_found',
  'context_length_exceeded',
  'queue_exceeded',
  'insufficient_quota',
  'invalid_request_error',
  'invalid_api_key',
  'content_filter',
  'overloaded_error',
  // Zhipu's code of a plan whose hours are spent.
  '1308',
].map((code) => (code === '' ? new Uint8Array(0) : encoded({ error: { message: 'no', type: code, code } })))
const replies = new Map<string, UpstreamResponse | TransportFailure>()

/** What an upstream may have answered that the relay takes for a failure, by its class, its cause and its code. */
export function replyFor(failure: Failure): UpstreamResponse | TransportFailure {
  const key = [failure.class, failure.cause, failure.code, failure.scope, failure.status].join(' ')
  const known = replies.get(key)
  if (known !== undefined) return known
  const reply = replyMadeFor(failure)
  replies.set(key, reply)
  return reply
}

function replyMadeFor(failure: Failure): UpstreamResponse | TransportFailure {
  const { status } = failure
  const likeness = (other: Failure): number =>
    (other.class === failure.class ? 8 : 0) +
    (other.code === failure.code ? 4 : 0) +
    (other.cause === failure.cause ? 2 : 0) +
    (other.scope === failure.scope ? 1 : 0)
  if (failure.class === 'unfit')
    return { status: 200, headers: JSON_TYPE, body: encoded({ id: 'x', choices: [] }) }
  if (status === undefined) {
    const all = TRANSPORT_FAILURES.map((kind) => ({ kind, like: likeness(classifyTransport(kind)) }))
    return all.toSorted((a, b) => b.like - a.like)[0]?.kind ?? 'broken'
  }
  // An error inside a success is judged by the status that it should have had; a page in its place is none.
  if (status < 400)
    return likeness(bareFailure('badAnswer', status)) >= 8
      ? { status, headers: {}, body: encoder.encode('<html>') }
      : 'broken'
  const all = ERROR_BODIES.map((body) => ({
    body,
    like: likeness(classifyStatus({ status, headers: {}, body, wallNow: 0 })),
  }))
  const body = all.toSorted((a, b) => b.like - a.like)[0]?.body ?? new Uint8Array(0)
  return { status, headers: JSON_TYPE, body }
}
