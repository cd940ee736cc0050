import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { createTail } from '../../src/lib/bytes.ts'

const textOf = (bytes: Uint8Array): string => new TextDecoder().decode(bytes)
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)

test('the last bytes are kept, whatever the sizes of the chunks', () => {
  const chunks = fc.array(fc.string({ unit: 'binary-ascii', maxLength: 40 }), { maxLength: 30 })
  fc.assert(
    fc.property(chunks, fc.integer({ min: 1, max: 60 }), (list, limit) => {
      const tail = createTail(limit)
      for (const [at, chunk] of list.entries()) {
        tail.push(bytes(chunk))
        const soFar = list.slice(0, at + 1).join('')
        expect(textOf(tail.bytes())).toBe(soFar.slice(-limit))
      }
    }),
    { numRuns: 2_000 },
  )
})

test('without a limit of its own 16 KiB are kept, also while it grows', () => {
  const tail = createTail()
  let all = ''
  for (let i = 0; i < 3_000; i++) {
    tail.push(bytes(`chunk ${i}\n`))
    all += `chunk ${i}\n`
    if (i % 100 === 0) expect(textOf(tail.bytes())).toBe(all.slice(-16_384))
  }
  expect(textOf(tail.bytes())).toBe(all.slice(-16_384))
})

test('a chunk that is larger than all that is kept leaves its end', () => {
  const tail = createTail()
  tail.push(bytes('before'))
  tail.push(bytes(`${'x'.repeat(100_000)}end`))
  expect(textOf(tail.bytes())).toBe(`${'x'.repeat(16_381)}end`)
})

test('a chunk may be overwritten after it was taken', () => {
  const tail = createTail()
  const chunk = bytes('abc')
  tail.push(chunk)
  chunk.fill(0)
  expect(textOf(tail.bytes())).toBe('abc')
})

test('nothing is no bytes, and half a character is half of its bytes', () => {
  const tail = createTail(2)
  expect(textOf(tail.bytes())).toBe('')
  tail.push(bytes('字'))
  expect(textOf(tail.bytes())).toMatch(/^\uFFFD+$/)
})
