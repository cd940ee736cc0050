import { expect, test } from 'vitest'
import {
  confirmWall,
  countInWall,
  leftBelow,
  raiseWall,
  type SoftWallState,
  takeFromWall,
} from '../../src/state/soft-wall.ts'

const minute = 60_000

/** A wall that is met, asked and answered at moments. */
function bed() {
  let wall: SoftWallState | undefined
  return {
    get wall() {
      return wall!
    },
    refuse(now: number, hintMs?: number) {
      wall = confirmWall(wall, { counts: 'requests', spanMs: minute, limit: undefined, hintMs, now })
    },
    serve(now: number) {
      const taken = takeFromWall(wall!, 1, now)
      wall = raiseWall(countInWall(taken, { reserved: 1, actual: 1, sentAt: now, now }), now)
    },
    isPaused: (now: number): boolean => leftBelow(wall!, now) < 1 && wall!.askAt > now,
  }
}

test('of a window that begins anew as many go at once as came back at once the last time', () => {
  const all = bed()
  all.refuse(0, 10_000)
  for (let nth = 0; nth < 10; nth++) all.serve(10_000 + nth * 500)
  all.refuse(15_000, 5_000)
  for (let nth = 0; nth < 10; nth++) {
    expect(all.isPaused(20_000 + nth)).toBe(false)
    all.serve(20_000 + nth)
  }
  all.serve(20_020)
  expect(all.isPaused(20_021)).toBe(true)
})

test('what comes back one after the other goes one after the other', () => {
  const all = bed()
  all.refuse(0, 3_000)
  for (let nth = 0; nth < 5; nth++) all.serve(3_000 + nth * 3_000)
  all.refuse(16_000, 2_000)
  all.serve(18_000)
  expect(all.isPaused(18_100)).toBe(true)
})

test('a hint of a second, which may be that of a moment, makes no window', () => {
  const all = bed()
  all.refuse(0, 1_000)
  for (let nth = 0; nth < 100; nth++) all.serve(1_000 + nth * 10)
  all.refuse(2_000, 1_000)
  expect(all.wall.burst).toBe(0)
})

test('the time in which nobody asked is no pace', () => {
  const all = bed()
  all.refuse(0, 1_000)
  all.serve(1_000)
  all.refuse(41_000, 1_000)
  expect(all.wall.pauseMs).toBeLessThan(2_000)
})
