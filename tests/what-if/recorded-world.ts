import { sendTo, createVendor, type VendorSpec } from '../../bench/sim/vendor.ts'
import { createGateway } from '../../src/adapter/gateway.ts'
import { createSimClock } from '../../src/cli/what-if/clock.ts'
import type { ArchivedSegment } from '../../src/events/archive.ts'
import { createRecorder, type Segment } from '../../src/events/recorder.ts'
import { createWebReceive } from '../../src/http/incoming.ts'
import { toWebResponse } from '../../src/http/response.ts'
import { instantOf } from '../../src/lib/clock.ts'
import { createMemoryStore } from '../../src/state/memory.ts'
import { TransportError, type Send } from '../../src/transport/transport.ts'
import { createDice } from '../../bench/sim/dice.ts'
import { checked, TOKEN } from '../support/test-app.ts'

export const SECRET = Uint32Array.of(1, 2, 3, 4)
export const NOON = Date.UTC(2026, 10, 22, 12)

/** What is true of the world, whatever the gateway is told: vendors, by host; each key has limits of its own. */
export interface World {
  readonly vendors: readonly VendorSpec[]
  /** Ms after the start of the run. */
  readonly arrivals: readonly number[]
  /** When hosts do nothing but fail, ms after the start. */
  readonly outages?: readonly { readonly host: string; readonly from: number; readonly to: number }[]
  /** Of all other requests so many fail by chance. */
  readonly failing?: number
  readonly seed: number
}

/** A gateway under a configuration in such a world, recorded. */
export async function runWorld(world: World, config: object, start = NOON) {
  const { vendors, arrivals, outages = [], failing = 0, seed } = world
  const clock = createSimClock(start)
  const dice = createDice(seed)
  const tokens = { input: 20, output: 20 }
  const made = new Map<string, Send>()

  const send: Send = async (request, signal) => {
    const { hostname } = new URL(request.url)
    const [host = ''] = hostname.split('.')
    const at = clock.now() - start
    if (outages.some((one) => one.host === host && one.from <= at && at < one.to)) {
      await new Promise<void>((resolve) => void clock.after(40, resolve))
      if (dice() < 0.5) throw new TransportError('not-sent', 'connection refused')
      return { status: 502, headers: {}, body: new Uint8Array(0) }
    }
    if (dice() < failing) return { status: 500, headers: {}, body: new Uint8Array(0) }
    const key = `${hostname} ${request.headers['authorization']}`
    let own = made.get(key)
    if (own === undefined) {
      const spec = vendors.find(({ name }) => name === host)
      if (spec === undefined) throw new TransportError('not-sent', 'no such host')
      const draw = createDice(seed + made.size)
      own = sendTo([createVendor(spec, { clock, draw, tokens, countedWithin: 0.1 })])
      made.set(key, own)
    }
    return own(request, signal)
  }

  const sealed: Segment[] = []
  const recorder = createRecorder({
    random: dice,
    secret: SECRET,
    segmentRequests: 500,
    onSealed: (segment) => void sealed.push({ ...segment, bytes: segment.bytes.slice() }),
  })
  const store = createMemoryStore({ random: recorder.random })
  const recorded = recorder.recordedStore(store, () => instantOf(clock))
  let ids = 0
  const gateway = createGateway(checked(config), {
    clock,
    store: recorded,
    send,
    receive: createWebReceive(clock, (_request, env) => (env as { peer: string }).peer),
    toResponse: toWebResponse,
    log: () => {},
    expect: store.expect,
    abilities: recorded.abilities,
    modelLists: store.modelLists,
    recorder,
    newId: () => `00000000-0000-4000-8000-${String(++ids).padStart(12, '0')}`,
  })
  let answered = 0
  const byUpstream = new Map<string, number>()
  async function ask(nth: number): Promise<void> {
    const request = new Request('http://gateway.test/v1/chat/completions', {
      method: 'POST',
      headers: { authorization: `Bearer ${TOKEN}`, 'content-type': 'application/json' },
      body: JSON.stringify({ model: 'auto', messages: [{ role: 'user', content: 'hi' }] }),
    })
    const response = await gateway.app.fetch(request, { peer: `10.0.0.${nth % 40}` })
    await response.text()
    if (response.status !== 200) return
    const name = response.headers.get('x-aiload-upstream') ?? ''
    byUpstream.set(name, (byUpstream.get(name) ?? 0) + 1)
    answered += 1
  }
  for (const [nth, at] of arrivals.entries()) clock.after(at, () => void ask(nth))
  await clock.run()
  const segments = [...sealed, ...recorder.segments().slice(-1)]
  return {
    share: answered / arrivals.length,
    /** Of the answered requests. */
    shareOf: (upstream: string) => (byUpstream.get(upstream) ?? 0) / answered,
    segments: segments.map((segment): ArchivedSegment => ({ ...segment, process: 'p', generation: 1 })),
  }
}
