import { createGateway } from '../../src/adapter/gateway.ts'
import type { Segment } from '../../src/events/recorder.ts'
import type { BeginFrame, EndFrame } from '../../src/events/record.ts'
import { createRecorder, type Recorder } from '../../src/events/recorder.ts'
import { replay, type ReplayedChoice } from '../../src/events/replay.ts'
import { requestsIn, type SeenRequest } from '../../src/events/segment.ts'
import { createWebReceive } from '../../src/http/incoming.ts'
import { toWebResponse } from '../../src/http/response.ts'
import { instantOf } from '../../src/lib/clock.ts'
import type { GatewayEvent } from '../../src/relay/deps.ts'
import { createMemoryStore, type MemoryStore } from '../../src/state/memory.ts'
import { END, type ByteChunk } from '../../src/lib/bytes.ts'
import { TransportError, type Send } from '../../src/transport/transport.ts'
import { createDice } from '../support/dice.ts'
import { createSimClock, type SimClock } from '../../src/cli/what-if/clock.ts'
import { checked, TOKEN } from '../support/test-app.ts'

/** An entry of `models`, named as its host. */
export const entryAt = (host: string, more: object = {}) => ({
  base_url: `https://${host}/v1`,
  api_key: `key-${host}`,
  model: 'm',
  name: host,
  ...more,
})

export const SECRET = Uint32Array.of(1, 2, 3, 4)

/** The requests of a segment. */
export const seenIn = (segment: Segment): SeenRequest[] =>
  [...requestsIn(segment)].filter((one) => one !== undefined)

/** All choices of segments, made again, with what began and ended. */
export function replayed(segments: readonly Segment[]) {
  const [choices, begun, ended]: [ReplayedChoice[], BeginFrame[], EndFrame[]] = [[], [], []]
  for (const segment of segments) {
    const steps = replay(segment, SECRET, {
      wants: () => true,
      onBegin: (begin) => void begun.push(begin),
      onChoice: (_, choice) => void choices.push(choice),
      onEnd: (_, end) => void ended.push(end),
    })
    for (const _ of steps);
  }
  return { choices, begun, ended }
}

interface AskedHow {
  readonly path?: string
  readonly leavesMs?: number
  readonly [header: string]: string | number | undefined
}

/** An order that the store was asked for in the running gateway, and who of it was taken. */
export interface LiveOrder {
  readonly order: readonly string[]
  readonly granted: string | undefined
}

/**
 * A gateway with a clock and dice that a test holds and upstreams that fail, refuse and speak of limits as the dice fall,
 * which records what it does. `restart` ends its process and begins another with the state that was kept.
 */
export function createRecordedDay(config: object, seed: number, segmentRequests = 1_000) {
  const sim = createSimClock(Date.UTC(2026, 10, 22, 12))
  let wallShiftMs = 0
  const clock: SimClock = { ...sim, wall: () => sim.now() + wallShiftMs }
  const dice = createDice(seed)
  const sealed: Segment[] = []
  const live: LiveOrder[] = []
  const events: GatewayEvent[] = []
  let ids = 0
  const newId = (): string => `00000000-0000-4000-8000-${String(++ids).padStart(12, '0')}`
  const chance = (share: number): boolean => dice() < share

  const send: Send = async (request) => {
    const host = new URL(request.url).hostname
    await new Promise<void>((resolve) => void clock.after(20 + dice() * 400, resolve))
    if (host.startsWith('sick') && chance(0.8)) {
      if (chance(0.4)) throw new TransportError('not-sent', 'connection refused')
      return reply(429, { error: { message: 'slow down' } }, { 'retry-after': '1' })
    }
    if (chance(0.03)) throw new TransportError('not-sent', 'connection refused')
    if (chance(0.05)) return reply(500, { error: { message: 'broken' } })
    if (chance(0.06)) {
      const hint = chance(0.5) ? { 'retry-after': String(1 + Math.floor(dice() * 5)) } : {}
      return reply(429, { error: { message: 'slow down' } }, hint)
    }
    if (chance(0.005)) return reply(401, { error: { message: 'no' } })
    if (chance(0.01)) return reply(400, { error: { message: 'tools are not supported by this model' } })
    const left = Math.floor(dice() * 60)
    const limits = {
      'x-ratelimit-limit-requests': '60',
      'x-ratelimit-remaining-requests': String(left),
      'x-ratelimit-reset-requests': `${(60 - left) / 10}s`,
      'x-ratelimit-limit-tokens': '60000',
      'x-ratelimit-remaining-tokens': String(Math.floor(dice() * 60_000)),
      'x-ratelimit-reset-tokens': '250ms',
    }
    if (request.headers.accept === 'text/event-stream' && chance(0.3))
      return longStream(limits, host.startsWith('endless'))
    const usage = { prompt_tokens: 10, completion_tokens: Math.floor(dice() * 300), total_tokens: 300 }
    const choices = [{ index: 0, message: { role: 'assistant', content: host }, finish_reason: 'stop' }]
    return reply(200, { id: 'x', choices, usage }, host.startsWith('told') ? limits : {})
  }

  /** A stream of up to a quarter of an hour, or of some hours, which now and then breaks off. */
  function longStream(headers: Record<string, string>, isEndless: boolean) {
    let left = (isEndless ? 60 : 2) + Math.floor(dice() * 6)
    const read = async (): Promise<ByteChunk> => {
      await new Promise<void>((resolve) => void clock.after(dice() * 150_000, resolve))
      if (left-- === 0) return END
      if (chance(isEndless ? 0.001 : 0.02)) throw new TransportError('broken', 'the connection broke')
      const choices = [{ index: 0, delta: { content: 'x' }, finish_reason: left === 0 ? 'stop' : null }]
      const value = new TextEncoder().encode(`data: ${JSON.stringify({ id: 'x', choices })}\n\n`)
      return { done: false, value }
    }
    const body = { read, cancel: async () => {} }
    return { status: 200, headers: { 'content-type': 'text/event-stream', ...headers }, body }
  }

  let present = config

  function start(kept?: { state: unknown }) {
    const recorder: Recorder = createRecorder({
      random: dice,
      secret: SECRET,
      segmentRequests,
      onSealed: (segment) => void sealed.push(copyOf(segment)),
    })
    const store = createMemoryStore({ random: recorder.random })
    if (kept !== undefined) store.restore(kept.state, instantOf(clock))
    const recorded = recorder.recordedStore(watched(store), () => instantOf(clock))
    const gateway = createGateway(checked(present), {
      clock,
      store: recorded,
      send,
      receive: createWebReceive(clock, (_request, env) => (env as { peer: string }).peer),
      toResponse: toWebResponse,
      log: (event) => void events.push(event),
      expect: store.expect,
      abilities: recorded.abilities,
      modelLists: store.modelLists,
      recorder,
      newId,
    })
    return { recorder, store, gateway }
  }

  function watched(store: MemoryStore): MemoryStore {
    return {
      ...store,
      get changes() {
        return store.changes
      },
      acquire(order, ask, at) {
        const lease = store.acquire(order, ask, at)
        live.push({ order: order.map(({ id }) => id), granted: lease?.claim.id })
        return lease
      },
    }
  }

  let process = start()

  /** Sends a chat, or what else a path asks for; the client leaves after `leavesMs`. */
  async function ask(
    peer: string,
    body: object = {},
    { path = 'chat/completions', leavesMs, ...headers }: AskedHow = {},
  ): Promise<void> {
    const left = new AbortController()
    if (leavesMs !== undefined) clock.after(leavesMs, () => left.abort())
    const request = new Request(`http://gateway.test/v1/${path}`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${TOKEN}`,
        'content-type': 'application/json',
        ...(headers as Record<string, string>),
      },
      body: JSON.stringify({ model: 'auto', messages: [{ role: 'user', content: 'hi' }], ...body }),
      signal: left.signal,
    })
    const response = await process.gateway.app.fetch(request, { peer })
    await response.text().catch(() => '')
  }

  return {
    clock,
    events,
    live,
    dice,
    /** All of it, the oldest first. */
    segments: (): Segment[] => [...sealed, ...process.recorder.segments().slice(-1)],
    get recorder() {
      return process.recorder
    },
    get gateway() {
      return process.gateway
    },
    /** Lets time pass until nothing is under way and nothing is to come. */
    run: clock.run,
    /** A chat that comes in a while. */
    askIn(ms: number, ...how: readonly [peer: string, body?: object, how?: AskedHow]): void {
      clock.after(ms, () => void ask(...how))
    },
    /** Has another configuration served from now on. */
    reload(next: object): void {
      present = next
      void process.gateway.apply(checked(next))
    },
    /** Somebody sets the clock on the wall. */
    setWall(byMs: number): void {
      wallShiftMs += byMs
    },
    async restart(): Promise<void> {
      const state: unknown = JSON.parse(JSON.stringify(process.store.keep(instantOf(clock))))
      sealed.push(...process.recorder.segments().slice(-1).map(copyOf))
      process = start({ state })
    },
  }
}

const copyOf = (segment: Segment): Segment => ({
  ...segment,
  config: JSON.parse(JSON.stringify(segment.config)) as Segment['config'],
  bytes: segment.bytes.slice(),
})

function reply(status: number, body: object, headers: Record<string, string> = {}) {
  const bytes = new TextEncoder().encode(JSON.stringify(body))
  return { status, headers: { 'content-type': 'application/json', ...headers }, body: bytes }
}
