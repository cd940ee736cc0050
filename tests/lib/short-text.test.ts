import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { utf8Text, utf8Bytes } from '../../src/lib/bytes.ts'

test('any text becomes the bytes that the runtime gives', () => {
  const unit = fc.constantFrom('a', '"', '\u007f', '\u0080', 'é', '漢', '🎈', '\ud800', '\ufeff')
  fc.assert(
    fc.property(fc.string({ unit, maxLength: 80 }), (text) => {
      expect(utf8Bytes(text)).toEqual(new TextEncoder().encode(text))
    }),
  )
})

test('any stretch of bytes becomes the text that the runtime gives, its byte order mark included', () => {
  const byte = fc.oneof(fc.integer({ min: 0x20, max: 0x7e }), fc.integer({ min: 0, max: 255 }))
  fc.assert(
    fc.property(fc.array(byte, { maxLength: 120 }), fc.nat(20), (given, from) => {
      const bytes = Uint8Array.from([0xef, 0xbb, 0xbf, ...given])
      const start = Math.min(from, bytes.length)
      const expected = new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes.subarray(start))
      expect(utf8Text(bytes, start, bytes.length)).toBe(expected)
    }),
  )
})
