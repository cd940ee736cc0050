import { expect, test } from 'vitest'
import { createObjectBed } from '../support/object-bed.ts'
import { chatAnswer, play, silence } from '../support/played.ts'
import { configOf, type TestApp } from '../support/test-app.ts'

const config = configOf(['a.test'], {
  settings: { timeout: 60, queue_timeout: 30 },
  models: { limits: { concurrency: 1 } },
})

/** What a request got, and how long it waited. */
async function timed(app: TestApp): Promise<{ status: number; ms: number }> {
  const since = app.clock.now()
  const { status } = await app.chat()
  return { status, ms: app.clock.now() - since }
}

test.each([200, 2_000, 10_000])(
  'a place that becomes free in another isolate after %i ms is found soon after',
  async (busyMs) => {
    const bed = createObjectBed()
    const left = bed.isolate(config, play({ ...chatAnswer(), afterMs: busyMs }))
    const right = bed.isolate(config, play(chatAnswer()))
    const first = timed(left)
    await bed.clock.advance(1)
    const second = timed(right)
    await bed.clock.advance(30_000)
    expect(await first).toEqual({ status: 200, ms: busyMs })
    const { status, ms } = await second
    expect(status).toBe(200)
    expect(ms - busyMs).toBeGreaterThan(0)
    expect(ms - busyMs).toBeLessThan(Math.min(1_100, 150 + busyMs / 2))
  },
)

test('many that wait ask the object as often as one, more and more rarely, and nobody asks when nobody waits', async () => {
  const bed = createObjectBed()
  const left = bed.isolate(config, play(silence))
  const right = bed.isolate(config, play(chatAnswer()))
  void left.chat()
  await bed.clock.advance(1)
  const waiting = Promise.all(Array.from({ length: 20 }, () => timed(right)))
  await bed.clock.advance(100)
  const before = bed.calls.length
  await bed.clock.advance(5_000)
  expect(bed.calls.length - before).toBeLessThan(10)
  await bed.clock.advance(24_900)
  expect(bed.calls.length - before).toBeLessThan(40)
  expect((await waiting).every(({ status, ms }) => status === 429 && ms === 30_000)).toBe(true)
  const after = bed.calls.length
  await bed.clock.advance(10_000)
  expect(bed.calls.length).toBe(after)
})
