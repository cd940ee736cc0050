import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { forgottenOf, type Bucket } from '../../src/state/rate-window.ts'

/** A list that counts how often one of its buckets is looked at. */
function counting(buckets: readonly Bucket[]): { list: readonly Bucket[]; looks: () => number } {
  let looks = 0
  const list = new Proxy(buckets, {
    get(target, key) {
      if (typeof key === 'string' && /^\d+$/.test(key)) looks += 1
      return Reflect.get(target, key)
    },
  })
  return { list, looks: () => looks }
}

const minuteOfBuckets = Array.from({ length: 240 }, (_, nth) => ({ until: (nth + 1) * 250, amount: 1 }))

test('what has been forgotten once is not added up again at the next look', () => {
  const { list, looks } = counting(minuteOfBuckets)
  expect(forgottenOf(list, 30_000)).toMatchObject({ places: 120, amount: 120 })
  const before = looks()
  for (let ms = 30_000; ms < 30_250; ms += 10) expect(forgottenOf(list, ms).amount).toBe(120)
  expect(forgottenOf(list, 30_250)).toMatchObject({ places: 121, amount: 121 })
  expect(looks() - before).toBeLessThan(150)
})

test('in any order of looks, it is what has run out by then', () => {
  const gaps = fc.array(fc.record({ gap: fc.integer({ min: 1, max: 9 }), amount: fc.nat(5) }), {
    maxLength: 60,
  })
  fc.assert(
    fc.property(gaps, fc.array(fc.nat(400)), (all, moments) => {
      let until = 0
      const buckets = all.map(({ gap, amount }) => ({ until: (until += gap), amount }))
      for (const now of moments) {
        const gone = buckets.filter((bucket) => bucket.until <= now)
        const amount = gone.reduce((sum, bucket) => sum + bucket.amount, 0)
        expect(forgottenOf(buckets, now)).toMatchObject({ places: gone.length, amount })
      }
    }),
  )
})
