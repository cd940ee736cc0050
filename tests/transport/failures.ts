import type { Socket } from 'node:net'
import { describe, expect, test } from 'vitest'
import { refusedUrl, startBlackhole } from '../support/dead-ends.ts'
import { answer, close, raw, reset, stall } from '../support/scripted-scenes.ts'
import { type Bed, type Capabilities, failureOf, textOf } from './bed.ts'

/** Requests that get no answer, by what their caller has to know. */
export function failuresContract({ start, send }: Bed, can: Capabilities): void {
  describe('a failure', () => {
    test('to find somebody who listens is not sent', async () => {
      expect(await failureOf(send({ url: refusedUrl() }))).toBe('not-sent')
    })

    test('to find the name is not sent', async () => {
      expect(await failureOf(send({ url: 'http://no-such-host.invalid' }))).toBe('not-sent')
    })

    test('to trust a certificate is not sent', async () => {
      const upstream = await start(answer(), { secure: true })
      expect(await failureOf(send(upstream))).toBe('not-sent')
      expect(upstream.requests).toHaveLength(0)
    })

    test('to speak TLS is not sent', async () => {
      const whenConnected = (socket: Socket) => {
        socket.once('data', () => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'))
        return 'handled' as const
      }
      const upstream = await start(answer(), { whenConnected })
      expect(await failureOf(send({ url: upstream.url.replace('http:', 'https:') }))).toBe('not-sent')
    })

    test('to connect in time ends the attempt', async () => {
      const blackhole = await startBlackhole()
      try {
        const since = performance.now()
        const timeouts = can.ownConnections ? { connectTimeoutMs: 150 } : { timeoutMs: 150 }
        const failure = await failureOf(send(blackhole, timeouts))
        const blamed = can.proxy === 'http' ? 'proxy' : 'connect-timeout'
        expect(failure).toBe(can.ownConnections ? blamed : 'timeout')
        expect(performance.now() - since).toBeGreaterThanOrEqual(145)
        expect(performance.now() - since).toBeLessThan(10_000)
      } finally {
        await blackhole.close()
      }
    })

    test('to answer in time closes the connection', async () => {
      const upstream = await start(stall())
      const since = performance.now()
      expect(await failureOf(send(upstream, { timeoutMs: 100 }))).toBe('timeout')
      expect(performance.now() - since).toBeGreaterThanOrEqual(95)
      expect(performance.now() - since).toBeLessThan(10_000)
      await upstream.requests[0]?.closed
    })

    test('to go on in time while the body is gathered is a timeout', async () => {
      const upstream = await start(answer({ body: ['{"a":', 60_000] }))
      expect(await failureOf(send(upstream, { timeoutMs: 100 }))).toBe('timeout')
      await upstream.requests[0]?.closed
    })

    test.each([
      { fault: 'a reset', scene: reset() },
      { fault: 'a close', scene: close() },
      { fault: 'junk', scene: raw('SSH-2.0-OpenSSH_9.2\r\n', 'close') },
      { fault: 'half a status line', scene: raw('HTTP/1.1 2', 'close') },
      {
        fault: 'half a head',
        scene: raw('HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-', 'close'),
      },
      {
        fault: 'a head that is too large',
        scene: raw(`HTTP/1.1 200 OK\r\nx: ${'x'.repeat(200_000)}\r\n\r\n`),
      },
      {
        fault: 'two lengths',
        scene: raw('HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nabc'),
      },
      {
        fault: 'a length and chunks',
        scene: raw(
          'HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n',
        ),
      },
      {
        fault: 'a chunk size that is none',
        scene: raw('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nok'),
      },
      { fault: 'a body that is cut', scene: answer({ body: '{"a":', framing: 100, ending: 'close' }) },
      {
        fault: 'a body that is reset',
        scene: answer({ body: ['{"a":', 20], framing: 'chunked', ending: 'reset' }),
      },
    ])('of the answer is broken, with one request sent: $fault', async ({ scene }) => {
      const upstream = await start(scene)
      expect(await failureOf(send(upstream))).toBe('broken')
      expect(upstream.requests).toHaveLength(1)
    })

    test('before the request is read is broken', async () => {
      const whenConnected = (socket: Socket) => {
        socket.resetAndDestroy()
        return 'handled' as const
      }
      const upstream = await start(answer(), { whenConnected })
      expect(['broken', 'not-sent']).toContain(await failureOf(send(upstream)))
    })

    test.each([
      { what: 'a line break in a header', change: { headers: { 'x-a': 'sk-secret\r\nx-b: 1' } } },
      { what: 'a header beyond latin1', change: { headers: { 'x-a': 'sk-secret-漢' } } },
      { what: 'a header name that is none', change: { headers: { 'sk secret': '1' } } },
      { what: 'no URL', change: { url: 'sk-secret://x' } },
    ])('to write the request is not sent and quotes nothing: $what', async ({ change }) => {
      const upstream = await start(answer())
      const error = await send(upstream, change).catch((error: unknown) => error)
      expect(error).toMatchObject({ failure: 'not-sent' })
      expect(String(error)).not.toMatch(/sk.secret/)
      expect(upstream.requests).toHaveLength(0)
    })

    test('does not harm the next request', async () => {
      let turn = 0
      const upstream = await start((exchange) =>
        (turn++ % 2 === 0 ? reset() : answer({ body: 'ok' }))(exchange),
      )
      for (let i = 0; i < 5; i++) {
        expect(await failureOf(send(upstream))).toBe('broken')
        expect(textOf((await send(upstream)).body)).toBe('ok')
        upstream.closeIdle()
        await upstream.requests.at(-1)?.closed
      }
    })
  })

  describe.runIf(can.ownConnections)('a kept connection', () => {
    test('that dies under a request is replaced without notice', async () => {
      const upstream = await start((exchange) =>
        (exchange.request.nth === 1 ? answer({ body: 'ok' }) : reset())(exchange),
      )
      for (let i = 0; i < 5; i++) expect(textOf((await send(upstream)).body)).toBe('ok')
      expect(upstream.accepted).toBe(5)
    })

    test('that dies under a large request is replaced, and all of the request is sent again', async () => {
      const upstream = await start((exchange) =>
        (exchange.request.nth === 1 ? answer({ body: 'ok' }) : reset())(exchange),
      )
      await send(upstream)
      const body = [Buffer.alloc(400_000, 'a'), Buffer.alloc(300_000, 'b')]
      expect(textOf((await send(upstream, { body })).body)).toBe('ok')
      expect(upstream.requests.map(({ body }) => body.length)).toEqual([13, 700_000, 700_000])
    })

    test('is replaced once: the fresh one is not', async () => {
      let turn = 0
      const upstream = await start((exchange) => (turn++ === 0 ? answer({ body: 'ok' }) : close())(exchange))
      await send(upstream)
      expect(await failureOf(send(upstream))).toBe('broken')
      expect(upstream.requests).toHaveLength(3)
    })

    test('that dies within an answer is not replaced', async () => {
      const upstream = await start((exchange) =>
        (exchange.request.nth === 1 ? answer({ body: 'ok' }) : raw('HTTP/1.1 200', 'close'))(exchange),
      )
      await send(upstream)
      expect(await failureOf(send(upstream))).toBe('broken')
      expect(upstream.requests).toHaveLength(2)
    })

    test('that dies 400 ms after the request was sent is not replaced: the work may have been done', async () => {
      const lateReset = async (exchange: Parameters<ReturnType<typeof reset>>[0]) => {
        await new Promise((resolve) => setTimeout(resolve, 400))
        exchange.reset()
      }
      const upstream = await start((exchange) =>
        (exchange.request.nth === 1 ? answer({ body: 'ok' }) : lateReset)(exchange),
      )
      await send(upstream)
      expect(await failureOf(send(upstream))).toBe('broken')
      expect(upstream.requests).toHaveLength(2)
    })

    test.each([
      { what: 'a small request', body: [Buffer.from('{}')] },
      { what: 'a large one', body: [Buffer.alloc(700_000)] },
    ])('that dies under $what that may not go out twice is its failure', async ({ body }) => {
      const upstream = await start((exchange) =>
        (exchange.request.nth === 1 ? answer({ body: 'ok' }) : reset())(exchange),
      )
      await send(upstream)
      expect(await failureOf(send(upstream, { body, mayResend: false }))).toBe('broken')
      expect(upstream.requests).toHaveLength(2)
      expect(textOf((await send(upstream, { body, mayResend: false })).body)).toBe('ok')
    })

    test.skipIf(can.proxy)(
      'that the upstream closes at that very moment costs none of 600 requests',
      async () => {
        const upstream = await start(answer({ body: 'ok' }), {
          closeIdleAfterMs: () => 1 + Math.random() * 3,
        })
        let failures = 0
        const worker = async () => {
          for (let i = 0; i < 60; i++) {
            const response = await send(upstream).catch(() => undefined)
            if (response?.status !== 200) failures++
            await new Promise((resolve) => setTimeout(resolve, 1 + Math.random() * 3))
          }
        }
        await Promise.all(Array.from({ length: 10 }, worker))
        expect(failures).toBe(0)
        expect(upstream.accepted).toBeGreaterThan(20)
      },
    )
  })
}
