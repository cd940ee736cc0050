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
const isGood = run.wrong.length === 0 && run.leftOver === 0 && run.heap[1] - run.heap[0] < 8 * 1_048_576
process.exit(isGood ? 0 : 1)
