import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { FrameReader, FrameWriter } from '../../src/events/frames.ts'
import { masked, unmasked } from '../../src/events/recorder.ts'
import { hash01 } from '../../src/lib/hash.ts'

const secrets = fc.uint32Array({ minLength: 4, maxLength: 4 })

test('a masked hash is had back with the secret, and with another one it is another hash', () => {
  fc.assert(
    fc.property(fc.string(), secrets, secrets, (key, secret, other) => {
      const hash = hash01(key)
      const mask = masked(hash, secret)
      expect(unmasked(mask, secret)).toBe(hash)
      fc.pre(secret.some((word, at) => word !== other[at]))
      expect(unmasked(mask, other)).not.toBe(hash)
    }),
  )
})

test('no key has no mask', () => {
  expect([masked(0, Uint32Array.of(1, 2, 3, 4)), unmasked(0, Uint32Array.of(1, 2, 3, 4))]).toEqual([0, 0])
})

/** Numbers as clocks, headers and sums have them. */
const numbers = fc.oneof(
  fc.double(),
  fc.integer(),
  fc.maxSafeNat(),
  fc.constantFrom(0, -0, Infinity, -Infinity, Number.NaN, 2 ** 53, 1e308, 0.1, 5e-324),
  fc.option(fc.double({ min: 1.7e12, max: 1.9e12, noNaN: true }), { nil: undefined }),
)

/** JSON has no word for nothing, and one for both zeros. */
const isWritten = (value: number | undefined): boolean => value !== undefined && !Object.is(value, -0)

test('every number, moment, text and JSON is read as it was written, however large the frame', () => {
  const moments = fc.record({ now: fc.double({ noNaN: true, noDefaultInfinity: true }), wall: fc.integer() })
  const names = fc.constantFrom('toString', '__proto__', '#+', '#-', '##?', '#')
  const plain = fc.jsonValue({ maxDepth: 3 }).map((value): unknown => JSON.parse(JSON.stringify(value)))
  const json = fc.oneof(plain, fc.array(fc.oneof(names, numbers.filter(isWritten))))
  fc.assert(
    fc.property(fc.array(fc.tuple(numbers, moments, fc.string({ maxLength: 100 }), json)), (frames) => {
      const writer = new FrameWriter(0)
      for (const [number, moment, text, value] of frames) {
        writer.begin(7)
        writer.number(number)
        writer.moment(moment)
        writer.text(text)
        writer.words(text)
        writer.json(value)
        writer.end()
      }
      const reader = new FrameReader(writer.bytes.subarray(0, writer.length))
      for (const [number, moment, text, value] of frames) {
        expect(reader.frame()).toBe(7)
        expect(reader.number()).toBe(number)
        const { now, wall } = reader.moment()
        expect([Object.is(now, moment.now) || now === moment.now, wall]).toEqual([true, moment.wall])
        expect([reader.text(), reader.words()]).toEqual([text, text])
        expect(reader.json()()).toEqual(value)
      }
      expect(reader.frame()).toBeUndefined()
    }),
  )
})

test('bytes that no writer wrote end, whatever they are', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 2_000 }), (bytes) => {
      const reader = new FrameReader(bytes)
      let frames = 0
      while (reader.frame() !== undefined) {
        frames += 1
        for (let turn = 0; turn < 5; turn++) {
          reader.number()
          reader.moment()
          reader.text()
          reader.length()
        }
      }
      expect(frames).toBeLessThanOrEqual(bytes.length)
    }),
  )
})
