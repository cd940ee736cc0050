import { randomBytes } from 'node:crypto'
import * as zlib from 'node:zlib'
import { brotliCompressSync, deflateRawSync, deflateSync, gzipSync } from 'node:zlib'
import { describe, expect, test } from 'vitest'
import { answer, createGate } from '../support/scripted-scenes.ts'
import {
  asStream,
  type Bed,
  type Capabilities,
  failureOf,
  readAll,
  settled,
  streamOf,
  textOf,
} from './bed.ts'

const text = JSON.stringify({
  choices: Array.from({ length: 500 }, (_, n) => ({ index: n, text: `Wort ${n * 7919}` })),
})

const codings = [
  { coding: 'gzip', body: gzipSync(text) },
  { coding: 'x-gzip', body: gzipSync(text) },
  { coding: 'GZIP', body: gzipSync(text) },
  { coding: 'deflate', body: deflateSync(text) },
  { coding: 'deflate', body: deflateRawSync(text) },
  { coding: 'br', body: brotliCompressSync(text) },
]

/** Answers that come encoded though nobody asked for it. */
export function codingsContract({ start, send }: Bed, can: Capabilities): void {
  describe('an encoded answer', () => {
    test.each(codings)('in $coding is decoded, and its headers say so', async ({ coding, body }) => {
      const headers = { 'content-encoding': coding, 'x-other': '1' }
      const upstream = await start(answer({ headers, body }))
      const whole = await send(upstream)
      expect(textOf(whole.body)).toBe(text)
      expect(whole.headers).toMatchObject({ 'x-other': '1' })
      expect(whole.headers).not.toHaveProperty('content-encoding')
      expect(whole.headers).not.toHaveProperty('content-length')

      expect((await readAll(streamOf(await send(upstream, asStream)))).toString()).toBe(text)
      expect(textOf((await send(upstream)).body)).toBe(text)
      if (can.ownConnections) expect(upstream.accepted).toBe(1)
    })

    test('that is longer than what is gathered, once decoded, comes as a stream', async () => {
      const headers = { 'content-encoding': 'gzip' }
      const upstream = await start(answer({ headers, body: gzipSync(Buffer.alloc(3_000_000, 'a')) }))
      const response = await send(upstream, { gatherBytes: () => 10_000 })
      expect(await readAll(streamOf(response))).toHaveLength(3_000_000)
    })

    test('streams: what was flushed arrives before the next chunk is sent', async () => {
      const { createGzip, constants } = await import('node:zlib')
      const gzip = createGzip({ flush: constants.Z_SYNC_FLUSH })
      const next = createGate()
      const upstream = await start(async (exchange) => {
        await exchange.head(200, { 'content-encoding': 'gzip', 'transfer-encoding': 'chunked' })
        const chunks: Promise<unknown>[] = []
        gzip.on('data', (chunk: Buffer) => chunks.push(exchange.chunk(chunk)))
        gzip.write('data: 1\n\n')
        await next.opened
        gzip.end('data: 2\n\n')
        await new Promise((resolve) => gzip.on('end', resolve))
        await Promise.all(chunks)
        await exchange.lastChunk()
      })
      const reader = streamOf(await send(upstream, asStream)).getReader()
      expect(Buffer.from((await reader.read()).value ?? []).toString()).toBe('data: 1\n\n')
      next.open()
      expect(Buffer.from((await reader.read()).value ?? []).toString()).toBe('data: 2\n\n')
      expect((await reader.read()).done).toBe(true)
    })

    test.each([
      { coding: 'br', body: Buffer.from('\xff\xff\xff\xff\xff\xff\xff\xff', 'latin1') },
      { coding: 'gzip', body: damaged(gzipSync(text)) },
      { coding: 'compress', body: Buffer.from('whatever') },
      { coding: 'compress', body: Buffer.from('{"\0') },
      { coding: 'zstd', body: Buffer.from('[\xff', 'latin1') },
    ])('in broken or unknown $coding is undecodable', async ({ coding, body }) => {
      const upstream = await start(answer({ headers: { 'content-encoding': coding }, body }))
      expect(await failureOf(send(upstream))).toBe('undecodable')
      expect(await failureOf(send(upstream, asStream).then(({ body }) => readAll(body)))).toBe('undecodable')
    })

    test.each(['utf-8', 'aws-chunked', 'UTF-8', 'none', 'pack200-gzip'])(
      'under the word %s, which is no coding, is what its bytes are',
      async (coding) => {
        const upstream = await start(answer({ headers: { 'content-encoding': coding }, body: text }))
        const whole = await send(upstream)
        expect(textOf(whole.body)).toBe(text)
        expect(whole.headers).not.toHaveProperty('content-encoding')
      },
    )

    test.runIf(can.ownConnections)('called gzip, but plain text, is what its bytes are', async () => {
      const upstream = await start(answer({ headers: { 'content-encoding': 'gzip' }, body: text }))
      expect(textOf((await send(upstream)).body)).toBe(text)
      expect((await readAll(streamOf(await send(upstream, asStream)))).toString()).toBe(text)
    })

    const events = 'data: {"a":"é"}\n\n'
    test.runIf(can.ownConnections).each([
      { coding: 'br', body: text },
      { coding: 'br', body: ' [1]' },
      { coding: 'deflate', body: events },
      { coding: 'deflate', body: ': comment\n\n' },
      { coding: 'zstd', body: `\ufeff${text}` },
      { coding: 'compress', body: events },
      { coding: 'dcb', body: '{}' },
      { coding: 'gzip, br', body: text },
      { coding: 'gzip, identity', body: text },
    ])('called $coding, but JSON or events as they are (%#), is what its bytes are', async (label) => {
      const headers = { 'content-encoding': label.coding }
      const upstream = await start(answer({ headers, body: label.body }))
      const whole = await send(upstream)
      expect(textOf(whole.body)).toBe(label.body.replace('\ufeff', ''))
      expect(whole.headers).not.toHaveProperty('content-encoding')
      const streamed = await readAll(streamOf(await send(upstream, asStream)))
      expect(streamed.toString()).toBe(label.body)
    })

    test.each(['compress', 'dcz', 'gzip, identity'])(
      'called %s, on a transport that does not undo that, is at least taken as it is where it is JSON',
      async (coding) => {
        const upstream = await start(answer({ headers: { 'content-encoding': coding }, body: text }))
        expect(textOf((await send(upstream)).body)).toBe(text)
      },
    )

    test.runIf(can.ownConnections).each([
      { coding: 'gzip, identity', body: gzipSync(text) },
      { coding: 'identity, GZIP', body: gzipSync(text) },
      { coding: 'utf-8,br', body: brotliCompressSync(text) },
      { coding: 'deflate, gzip', body: gzipSync(deflateSync(text)) },
      { coding: 'gzip, gzip', body: gzipSync(text) },
    ])('in $coding is decoded step by step', async ({ coding, body }) => {
      const upstream = await start(answer({ headers: { 'content-encoding': coding }, body }))
      expect(textOf((await send(upstream)).body)).toBe(text)
      expect((await readAll(streamOf(await send(upstream, asStream)))).toString()).toBe(text)
    })

    test.runIf(can.ownConnections).each([
      { what: 'two frames', frames: (frame: Buffer) => [frame, frame], decoded: text + text },
      {
        what: 'a frame to be skipped, and another',
        frames: (frame: Buffer) => [SKIPPABLE, frame],
        decoded: text,
      },
      {
        what: 'a frame, and one to be skipped',
        frames: (frame: Buffer) => [frame, SKIPPABLE],
        decoded: text,
      },
      { what: 'two frames of which one is cut', frames: (frame: Buffer) => [frame, frame.subarray(0, -9)] },
      { what: 'a frame and junk', frames: (frame: Buffer) => [frame, Buffer.from('junk and junk')] },
    ])('in zstd of $what is whole or undecodable, never a part of it', async ({ frames, decoded }) => {
      const { zstdCompressSync } = zlib as typeof zlib & { zstdCompressSync?: (text: string) => Buffer }
      // Where Node has no zstd, any frame will do.
      const all = frames(zstdCompressSync?.(text) ?? SKIPPABLE)
      for (const body of [Buffer.concat(all), all]) {
        const upstream = await start(answer({ headers: { 'content-encoding': 'zstd' }, body }))
        for (const how of [{}, asStream]) {
          const outcome = send(upstream, how).then(({ body }) => readAll(body))
          const got = await outcome.then(String, () => 'undecodable')
          expect(['undecodable', decoded]).toContain(got)
          if (zstdCompressSync === undefined) expect(got).toBe('undecodable')
        }
      }
    })

    test.runIf(can.noticesCutCoding)('whose coding lacks its end is undecodable', async () => {
      const body = gzipSync(text).subarray(0, -20)
      const upstream = await start(answer({ headers: { 'content-encoding': 'gzip' }, body }))
      expect(await failureOf(send(upstream))).toBe('undecodable')
    })

    test('that nobody reads stops the upstream', async () => {
      // RFC 1952 §2.2: a gzip body may have any number of members.
      const member = gzipSync(randomBytes(64 * 1024))
      const upstream = await start(async (exchange) => {
        await exchange.head(200, { 'content-encoding': 'gzip', 'transfer-encoding': 'chunked' })
        while (await exchange.chunk(member));
      })
      const response = await send(upstream, asStream)
      expect(await settled(() => upstream.bytesSent)).toBeLessThan(16 * 2 ** 20)
      await streamOf(response).cancel()
    })

    test('that nobody reads is not inflated into memory', async () => {
      const body = Array.from({ length: 200 }, () => gzipSync(Buffer.alloc(2 ** 20)))
      const upstream = await start(
        answer({ headers: { 'content-encoding': 'gzip' }, body: Buffer.concat(body) }),
      )
      const before = process.memoryUsage().arrayBuffers
      const response = await send(upstream, asStream)
      const after = await settled(() => process.memoryUsage().arrayBuffers)
      expect(after - before).toBeLessThan(20 * 2 ** 20)
      await streamOf(response).cancel()
    })

    test('that is cut by its connection is broken', async () => {
      const body = gzipSync(text)
      const play = {
        headers: { 'content-encoding': 'gzip' },
        body: body.subarray(0, 300),
        framing: body.length,
      }
      const upstream = await start(answer({ ...play, ending: 'close' }))
      expect(await failureOf(send(upstream))).toBe('broken')
    })

    test('without a single byte is empty', async () => {
      const upstream = await start(answer({ headers: { 'content-encoding': 'gzip' } }))
      expect(textOf((await send(upstream)).body)).toBe('')
    })

    test('in identity is taken as it is', async () => {
      const upstream = await start(answer({ headers: { 'content-encoding': 'identity' }, body: 'ok' }))
      expect(textOf((await send(upstream)).body)).toBe('ok')
    })
  })
}

/** RFC 8878 §3.1.2 */
const SKIPPABLE = Buffer.from('\x50\x2a\x4d\x18\x05\0\0\0hello', 'latin1')

function damaged(bytes: Buffer): Buffer {
  const copy = Buffer.from(bytes)
  copy.fill(0xff, 100, 140)
  return copy
}
