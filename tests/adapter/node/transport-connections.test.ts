import { randomBytes } from 'node:crypto'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import { createServer as createTlsServer } from 'node:tls'
import { queryObjects } from 'node:v8'
import Client from 'undici/lib/dispatcher/client.js'
import Pool from 'undici/lib/dispatcher/pool.js'
import { describe, expect, test } from 'vitest'
import { createNodeTransport, type NodeTransport } from '../../../src/adapter/node/transport.ts'
import type { UpstreamResponse } from '../../../src/transport/transport.ts'
import { refusedUrl, startBlackhole } from '../../support/dead-ends.ts'
import {
  answer,
  byConnection,
  close,
  createGate,
  flood,
  raw,
  reset,
  stall,
} from '../../support/scripted-scenes.ts'
import type { Exchange } from '../../support/scripted-upstream.ts'
import { startStrayUpstream } from '../../support/stray-upstream.ts'
import {
  asStream,
  createBed,
  expectBackPressure,
  failureOf,
  readAll,
  textOf,
  until,
} from '../../transport/bed.ts'
import { testCertificate } from '../../support/test-certificate.ts'

let transport: NodeTransport

const { start, send } = createBed(() => {
  transport = createNodeTransport({ ca: testCertificate.cert })
  return { send: transport, close: () => transport.close() }
})

describe('idle connections', () => {
  test('are used one after the other as often as possible, so that the rest can close', async () => {
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

/** Ways into a callback: by a timer, by what came over a socket (as a client's request does), behind both. */
const phases = {
  timers: (task: () => void) => void setTimeout(task, 1),
  poll: (task: () => void) => {
    const server = createServer((socket) => socket.end('x')).listen(0, '127.0.0.1', () => {
      connect((server.address() as AddressInfo).port, '127.0.0.1').once('data', () => {
        server.close()
        task()
      })
    })
  },
  check: (task: () => void) => void setImmediate(task),
}

describe('a kept connection that dies', () => {
  test.each(Object.entries(phases))(
    'before the request is written is replaced, also where the request may go out only once (sent in the %s phase)',
    async (_phase, within) => {
      let last: Socket | undefined
      const server = createServer((socket) => {
        last = socket.on('error', () => {})
        socket.on('data', () => socket.write('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok'))
      })
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
      const to = { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` }
      let answered = 0
      for (let round = 0; round < 8; round++) {
        await send(to)
        const sent = await new Promise<{ next: Promise<UpstreamResponse> }>((resolve) =>
          within(() => {
            last?.resetAndDestroy()
            resolve({ next: send(to, { mayResend: false }) })
          }),
        )
        const answer = await sent.next.catch(() => undefined)
        if (answer !== undefined && textOf(answer.body) === 'ok') answered += 1
      }
      // A busy kernel hands a reset over later now and then: then the request was written before.
      expect(answered).toBeGreaterThanOrEqual(4)
      last?.destroy()
      server.close()
    },
  )

  test('is replaced once, also where the fresh connection fails at once', async () => {
    let accepted = 0
    const server = createTlsServer(testCertificate, (socket) => {
      socket
        .on('error', () => {})
        .once('data', () => {
          socket.write('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok')
          socket.once('data', () => socket.destroy())
        })
    })
    server.on('connection', (socket: Socket) => {
      if (++accepted > 1) socket.resetAndDestroy()
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const to = { url: `https://127.0.0.1:${(server.address() as AddressInfo).port}` }
    expect(textOf((await send(to)).body)).toBe('ok')
    expect(await failureOf(send(to))).toBe('not-sent')
    expect(accepted).toBe(2)
    server.close()
  })
})

describe('what a burst leaves behind', () => {
  // Those of earlier tests are garbage, or soon will be.
  const counted = (): number[] => [Client, Pool].map((made) => Number(queryObjects(made)))

  test('is nothing, where all connections have closed', async () => {
    const before = counted()
    const upstream = await start(answer({ headers: { connection: 'close' }, body: 'ok' }))
    await Promise.all(Array.from({ length: 40 }, () => send(upstream)))
    await Promise.all(Array.from({ length: 5 }, () => failureOf(send({ url: refusedUrl() }))))
    await until(() => upstream.open === 0)
    await until(() => counted().every((count, at) => count <= (before[at] ?? 0)))
  })

  test('is only what is still used, where some connections go on', async () => {
    const before = counted()
    const gate = createGate()
    const upstream = await start((exchange) =>
      exchange.request.path.endsWith('/long')
        ? answer({ body: [gate.opened, 'ok'] })(exchange)
        : answer({ headers: { connection: 'close' }, body: 'ok' })(exchange),
    )
    const long = send(upstream, { url: `${upstream.url}/long` })
    await Promise.all(Array.from({ length: 40 }, () => send(upstream)))
    await until(() => upstream.open === 1)
    // The busy one, and one that waits for the next request.
    await until(() => counted()[0] === (before[0] ?? 0) + 2)
    gate.open()
    expect(textOf((await long).body)).toBe('ok')
  })
})

describe('an answer that nobody asked for', () => {
  test.each(Object.entries(phases))(
    'on an idle connection is not taken for that of the next request (sent in the %s phase)',
    async (_phase, within) => {
      const upstream = await startStrayUpstream()
      const get = (path: string) =>
        send({ url: '' }, { url: `${upstream.url}${path}`, method: 'GET', body: [] })
      try {
        for (let round = 0; round < 5; round++) {
          expect(textOf((await get(`/${round}/before`)).body)).toBe(`/${round}/before`)
          const sent = await new Promise<{ next: Promise<UpstreamResponse> }>((resolve) =>
            within(() => {
              upstream.sendStray()
              resolve({ next: get(`/${round}/next`) })
            }),
          )
          expect(textOf((await sent.next).body)).toBe(`/${round}/next`)
          expect(textOf((await get(`/${round}/after`)).body)).toBe(`/${round}/after`)
        }
      } finally {
        await upstream.close()
      }
    },
  )
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

  test('a body that nobody reads stops the upstream, until somebody reads on', async () => {
    const upstream = await start(flood(), { secure: true })
    await expectBackPressure(upstream, await send(upstream, asStream))
  })

  test('a certificate for another name is not trusted, and nothing is sent', async () => {
    let received = 0
    const other = createTlsServer(testCertificate, (socket) => {
      socket.on('data', () => received++).on('error', () => {})
    })
    await new Promise<void>((resolve) => other.listen(0, '127.0.0.2', resolve))
    const { port } = other.address() as AddressInfo
    const error = await send({ url: `https://127.0.0.2:${port}` }).catch((error: unknown) => error)
    expect(error).toMatchObject({ failure: 'not-sent' })
    expect((error as Error).message).toContain(
      'wrong host name in the TLS certificate (ERR_TLS_CERT_ALTNAME_INVALID)',
    )
    expect(received).toBe(0)
    other.close()
  })

  test('a kept connection that the upstream closes in order under a request is replaced', async () => {
    const upstream = await start(byConnection(answer({ body: 'ok' }), close()), { secure: true })
    for (let i = 0; i < 4; i++) expect(textOf((await send(upstream)).body)).toBe('ok')
    expect(upstream.accepted).toBe(4)
  })
})

describe('the message of a failure', () => {
  test.each([
    {
      of: 'a name that does not exist',
      to: async () => 'http://no-such-host.invalid',
      says: /name.*E(?:NOTFOUND|AI_AGAIN)/,
    },
    { of: 'a port on which nobody listens', to: async () => refusedUrl(), says: 'refused (ECONNREFUSED)' },
    { of: 'an upstream that resets', to: async () => (await start(reset())).url, says: 'reset (ECONNRESET)' },
    { of: 'an upstream that closes', to: async () => (await start(close())).url, says: 'closed' },
    {
      of: 'an upstream that is silent',
      to: async () => (await start(stall())).url,
      says: 'silence for 50 ms',
    },
  ])('tells the cause: $of', async ({ to, says }) => {
    const url = await to()
    const error = await send({ url }, { timeoutMs: 50 }).catch((error: unknown) => error)
    expect((error as Error).message).toMatch(says)
    expect((error as Error).message).not.toMatch(/127\.0|localhost|invalid/)
  })
})

describe('an upload', () => {
  test('that the upstream takes slowly is not its silence', async () => {
    const upstream = await start(answer({ body: 'ok' }), { whenConnected: (socket) => drip(socket, 5) })
    const parts = Array.from({ length: 60 }, () => randomBytes(1_000_000))
    const since = performance.now()
    let taken = 0
    const onTaken = (): void => void (taken += 1)
    const response = await send(upstream, { body: parts, timeoutMs: 3_000, onTaken })
    expect(textOf(response.body)).toBe('ok')
    expect(taken).toBeGreaterThan(10)
    expect(performance.now() - since).toBeGreaterThan(3_000)
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
