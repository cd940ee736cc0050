import { randomBytes } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { answer, createGate, flood, raw } from '../support/scripted-scenes.ts'
import {
  asStream,
  type Bed,
  type Capabilities,
  expectBackPressure,
  failureOf,
  readAll,
  settled,
  streamOf,
} from './bed.ts'

/** Bodies as streams: order, pace, pressure and breaks. */
export function streamsContract({ start, send }: Bed, can: Capabilities): void {
  describe('a stream', () => {
    test('arrives chunk by chunk, each before the next is sent', async () => {
      const gates = [createGate(), createGate(), createGate()]
      const body = gates.flatMap((gate, n) => [gate.opened, `data: ${n}\n\n`])
      const upstream = await start(answer({ body }))
      const reader = streamOf(await send(upstream, asStream)).getReader()
      for (const [n, gate] of gates.entries()) {
        const read = reader.read()
        gate.open()
        expect(Buffer.from((await read).value ?? []).toString()).toBe(`data: ${n}\n\n`)
      }
      expect((await reader.read()).done).toBe(true)
    })

    test('has the bytes that were sent, wherever they were cut', async () => {
      const text = Buffer.from('data: {"t":"\u{1f600}é漢"}\r\n\r\n: comment\n\ndata: [DONE]\n\n'.repeat(30))
      const cuts = Array.from({ length: 200 }, (_, n) => (n * 7919) % text.length).sort((a, b) => a - b)
      const pieces = [0, ...cuts].map((from, n) => text.subarray(from, cuts[n] ?? text.length))
      const upstream = await start(answer({ body: pieces, framing: 'chunked' }))
      expect((await readAll((await send(upstream, asStream)).body)).equals(text)).toBe(true)
    })

    test('of some megabytes is complete, read slowly or quickly', async () => {
      const block = Buffer.from(Array.from({ length: 1 << 16 }, (_, n) => (n * 31) % 251))
      const upstream = await start(answer({ body: Array.from({ length: 64 }, () => block) }))
      const whole = Buffer.concat(Array.from({ length: 64 }, () => block))
      expect((await readAll((await send(upstream, asStream)).body)).equals(whole)).toBe(true)

      const chunks: Uint8Array[] = []
      for await (const chunk of streamOf(await send(upstream, asStream))) {
        chunks.push(chunk)
        await new Promise(setImmediate)
      }
      expect(Buffer.concat(chunks).equals(whole)).toBe(true)
    })

    test.runIf(can.ownConnections)(
      'that was there before anybody read it leaves a connection that works',
      async () => {
        const upstream = await start(answer({ body: Buffer.alloc(40_000, 'x') }))
        for (let i = 0; i < 3; i++) {
          const response = await send(upstream, asStream)
          await settled(() => upstream.bytesSent)
          expect(await readAll(response.body)).toHaveLength(40_000)
        }
        expect(upstream.accepted).toBe(1)
      },
    )

    test.runIf(can.ownConnections)('gives its connection back when it has been read', async () => {
      const upstream = await start(answer({ body: ['a', 1, 'b'] }))
      for (let i = 0; i < 5; i++) await readAll((await send(upstream, asStream)).body)
      expect(upstream.accepted).toBe(1)
    })

    test('that nobody reads stops the upstream', async () => {
      const upstream = await start(flood())
      await expectBackPressure(upstream, await send(upstream, asStream))
    })

    test('that is read slowly is not silent', async () => {
      const later = createGate()
      const block = Buffer.alloc(3_000_000)
      const upstream = await start(answer({ body: [10, 'first', 10, block, later.opened, 'end'] }))
      const response = await send(upstream, { ...asStream, timeoutMs: 300 })
      const reader = streamOf(response).getReader()
      // It waits for this one, and then does something else for longer than the timeout.
      expect((await reader.read()).value).toHaveLength(5)
      await new Promise((resolve) => setTimeout(resolve, 500))
      expect((await reader.read()).done).toBe(false)
      await new Promise((resolve) => setTimeout(resolve, 500))
      reader.releaseLock()
      later.open()
      expect((await readAll(response.body)).subarray(-3).toString()).toBe('end')
    })

    test('that falls silent errors after the timeout, and what came before stays', async () => {
      const upstream = await start(answer({ body: ['data: 1\n\n', 60_000] }))
      const response = await send(upstream, { ...asStream, timeoutMs: 80 })
      const reader = streamOf(response).getReader()
      expect((await reader.read()).value).toHaveLength(9)
      const since = performance.now()
      expect(await failureOf(reader.read())).toBe('timeout')
      expect(performance.now() - since).toBeGreaterThanOrEqual(75)
      await upstream.requests[0]?.closed
      expect(upstream.requests[0]?.aborted).toBe(true)
    })

    test.each([0, 1_000])(
      'whose chunks come within the timeout may take longer than it (%i gathered)',
      async (bytes) => {
        const upstream = await start(answer({ body: Array.from({ length: 12 }, () => [50, 'x']).flat() }))
        const response = await send(upstream, { gatherBytes: () => bytes, timeoutMs: 400 })
        expect((await readAll(response.body)).toString()).toBe('x'.repeat(12))
      },
    )

    test.each([
      { cut: 'a content-length that is not reached', play: { body: 'abc', framing: 10, ending: 'close' } },
      {
        cut: 'a content-length that is not reached, reset',
        play: { body: 'abc', framing: 10, ending: 'reset' },
      },
      { cut: 'chunks without their end', play: { body: 'abc', framing: 'chunked', ending: 'close' } },
      { cut: 'chunks without their end, reset', play: { body: 'abc', framing: 'chunked', ending: 'reset' } },
    ] as const)('with $cut is broken, and what came stays', async ({ play }) => {
      const read = createGate()
      const upstream = await start(answer({ ...play, body: [play.body, read.opened] }))
      const reader = streamOf(await send(upstream, asStream)).getReader()
      expect(Buffer.from((await reader.read()).value ?? []).toString()).toBe('abc')
      read.open()
      expect(await failureOf(reader.read())).toBe('broken')
    })

    test.runIf(can.noticesResetOfUndelimitedBody)('without a length that is reset is broken', async () => {
      const read = createGate()
      const body = ['abc', read.opened]
      const upstream = await start(answer({ version: 'HTTP/1.0', framing: 'close', ending: 'reset', body }))
      const reader = streamOf(await send(upstream, asStream)).getReader()
      await reader.read()
      read.open()
      expect(await failureOf(reader.read())).toBe('broken')
    })

    const head = 'HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n'

    test.each([
      { what: '200,000 chunks of a byte', frames: '1\r\nx\r\n'.repeat(200_000), body: 'x'.repeat(200_000) },
      {
        what: '70,000 events',
        frames: '9\r\ndata: x\n\n\r\n'.repeat(70_000),
        body: 'data: x\n\n'.repeat(70_000),
      },
      {
        what: '70,000 chunks with signatures',
        frames: '2;chunk-signature="a;b";n=1\r\nok\r\n'.repeat(70_000),
        body: 'ok'.repeat(70_000),
      },
    ])('of $what is whole, streamed or gathered', async ({ frames, body }) => {
      const upstream = await start(raw(`${head}${frames}0\r\nx-checksum: 1\r\n\r\n`))
      for (const gatherBytes of [0, 1_000_000]) {
        const response = await send(upstream, { gatherBytes: () => gatherBytes })
        expect((await readAll(response.body)).toString() === body).toBe(true)
      }
      if (can.ownConnections) expect(upstream.accepted).toBe(1)
    })

    test('with a trailer that is none is broken', async () => {
      const upstream = await start(raw(`${head}2\r\nok\r\n0\r\nno trailer\r\n\r\n`))
      expect(await failureOf(send(upstream))).toBe('broken')
    })

    test.runIf(can.ownConnections)('whose connection closes while it is read slowly is whole', async () => {
      const body = randomBytes(1_000_000)
      const upstream = await start(answer({ framing: 'close', body }))
      for (let round = 0; round < 3; round++) {
        const response = await send(upstream, asStream)
        const chunks: Uint8Array[] = []
        for await (const chunk of streamOf(response)) {
          chunks.push(chunk)
          await new Promise((resolve) => setTimeout(resolve, 1))
        }
        expect(Buffer.concat(chunks).equals(body)).toBe(true)
      }
    })

    test.runIf(can.ownConnections)('whose connection is reset while nobody reads is broken', async () => {
      const framings = can.noticesResetOfUndelimitedBody
        ? (['close', 'chunked'] as const)
        : (['chunked'] as const)
      for (const framing of framings) {
        const taken = createGate()
        const headers = { connection: 'close' }
        const body = [Buffer.alloc(40_000), taken.opened]
        const upstream = await start(answer({ framing, headers, body, ending: 'reset' }))
        const response = await send(upstream, asStream)
        const reader = streamOf(response).getReader()
        await reader.read()
        taken.open()
        await upstream.requests[0]?.closed
        await new Promise((resolve) => setTimeout(resolve, 20))
        reader.releaseLock()
        expect(await failureOf(readAll(response.body))).toBe('broken')
      }
    })

    test('without a length that is reset before it is looked at leaves no rejection behind', async () => {
      const upstream = await start(answer({ body: 'abc', framing: 10, ending: 'reset' }))
      const response = await send(upstream, asStream)
      await upstream.requests[0]?.closed
      expect(await failureOf(readAll(response.body))).toBe('broken')
    })
  })
}
