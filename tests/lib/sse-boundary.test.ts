import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { createBoundaryTracker } from '../../src/lib/sse.ts'

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)

function isAtBoundaryAfter(...chunks: readonly (string | Uint8Array)[]): boolean {
  const tracker = createBoundaryTracker()
  for (const chunk of chunks) tracker.push(typeof chunk === 'string' ? bytes(chunk) : chunk)
  return tracker.atBoundary()
}

/** The same question answered the plain way: over the whole text, by the WHATWG's grammar. */
function isWhole(text: string): boolean {
  const lines = text.replace(/^\uFEFF/, '').split(/\r\n|\r|\n/)
  if (lines.pop() !== '') return false
  const sinceBlank = lines.slice(lines.lastIndexOf('') + 1)
  return sinceBlank.every((line) => line.startsWith(':'))
}

describe('between two events', () => {
  test.each([
    ['nothing has come', []],
    ['an event has its blank line', ['data: x\n\n']],
    ['an event has its blank line in CRLF', ['data: x\r\n\r\n']],
    ['an event has its blank line in CR', ['data: x\r\r']],
    ['the LF of the last CRLF is still to come', ['data: x\r\n\r']],
    ['the blank line comes by itself', ['data: x\n', '\n']],
    ['the blank line comes by itself in CRLF', ['data: x\r\n', '\r\n']],
    ['a CRLF is cut in two', ['data: x\r', '\n\r', '\n']],
    ['line ends are mixed', ['data: x\r\n\n']],
    ['a comment has its line end', [': keep-alive\n']],
    ['a comment follows an event', ['data: x\n\n: OPENROUTER PROCESSING\n']],
    ['only blank lines have come', ['\n', '\r\n']],
    ['an event without data has ended', ['event: ping\n\n']],
    ['a byte order mark stands alone', ['\uFEFF']],
    ['a comment follows the byte order mark', ['\uFEFF: hello\n']],
    ['an empty chunk follows', ['data: x\n\n', '']],
  ])('when %s', (_, chunks) => {
    expect(isAtBoundaryAfter(...chunks)).toBe(true)
  })
})

describe('inside something', () => {
  test.each([
    ['a data line has no end yet', ['data: x']],
    ['a data line has its end but no blank line', ['data: x\n']],
    ['a CRLF is complete but the blank line is not there', ['data: x\r', '\n']],
    ['an event has only its name', ['event: error\n']],
    ['an id waits for its event', ['id: 7\n']],
    ['a line of an unknown field stands open', ['foo\n']],
    ['a comment has no end yet', [': keep']],
    ['a comment came inside an event', ['data: x\n: ping\n']],
    ['the next event has begun', ['data: x\n\nd']],
    ['a blank follows the last event', ['data: x\n\n ']],
    ['a byte order mark comes a second time', ['\uFEFF\uFEFF']],
    ['half a byte order mark has come', [new Uint8Array([0xef, 0xbb])]],
    ['a broken byte order mark hides the colon', [new Uint8Array([0xef, 0xbb, 58, 10])]],
    ['half a character has come', [new Uint8Array([0xe6, 0x97])]],
  ])('when %s', (_, chunks) => {
    expect(isAtBoundaryAfter(...chunks)).toBe(false)
  })
})

const pieces = fc.constantFrom(
  '\n',
  '\r',
  '\r\n',
  '\n\n',
  '\r\n\r\n',
  ':',
  ': c',
  'data: é',
  'event: e',
  '\uFEFF',
  ' ',
  '字',
)

test('however the stream is cut, after every chunk the answer is that of the whole text so far', () => {
  const cut = fc.array(fc.nat(6), { minLength: 1 })
  fc.assert(
    fc.property(fc.array(pieces, { maxLength: 25 }), cut, (list, sizes) => {
      const all = bytes(list.join(''))
      const tracker = createBoundaryTracker()
      for (let at = 0, turn = 0; at < all.length; turn++) {
        const size = 1 + (sizes[turn % sizes.length] ?? 0)
        tracker.push(all.subarray(at, at + size))
        at = Math.min(all.length, at + size)
        const soFar = new TextDecoder('utf-8', { ignoreBOM: true }).decode(all.subarray(0, at))
        expect(tracker.atBoundary()).toBe(isWhole(soFar))
      }
    }),
    { numRuns: 5_000 },
  )
})

test('in one chunk the answer is that of the whole text', () => {
  fc.assert(
    fc.property(fc.array(pieces, { maxLength: 25 }), (list) => {
      expect(isAtBoundaryAfter(list.join(''))).toBe(isWhole(list.join('')))
    }),
    { numRuns: 5_000 },
  )
})

test('a chunk is not changed', () => {
  const chunk = bytes('data: x\r\n\r\n: c\n')
  isAtBoundaryAfter(chunk)
  expect(chunk).toEqual(bytes('data: x\r\n\r\n: c\n'))
})
