import { createHash, randomBytes } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { answer, createGate, raw } from '../support/scripted-scenes.ts'
import { type Bed, type Capabilities, readAll, streamOf, textOf } from './bed.ts'

/** What goes up, and what comes back of an answer that is well formed. */
export function answersContract({ start, send }: Bed, can: Capabilities): void {
  describe('a request', () => {
    test('goes up with its method, path, query and headers', async () => {
      const upstream = await start(answer())
      const headers = { 'content-type': 'text/x', authorization: 'Bearer a b', 'x-odd': 'caf\u00e9' }
      await send({ url: '' }, { url: `${upstream.url}/v1/files?a=1&b=%20x`, method: 'PUT', headers })
      const [request] = upstream.requests
      expect(request).toMatchObject({ method: 'PUT', path: '/v1/files?a=1&b=%20x' })
      expect(request?.headers).toMatchObject(headers)
      expect(request?.headers['host']).toBe(`127.0.0.1:${upstream.port}`)
    })

    test.each([
      { parts: [10] },
      { parts: [10, 6, 600] },
      { parts: [0, 5, 0] },
      { parts: [10, 6, 200_000] },
      { parts: [70_000, 300_000, 1, 2_000_000] },
      { parts: [3_000_000] },
    ])('of parts $parts goes up in order under one content-length, never chunked', async ({ parts }) => {
      const upstream = await start(answer())
      const body = parts.map((bytes) => randomBytes(bytes))
      await send(upstream, { body })
      const [request] = upstream.requests
      const whole = Buffer.concat(body)
      expect(request?.headers['content-length']).toBe(String(whole.length))
      expect(request?.headers).not.toHaveProperty('transfer-encoding')
      expect(digest(request?.body)).toBe(digest(whole))
    })

    test('without a body has none', async () => {
      const upstream = await start(answer({ body: 'ok' }))
      const request = { method: 'GET', url: `${upstream.url}/v1/models`, headers: {}, body: [] }
      expect(textOf((await send(upstream, request)).body)).toBe('ok')
      expect(upstream.requests[0]).toMatchObject({ method: 'GET' })
      expect(upstream.requests[0]?.body).toHaveLength(0)
      expect(upstream.requests[0]?.headers).not.toHaveProperty('transfer-encoding')
    })

    test('of many at once takes a connection for each', async () => {
      const gate = createGate()
      const upstream = await start(answer({ body: [gate.opened, 'ok'] }))
      const answers = Array.from({ length: 60 }, () => send(upstream))
      await upstream.request(60)
      gate.open()
      for (const { body } of await Promise.all(answers)) expect(textOf(body)).toBe('ok')
      expect(upstream.accepted).toBe(60)
    })

    test.runIf(can.ownConnections)('takes the connection of the one before', async () => {
      const upstream = await start(answer({ body: 'ok' }))
      for (let i = 0; i < 20; i++) await send(upstream)
      expect(upstream.accepted).toBe(1)
    })
  })

  describe('an answer', () => {
    test('that fits into what is gathered comes as bytes', async () => {
      const upstream = await start(answer({ body: ['{"a":', 5, '1}'] }))
      const response = await send(upstream, { gatherBytes: () => 7 })
      expect(response).toMatchObject({ status: 200, headers: { 'content-type': 'application/json' } })
      expect(textOf(response.body)).toBe('{"a":1}')
    })

    test.each([{ framing: 'length' }, { framing: 'chunked' }] as const)(
      'that is longer than what is gathered comes as a stream from its first byte ($framing)',
      async ({ framing }) => {
        const upstream = await start(answer({ body: ['{"a":', '12', '345}'], framing }))
        const response = await send(upstream, { gatherBytes: () => 7 })
        expect((await readAll(streamOf(response))).toString()).toBe('{"a":12345}')
      },
    )

    test('is asked once how much of it is worth waiting for, with its status and headers', async () => {
      const asked: unknown[] = []
      const upstream = await start(answer({ status: 429, headers: { 'X-Limit': '5' }, body: 'no' }))
      const gatherBytes = (status: number, headers: Readonly<Record<string, string>>) => {
        asked.push(status, headers['x-limit'])
        return 100
      }
      await send(upstream, { gatherBytes })
      expect(asked).toEqual([429, '5'])
    })

    test('has its repeated headers joined, and no header that was not sent', async () => {
      const upstream = await start(answer({ headers: { 'X-A': ['1', '2'], 'Retry-After': '3' } }))
      const { headers } = await send(upstream)
      expect(headers).toMatchObject({ 'x-a': '1, 2', 'retry-after': '3' })
      expect(headers['constructor']).toBeUndefined()
    })

    test('with bytes beyond ASCII in its headers is taken', async () => {
      const head = Buffer.from(
        'HTTP/1.1 200 OK\r\nx-name: caf\u00e9\u00ff\u0080\r\ncontent-length: 2\r\n\r\nok',
        'latin1',
      )
      const upstream = await start(raw(head))
      expect(textOf((await send(upstream)).body)).toBe('ok')
    })

    test('of HTTP/1.0 without a length ends with its connection', async () => {
      const upstream = await start(
        answer({ version: 'HTTP/1.0', framing: 'close', body: ['half', 5, 'half'] }),
      )
      expect(textOf((await send(upstream)).body)).toBe('halfhalf')
      expect(textOf((await send(upstream)).body)).toBe('halfhalf')
      expect(upstream.accepted).toBe(2)
    })

    test.each([204, 304])('of %i is empty', async (status) => {
      const upstream = await start(raw(`HTTP/1.1 ${status} X\r\netag: "1"\r\n\r\n`))
      const response = await send(upstream)
      expect(response).toMatchObject({ status, headers: { etag: '"1"' } })
      expect(response.body).toEqual(new Uint8Array(0))
    })

    test.runIf(can.takesLengthOfBodiless)(
      'of 304 may announce the length of what it does not send',
      async () => {
        const upstream = await start(raw('HTTP/1.1 304 X\r\ncontent-length: 20\r\n\r\n'))
        expect(await send(upstream)).toMatchObject({ status: 304, body: new Uint8Array(0) })
        expect((await send(upstream)).status).toBe(304)
      },
    )

    test.each([400, 418, 500, 529, 599, 600, 777, 999].filter((status) => status <= can.highestStatus))(
      'has its status as sent: %i',
      async (status) => {
        const upstream = await start(answer({ status, body: 'why' }))
        const response = await send(upstream)
        expect(response.status).toBe(status)
        expect(textOf(response.body)).toBe('why')
      },
    )

    test('comes after informational ones, which are skipped', async () => {
      const upstream = await start(answer({ informational: [103, 102], body: 'ok' }))
      const response = await send(upstream)
      expect(response.status).toBe(200)
      expect(textOf(response.body)).toBe('ok')
    })

    test.runIf(can.ownConnections)(
      'comes after any number of "100 Continue" that nobody asked for, on a fresh connection and on a kept one',
      async () => {
        const upstream = await start(async (exchange) => {
          for (const byte of 'HTTP/1.1 100 Continue\r\n\r\n') await exchange.raw(byte)
          await answer({ informational: [100, 103, 100], body: 'ok' })(exchange)
        })
        for (let nth = 0; nth < 3; nth++) expect(textOf((await send(upstream)).body)).toBe('ok')
        expect(upstream.accepted).toBe(1)
      },
    )

    test.each([301, 302, 303, 307, 308])('of %i is handed on and not followed', async (status) => {
      const other = await start(answer())
      const upstream = await start(answer({ status, headers: { location: `${other.url}/x` }, body: 'moved' }))
      const response = await send(upstream)
      expect(response.status).toBeGreaterThanOrEqual(300)
      expect(response.status).toBeLessThan(400)
      expect(upstream.requests).toHaveLength(1)
      expect(other.accepted).toBe(0)
    })

    test('that comes before the request has been taken is handed on', async () => {
      const upstream = await start(answer(), {
        whenConnected: (socket) => {
          socket.once('data', () => {
            socket.write('HTTP/1.1 413 Too Large\r\nconnection: close\r\ncontent-length: 3\r\n\r\nbig')
            socket.resume()
          })
          return 'handled'
        },
      })
      const response = await send(upstream, { body: [randomBytes(4_000_000)] })
      expect(response.status).toBe(413)
      expect(textOf(response.body)).toBe('big')
    })
  })
}

function digest(bytes: Uint8Array | undefined): string {
  return createHash('sha256')
    .update(bytes ?? '')
    .digest('hex')
}
