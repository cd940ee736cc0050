import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { createRetryBudget } from '../../src/relay/retry-budget.ts'

const spendAll = (budget: ReturnType<typeof createRetryBudget>, now: number): number => {
  let spent = 0
  while (spent < 10_000 && budget.spend(now)) spent += 1
  return spent
}

test('a quiet gateway has 100 retries, and again when 11 s have gone', () => {
  const budget = createRetryBudget()
  expect(spendAll(budget, 5_000)).toBe(100)
  expect(spendAll(budget, 14_999)).toBe(0)
  expect(spendAll(budget, 16_000)).toBe(100)
})

test('a fifth of the requests of 10 s comes on top', () => {
  const budget = createRetryBudget()
  for (let sent = 0; sent < 1_000; sent++) budget.recordRequest(1_000)
  expect(spendAll(budget, 1_500)).toBe(300)
  expect(spendAll(budget, 13_000)).toBe(100)
})

test('no 10 s hold more than 100 and a fifth of the requests begun in them', () => {
  const step = fc.record({
    after: fc.integer({ min: 0, max: 3_000 }),
    begins: fc.integer({ min: 0, max: 300 }),
    wants: fc.integer({ min: 0, max: 200 }),
  })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const budget = createRetryBudget()
      const begun: number[] = []
      const spent: number[] = []
      let now = 1e12
      for (const { after, begins, wants } of steps) {
        now += after
        for (let at = 0; at < begins; at++) {
          begun.push(now)
          budget.recordRequest(now)
        }
        for (let at = 0; at < wants; at++) if (budget.spend(now)) spent.push(now)
      }
      for (const end of new Set(spent)) {
        const within = (times: number[]): number =>
          times.filter((time) => time <= end && time > end - 10_000).length
        expect(within(spent)).toBeLessThanOrEqual(100 + 0.2 * within(begun))
      }
    }),
    { numRuns: 60 },
  )
})
