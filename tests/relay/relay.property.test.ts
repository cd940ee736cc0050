import { getEventListeners } from 'node:events'
import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { TransportError } from '../../src/transport/transport.ts'
import {
  chatAnswer,
  chatStream,
  chunk,
  events,
  play,
  readAll,
  refusal,
  silence,
  SSE,
  type Play,
} from '../support/played.ts'
import { configOf, createTestApp, type FakeUpstream } from '../support/test-app.ts'

type Behaviour = {
  readonly name: string
  readonly answers: boolean
  readonly ambiguous: boolean
  readonly upstream: FakeUpstream
}

const behaves = (
  name: string,
  script: Play,
  more: { answers?: boolean; ambiguous?: boolean } = {},
): Behaviour => ({
  name,
  answers: more.answers ?? false,
  ambiguous: more.ambiguous ?? false,
  upstream: play(script),
})

const throwing = (failure: 'not-sent' | 'connect-timeout' | 'broken', ambiguous: boolean): Behaviour => ({
  name: failure,
  answers: false,
  ambiguous,
  upstream: () => {
    throw new TransportError(failure, 'x')
  },
})

const half: Play = { headers: SSE, body: [events(chunk('a')), 'data: {"cho'], end: 'reset' }
const behaviours: readonly Behaviour[] = [
  behaves('json', chatAnswer(), { answers: true }),
  behaves('slow json', { ...chatAnswer(), afterMs: 500 }, { answers: true }),
  behaves('stream', chatStream('a', 'b'), { answers: true }),
  behaves(
    'slow stream',
    { headers: SSE, body: [': x\n\n', 300, events(chunk('a')), 300, events(chunk('', 'stop'))] },
    { answers: true },
  ),
  behaves('broken stream', half, { answers: true }),
  behaves('stalling stream', { headers: SSE, body: [events(chunk('a'))], end: 'stall' }, { answers: true }),
  behaves('429', refusal(429, 'x', { 'retry-after': '3' })),
  behaves('429 bare', refusal(429)),
  behaves('401', refusal(401)),
  behaves('404', refusal(404)),
  behaves('503', refusal(503)),
  behaves('redirect', { status: 302 }),
  behaves('empty', { body: [] }),
  behaves('error first', { headers: SSE, body: [events({ error: { message: 'x' } })] }),
  behaves('500', refusal(500), { ambiguous: true }),
  behaves('cut json', { body: ['{"choices":'] }, { ambiguous: true }),
  behaves('silent', silence, { ambiguous: true }),
  throwing('not-sent', false),
  throwing('connect-timeout', false),
  throwing('broken', true),
]

const anyBehaviour = fc.constantFrom(...behaviours)
const anyScript = fc.record({
  upstreams: fc.array(anyBehaviour, { minLength: 1, maxLength: 6 }),
  strategy: fc.constantFrom('random', 'round_robin', 'least_busy', 'fastest', 'headroom', 'in_order'),
  stream: fc.boolean(),
  seed: fc.nat(),
})

const hostsOf = (count: number): string[] => Array.from({ length: count }, (_, at) => `u${at}.test`)
test('whatever happens to many at once, every request ends once and nothing stays behind', async () => {
  const lost: unknown[] = []
  const onLost = (reason: unknown): void => void lost.push(reason)
  process.on('unhandledRejection', onLost)
  const client = fc.record({
    afterMs: fc.nat({ max: 4_000 }),
    stream: fc.boolean(),
    leavesAfterMs: fc.option(fc.nat({ max: 3_000 })),
    reads: fc.boolean(),
  })
  await fc.assert(
    fc.asyncProperty(
      anyScript,
      fc.array(client, { minLength: 1, maxLength: 12 }),
      fc.integer({ min: 1, max: 3 }),
      async ({ upstreams, strategy, seed }, clients, concurrency) => {
        const hosts = hostsOf(upstreams.length)
        const config = configOf(hosts, {
          settings: { timeout: 2, strategy, queue_timeout: 2, queue_size: 4 },
          models: { limits: { concurrency } },
        })
        const app = createTestApp(
          config,
          (request, signal, clock) =>
            upstreams[hosts.indexOf(request.host)]!.upstream(request, signal, clock),
          { seed },
        )
        const gones: AbortController[] = []
        const ends: Promise<unknown>[] = []
        for (const { afterMs, stream, leavesAfterMs, reads } of clients) {
          const gone = new AbortController()
          gones.push(gone)
          app.clock.after(afterMs, () => {
            const response = app.chat({ stream }, { clientSignal: gone.signal })
            // Who does not read leaves in the end, as every client does.
            ends.push(response.then((got) => (reads ? readAll(got) : undefined)))
            if (leavesAfterMs !== null || !reads) app.clock.after(leavesAfterMs ?? 8_000, () => gone.abort())
          })
        }
        await app.clock.advance(60_000)
        await Promise.all(ends)
        expect(app.requests()).toHaveLength(clients.length)
        expect(new Set(app.requests().map(({ id }) => id)).size).toBe(clients.length)
        expect(app.attempts()).toHaveLength(app.calls.length)
        expect([app.inFlight(), app.openLeases, app.clock.timers]).toEqual([0, 0, 0])
        expect(
          gones.map(({ signal }) => getEventListeners(signal, 'abort').length).every((count) => count === 0),
        ).toBe(true)
        const played = app.calls.filter(({ exchange }) => exchange.isOver || exchange.isAborted)
        expect(played.length).toBeLessThanOrEqual(app.calls.length)
      },
    ),
    { numRuns: 80 },
  )
  process.off('unhandledRejection', onLost)
  expect(lost).toEqual([])
})
