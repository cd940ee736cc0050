/**
 * What does a new conversation cost once the affinity table is full?
 *
 * `npm run bench:affinity -- [capacity]` fills a table twice with keys it has never seen: the first time it grows,
 * the second time each key drives out the longest unused one. Prints nanoseconds an insert in tenths of a filling,
 * beside those of a plain Map that deletes its first key when it is full: there the search for that key walks over
 * all that were deleted before it since the Map was last rebuilt.
 */
import { createAffinityTable } from '../src/state/memory.ts'

const capacity = Number(process.argv[2] ?? 100_000)
const tenths = 10
const fillings = 2

/** Inserts a key. */
type Insert = (key: string) => void

function intoTable(): Insert {
  const table = createAffinityTable(capacity)
  const life = { ttlMs: 300_000, now: 0 }
  return (key) => table.remember(key, 'gpt-4o@api.openai.com', life)
}

function intoMap(): Insert {
  const map = new Map<string, { upstream: string; until: number }>()
  return (key) => {
    map.set(key, { upstream: 'gpt-4o@api.openai.com', until: 300_000 })
    if (map.size > capacity) for (const oldest of map.keys()) return void map.delete(oldest)
  }
}

/** Nanoseconds an insert, for each tenth of a filling. */
function costs(insert: Insert): number[] {
  const step = capacity / tenths
  return Array.from({ length: tenths * fillings }, (_, tenth) => {
    const keys = Array.from({ length: step }, (_, nth) => `conversation-${tenth * step + nth}`)
    const began = process.hrtime.bigint()
    for (const key of keys) insert(key)
    return Number(process.hrtime.bigint() - began) / step
  })
}

const mean = (values: readonly number[]): number => values.reduce((sum, one) => sum + one, 0) / values.length

// A filling of its own warms up the code.
costs(intoTable())
costs(intoMap())
const table = costs(intoTable())
const map = costs(intoMap())
console.log(
  `${capacity} keys, ns an insert\n\n| keys inserted | the table | a Map, oldest out |\n|---|---|---|`,
)
for (const [tenth, ns] of table.entries()) {
  const inserted = ((tenth + 1) * capacity) / tenths
  console.log(`| ${inserted} | ${ns.toFixed(0)} | ${map[tenth]?.toFixed(0)} |`)
}
const told = (name: string, all: readonly number[]): string => {
  const [filling, full] = [mean(all.slice(0, tenths)), mean(all.slice(tenths))]
  return `${name}: ${filling.toFixed(0)} ns while it fills, ${full.toFixed(0)} ns once it is full: ${(full / filling).toFixed(1)} times`
}
console.log(`\n${told('the table', table)}\n${told('a Map', map)}`)
