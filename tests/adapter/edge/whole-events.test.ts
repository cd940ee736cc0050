import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { toWholeEventsResponse } from '../../../src/adapter/edge/whole-events.ts'
import { END, type ByteReader } from '../../../src/lib/bytes.ts'

const STREAM = { 'content-type': 'text/event-stream' }
const encoder = new TextEncoder()

/** A body of these chunks that ends in order, or breaks. */
function bodyOf(chunks: readonly string[], ending: 'end' | 'break' = 'end'): ByteReader {
  const waiting = chunks.map((chunk) => encoder.encode(chunk))
  return {
    async read() {
      const value = waiting.shift()
      if (value !== undefined) return { done: false, value }
      if (ending === 'break') throw new Error('broken')
      return END
    },
    cancel: async () => {},
  }
}

const respond = (body: ByteReader, headers: Record<string, string> = STREAM): Response =>
  toWholeEventsResponse({ status: 200, headers, body }, undefined)

describe('an answer in whole events', () => {
  test('is the same bytes, wherever they are cut', async () => {
    const event = fc.constantFrom(
      'data: {"a":1}\n\n',
      ': ping\n\n',
      'event: x\r\ndata: é🎈\r\n\r\n',
      'data: 1\rdata: 2\r\r',
    )
    await fc.assert(
      fc.asyncProperty(fc.array(event), fc.array(fc.nat(40)), fc.boolean(), async (events, cuts, hasRest) => {
        const text = events.join('') + (hasRest ? 'data: rest' : '')
        const chunks: string[] = []
        let from = 0
        for (const cut of cuts) {
          chunks.push(text.slice(from, from + cut))
          from += cut
        }
        chunks.push(text.slice(from))
        const whole = chunks.filter(
          (chunk) => chunk !== '' && !/[\ud800-\udfff]$|^[\udc00-\udfff]/.test(chunk),
        )
        fc.pre(whole.join('') === text)
        expect(await respond(bodyOf(whole)).text()).toBe(text)
      }),
    )
  })

  test.each([
    { chunks: ['data: 1\n\n', 'data: {"ha'], whole: 'data: 1\n\n' },
    { chunks: ['data: 1\n\ndata: {"ha', 'lf'], whole: 'data: 1\n\n' },
    { chunks: ['data: 1\r\n\r', '\ndata: 2\r\n'], whole: 'data: 1\r\n\r' },
    { chunks: ['data: {"ha'], whole: '' },
    { chunks: ['data: 1\n', '\n'], whole: 'data: 1\n\n' },
  ])('a break in $chunks leaves $whole and an error event', async ({ chunks, whole }) => {
    const text = await respond(bodyOf(chunks, 'break')).text()
    expect(text.slice(0, whole.length)).toBe(whole)
    expect(text.slice(whole.length)).toMatch(
      /^data: \{"error":\{"message":".*","type":"upstream_error","param":null,"code":"upstream_disconnected"\}\}\n\n$/,
    )
  })

  test('a stream of named events gets a named error, comments in front of it or not', async () => {
    for (const comments of [[], [': waiting\n\n', ': waiting\n\n']]) {
      const chunks = [...comments, 'event: response.created\ndata: 1\n\n', 'event: resp']
      expect(await respond(bodyOf(chunks, 'break')).text()).toContain('\n\nevent: error\ndata: ')
    }
  })

  test('other bodies break as they did', async () => {
    await expect(respond(bodyOf(['abc'], 'break'), { 'content-type': 'audio/mpeg' }).text()).rejects.toThrow()
  })

  test('a client that leaves cancels the source', async () => {
    let isCancelled = false
    const source = bodyOf(['data: 1\n\n'])
    const cancel = async (): Promise<void> => void (isCancelled = true)
    await respond({ ...source, cancel }).body?.cancel()
    expect(isCancelled).toBe(true)
  })
})
