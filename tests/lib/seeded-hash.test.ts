import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { hash01 } from '../../src/lib/hash.ts'
import { seededHash01 } from '../../src/lib/seeded-hash.ts'

test.each([
  { seed: 0, text: '', value: 0.6582420326176001 },
  { seed: 0.25, text: 'gpt-4o', value: 0.24635275584481386 },
  { seed: 0.9999999999, text: '敏捷', value: 0.9906795539333071 },
])('replicas agree on seed $seed and "$text"', ({ seed, text, value }) => {
  expect(seededHash01(seed, text)).toBe(value)
})

test('it is always between 0 and 1', () => {
  fc.assert(
    fc.property(fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), fc.string(), (seed, text) => {
      const value = seededHash01(seed, text)
      expect(value > 0 && value < 1).toBe(true)
    }),
  )
})

test('texts that differ little, under seeds of texts that differ little, spread evenly and apart', () => {
  const cells = Array.from({ length: 16 }, () => 0)
  for (let nth = 0; nth < 40_000; nth++) {
    const seed = hash01(`10.0.0.${nth >> 2}`)
    const one = seededHash01(seed, `upstream-${nth & 3}`)
    const other = seededHash01(seed, `upstream-${(nth & 3) + 4}`)
    const cell = Math.floor(one * 4) * 4 + Math.floor(other * 4)
    cells[cell] = cells[cell]! + 1
  }
  const chi = cells.reduce((sum, n) => sum + (n - 2_500) ** 2 / 2_500, 0)
  // 15 degrees of freedom, p = 0.001.
  expect(chi).toBeLessThan(37.7)
})
