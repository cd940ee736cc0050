import { expect, test } from 'vitest'
import { CHUNKED, createBodyReader } from '../../src/adapter/node-http-body.ts'

test('a body in frames of one byte holds no more memory than what it counts for', () => {
  const chunks: Uint8Array[] = []
  const body = createBodyReader(
    (chunk) => void chunks.push(chunk),
    (bytes) => bytes,
  )
  body.begin(CHUNKED)
  const piece = Buffer.from('000000000001\r\na\r\n'.repeat(4_000))
  for (let nth = 0; nth < 10; nth++) body.push(piece, 0)
  expect(chunks.map(({ length }) => length)).toEqual(Array.from({ length: 10 }, () => 4_000))
  const held = new Set(chunks.map(({ buffer }) => buffer))
  // Node gives out small pieces of one block of 8 KB.
  expect([...held].reduce((sum, { byteLength }) => sum + byteLength, 0)).toBeLessThan(3 * 40_000)
})
