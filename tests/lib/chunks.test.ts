import { expect, test } from 'vitest'
import { bytesBetween, Chunks, lengthOf, viewsOf } from '../../src/lib/bytes.ts'

const bytesOf = (text: string) => new TextEncoder().encode(text)
const textOf = (pieces: readonly Uint8Array[]) => Buffer.concat(pieces).toString()

test('many small chunks become few, in their order', () => {
  const chunks = new Chunks()
  const texts = Array.from({ length: 10_000 }, (_, nth) => `${nth},`)
  for (const text of texts) chunks.push(bytesOf(text))
  expect(chunks.bytes).toBe(texts.join('').length)
  const taken = chunks.take()
  expect(textOf(taken)).toBe(texts.join(''))
  expect(taken.length).toBeLessThan(20)
  expect(chunks.bytes).toBe(0)
  expect(chunks.take()).toEqual([])
})

test('large chunks are kept as they are, and small ones between them stay where they were', () => {
  const chunks = new Chunks()
  const large = bytesOf('x'.repeat(2_000))
  for (const chunk of [large, bytesOf('a'), bytesOf('b'), large, bytesOf('c')]) chunks.push(chunk)
  const taken = chunks.take()
  expect(textOf(taken)).toBe(`${textOf([large])}ab${textOf([large])}c`)
  expect([taken[0], taken[2]]).toEqual([large, large])
  expect(taken[0]).toBe(large)
})

test('a chunk that was taken out before others came is not changed by them', () => {
  const chunks = new Chunks()
  chunks.push(bytesOf('x'.repeat(2_000)))
  chunks.push(bytesOf('one'))
  chunks.shift()
  const one = chunks.shift()
  chunks.push(bytesOf('two'))
  expect(textOf([one!])).toBe('one')
  expect(textOf(chunks.take())).toBe('two')
})

test('what lies in pieces is found by its place in the whole', () => {
  const whole = 'abcdefghij'
  for (const cut of [[0, 10], [3], [1, 2, 3, 9], [5, 5]]) {
    const ends = [...cut, whole.length]
    const pieces = ends.map((end, nth) => bytesOf(whole.slice(ends[nth - 1] ?? 0, end)))
    expect(lengthOf(pieces)).toBe(10)
    for (let start = 0; start <= 10; start++) {
      for (let end = start; end <= 10; end++) {
        expect(textOf(viewsOf(pieces, start, end))).toBe(whole.slice(start, end))
        expect(textOf([bytesBetween(pieces, start, end)])).toBe(whole.slice(start, end))
      }
    }
  }
})

test('what lies in one piece is not copied', () => {
  const piece = bytesOf('abc')
  expect(bytesBetween([bytesOf('x'), piece], 1, 4)).toBe(piece)
  expect(bytesBetween([bytesOf('x'), piece], 2, 3).buffer).toBe(piece.buffer)
})
