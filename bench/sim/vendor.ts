import type { AbortSignalLike } from '../../src/lib/abort.ts'
import type { Clock } from '../../src/lib/clock.ts'
import { TransportError, type Send, type UpstreamResponse } from '../../src/transport/transport.ts'
import type { Arrivals } from './arrivals.ts'
import { passTime } from '../../src/cli/what-if/clock.ts'
import { dialects, type DialectName, type Gauge } from './dialect.ts'
import type { Distribution } from './dice.ts'
import { createLedger, type LimitCost, type LimitSpec } from '../../src/cli/what-if/enforce.ts'

/** An upstream as a vendor runs it: what it enforces, how long it takes, what it tells. */
export interface VendorSpec {
  /** Its host is `<name>.sim`. */
  readonly name: string
  readonly limits: readonly LimitSpec[]
  /** How many requests it works on at once. */
  readonly concurrency?: number
  /** From the request to the complete answer. */
  readonly latency: Distribution
  readonly dialect: DialectName
  /** How far its clock is ahead of the true time: its windows, its `date` and all points in time that it tells go by it. */
  readonly clockOffMs?: number
  /** When somebody else spends a request of the same limits, ms after the start of the run. */
  readonly others?: Arrivals
}

export interface Vendor {
  readonly spec: VendorSpec
  readonly tally: { refused: number }
  readonly send: Send
  /** For how many ms it has had room for one more request, beside those that are on their way to it; 0 = it has none. */
  roomForMs(): number
}

/** What a vendor needs of its run. */
interface VendorBed {
  readonly clock: Clock
  readonly draw: () => number
  /** Of every request and of its answer. */
  readonly tokens: { readonly input: number; readonly output: number }
  /** The part of the time to the answer within which a request is counted, 0–1. */
  readonly countedWithin: number
}

/** A refusal is quick. */
const REFUSAL_MS = 20
/** Nobody knows when one of those ends that it works on. */
const CROWDED_MS = 1000

/** What requests and tokens a number of requests cost. */
export const costOf = ({ input, output }: VendorBed['tokens'], requests = 1): LimitCost => ({
  requests,
  tokens: requests * (input + output),
})

/** A vendor's clock, by the true time. */
export const ownTime = ({ clockOffMs = 0 }: VendorSpec, trueTime: number): number => trueTime + clockOffMs

/**
 * An upstream that counts a request some time after its sending, whichever the dice say, and refuses what is over a limit;
 * what it refuses costs nothing. What it tells of its limits was so when it counted.
 */
export function createVendor(spec: VendorSpec, { clock, draw, tokens, countedWithin }: VendorBed): Vendor {
  const ledger = createLedger(spec)
  const tally = { refused: 0 }
  const most = spec.concurrency ?? Infinity
  const dialect = dialects[spec.dialect]
  const cost = costOf(tokens)
  const now = (): number => ownTime(spec, clock.wall())
  /** Sent and not counted yet; counted and not answered yet. */
  let coming = 0
  let working = 0
  /** Since when, or from when on, one more has room beside those that are coming. */
  let roomFrom = -Infinity

  for (const { at, run } of ledger.happenings) {
    clock.after(at, () => {
      run(now())
      noteRoom()
    })
  }

  function noteRoom(): void {
    const wait = working + coming < most ? ledger.opensIn(costOf(tokens, coming + 1), now()) : Infinity
    roomFrom = wait > 0 ? clock.wall() + wait : Math.min(roomFrom, clock.wall())
  }

  const after = (ms: number, signal: AbortSignalLike): Promise<void> => passTime(clock, ms, signal)

  function gaugesNow(): Gauge[] {
    return ledger.entries.map(({ spec: { counts, spanMs }, counter }) => ({
      counts,
      spanMs,
      limit: counter.limit,
      perSpan: counter.perSpan,
      left: counter.left(now()),
      resetsIn: counter.resetsIn(now()),
      freesIn: counter.freesIn(now()),
    }))
  }

  /** The limit that takes longest to open; none of them = too many at once. */
  function refusal(): { body: unknown; headers: UpstreamResponse['headers'] } {
    tally.refused += 1
    const gauges = gaugesNow()
    const waits = ledger.entries.map(({ spec: { counts }, counter }) => counter.opensIn(cost[counts], now()))
    const longest = Math.max(0, ...waits)
    const spent = longest > 0 ? gauges[waits.indexOf(longest)] : undefined
    const opensIn = spent === undefined ? CROWDED_MS : longest
    const { headers, body } = dialect.refusal({ spent, opensIn, wall: now() })
    return { body, headers: { ...dialect.headers(gauges, now()), ...headers } }
  }

  function json(status: number, body: unknown, headers: UpstreamResponse['headers']): UpstreamResponse {
    // The head of an answer is written when it is complete, what it says of the limits was so when it was counted.
    const date = new Date(now()).toUTCString()
    return {
      status,
      headers: { 'content-type': 'application/json', date, ...headers },
      body: encoder.encode(JSON.stringify(body)),
    }
  }

  return {
    spec,
    tally,
    roomForMs: () => Math.max(0, clock.wall() - roomFrom),
    async send(_request, signal) {
      const latency = spec.latency(draw)
      const countedAfter = latency * countedWithin * draw()
      coming += 1
      noteRoom()
      await after(countedAfter, signal).finally(() => {
        coming -= 1
        noteRoom()
      })
      if (working >= most || ledger.opensIn(cost, now()) > 0) {
        const { body, headers } = refusal()
        await after(REFUSAL_MS, signal)
        return json(429, body, headers)
      }
      ledger.count(cost, now())
      working += 1
      noteRoom()
      const headers = dialect.headers(gaugesNow(), now())
      await after(latency - countedAfter, signal).finally(() => {
        working -= 1
        noteRoom()
      })
      const usage = {
        prompt_tokens: tokens.input,
        completion_tokens: tokens.output,
        total_tokens: cost.tokens,
      }
      const choices = [{ index: 0, message: { role: 'assistant', content: 'x' }, finish_reason: 'stop' }]
      return json(200, { id: 'chatcmpl-1', object: 'chat.completion', choices, usage }, headers)
    },
  }
}

const encoder = new TextEncoder()

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
