import { expect, test } from 'vitest'
import { explore, reportOf } from './report.ts'
import { playOut } from './stage.ts'

const { PROMISE_SEED } = process.env
/** One seed alone where it is named, to look at a counter-example. */
const task =
  PROMISE_SEED === undefined ? { from: 1, count: 10_000 } : { from: Number(PROMISE_SEED), count: 1 }

test('whoever would have answered is found, unless a cap that the contract names was reached', async () => {
  const groups = await explore(task, playOut)
  expect(groups.length, await reportOf(groups, playOut)).toBe(0)
}, 240_000)
