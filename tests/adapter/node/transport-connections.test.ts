import { randomBytes } from 'node:crypto'
import type { Socket } from 'node:net'
import { describe, expect, test } from 'vitest'
import { createNodeTransport, type NodeTransport } from '../../../src/adapter/node/transport.ts'
import { asStream, createBed, failureOf, readAll, textOf, until } from '../../transport/bed.ts'
import { startBlackhole } from '../../support/dead-ends.ts'
import { answer, createGate, raw, reset } from '../../support/scripted-scenes.ts'
import type { Exchange } from '../../support/scripted-upstream.ts'
import { testCertificate } from '../../support/test-certificate.ts'

let transport: NodeTransport

const { start, send } = createBed(() => {
  transport = createNodeTransport({ ca: testCertificate.cert })
  return { send: transport, close: () => transport.close() }
})

describe('idle connections', () => {
  test('are used last in, first out', async () => {
    const gate = createGate()
    const upstream = await start(answer({ body: [gate.opened, 'ok'] }))
    const three = [send(upstream), send(upstream), send(upstream)]
    await upstream.request(3)
    gate.open()
    await Promise.all(three)
    for (let i = 0; i < 4; i++) await send(upstream)
    expect(upstream.accepted).toBe(3)
    expect(new Set(upstream.requests.slice(3).map(({ connection }) => connection)).size).toBe(1)
  })

  test('are closed when the time that the upstream names is near', async () => {
    const upstream = await start(answer({ headers: { 'keep-alive': 'timeout=2' }, body: 'ok' }))
    await send(upstream)
    expect(upstream.open).toBe(1)
    const since = performance.now()
    await upstream.requests[0]?.closed
    expect(performance.now() - since).toBeLessThan(30_000)
  })

  test('are not kept where the upstream says so', async () => {
    const upstream = await start(answer({ headers: { connection: 'close' }, body: 'ok' }))
    await send(upstream)
    await upstream.requests[0]?.closed
    expect(textOf((await send(upstream)).body)).toBe('ok')
    expect(upstream.accepted).toBe(2)
  })

  test('with bytes that nobody asked for are thrown away', async () => {
    const upstream = await start(
      raw('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil'),
    )
    expect(textOf((await send(upstream)).body)).toBe('ok')
    expect(textOf((await send(upstream)).body)).toBe('ok')
    expect(upstream.accepted).toBe(2)
  })

  test('are closed by close, a busy one with the end of its answer', async () => {
    const gate = createGate()
    const upstream = await start(answer({ body: [gate.opened, 'ok'] }))
    const first = send(upstream)
    await upstream.request(1)
    await transport.close()
    gate.open()
    expect(textOf((await first).body)).toBe('ok')
    await until(() => upstream.open === 0)
  })
})

test('a connection that is taken again at once is not given to a third request', async () => {
  let gate = createGate()
  const upstream = await start((exchange) =>
    answer({ body: isFirst(exchange) ? 'ok' : [gate.opened, 'ok'] })(exchange),
  )
  const isFirst = ({ request }: Exchange): boolean => Buffer.from(request.body).toString() === 'first'
  const post = (text: string, signal?: AbortSignal) => send(upstream, { body: [Buffer.from(text)] }, signal)
  for (let nth = 0; nth < 20; nth++) {
    gate = createGate()
    await post('first')
    // Before undici's own word that the connection is free, which comes a turn of the loop later.
    const second = post('second')
    await new Promise(setImmediate)
    const caller = new AbortController()
    const third = post('third', caller.signal)
    await new Promise((resolve) => setTimeout(resolve, 5))
    caller.abort()
    expect(await failureOf(third)).toBe('aborted')
    gate.open()
    expect(textOf((await second).body)).toBe('ok')
  }
})

describe('over TLS', () => {
  test('a trusted upstream answers, and its connection is kept', async () => {
    const upstream = await start(answer({ body: 'ok' }), { secure: true })
    for (let i = 0; i < 3; i++) expect(textOf((await send(upstream)).body)).toBe('ok')
    expect(upstream.accepted).toBe(1)
  })

  test('a kept connection that dies under a request is replaced, its session resumed', async () => {
    const resumed: boolean[] = []
    const upstream = await start(
      (exchange) => (exchange.request.nth === 1 ? answer({ body: 'ok' }) : reset())(exchange),
      {
        secure: true,
        whenConnected: (socket) =>
          void resumed.push((socket as Socket & { isSessionReused(): boolean }).isSessionReused()),
      },
    )
    for (let i = 0; i < 4; i++) expect(textOf((await send(upstream)).body)).toBe('ok')
    expect(resumed).toEqual([false, true, true, true])
  })

  test('large bodies go both ways', async () => {
    const body = randomBytes(2_000_000)
    const upstream = await start((exchange) => answer({ body: exchange.request.body })(exchange), {
      secure: true,
    })
    const response = await send(upstream, { ...asStream, body: [body.subarray(0, 10), body.subarray(10)] })
    expect((await readAll(response.body)).equals(body)).toBe(true)
  })

  test('a wrong name is not sent', async () => {
    const upstream = await start(answer(), { secure: true })
    expect(await failureOf(send({ url: `https://127.0.0.2:${upstream.port}` }))).toBe('not-sent')
  })
})

describe('an upload', () => {
  test('that the upstream takes slowly is not its silence', async () => {
    const upstream = await start(answer({ body: 'ok' }), { whenConnected: (socket) => drip(socket, 2) })
    const parts = Array.from({ length: 24 }, () => randomBytes(1_000_000))
    const since = performance.now()
    const response = await send(upstream, { body: parts, timeoutMs: 500 })
    expect(textOf(response.body)).toBe('ok')
    expect(performance.now() - since).toBeGreaterThan(500)
  })

  test('that the upstream does not take at all is its silence', async () => {
    const upstream = await start(answer(), { whenConnected: () => 'handled' })
    expect(await failureOf(send(upstream, { body: [randomBytes(30_000_000)], timeoutMs: 200 }))).toBe(
      'timeout',
    )
  })
})

test('a caller that leaves before there is a connection leaves no attempt behind', async () => {
  const blackhole = await startBlackhole()
  const attempts = () =>
    process.getActiveResourcesInfo().filter((name) => name.endsWith('ConnectWrap')).length
  try {
    const before = attempts()
    const caller = new AbortController()
    const sent = send(blackhole, { connectTimeoutMs: 60_000 }, caller.signal)
    await until(() => attempts() > before)
    caller.abort()
    expect(await failureOf(sent)).toBe('aborted')
    await until(() => attempts() === before)
  } finally {
    await blackhole.close()
  }
})

/** Reads a socket slowly: a piece of up to 64 KB, then a pause. */
function drip(socket: Socket, pauseMs: number): void {
  socket.on('data', () => {
    socket.pause()
    setTimeout(() => socket.resume(), pauseMs)
  })
}
