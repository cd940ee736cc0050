import { getEventListeners } from 'node:events'
import { expect, test } from 'vitest'
import {
  chatAnswer,
  chunk,
  events,
  play,
  refusal,
  silence,
  SSE,
  stagedBy,
  type Play,
} from '../support/played.ts'
import { settle } from '../support/fake-clock.ts'
import { configOf, createTestApp } from '../support/test-app.ts'

const settings = { strategy: 'in_order', queue_timeout: 0, timeout: 10 }
const two = configOf(['a.test', 'b.test'], { settings })
const stuckStream: Play = { headers: SSE, body: [events(chunk('a'))], end: 'stall' }

test.each([
  { when: 'before the headers', script: silence },
  { when: 'before the first event', script: { headers: SSE, body: [': alive\n\n'], end: 'stall' } as Play },
  { when: 'inside a JSON answer', script: { body: ['{"choices":['], end: 'stall' } as Play },
  { when: 'inside an error', script: { ...refusal(500), body: ['{'], end: 'stall' } as Play },
])(
  'a client that leaves $when: its upstream is told, nobody else is asked and nobody cools',
  async ({ script }) => {
    const app = createTestApp(two, stagedBy({ 'a.test': [script, chatAnswer()], 'b.test': chatAnswer() }))
    const controller = new AbortController()
    const pending = app.chat({ stream: true }, { clientSignal: controller.signal })
    await settle()
    controller.abort()
    expect((await pending).status).toBe(499)
    expect(app.calls).toHaveLength(1)
    expect(app.calls[0]!.exchange.isAborted).toBe(true)
    expect(app.requests()).toMatchObject([
      { status: 499, code: 'client_closed_request', attempts: [{ outcome: 'aborted' }] },
    ])
    expect([app.inFlight(), app.openLeases, app.clock.timers]).toEqual([0, 0, 0])
    expect(getEventListeners(controller.signal, 'abort')).toHaveLength(0)
    expect((await app.chat()).headers.get('x-aiload-upstream')).toBe('a.test')
  },
)

test.each([
  { how: 'the runtime tells it', leave: (controller: AbortController) => controller.abort() },
  {
    how: 'the body is cancelled',
    leave: (_: AbortController, response: Response) => response.body!.cancel(),
  },
])('a client that leaves mid-stream ends the upstream call, when $how', async ({ leave }) => {
  const app = createTestApp(two, stagedBy({ 'a.test': [stuckStream, chatAnswer()], 'b.test': chatAnswer() }))
  const controller = new AbortController()
  const response = await app.chat({ stream: true }, { clientSignal: controller.signal })
  await leave(controller, response)
  await settle()
  expect(app.calls[0]!.exchange.isAborted).toBe(true)
  expect(app.requests()).toMatchObject([{ status: 499, attempts: [{ outcome: 'aborted', status: 200 }] }])
  expect([app.inFlight(), app.openLeases, app.clock.timers]).toEqual([0, 0, 0])
  expect(getEventListeners(controller.signal, 'abort')).toHaveLength(0)
  expect((await app.chat()).headers.get('x-aiload-upstream')).toBe('a.test')
})

test('a client that leaves while it reads sees its own stream end without an error event', async () => {
  const app = createTestApp(two, stagedBy({ 'a.test': stuckStream }))
  const controller = new AbortController()
  const response = await app.chat({ stream: true }, { clientSignal: controller.signal })
  const reader = response.body!.getReader()
  await reader.read()
  const pending = reader.read()
  controller.abort()
  await expect(pending).rejects.toThrow()
})

test('a client that has left already causes no call', async () => {
  const app = createTestApp(two, play(chatAnswer()))
  expect((await app.chat({}, { clientSignal: AbortSignal.abort() })).status).toBe(499)
  expect(app.calls).toHaveLength(0)
  expect(app.requests()).toMatchObject([{ status: 499, attempts: [] }])
})

test('a client that leaves between two attempts causes no second one', async () => {
  const controller = new AbortController()
  const app = createTestApp(two, (request, signal, clock) => {
    controller.abort()
    return play(refusal(503))(request, new AbortController().signal, clock)
  })
  expect((await app.chat({}, { clientSignal: controller.signal })).status).toBe(499)
  expect(app.calls).toHaveLength(1)
  expect(app.openLeases).toBe(0)
})

test.each([
  { what: 'a JSON answer', script: chatAnswer() },
  { what: 'a stream', script: { headers: SSE, body: [events(chunk('a', 'stop'))] } as Play },
  { what: 'a broken stream', script: { ...stuckStream, end: 'reset' } as Play },
  { what: 'a fault of its own', script: refusal(400) },
  { what: 'nobody', script: refusal(500) },
])('no listener stays behind $what', async ({ script }) => {
  const app = createTestApp(two, play(script))
  const { signal } = new AbortController()
  const response = await app.chat({}, { clientSignal: signal })
  await response.text()
  expect(getEventListeners(signal, 'abort')).toHaveLength(0)
  expect([app.inFlight(), app.openLeases, app.clock.timers]).toEqual([0, 0, 0])
  expect(app.requests()).toHaveLength(1)
})

test('a place whose holder has vanished is free again after an hour, also where nobody else has one', async () => {
  const config = configOf(['a.test'], {
    settings: { ...settings, queue_timeout: 5 },
    models: { limits: { concurrency: 1 } },
  })
  const app = createTestApp(config, stagedBy({ 'a.test': chatAnswer() }))
  const [upstream] = app.deps.runtimeConfig().pools.upstreams
  const ask = { inputTokens: 1, outputTokens: 1, probeMs: 1_000, lastResort: false }
  const at = { now: app.clock.now(), wall: app.clock.wall() }
  expect(app.store.acquire([upstream!.claims.chat], ask, at)).toBeDefined()
  await app.clock.advance(59 * 60_000)
  const early = app.chat()
  await settle()
  await app.clock.advance(10_000)
  expect((await early).status).toBe(429)
  await app.clock.advance(60_000)
  const late = app.chat()
  await settle()
  await app.clock.advance(10_000)
  expect((await late).status).toBe(200)
})
