import { afterAll, beforeAll, expect, test } from 'vitest'
import { mostWasted, sicknesses, startSickBed, type SickBed } from './sick-bed.ts'

const REQUESTS = 600

let bed: SickBed

beforeAll(async () => {
  bed = await startSickBed()
})

afterAll(() => bed.close())

test.each(sicknesses)(
  'one of three upstreams is sick ($name): every request is answered, at about one wasted call a cooldown',
  async (sickness) => {
    const run = await bed.run(sickness, REQUESTS)
    console.log(
      `${run.name}: ${run.answered} of ${run.requests} answered, ${run.wasted} calls wasted in ${run.seconds.toFixed(1)} s`,
    )
    expect(run.wrong).toEqual([])
    expect(run.wasted, 'it was asked').toBeGreaterThan(0)
    expect(run.wasted).toBeLessThanOrEqual(mostWasted(run))
  },
)
