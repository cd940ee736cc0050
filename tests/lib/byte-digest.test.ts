import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { digestOf } from '../../src/lib/hash.ts'

const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text)

test('the same bytes have the same digest wherever they lie in memory', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 40 }), fc.integer({ min: 0, max: 5 }), (bytes, offset) => {
      const moved = new Uint8Array(bytes.length + 9)
      moved.set(bytes, offset)
      return digestOf(moved.subarray(offset, offset + bytes.length)) === digestOf(bytes)
    }),
  )
})

test('any changed, added or lost byte makes another', () => {
  const bytes = bytesOf('The quick brown fox jumps over the lazy dog.')
  const others = [...bytes.keys()]
    .slice(1)
    .flatMap((at) => [
      Uint8Array.from(bytes, (byte, index) => (index === at ? byte ^ 1 : byte)),
      Uint8Array.from(bytes, (byte, index) => (index === at ? byte ^ 128 : byte)),
      bytes.subarray(0, at),
      bytes.subarray(at),
    ])
  const zeros = Array.from({ length: 20 }, (_, length) => new Uint8Array(length + 1))
  const all = [bytes, ...others, ...zeros].map(digestOf)
  expect(new Set(all).size).toBe(all.length)
})

test('a hundred thousand counted texts have as many digests', () => {
  const seen = new Set<string>()
  for (let at = 0; at < 100_000; at++) seen.add(digestOf(bytesOf(`user ${at}`)))
  expect(seen.size).toBe(100_000)
})

test('the digest is part of what replicas agree on', () => {
  expect([digestOf(new Uint8Array(0)), digestOf(bytesOf('"hello"'))]).toMatchInlineSnapshot(`
    [
      "1065878782.-1752415472",
      "1695272227.702233888",
    ]
  `)
})
