import { describe, expect, test } from 'vitest'
import { TransportError } from '../../src/transport/transport.ts'
import { ask, errorOf } from '../support/ask.ts'
import { settle } from '../support/fake-clock.ts'
import {
  answer,
  configOf,
  createTestApp,
  errorAnswer,
  TOKEN,
  type FakeUpstream,
} from '../support/test-app.ts'

const LIMITS = { max_body: 1000, max_buffered: 3000 }
const create = (upstream: FakeUpstream = ({ host }) => answer(host)) =>
  createTestApp(configOf(['a.test'], { server: LIMITS }), upstream)
const bodyOf = (size: number): string => `{"model":"auto","pad":"${'x'.repeat(size - 26)}"} `

/** A body that sends what it is told to, and tells how much of it was asked for. */
function slowBody(): {
  stream: ReadableStream<Uint8Array>
  send(bytes: number): void
  end(): void
  fail(): void
  isCancelled(): boolean
} {
  let controller: ReadableStreamDefaultController<Uint8Array> | undefined
  let cancelled = false
  const stream = new ReadableStream<Uint8Array>({
    start: (given) => void (controller = given),
    cancel: () => void (cancelled = true),
  })
  return {
    stream,
    send: (bytes) => controller?.enqueue(new Uint8Array(bytes).fill(0x20)),
    end: () => controller?.close(),
    fail: () => controller?.error(new TypeError('terminated')),
    isCancelled: () => cancelled,
  }
}

describe('max_body', () => {
  test.each(['/v1/chat/completions', '/v1/files'])('holds for %s to the byte', async (path) => {
    const gateway = create()
    expect((await ask(gateway, path, { body: bodyOf(1000) })).status).toBe(200)
    const response = await ask(gateway, path, { body: bodyOf(1001) })
    expect([response.status, (await errorOf(response)).code]).toEqual([413, 'request_too_large'])
    expect(response.headers.get('connection')).toBe('close')
    expect(gateway.calls).toHaveLength(1)
    expect(gateway.memory.held).toBe(0)
  })

  test('refuses at once what is declared too large', async () => {
    const gateway = create()
    const body = slowBody()
    const response = await ask(gateway, '/v1/chat/completions', {
      body: body.stream,
      headers: { 'content-length': '1001' },
    })
    expect(response.status).toBe(413)
  })

  test('cuts what was not declared as soon as it is passed', async () => {
    const gateway = create()
    const body = slowBody()
    const asked = ask(gateway, '/v1/chat/completions', { body: body.stream })
    body.send(1000)
    await settle()
    expect(gateway.memory.held).toBe(1000)
    body.send(1)
    expect((await asked).status).toBe(413)
    expect(body.isCancelled()).toBe(true)
    expect(gateway.memory.held).toBe(0)
  })
})

test('all bodies together above max_buffered are 503 with a second’s wait, and those held go on', async () => {
  const gateway = create()
  const bodies = [slowBody(), slowBody(), slowBody()]
  const held = bodies.map(({ stream }) => ask(gateway, '/v1/chat/completions', { body: stream }))
  for (const body of bodies) body.send(999)
  await settle()
  expect(gateway.memory.held).toBe(2997)
  const response = await ask(gateway, '/v1/chat/completions', { body: '{  }' })
  expect([response.status, response.headers.get('retry-after')]).toEqual([503, '1'])
  expect((await errorOf(response)).code).toBe('overloaded')
  for (const body of bodies) body.end()
  for (const one of held) expect((await one).status).toBe(400)
  expect(gateway.memory.held).toBe(0)
  expect((await ask(gateway, '/v1/chat/completions', { body: '{  }' })).status).toBe(200)
})

test('30 s of silence are 408, and a body that makes progress is not cut', async () => {
  const gateway = create()
  const body = slowBody()
  const asked = ask(gateway, '/v1/chat/completions', { body: body.stream })
  for (let at = 0; at < 10; at++) {
    body.send(10)
    await gateway.clock.advance(29_999)
  }
  expect(gateway.memory.held).toBeGreaterThanOrEqual(100)
  await gateway.clock.advance(1)
  const response = await asked
  expect([response.status, (await errorOf(response)).code]).toEqual([408, 'request_timeout'])
  expect(body.isCancelled()).toBe(true)
  expect(gateway.memory.held).toBe(0)
})

test('a client that leaves in the middle of its body is no mistake of ours', async () => {
  const gateway = create()
  const body = slowBody()
  const asked = ask(gateway, '/v1/chat/completions', { body: body.stream })
  body.send(10)
  await settle()
  body.fail()
  expect((await asked).status).toBe(499)
  expect(gateway.memory.held).toBe(0)
  expect(gateway.events).toMatchObject([{ kind: 'request', status: 499, code: 'client_closed_request' }])
})

test.each([
  { outcome: 'an answer', upstream: ({ host }) => answer(host) },
  { outcome: 'a refusal of the request', upstream: () => errorAnswer(400) },
  { outcome: 'a limit', upstream: () => errorAnswer(429, 'x', { 'retry-after': '90' }) },
  { outcome: 'a mistake of ours', upstream: () => Promise.reject(new TypeError('x')) },
  {
    outcome: 'a broken connection',
    upstream: () => {
      throw new TransportError('not-sent', 'x')
    },
  },
] satisfies { outcome: string; upstream: FakeUpstream }[])(
  'after $outcome no body is held',
  async ({ upstream }) => {
    for (const path of ['/v1/chat/completions', '/v1/files']) {
      const gateway = create(upstream)
      await (await ask(gateway, path, { body: bodyOf(500) })).text()
      expect(gateway.memory.held).toBe(0)
      expect(gateway.openLeases).toBe(0)
    }
  },
)

test('a body is not held while its answer streams', async () => {
  const body = new ReadableStream<Uint8Array>({
    pull: (controller) =>
      controller.enqueue(new TextEncoder().encode('data: {"choices":[{"delta":{"content":"a"}}]}\n\n')),
  })
  const gateway = create(() => ({ status: 200, headers: { 'content-type': 'text/event-stream' }, body }))
  const response = await ask(gateway, '/v1/chat/completions', {
    body: '{"stream":true}',
    headers: { 'api-key': TOKEN },
  })
  expect(gateway.memory.held).toBe(0)
  await response.body?.cancel()
  expect(gateway.openLeases).toBe(0)
})
