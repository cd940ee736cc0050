import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { createTimerWheel } from '../../../src/adapter/node/timers.ts'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

test.each([1, 999, 1_000, 5_000, 120_000, 3_600_000])('a wait of %i ms ends after just that', (ms) => {
  const task = vi.fn()
  createTimerWheel().set(ms, task)
  vi.advanceTimersByTime(ms - 1)
  expect(task).not.toHaveBeenCalled()
  vi.advanceTimersByTime(1)
  expect(task).toHaveBeenCalledTimes(1)
  vi.advanceTimersByTime(10_000)
  expect(task).toHaveBeenCalledTimes(1)
})

test.each([0, 5_000, 9_999])('one cleared after %i of its 10,000 ms is never called', (ms) => {
  const alarms = createTimerWheel()
  const task = vi.fn()
  const alarm = alarms.set(10_000, task)
  vi.advanceTimersByTime(ms)
  alarms.clear(alarm)
  alarms.clear(alarm)
  vi.advanceTimersByTime(20_000)
  expect(task).not.toHaveBeenCalled()
})

test('one that is cleared takes none of the others with it', () => {
  const alarms = createTimerWheel()
  const told: number[] = []
  const set = [0, 1, 2, 3, 4].map((which) => alarms.set(2_000, () => void told.push(which)))
  for (const at of [0, 2, 4]) alarms.clear(set[at] ?? alarms.set(0, () => {}))
  vi.advanceTimersByTime(2_000)
  expect(told).toEqual([1, 3])
})

test('where nothing is set there is no timer', () => {
  const alarms = createTimerWheel()
  const alarm = alarms.set(60_000, () => {})
  expect(vi.getTimerCount()).toBe(1)
  alarms.set(30_000, () => {})
  expect(vi.getTimerCount()).toBe(1)
  alarms.clear(alarm)
  vi.advanceTimersByTime(30_500)
  expect(vi.getTimerCount()).toBe(0)
})
