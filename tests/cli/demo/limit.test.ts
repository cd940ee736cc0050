import { expect, test } from 'vitest'
import { createMinuteLimit } from '../../../src/cli/demo/upstream.ts'

test('so many requests are allowed in the minute that the first one begins, and all of them in the next', () => {
  let now = 1_000
  const allow = createMinuteLimit(2, () => now)
  expect(allow()).toEqual({ isAllowed: true, left: 1, resetMs: 60_000 })
  now += 20_000
  expect(allow()).toEqual({ isAllowed: true, left: 0, resetMs: 40_000 })
  expect(allow()).toEqual({ isAllowed: false, left: 0, resetMs: 40_000 })
  now += 39_999
  expect(allow()).toMatchObject({ isAllowed: false, resetMs: 1 })
  now += 1
  expect(allow()).toEqual({ isAllowed: true, left: 1, resetMs: 60_000 })
})
