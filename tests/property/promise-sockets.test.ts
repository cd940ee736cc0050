import { expect, onTestFinished, test } from 'vitest'
import { explore, reportOf, type Play } from './report.ts'
import { createSocketStage } from './sockets.ts'

const { PROMISE_SOCKET_SEED: seed } = process.env
/** One seed alone where it is named, to look at a counter-example. */
const task = seed === undefined ? { from: 1, count: 200 } : { from: Number(seed), count: 1 }

test('on real sockets too whoever would have answered is found', async () => {
  const stage = await createSocketStage()
  onTestFinished(stage.close)
  const playOut: Play = (scenario) => stage.playOut(scenario)
  const groups = await explore({ ...task, range: 'sockets' }, playOut)
  expect(groups.length, await reportOf(groups, playOut, { variable: 'PROMISE_SOCKET_SEED' })).toBe(0)
}, 240_000)
