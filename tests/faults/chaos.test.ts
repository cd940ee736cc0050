import { expect, test } from 'vitest'
import { runChaos } from './chaos-bed.ts'

const MEBIBYTE = 1_048_576

test(
  '12 seconds of mixed faults, aborts, streams and reloads: no wrong answer, nothing left behind, flat memory',
  { timeout: 120_000 },
  async () => {
    const run = await runChaos({ seconds: 12, seed: 20_261_122 })
    expect(run.wrong).toEqual([])
    expect(run.answered).toBeGreaterThan(run.requests / 2)
    expect(run.brokenOff).toBeGreaterThan(0)
    expect(run.aborted).toBeGreaterThan(0)
    expect(run.reloads).toBeGreaterThan(5)
    expect(run.leftOver).toBe(0)
    expect(run.descriptors[1]).toBeLessThanOrEqual(run.descriptors[0] + 3)
    expect(run.heap[1] - run.heap[0]).toBeLessThan(8 * MEBIBYTE)
  },
)
