import { expect, test } from 'vitest'
import { createMemoryStore } from '../../src/state/memory.ts'
import { createTokenUsage } from '../../src/state/token-usage.ts'

const used = { requests: 1, inputTokens: 10, outputTokens: 3 }
const alice = { name: 'alice', zone: 'UTC' }
/** Requests of the day, the week, the month, and since the start. */
function countsAt(usage: ReturnType<typeof createTokenUsage>, moment: string, name = 'alice'): number[] {
  const { day, week, month, total } = usage.of(name, Date.parse(moment))
  return [day, week, month, total].map(({ requests }) => requests)
}

test('what was used counts in its day, its week from Monday on, and its month', () => {
  const usage = createTokenUsage()
  // A Saturday, a Sunday, and the Monday and the month that follow.
  for (const moment of [
    '2026-10-31T10:00Z',
    '2026-10-31T23:59:59Z',
    '2026-11-01T00:00Z',
    '2026-11-02T12:00Z',
  ])
    usage.record(alice, used, Date.parse(moment))
  expect(countsAt(usage, '2026-11-02T13:00Z')).toEqual([1, 1, 2, 4])
  expect(usage.of('alice', Date.parse('2026-11-02T13:00Z')).month).toMatchObject({
    requests: 2,
    inputTokens: 20,
    outputTokens: 6,
  })
  expect(countsAt(usage, '2026-11-03T00:00Z')).toEqual([0, 1, 2, 4])
  expect(countsAt(usage, '2026-11-09T00:00Z')).toEqual([0, 0, 2, 4])
  expect(countsAt(usage, '2026-12-01T00:00Z')).toEqual([0, 0, 0, 4])
  expect(countsAt(usage, '2026-12-01T00:00Z', 'bob')).toEqual([0, 0, 0, 0])
})

test('days are those of the zone of a token', () => {
  const usage = createTokenUsage()
  const shanghai = { name: 'alice', zone: 'Asia/Shanghai' }
  usage.record(shanghai, used, Date.parse('2026-11-20T15:59Z'))
  expect(countsAt(usage, '2026-11-20T15:59:59Z')).toEqual([1, 1, 1, 1])
  usage.record(shanghai, used, Date.parse('2026-11-20T16:00Z'))
  expect(countsAt(usage, '2026-11-20T16:00Z')).toEqual([1, 2, 2, 2])
})

test('it outlives the process, but for the sum since the start, and what is over is not kept', () => {
  const now = Date.parse('2026-11-20T12:00Z')
  const first = createMemoryStore({ random: () => 0.5 })
  first.tokenUsage.record(alice, used, now)
  first.tokenUsage.record({ name: 'old', zone: 'UTC' }, used, Date.parse('2026-09-20T12:00Z'))
  const kept = JSON.parse(JSON.stringify(first.keep({ now: 5, wall: now }))) as { tokens: unknown[] }
  expect(first.changes).toBe(2)
  expect(kept.tokens).toHaveLength(1)
  const second = createMemoryStore({ random: () => 0.5 })
  second.restore(kept, { now: 1, wall: now + 1_000 })
  expect(countsAt(second.tokenUsage, '2026-11-20T13:00Z')).toEqual([1, 1, 1, 0])
  second.tokenUsage.record(alice, used, now + 2_000)
  expect(countsAt(second.tokenUsage, '2026-11-20T13:00Z')).toEqual([2, 2, 2, 1])
})

test.each([
  undefined,
  null,
  'x',
  {},
  [[]],
  [['alice']],
  [['alice', {}]],
  [['alice', { day: 1, week: 2, month: 3 }]],
  [['', sums({})]],
  [['alice', sums({ requests: -1 })]],
  [['alice', sums({ until: null })]],
])('what none of ours wrote is no use: %j', (kept) => {
  const usage = createTokenUsage()
  usage.restore(kept)
  expect(usage.keep(0)).toEqual([])
})

function sums(wrong: object) {
  const sum = { requests: 1, inputTokens: 1, outputTokens: 1, until: 1e13, ...wrong }
  return { day: sum, week: sum, month: sum }
}
