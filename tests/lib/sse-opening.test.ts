import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { createOpeningTracker } from '../../src/lib/sse.ts'

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)
const openingOf = (...chunks: string[]): string => {
  const tracker = createOpeningTracker()
  for (const chunk of chunks) tracker.push(bytes(chunk))
  return new TextDecoder().decode(tracker.opening())
}

test.each([
  { chunks: [], opening: '', because: 'nothing has passed' },
  { chunks: ['\n\n'], opening: '', because: 'blank lines begin nothing' },
  { chunks: ['data: 1\n\n', 'data: 2\n\n'], opening: 'data: 2\n\n', because: 'each chunk is an event' },
  { chunks: ['data: 1\n\ndata: 2\n\n'], opening: 'data: 2\n\n', because: 'the last of a chunk counts' },
  {
    chunks: ['data: 1\r\n\r\ndata: 2\r\n\r\n'],
    opening: 'data: 2\r\n\r\n',
    because: 'lines may end with CRLF',
  },
  { chunks: ['data: 1\n\n', 'da', 'ta: 2'], opening: 'data: 2', because: 'it may come in pieces' },
  { chunks: ['data: 1\n', '\ndata: 2'], opening: 'data: 2', because: 'a blank line may be cut in two' },
  { chunks: ['data: 1\n', 'data: 2'], opening: 'data: 1\ndata: 2', because: 'two lines may be one event' },
  { chunks: ['data: 1\n\n', '\n', 'data: 2'], opening: 'data: 2', because: 'more blank lines say no more' },
])('after $chunks it is $opening, since $because', ({ chunks, opening }) => {
  expect(openingOf(...chunks)).toBe(opening)
})

test('an event of any length leaves its first 256 bytes', () => {
  const long = `event: x\ndata: ${'y'.repeat(100_000)}`
  expect(openingOf('data: 1\n\n', long, 'z'.repeat(1_000), '\n\n')).toBe(long.slice(0, 256))
})

test('it is the same however the stream is cut', () => {
  const events = fc.array(fc.constantFrom('data: 1', 'event: a\ndata: 2', ': c', 'data: 3\r\ndata: 4'), {
    minLength: 1,
  })
  fc.assert(
    fc.property(events, fc.constantFrom('\n\n', '\r\n\r\n'), fc.array(fc.nat(20)), (list, blank, cuts) => {
      const whole = list.map((event) => event + blank).join('')
      const chunks: string[] = []
      let at = 0
      for (const cut of cuts) chunks.push(whole.slice(at, (at += cut)))
      chunks.push(whole.slice(at))
      expect(openingOf(...chunks).trimEnd()).toBe(list.at(-1))
    }),
    { numRuns: 2_000 },
  )
})
