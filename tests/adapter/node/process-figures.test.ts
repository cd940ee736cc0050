import { closeSync, openSync } from 'node:fs'
import { expect, test } from 'vitest'
import { createProcessFigures, descriptorLimit } from '../../../src/adapter/node/process-figures.ts'

test('the figures are those of this process, in seconds and bytes', async () => {
  const figures = await createProcessFigures()()
  expect(figures.runtime).toBe(`node ${process.versions.node}`)
  const { process_start_time_seconds: startedAt = 0, process_resident_memory_bytes: resident = 0 } = figures
  expect(startedAt).toBeLessThanOrEqual(Date.now() / 1_000)
  expect(startedAt).toBeGreaterThan(Date.now() / 1_000 - 86_400)
  expect(resident).toBeGreaterThan(10 * 2 ** 20)
  const { process_cpu_user_seconds_total: user = 0, process_cpu_system_seconds_total: system = 0 } = figures
  expect(figures.process_cpu_seconds_total).toBeCloseTo(user + system)
})

test.runIf(process.platform === 'linux')('open descriptors are counted below their limit', async () => {
  const figures = createProcessFigures()
  const held = Array.from({ length: 50 }, () => openSync('/dev/null', 'r'))
  const { process_open_fds: open = 0, process_max_fds: most = 0 } = await figures()
  for (const each of held) closeSync(each)
  // Other tests of this process open and close some.
  expect(open).toBeGreaterThanOrEqual(50)
  expect(open).toBeLessThan(most)
  expect(most).toBe(descriptorLimit())
})

test('an event loop that is held up shows in its lag until the next scrape', async () => {
  const figures = createProcessFigures()
  await new Promise((resolve) => setTimeout(resolve, 100))
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 400)
  await new Promise((resolve) => setTimeout(resolve, 100))
  const held = await figures()
  expect(held.nodejs_eventloop_lag_max_seconds).toBeGreaterThan(0.3)
  expect(held.nodejs_eventloop_lag_seconds).toBeLessThan(held.nodejs_eventloop_lag_max_seconds ?? 0)
  expect((await figures()).nodejs_eventloop_lag_max_seconds).toBe(0)
})
