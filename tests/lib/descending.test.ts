import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { descending } from '../../src/lib/descending.ts'

test('the highest first, equal ones in their order, as a stable sort would', () => {
  const score = fc.oneof(fc.constantFrom(-Infinity, -1, 0, 1), fc.double({ noNaN: true }))
  fc.assert(
    fc.property(fc.array(score, { maxLength: 70 }), (scores) => {
      const places = scores.map((_, at) => at)
      const above = (a: number, b: number): number =>
        scores[a]! < scores[b]! ? 1 : scores[a]! > scores[b]! ? -1 : 0
      expect([...descending(new Float64Array(scores))]).toEqual(places.toSorted(above))
    }),
  )
})

test('nothing for none', () => {
  expect(descending(new Float64Array(0))).toHaveLength(0)
})
