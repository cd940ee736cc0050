import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { hash01, pairedHash01 } from '../../src/lib/hash.ts'

test.each([
  { a: 0, b: 0, value: 0.6650138941874675 },
  { a: 0.25, b: hash01('gpt-4o'), value: 0.35178569241606994 },
  { a: hash01('敏捷'), b: 0.9999999999, value: 0.7744392807202378 },
])('replicas agree on $a and $b', ({ a, b, value }) => {
  expect(pairedHash01(a, b)).toBe(value)
})

test('it is always between 0 and 1', () => {
  const number = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true })
  fc.assert(
    fc.property(number, number, (a, b) => {
      const value = pairedHash01(a, b)
      expect(value > 0 && value < 1).toBe(true)
    }),
  )
})

test('texts that differ little, paired with texts that differ little, spread evenly and apart', () => {
  const cells = Array.from({ length: 16 }, () => 0)
  for (let nth = 0; nth < 40_000; nth++) {
    const key = hash01(`10.0.0.${nth >> 2}`)
    const one = pairedHash01(key, hash01(`upstream-${nth & 3}`))
    const other = pairedHash01(key, hash01(`upstream-${(nth & 3) + 4}`))
    const cell = Math.floor(one * 4) * 4 + Math.floor(other * 4)
    cells[cell] = cells[cell]! + 1
  }
  const chi = cells.reduce((sum, n) => sum + (n - 2_500) ** 2 / 2_500, 0)
  // 15 degrees of freedom, p = 0.001.
  expect(chi).toBeLessThan(37.7)
})
