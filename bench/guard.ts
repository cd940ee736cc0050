/**
 * Has the gateway become dear? `npm run bench:guard` measures it next to the bare proxy, in one run on one core,
 * and fails when the ratio of their CPU times passes a bound that no noise reaches. Linux; needs `npm run build`.
 */
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { root, tsx } from '../tests/runtime/tools.ts'
import type { MedianInterval } from './http/interval.ts'

/**
 * Ratios to the bare proxy: well above what was measured when they were written. Small requests come at one rate for
 * both: as fast as each goes, whoever is slower also pays for waking an idle load generator, and the ratio swings. Of
 * a large body the bare proxy reads no more than what stands before the model.
 */
const BOUNDS = { steady: 1.8, large: 6, paced: 1.8 } as const

interface Raw {
  readonly runs: readonly { readonly ratios: Readonly<Record<string, MedianInterval>> }[]
}

const args = ['--duel', 'aiload,bare', '--loads', Object.keys(BOUNDS).join(','), '--rounds', '8']
const bench = spawnSync(process.execPath, ['--import', tsx, join(root, 'bench/http/main.ts'), ...args], {
  stdio: 'inherit',
})
if (bench.status !== 0) process.exit(1)
const { runs } = JSON.parse(readFileSync(join(root, 'bench/http/results.json'), 'utf8')) as Raw

let isGood = true
for (const [load, bound] of Object.entries(BOUNDS)) {
  const { median = Number.NaN, low = Number.NaN } = runs[0]?.ratios[load] ?? {}
  // Beyond is what even the lower end of the interval passes, and what was not measured.
  const isWithin = Number.isFinite(low) && low <= bound
  isGood &&= isWithin
  console.log(
    `${load}: ${median.toFixed(2)} times the bare proxy, ${isWithin ? 'within' : 'BEYOND'} ${bound}`,
  )
}
process.exit(isGood ? 0 : 1)
