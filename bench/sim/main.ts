/**
 * How much of what the upstreams' limits allow does the relay get out of them, and how often does it run into one?
 *
 * `npm run bench:sim` prints Markdown tables; `npm run bench:sim -- limit learned` only the parts that are named, of limit,
 * learned, limits, day, shapes. The relay, the store and the queue are the real ones; the clock, the traffic and the
 * upstreams are simulated, with seeds, so that two runs of the same code print the same. `limits` takes a minute, the day
 * some.
 */
import { strategyNames } from '../../src/pool/strategy.ts'
import { poisson } from './arrivals.ts'
import { uniform } from './dice.ts'
import { limitRows, REPORTED, type LimitRow } from './limits.ts'
import { memoryless } from './memoryless.ts'
import { runRelay, runWith } from './run.ts'
import type { Scenario } from './scenario.ts'
import {
  curve,
  freeTierDay,
  freeTiers,
  heaps,
  overloaded,
  requests,
  scarceTiers,
  shareOfBound,
  tenAMinute,
} from './scenarios.ts'
import { summaryOf, tableOf, type Row } from './table.ts'

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
    for (const forgets of ['rolling', 'wall', 'first', 'bucket'] as const) {
      const scenario = overloaded(tenAMinute({ forgets, latency }))
      rows.push({ name: `${forgets}, ${of}`, figures: await runRelay(scenario, 'random') })
    }
    const scattered = overloaded(tenAMinute({ latency }), { arrivals: poisson(20, HOUR_MS, 1) })
    rows.push({ name: `rolling, ${of}, Poisson`, figures: await runRelay(scattered, 'random') })
    rows.push({
      name: `rolling, ${of}, ${MEMORYLESS}`,
      figures: await runWith(overloaded(tenAMinute({ latency })), memoryless),
    })
  }
  print('Ten a minute, configured, 20 a minute offered for an hour', tableOf('upstream', rows))
  const spans: Row[] = []
  for (const [limited, spanMs, of] of [
    [10, 10_000, '10 in 10 s'],
    [100, 300_000, '100 in 5 min'],
  ] as const) {
    for (const forgets of ['rolling', 'wall', 'first', 'bucket'] as const) {
      const vendor = tenAMinute({ limits: [requests(limited, { spanMs, forgets })] })
      const arrivals = poisson((2 * limited * 60_000) / spanMs, HOUR_MS / 3, 1)
      const figures = await runRelay(overloaded(vendor, { arrivals, spanMs: HOUR_MS / 3 }), 'random')
      spans.push({ name: `${of}, ${forgets}`, figures })
    }
  }
  print('Other spans, configured, twice as much offered for 20 minutes', tableOf('upstream', spans))
}

async function learned(): Promise<void> {
  const rows: Row[] = []
  for (const [dialect, what] of [
    ['openai', 'headers say when all is free'],
    ['soonest', 'headers say when the next one is free'],
    ['retry-after', 'only `retry-after` with a 429'],
  ] as const) {
    for (const forgets of ['rolling', 'wall', 'first', 'bucket'] as const) {
      const vendor = tenAMinute({ forgets, dialect })
      const figures = await runRelay(overloaded(vendor, { knows: 'nothing' }), 'random')
      rows.push({ name: `${forgets}, ${what}`, figures })
    }
  }
  print('The same without a configured limit', tableOf('upstream', rows))
}

/** What single upstreams enforce and report, below, at and above their limits. */
async function limits(): Promise<void> {
  const rows: (LimitRow & Pick<Row, 'figures'>)[] = []
  for (const row of limitRows()) rows.push({ ...row, figures: await runRelay(row.scenario, 'random') })
  const kinds = [...new Set(rows.map(({ kind }) => kind))]
  for (const kind of kinds) {
    const lines = rows.filter((row) => row.kind === kind)
    const named = lines.map((row) => ({ ...row, name: `${row.enforces} / ${row.reports} / ${row.load}` }))
    print(kind, tableOf('enforced / reported / load', named))
  }
  const grid = rows.filter(({ kind }) => kind === kinds[0])
  const others = rows.filter(({ kind }) => kind !== kinds[0])
  const summary = (title: string, of: typeof rows, nameOf: (row: LimitRow) => string): void =>
    print(
      `${title}: answered of the perfect yield, and refused with room of the offered`,
      summaryOf(
        'upstream',
        of.map((row) => ({ ...row, name: nameOf(row) })),
      ),
    )
  summary(`${kinds[0]}, by what is reported`, grid, ({ reports }) => REPORTED[reports] ?? reports)
  summary(`${kinds[0]}, by what is enforced`, grid, ({ enforces }) => enforces)
  summary('The other kinds', others, ({ enforces }) => enforces)
  summary('All', rows, ({ kind }) => kind)
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

const parts = { limit, learned, limits, day, shapes }
const asked = process.argv.slice(2)
for (const [name, part] of Object.entries(parts)) if (asked.length === 0 || asked.includes(name)) await part()
