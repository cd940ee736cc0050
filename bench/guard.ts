/**
 * Has the gateway become dear? `npm run bench:guard` measures it next to the bare proxy, in one run on one core,
 * and fails when the ratio of their CPU times passes a bound that no noise reaches. Linux; needs `npm run build`.
 */
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { root, tsx } from '../tests/runtime/tools.ts'

/**
 * Ratios to the bare proxy: well above what was measured when they were written. Small requests come at one rate for
 * both: as fast as each goes, whoever is slower also pays for waking an idle load generator, and the ratio swings.
 */
const BOUNDS = { steady: 1.8, large: 1.5, paced: 1.8 } as const

interface Raw {
  readonly entries: readonly {
    readonly name: string
    readonly figures: Readonly<Record<string, readonly { readonly cpu: number }[]>>
  }[]
}

const loads = Object.keys(BOUNDS).join(',')
const args = [
  '--proxies',
  `bare,AILoad on Node ${process.version.slice(1)}`,
  '--loads',
  loads,
  '--rounds',
  '3',
]
const bench = spawnSync(process.execPath, ['--import', tsx, join(root, 'bench/http/main.ts'), ...args], {
  stdio: 'inherit',
})
if (bench.status !== 0) process.exit(1)
const { entries } = JSON.parse(readFileSync(join(root, 'bench/http/results.json'), 'utf8')) as Raw
const [bare, own] = entries

/** The least of several runs: noise only ever adds. */
const least = (entry: typeof bare, load: string): number =>
  Math.min(...(entry?.figures[load] ?? []).map(({ cpu }) => cpu))

let isGood = true
for (const [load, bound] of Object.entries(BOUNDS)) {
  const ratio = least(own, load) / least(bare, load)
  const isWithin = ratio <= bound
  isGood &&= isWithin
  console.log(`${load}: ${ratio.toFixed(2)} times the bare proxy, ${isWithin ? 'within' : 'BEYOND'} ${bound}`)
}
process.exit(isGood ? 0 : 1)
