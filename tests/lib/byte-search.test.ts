import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { createByteSearch } from '../../src/lib/bytes.ts'

describe('createByteSearch', () => {
  test('finds what Buffer.indexOf finds, from any offset', () => {
    const few = (minLength: number, maxLength: number) =>
      fc.array(fc.constantFrom(0, 1, 255), { minLength, maxLength }).map((bytes) => Uint8Array.from(bytes))
    fc.assert(
      fc.property(few(0, 60), few(1, 6), fc.nat(70), (bytes, needle, from) => {
        expect(createByteSearch(needle)(bytes, from)).toBe(Buffer.from(bytes).indexOf(needle, from))
      }),
      { numRuns: 3000 },
    )
  })

  test('a needle may have 1 to 255 bytes', () => {
    expect(createByteSearch(new Uint8Array(255))(new Uint8Array(300), 3)).toBe(3)
    expect(() => createByteSearch(new Uint8Array(256))).toThrow(RangeError)
    expect(() => createByteSearch(new Uint8Array(0))).toThrow(RangeError)
  })
})
