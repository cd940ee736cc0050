/**
 * Is the promise kept whatever upstreams do?
 *
 * `npm run bench:promise -- --scenarios 1000000 --seed 1` plays so many random scenarios of `tests/property` in this process
 * and prints how many a second, and the counter-examples by kind. Ends with 1 where there is one.
 */
import { parseArgs } from 'node:util'
import { explore, reportOf } from '../tests/property/report.ts'
import { playOut } from '../tests/property/stage.ts'

const { values } = parseArgs({
  options: {
    scenarios: { type: 'string', default: '1000000' },
    seed: { type: 'string', default: '1' },
    shown: { type: 'string', default: '10' },
  },
})
const count = Number(values.scenarios)
const since = performance.now()
const groups = await explore({ from: Number(values.seed), count }, playOut)
const seconds = (performance.now() - since) / 1_000
const broken = groups.reduce((sum, group) => sum + group.count, 0)
console.log(`${count} scenarios in ${seconds.toFixed(1)} s, ${(count / seconds).toFixed(0)} a second`)
console.log(`${broken} counter-examples of ${groups.length} kinds`)
if (groups.length > 0) console.log(await reportOf(groups, playOut, { most: Number(values.shown) }))
process.exit(groups.length === 0 ? 0 : 1)
