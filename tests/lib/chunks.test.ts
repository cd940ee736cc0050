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

test.each([1, 7, 100, 256, 1_023])(
  'what %s bytes at a time are held in is hardly more than they are',
  (size) => {
    const chunks = new Chunks()
    const count = Math.ceil(2_000_000 / size)
    for (let nth = 0; nth < count; nth++) chunks.push(new Uint8Array(size).fill(nth % 251))
    expect(chunks.bytes).toBe(count * size)
    expect(chunks.heldBytes).toBeGreaterThanOrEqual(chunks.bytes)
    expect(chunks.heldBytes).toBeLessThan(1.1 * chunks.bytes)
    const { bytes } = chunks
    const taken = chunks.take()
    expect(taken.length).toBeLessThan(60)
    expect(lengthOf(taken)).toBe(bytes)
    expect(chunks.heldBytes).toBe(0)
  },
)

test('small chunks between large ones do not keep a block each', () => {
  const chunks = new Chunks()
  for (let nth = 0; nth < 1_000; nth++) {
    chunks.push(new Uint8Array(4_000))
    chunks.push(new Uint8Array(1))
  }
  expect(chunks.heldBytes).toBeLessThan(1.3 * chunks.bytes)
  expect(lengthOf(chunks.take())).toBe(4_001_000)
})

test.each([1, 5_000, 20_000])('%s bytes of a large buffer do not keep all of it', (size) => {
  for (const bufferOf of [(bytes: number) => new Uint8Array(bytes), (bytes: number) => Buffer.alloc(bytes)]) {
    const chunks = new Chunks()
    const slab = bufferOf(64 * 1024).fill(7)
    chunks.push(slab.subarray(10, 10 + size))
    expect(chunks.heldBytes).toBeLessThan(size + 1_100)
    const [chunk] = chunks.take()
    expect(chunk!.buffer.byteLength).toBeLessThan(size + 1_100)
    expect(chunk!.every((byte) => byte === 7)).toBe(true)
  }
})

test('what is shifted out is no longer held', () => {
  const chunks = new Chunks()
  for (const size of [2_000, 10, 10, 3_000, 10]) chunks.push(new Uint8Array(size))
  while (chunks.shift() !== undefined);
  expect([chunks.bytes, chunks.heldBytes]).toEqual([0, 0])
})
