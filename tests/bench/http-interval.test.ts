import { describe, expect, test } from 'vitest'
import { medianInterval, medianOf } from '../../bench/http/interval.ts'

describe('a median', () => {
  test('is the middle one, or between the middle two', () => {
    expect(medianOf([3, 1, 2])).toBe(2)
    expect(medianOf([4, 1, 3, 2])).toBe(2.5)
    expect(medianOf([])).toBeNaN()
  })
})

describe('its interval', () => {
  test('lies between the second smallest and the second largest of ten', () => {
    const { median, low, high, coverage } = medianInterval([10, 9, 8, 7, 6, 5, 4, 3, 2, 1])
    expect({ median, low, high }).toEqual({ median: 5.5, low: 2, high: 9 })
    expect(coverage).toBeCloseTo(1 - 22 / 1024)
  })

  test('narrows to the sixth of twenty', () => {
    const { low, high, coverage } = medianInterval(Array.from({ length: 20 }, (_, nth) => nth + 1))
    expect([low, high]).toEqual([6, 15])
    expect(coverage).toBeGreaterThan(0.95)
  })

  test('spans all of too few, and says how little that covers', () => {
    const { low, high, coverage } = medianInterval([2, 1, 3])
    expect([low, high]).toEqual([1, 3])
    expect(coverage).toBe(0.75)
  })
})
