import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { expect, test } from 'vitest'
import { createAffinityTable, type AffinityTable } from '../../src/state/memory.ts'

const life = { ttlMs: 1_000, now: 0 }
const remembered = (table: AffinityTable, keys: readonly string[]): string[] =>
  keys.filter((key) => table.recall(key, 0) !== undefined)

test('the keys that are kept are those that were served last, however often the table is filled', () => {
  const table = createAffinityTable(3)
  for (const key of ['a', 'b', 'c', 'a', 'd']) table.remember(key, 'x', life)
  expect(remembered(table, ['a', 'b', 'c', 'd'])).toEqual(['a', 'c', 'd'])
  for (let nth = 0; nth < 50; nth++) table.remember(`key ${nth}`, 'x', life)
  table.remember('key 47', 'x', life)
  table.remember('last', 'x', life)
  expect(remembered(table, ['key 46', 'key 47', 'key 48', 'key 49', 'last'])).toEqual([
    'key 47',
    'key 49',
    'last',
  ])
  expect(table.size).toBe(3)
})

test('a key that has run out makes room, and the others go on in their order', () => {
  const table = createAffinityTable(2)
  table.remember('a', 'x', { ttlMs: 1, now: 0 })
  table.remember('b', 'x', life)
  expect(table.recall('a', 5)).toBeUndefined()
  table.remember('c', 'x', life)
  table.remember('d', 'x', life)
  expect(remembered(table, ['b', 'c', 'd'])).toEqual(['c', 'd'])
})

test('a key costs about the same in a full table as in an empty one', () => {
  const capacity = 50_000
  let made = 0
  /** CPU time of as many new keys as the table takes, in µs. */
  function fill(table: AffinityTable): number {
    const before = process.cpuUsage()
    for (let nth = 0; nth < capacity; nth++) table.remember(`key ${made++}`, 'x', life)
    const { user, system } = process.cpuUsage(before)
    return user + system
  }
  const empty = Math.min(...[1, 2, 3].map(() => fill(createAffinityTable(capacity))))
  const table = createAffinityTable(capacity)
  fill(table)
  const full = Math.min(fill(table), fill(table), fill(table))
  // A walk from the table's beginning for each key made it some 30 to 100 times as much.
  expect(full / empty).toBeLessThan(8)
})

test.each([100_000, 2])(
  'a few keys that come again a million times leave nothing behind (capacity %i)',
  (capacity) => {
    const table = createAffinityTable(capacity)
    for (const key of ['a', 'b', 'c']) table.remember(key, 'x', life)
    setFlagsFromString('--expose-gc')
    const collect = runInNewContext('gc') as () => void
    collect()
    const before = process.memoryUsage().heapUsed
    for (let nth = 0; nth < 1_000_000; nth++) table.remember(nth % 2 === 0 ? 'b' : 'c', 'x', life)
    collect()
    // What was outgrown took 155 bytes a time.
    expect(process.memoryUsage().heapUsed - before).toBeLessThan(20_000_000)
  },
)
