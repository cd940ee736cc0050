import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { highest } from '../../src/pool/strategy.ts'

test('the highest first, equal ones by their ties and then in their order, as a stable sort would', () => {
  const score = fc.oneof(fc.constantFrom(-Infinity, -1, 0, 1), fc.double({ noNaN: true }))
  const scored = fc.array(fc.tuple(score, fc.constantFrom(0, 1, 2)), { maxLength: 70 })
  fc.assert(
    fc.property(scored, fc.nat(80), (all, most) => {
      const compare = (a: number, b: number): number => (a < b ? 1 : a > b ? -1 : 0)
      const places = all.map((_, at) => at)
      const sorted = places.toSorted(
        (a, b) => compare(all[a]![0], all[b]![0]) || compare(all[a]![1], all[b]![1]),
      )
      const [scores, ties] = [0, 1].map((nth) => new Float64Array(all.map((pair) => pair[nth]!)))
      expect(highest(scores!, most, ties)).toEqual(sorted.slice(0, most))
    }),
  )
})

test('without ties, equal ones keep their order', () => {
  expect(highest(new Float64Array([1, 2, 1, 2]), 3)).toEqual([1, 3, 0])
})

test('nothing of none, and nothing where nothing is wanted', () => {
  expect(highest(new Float64Array(0), 5)).toEqual([])
  expect(highest(new Float64Array([1, 2]), 0)).toEqual([])
})
