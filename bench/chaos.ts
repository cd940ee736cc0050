/**
 * Does anything go wrong when everything goes wrong?
 *
 * `npm run bench:chaos -- --minutes 10 --seed 1` (or `node --import tsx bench/chaos.ts …`): faults of every
 * kind, aborts, streams and reloads against a gateway process; every answer is compared with what the
 * upstreams say that they sent. Prints a summary; ends with 1 when anything was wrong.
 */
import { parseArgs } from 'node:util'
import { runChaos } from '../tests/faults/chaos-bed.ts'

const { values } = parseArgs({
  options: { minutes: { type: 'string', default: '1' }, seed: { type: 'string', default: '1' } },
})
const seconds = Number(values.minutes) * 60
const seed = Number(values.seed)

const run = await runChaos({ seconds, seed })
const [early, late] = run.heap.map((bytes) => (bytes / 1_048_576).toFixed(1))
const share = (n: number): string => `${n} (${((100 * n) / run.requests).toFixed(2)} %)`
console.log(`
| | ${values.minutes} min, seed ${seed} |
|---|---|
| requests | ${run.requests} |
| answered, every byte as sent | ${share(run.answered)} |
| streams broken by their upstream, told as such | ${share(run.brokenOff)} |
| errors that the rules demand | ${share(run.failed)} |
| clients that left | ${share(run.aborted)} |
| reloads | ${run.reloads} |
| wrong | ${run.wrong.length} |
| heap after a collection, a quarter through and at the end | ${early} MiB, ${late} MiB |
| descriptors before and after | ${run.descriptors.join(', ')} |
| calls left over | ${run.leftOver} |`)
for (const line of run.wrong.slice(0, 20)) console.error(line)

/** The keys of the affinity table, to which every request adds one until it is full. */
const keysAfter = (requests: number): number => Math.min(requests, 100_000)
/** What such a key takes, its place in the hash table included, which doubles now and then. */
const KEY_BYTES = 300
const newKeys = keysAfter(run.requests) - keysAfter(run.requests / 4)
const grownBy = run.heap[1] - run.heap[0] - newKeys * KEY_BYTES
process.exit(run.wrong.length === 0 && run.leftOver === 0 && grownBy < 6 * 1_048_576 ? 0 : 1)
