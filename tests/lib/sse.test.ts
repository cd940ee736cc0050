import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { createEventScanner, type SseEvent } from '../../src/lib/sse.ts'

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)

function eventsOf(...chunks: readonly string[]): SseEvent[] {
  const scanner = createEventScanner()
  return chunks.flatMap((chunk) => scanner.push(bytes(chunk)))
}

describe('events', () => {
  test.each([
    { chunks: ['data: {"a":1}\n\n'], events: [['message', '{"a":1}']], because: 'LF ends lines' },
    { chunks: ['data: x\r\n\r\n'], events: [['message', 'x']], because: 'CRLF ends lines' },
    { chunks: ['data: x\r\r'], events: [['message', 'x']], because: 'CR ends lines' },
    { chunks: ['data: x\r', '\n\r', '\n'], events: [['message', 'x']], because: 'a CRLF may be cut in two' },
    {
      chunks: ['data: a\r\n', '\r', '\ndata: b\n\n'],
      events: [
        ['message', 'a'],
        ['message', 'b'],
      ],
      because: 'the LF of a cut CRLF is no blank line',
    },
    { chunks: ['event: error\ndata: x\n\n'], events: [['error', 'x']], because: 'an event has a type' },
    { chunks: ['data: x\nevent: late\n\n'], events: [['late', 'x']], because: 'fields come in any order' },
    {
      chunks: ['event: a\ndata: 1\n\ndata: 2\n\n'],
      events: [
        ['a', '1'],
        ['message', '2'],
      ],
      because: 'the type holds for one event',
    },
    {
      chunks: ['data: 1\ndata: 2\ndata:\n\n'],
      events: [['message', '1\n2\n']],
      because: 'data lines are joined',
    },
    {
      chunks: ['data:x\n\n', 'data:  x\n\n'],
      events: [
        ['message', 'x'],
        ['message', ' x'],
      ],
      because: 'one blank is dropped',
    },
    {
      chunks: ['data\n\n'],
      events: [['message', '']],
      because: 'a name alone is a field with an empty value',
    },
    {
      chunks: ['\uFEFFdata: x\n\n'],
      events: [['message', 'x']],
      because: 'a byte order mark may stand in front',
    },
    { chunks: [': hi\n\n: ho\n\n'], events: [], because: 'comments are no events' },
    {
      chunks: ['data: x\n: ping\ndata: y\n\n'],
      events: [['message', 'x\ny']],
      because: 'a comment parts nothing',
    },
    {
      chunks: ['event: ping\n\n', 'id: 1\nretry: 9\n\n'],
      events: [],
      because: 'without data nothing is dispatched',
    },
    {
      chunks: ['id: 1\nretry: 9\nfoo: 1\ndata: x\n\n'],
      events: [['message', 'x']],
      because: 'other fields say nothing here',
    },
    { chunks: ['Data: x\n\n', ' data: x\n\n'], events: [], because: 'names are exact' },
    { chunks: ['data: x\n'], events: [], because: 'the blank line is missing' },
    { chunks: ['data: x'], events: [], because: 'the line end is missing' },
    { chunks: ['data: a:b: c\n\n'], events: [['message', 'a:b: c']], because: 'only the first colon counts' },
    {
      chunks: ['\n\n\ndata: [DONE]\n\n\n'],
      events: [['message', '[DONE]']],
      because: 'blank lines alone are nothing',
    },
  ])('$chunks give $events, since $because', ({ chunks, events }) => {
    expect(eventsOf(...chunks)).toEqual(events.map(([event, data]) => ({ event, data })))
  })

  test('are given by the chunk that brings their blank line', () => {
    const scanner = createEventScanner()
    expect(scanner.push(bytes(': wait\n\ndata: x\n'))).toEqual([])
    expect(scanner.push(bytes('\ndata: y\n\ndata: z'))).toEqual([
      { event: 'message', data: 'x' },
      { event: 'message', data: 'y' },
    ])
  })

  test('are the same however the stream is cut, in the middle of characters too', () => {
    const text = fc
      .string({ unit: 'grapheme', maxLength: 8 })
      .map((raw) => raw.replaceAll(/[\r\n\uFEFF]/g, ''))
    const lineEnd = fc.constantFrom('\n', '\r\n', '\r')
    const event = fc.tuple(fc.array(text, { minLength: 1, maxLength: 3 }), lineEnd, fc.boolean())
    fc.assert(
      fc.property(fc.array(event, { maxLength: 6 }), fc.array(fc.nat(5), { minLength: 1 }), (list, sizes) => {
        const all = bytes(
          list
            .map(
              ([data, end, hasComment]) =>
                (hasComment ? `: c${end}` : '') + data.map((line) => `data: ${line}${end}`).join('') + end,
            )
            .join(''),
        )
        const scanner = createEventScanner()
        const seen: string[] = []
        for (let at = 0, turn = 0; at < all.length; turn++) {
          const size = 1 + (sizes[turn % sizes.length] ?? 0)
          seen.push(...scanner.push(all.subarray(at, at + size)).map(({ data }) => data))
          at += size
        }
        expect(seen).toEqual(list.map(([data]) => data.join('\n')))
      }),
      { numRuns: 1_000 },
    )
  })

  test('with invalid UTF-8 are given with replacement characters', () => {
    const scanner = createEventScanner()
    const broken = new Uint8Array([...bytes('data: '), 0xff, ...bytes('\n\n')])
    expect(scanner.push(broken)).toEqual([{ event: 'message', data: '\uFFFD' }])
  })
})

describe('a scanner with a limit', () => {
  const long = 'x'.repeat(60)

  test.each([
    ['one line in many chunks', [`data: ${long}`, long, '\n', 'data: y\n\n']],
    ['many lines', [`data: ${long}\n`, `data: ${long}\n`, '\n']],
    ['one chunk', [`data: ${long}${long}\n\n`]],
    ['an over-long line that ends with the chunk behind it', [`data: ${long}${long}`, '\n\n']],
  ])('passes over an event that is longer, as %s, and gives the next one', (_, chunks) => {
    const scanner = createEventScanner(100)
    expect(chunks.flatMap((chunk) => scanner.push(bytes(chunk)))).toEqual([])
    expect(scanner.push(bytes('data: next\n\n'))).toEqual([{ event: 'message', data: 'next' }])
  })

  test('does not count comments', () => {
    const scanner = createEventScanner(100)
    scanner.push(bytes(`: ${long}${long}`))
    scanner.push(bytes(`${long}\n: ${long}\n: ${long}\n`))
    expect(scanner.push(bytes('data: x\n\n'))).toEqual([{ event: 'message', data: 'x' }])
  })
})

test.each([
  {
    what: 'single line ends',
    text: 'data: {"a":1}\ndata: {"a":2}\ndata: [DONE]\n',
    data: ['{"a":1}', '{"a":2}', '[DONE]'],
  },
  {
    what: 'names between',
    text: 'event: a\ndata: {"a":1}\nevent: b\ndata: {"a":2}\n',
    data: ['{"a":1}', '{"a":2}'],
  },
  { what: 'no blank line at the end', text: 'data: {"a":1}\n\ndata: {"a":2}', data: ['{"a":1}', '{"a":2}'] },
  { what: 'an object over several lines', text: 'data: {\ndata: "a":1}\n\n', data: ['{\n"a":1}'] },
])('events with $what are told apart as the readers of the world do', ({ text, data }) => {
  const scanner = createEventScanner()
  const seen = [...scanner.push(bytes(text)), ...scanner.end()]
  expect(seen.map((event) => event.data)).toEqual(data)
})
