/**
 * How much of what the upstreams' limits allow does the relay get out of them, and how often does it run into one?
 *
 * `npm run bench:sim` prints Markdown tables; `npm run bench:sim -- limit learned day shapes` only the parts that are
 * named. The relay, the store and the queue are the real ones; the clock, the traffic and the upstreams are simulated,
 * with seeds, so that two runs of the same code print the same. The day takes some minutes.
 */
import { strategyNames } from '../../src/pool/strategy.ts'
import { poisson } from './arrivals.ts'
import { uniform } from './dice.ts'
import { memoryless } from './memoryless.ts'
import { runRelay, runWith } from './run.ts'
import type { Scenario } from './scenario.ts'
import {
  curve,
  freeTierDay,
  freeTiers,
  heaps,
  overloaded,
  scarceTiers,
  shareOfBound,
  tenAMinute,
} from './scenarios.ts'
import { tableOf, type Row } from './table.ts'

const HOUR_MS = 3_600_000
const MEMORYLESS = 'memoryless round robin'

function print(title: string, table: string): void {
  process.stdout.write(`\n### ${title}\n\n${table}\n`)
}

async function everyWay(scenario: Scenario, strategies: readonly string[] = strategyNames): Promise<Row[]> {
  const rows: Row[] = []
  for (const name of strategies) rows.push({ name: `\`${name}\``, figures: await runRelay(scenario, name) })
  return [...rows, { name: MEMORYLESS, figures: await runWith(scenario, memoryless) }]
}

async function limit(): Promise<void> {
  const rows: Row[] = []
  for (const [latency, of] of [
    [uniform(300, 800), '0.3 to 0.8 s'],
    [uniform(5_000, 5_000), '5 s'],
  ] as const) {
    for (const minute of ['rolling', 'wall', 'bucket'] as const) {
      const scenario = overloaded(tenAMinute({ minute, latency }))
      rows.push({ name: `${minute}, ${of}`, figures: await runRelay(scenario, 'random') })
    }
    const scattered = overloaded(tenAMinute({ latency }), { arrivals: poisson(20, HOUR_MS, 1) })
    rows.push({ name: `rolling, ${of}, Poisson`, figures: await runRelay(scattered, 'random') })
    rows.push({
      name: `rolling, ${of}, ${MEMORYLESS}`,
      figures: await runWith(overloaded(tenAMinute({ latency })), memoryless),
    })
  }
  print('Ten a minute, configured, 20 a minute offered for an hour', tableOf('upstream', rows))
}

async function learned(): Promise<void> {
  const rows: Row[] = []
  for (const dialect of ['openai', 'plain', 'none'] as const) {
    for (const minute of ['rolling', 'wall', 'bucket'] as const) {
      const vendor = tenAMinute({ minute, dialect, retryAfter: dialect === 'none' })
      const figures = await runRelay(overloaded(vendor, { knows: 'nothing' }), 'random')
      rows.push({
        name: `${minute}, ${dialect === 'none' ? 'only `retry-after` with a 429' : `headers: ${dialect}`}`,
        figures,
      })
    }
  }
  print('The same without a configured limit', tableOf('upstream', rows))
}

async function day(): Promise<void> {
  print(
    'Eight free tiers, a day, Poisson at 80 % of their bound',
    tableOf('strategy', await everyWay(freeTierDay())),
  )
  const untold = freeTierDay({ knows: 'nothing' })
  print(
    'The same without configured limits',
    tableOf('strategy', await everyWay(untold, ['random', 'headroom'])),
  )
  const scarce = freeTierDay({ vendors: scarceTiers })
  print(
    "The same with SambaNova in NVIDIA's place, configured",
    tableOf('strategy', await everyWay(scarce, ['random', 'headroom'])),
  )
}

async function shapes(): Promise<void> {
  const perMinute = shareOfBound(0.8, freeTiers)
  const shaped: readonly (readonly [string, Scenario])[] = [
    ['A day that sleeps at night, at 60 % of the bound', freeTierDay({ arrivals: curve(0.6, freeTiers) })],
    [
      'Heaps of 20 at once, at 60 % of the bound',
      freeTierDay({ arrivals: heaps(20, 0.6, freeTiers), spanMs: 6 * HOUR_MS }),
    ],
    [
      'Twice what the bound allows',
      freeTierDay({ arrivals: (spanMs) => poisson(2.5 * perMinute, spanMs, 1), spanMs: 6 * HOUR_MS }),
    ],
  ]
  for (const [title, scenario] of shaped)
    print(title, tableOf('strategy', await everyWay(scenario, ['random', 'headroom'])))
}

const parts = { limit, learned, day, shapes }
const asked = process.argv.slice(2)
for (const [name, part] of Object.entries(parts)) if (asked.length === 0 || asked.includes(name)) await part()
