import { getEventListeners } from 'node:events'
import { describe, expect, test } from 'vitest'
import { startBlackhole } from '../support/dead-ends.ts'
import { answer, flood, stall } from '../support/scripted-scenes.ts'
import { asStream, type Bed, type Capabilities, failureOf, readAll, streamOf, until } from './bed.ts'

/** A caller that leaves, early or late, and what it leaves behind: nothing. */
export function leavingContract({ start, send }: Bed, can: Capabilities): void {
  describe('a caller that leaves', () => {
    test('before it has come sends nothing', async () => {
      const upstream = await start(answer())
      expect(await failureOf(send(upstream, {}, AbortSignal.abort('gone')))).toBe('aborted')
      expect(upstream.accepted).toBe(0)
    })

    test('before there is a connection is let go at once', async () => {
      const blackhole = await startBlackhole()
      try {
        const caller = new AbortController()
        const sent = send(blackhole, {}, caller.signal)
        setTimeout(() => caller.abort('gone'), 30)
        const since = performance.now()
        expect(await failureOf(sent)).toBe('aborted')
        expect(performance.now() - since).toBeLessThan(10_000)
      } finally {
        await blackhole.close()
      }
    })

    test('before there are headers closes the connection', async () => {
      const upstream = await start(stall())
      const caller = new AbortController()
      const sent = send(upstream, {}, caller.signal)
      const request = await upstream.request(1)
      caller.abort()
      expect(await failureOf(sent)).toBe('aborted')
      await request.closed
      expect(request.aborted).toBe(true)
    })

    test('while the body is gathered closes the connection', async () => {
      const upstream = await start(answer({ body: ['{', 60_000] }))
      const caller = new AbortController()
      const sent = send(upstream, {}, caller.signal)
      const request = await upstream.request(1)
      setTimeout(() => caller.abort(), 30)
      expect(await failureOf(sent)).toBe('aborted')
      await request.closed
    })

    test('while it reads a stream closes the connection', async () => {
      const upstream = await start(answer({ body: ['data: 1\n\n', 60_000] }))
      const caller = new AbortController()
      const reader = streamOf(await send(upstream, asStream, caller.signal)).getReader()
      await reader.read()
      const read = reader.read()
      caller.abort()
      expect(await failureOf(read)).toBe('aborted')
      await upstream.requests[0]?.closed
      expect(upstream.requests[0]?.aborted).toBe(true)
    })

    test('while nobody reads the stream closes the connection, and the stream errors', async () => {
      const upstream = await start(flood())
      const caller = new AbortController()
      const response = await send(upstream, asStream, caller.signal)
      caller.abort()
      await upstream.requests[0]?.closed
      expect(await failureOf(readAll(response.body))).toBe('aborted')
    })

    test('by cancelling the stream closes the connection', async () => {
      const upstream = await start(flood())
      const stream = streamOf(await send(upstream, asStream))
      await stream.cancel()
      await upstream.requests[0]?.closed
      expect(upstream.requests[0]?.aborted).toBe(true)
    })

    test('in the middle of reading, by cancelling, closes the connection', async () => {
      const upstream = await start(answer({ body: ['data: 1\n\n', 60_000] }))
      const reader = streamOf(await send(upstream, asStream)).getReader()
      await reader.read()
      const read = reader.read()
      await reader.cancel('enough')
      expect((await read).done).toBe(true)
      await upstream.requests[0]?.closed
    })

    test('again and again holds no connection', async () => {
      const upstream = await start(answer({ status: 500, body: ['error page', 60_000] }))
      for (let i = 0; i < 30; i++) await streamOf(await send(upstream, asStream)).cancel()
      await until(() => upstream.open === 0)
      if (can.ownConnections) expect(upstream.accepted).toBe(30)
    })

    test('after the answer finds nothing that listens to its signal', async () => {
      const upstream = await start(answer({ body: 'ok' }))
      const caller = new AbortController()
      await send(upstream, {}, caller.signal)
      await readAll((await send(upstream, asStream, caller.signal)).body)
      await streamOf(await send(upstream, asStream, caller.signal)).cancel()
      expect(getEventListeners(caller.signal, 'abort')).toHaveLength(0)
      caller.abort()
      expect(upstream.requests).toHaveLength(3)
    })
  })
}
