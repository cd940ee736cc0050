/**
 * What do clients see, and what is wasted, while one of three upstreams is sick?
 *
 * `npm run bench:failover` (or `node --import tsx bench/failover.ts [requests]`) prints a Markdown table: for
 * each way to fail, 5,000 requests at 16 at once through a gateway process with `timeout: 1`.
 */
import { mostWasted, sicknesses, startSickBed } from '../tests/faults/sick-bed.ts'

const requests = Number(process.argv[2] ?? 5_000)

console.log('| one of three is | requests | answered | wasted calls | bound | seconds |')
console.log('|---|---|---|---|---|---|')
const bed = await startSickBed()
let isGood = true
for (const sickness of sicknesses) {
  const run = await bed.run(sickness, requests)
  const { name, answered, wasted, seconds } = run
  const bound = mostWasted(run)
  const share = ((100 * answered) / requests).toFixed(2)
  console.log(`| ${name} | ${requests} | ${share} % | ${wasted} | ${bound} | ${seconds.toFixed(1)} |`)
  for (const line of run.wrong.slice(0, 5)) console.error(line)
  isGood &&= answered === requests && wasted <= bound
}
await bed.close()
process.exit(isGood ? 0 : 1)
