import type { AbortSignalLike } from '../../src/lib/abort.ts'
import type { Clock } from '../../src/lib/clock.ts'
import {
  TransportError,
  type Send,
  type UpstreamRequest,
  type UpstreamResponse,
} from '../../src/transport/transport.ts'
import { dialects, type DialectName } from './dialect.ts'
import type { Distribution } from './dice.ts'
import type { CountName, Gauge, Gauges } from './gauge.ts'
import { createCounter, type Counter, type Forgetting } from './enforce.ts'

/** An upstream as a vendor runs it: what it enforces, how long it takes, what it tells. */
export interface VendorSpec {
  /** Its host is `<name>.sim`. */
  readonly name: string
  readonly limits: {
    readonly rpm?: number
    readonly rpd?: number
    readonly tpm?: number
    readonly tpd?: number
    readonly concurrency?: number
  }
  /** How it forgets the requests and tokens of a minute. */
  readonly minute: 'rolling' | 'wall' | 'bucket'
  /** When its day ends: an IANA zone; or how it forgets instead: `rolling`, or as a `bucket` that refills steadily. */
  readonly day: string
  /** From the request to the complete answer. */
  readonly latency: Distribution
  readonly dialect: DialectName
  /** Whether its refusals carry `retry-after`. */
  readonly retryAfter: boolean
}

/** What a vendor has seen. */
export interface VendorTally {
  answered: number
  refused: number
  /** Refusals by the limit that was spent. */
  readonly refusedFor: Map<string, number>
  /** When it refused, epoch ms. */
  readonly refusedAt: number[]
}

export interface Vendor {
  readonly spec: VendorSpec
  readonly tally: VendorTally
  readonly send: Send
}

/** The body that the simulation's clients send: tokens in and tokens that the answer will have. */
export interface SimBody {
  readonly model: string
  readonly input: number
  readonly output: number
}

const DAY_MS = 86_400_000
const MINUTE_MS = 60_000
/** A refusal is quick. */
const REFUSAL_MS = 20

/**
 * An upstream that counts a request at some moment between its sending and its answer, whichever the dice say,
 * and refuses what is over a limit; what it refuses costs nothing.
 */
export function createVendor(
  spec: VendorSpec,
  { clock, draw }: { clock: Clock; draw: () => number },
): Vendor {
  const counters = countersOf(spec)
  const tally: VendorTally = { answered: 0, refused: 0, refusedFor: new Map(), refusedAt: [] }
  const most = spec.limits.concurrency ?? Infinity
  const dialect = dialects[spec.dialect]
  let working = 0

  function after(ms: number, signal: AbortSignalLike): Promise<void> {
    return new Promise((resolve, reject) => {
      const onAbort = (): void => {
        cancel()
        reject(new TransportError('aborted', 'aborted'))
      }
      const cancel = clock.after(ms, () => {
        signal.removeEventListener('abort', onAbort)
        resolve()
      })
      signal.addEventListener('abort', onAbort)
    })
  }

  function gaugesNow(): Gauges {
    const now = clock.wall()
    const gaugeOf = (counter: Counter): Gauge => ({
      limit: counter.limit,
      left: counter.left(now),
      resetsIn: counter.resetsIn(now),
      freesIn: counter.freesIn(now),
    })
    return new Map([...counters].map(([name, counter]) => [name, gaugeOf(counter)]))
  }

  function spentBy(tokens: number): { spent: CountName | 'concurrency'; opensIn: number } | undefined {
    if (working >= most) return { spent: 'concurrency', opensIn: 1000 }
    const waits = [...counters].map(([spent, counter]) => ({
      spent,
      opensIn: counter.opensIn(amountOf(spent, tokens), clock.wall()),
    }))
    const longest = waits.sort((a, b) => b.opensIn - a.opensIn)[0]
    return longest === undefined || longest.opensIn <= 0 ? undefined : longest
  }

  function refusal(why: { spent: CountName | 'concurrency'; opensIn: number }): UpstreamResponse {
    tally.refused += 1
    tally.refusedFor.set(why.spent, (tally.refusedFor.get(why.spent) ?? 0) + 1)
    tally.refusedAt.push(clock.wall())
    const gauges = gaugesNow()
    const { headers, body } = dialect.refusal({ ...why, gauges, wall: clock.wall() })
    const retryAfter = spec.retryAfter && {
      'retry-after': String(Math.max(1, Math.ceil(why.opensIn / 1000))),
    }
    return json(429, body, { ...dialect.headers(gauges), ...headers, ...retryAfter })
  }

  return {
    spec,
    tally,
    async send(request, signal) {
      const { input, output } = bodyOf(request)
      const tokens = input + output
      const latency = spec.latency(draw)
      const countedAfter = latency * draw()
      await after(countedAfter, signal)
      const why = spentBy(tokens)
      if (why !== undefined) {
        const refused = refusal(why)
        await after(REFUSAL_MS, signal)
        return refused
      }
      for (const [name, counter] of counters) counter.count(amountOf(name, tokens), clock.wall())
      const headers = dialect.headers(gaugesNow())
      working += 1
      await after(latency - countedAfter, signal).finally(() => (working -= 1))
      tally.answered += 1
      const usage = { prompt_tokens: input, completion_tokens: output, total_tokens: tokens }
      const choices = [{ index: 0, message: { role: 'assistant', content: 'x' }, finish_reason: 'stop' }]
      return json(200, { id: 'chatcmpl-1', object: 'chat.completion', choices, usage }, headers)
    },
  }
}

const amountOf = (name: CountName, tokens: number): number => (name.startsWith('requests') ? 1 : tokens)

function countersOf({ limits, minute, day }: VendorSpec): Map<CountName, Counter> {
  const ofDay: Forgetting = day === 'rolling' || day === 'bucket' ? day : { zone: day }
  const all: [CountName, number | undefined, Forgetting, number][] = [
    ['requests:minute', limits.rpm, minute, MINUTE_MS],
    ['requests:day', limits.rpd, ofDay, DAY_MS],
    ['tokens:minute', limits.tpm, minute, MINUTE_MS],
    ['tokens:day', limits.tpd, ofDay, DAY_MS],
  ]
  const counters = new Map<CountName, Counter>()
  for (const [name, limit, forgets, spanMs] of all) {
    if (limit !== undefined) counters.set(name, createCounter(limit, { forgets, spanMs }))
  }
  return counters
}

const decoder = new TextDecoder()
const encoder = new TextEncoder()

function bodyOf({ body = [] }: UpstreamRequest): SimBody {
  const { model, input, output }: Partial<SimBody> = JSON.parse(
    body.map((part) => decoder.decode(part)).join(''),
  )
  return { model: String(model), input: Number(input), output: Number(output) }
}

function json(status: number, body: unknown, headers: UpstreamResponse['headers']): UpstreamResponse {
  return {
    status,
    headers: { 'content-type': 'application/json', ...headers },
    body: encoder.encode(JSON.stringify(body)),
  }
}

/** One transport for all vendors, by host. */
export function sendTo(vendors: readonly Vendor[]): Send {
  const byHost = new Map(vendors.map((vendor) => [`${vendor.spec.name}.sim`, vendor]))
  return (request, signal) => {
    const vendor = byHost.get(new URL(request.url).hostname)
    return vendor === undefined
      ? Promise.reject(new TransportError('not-sent', 'no such host'))
      : vendor.send(request, signal)
  }
}
