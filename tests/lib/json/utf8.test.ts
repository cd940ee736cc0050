import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { invalidUtf8At } from '../../../src/lib/json/utf8.ts'

describe('invalidUtf8At', () => {
  test.each([
    { bytes: [], at: -1, because: 'nothing is wrong with nothing' },
    { bytes: [0x7f], at: -1, because: 'DEL is the last of ASCII' },
    { bytes: [0xc2, 0x80], at: -1, because: 'U+0080 is the first of two bytes' },
    { bytes: [0xe0, 0xa0, 0x80], at: -1, because: 'U+0800 is the first of three bytes' },
    { bytes: [0xed, 0x9f, 0xbf], at: -1, because: 'U+D7FF lies right below the surrogates' },
    { bytes: [0xee, 0x80, 0x80], at: -1, because: 'U+E000 lies right above the surrogates' },
    { bytes: [0xf4, 0x8f, 0xbf, 0xbf], at: -1, because: 'U+10FFFF is the last' },
    { bytes: [0x61, 0x80], at: 1, because: 'a continuation needs a lead' },
    { bytes: [0xc1, 0xbf], at: 0, because: 'two bytes for U+007F are overlong' },
    { bytes: [0xe0, 0x9f, 0xbf], at: 0, because: 'three bytes for U+07FF are overlong' },
    { bytes: [0xf0, 0x8f, 0xbf, 0xbf], at: 0, because: 'four bytes for U+FFFF are overlong' },
    { bytes: [0xed, 0xa0, 0x80], at: 0, because: 'U+D800 is a surrogate' },
    { bytes: [0xf4, 0x90, 0x80, 0x80], at: 0, because: 'U+110000 does not exist' },
    { bytes: [0xf5, 0x80, 0x80, 0x80], at: 0, because: 'no character has this lead' },
    { bytes: [0xff], at: 0, because: 'no character has this byte' },
    { bytes: [0x61, 0xc3], at: 1, because: 'the second byte is missing' },
    { bytes: [0x61, 0xe2, 0x82], at: 1, because: 'the third byte is missing' },
    { bytes: [0x61, 0xf0, 0x9f, 0x98], at: 1, because: 'the fourth byte is missing' },
    { bytes: [0xc3, 0x61], at: 0, because: 'a letter is no continuation' },
  ])('$bytes gives $at, since $because', ({ bytes, at }) => {
    expect(invalidUtf8At(Uint8Array.from(bytes))).toBe(at)
  })

  test('agrees with the fatal decoder of the runtime, behind any stretch of ASCII and anywhere in a buffer', () => {
    const edge = fc.constantFrom(
      0x41,
      0x7f,
      0x80,
      0x8f,
      0x90,
      0x9f,
      0xa0,
      0xbf,
      0xc1,
      0xc2,
      0xdf,
      0xe0,
      0xe1,
      0xed,
      0xef,
      0xf0,
      0xf4,
      0xf5,
    )
    const piece = fc.oneof(
      fc.uint8Array({ maxLength: 6 }),
      fc.array(edge, { maxLength: 6 }).map((bytes) => Uint8Array.from(bytes)),
      fc.string({ unit: 'binary', maxLength: 6 }).map((text) => new TextEncoder().encode(text)),
      fc.nat(130).map((length) => new Uint8Array(length).fill(0x61)),
    )
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 5 }), fc.nat(5), (pieces, shift) => {
        const bytes = within(Buffer.concat(pieces), shift)
        const at = invalidUtf8At(bytes)
        expect(at < 0).toBe(isDecodable(bytes))
        if (at >= 0) expect(isDecodable(bytes.subarray(0, at))).toBe(true)
      }),
      { numRuns: 3000 },
    )
  })
})

/** The same bytes as part of a larger buffer whose other bytes would be continuations. */
function within(bytes: Uint8Array, shift: number): Uint8Array {
  const larger = new Uint8Array(bytes.length + shift + 8).fill(0x80)
  larger.set(bytes, shift)
  return larger.subarray(shift, shift + bytes.length)
}

function isDecodable(bytes: Uint8Array): boolean {
  try {
    new TextDecoder('utf-8', { fatal: true }).decode(bytes)
    return true
  } catch {
    return false
  }
}
