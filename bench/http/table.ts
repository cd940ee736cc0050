import type { LoadResult } from './load.ts'
import { titles } from './loads.ts'
import type { Proxy, RunningProxy } from './start-proxy.ts'

/** What one run of a load has cost. */
export interface Figures {
  readonly cpu: number
  readonly perSecond: number
  readonly p50: number
  readonly p99: number
  readonly memory: number
  readonly failures: number
}

/** A proxy that runs, and what was measured of it. */
export interface Entry {
  readonly proxy: Proxy
  readonly running: RunningProxy
  readonly port: number
  readonly atRest: number
  readonly figures: Map<string, Figures[]>
  readonly streams: Map<number, { bytesEach: number; p99: number }>
}

/** Everything that was measured in one run. */
export interface Results {
  readonly entries: readonly Entry[]
  /** The load for latencies without any proxy. */
  readonly direct: readonly LoadResult[]
  /** Loads, and numbers of open streams, in the order of the columns. */
  readonly loads: readonly string[]
  readonly counts: readonly number[]
  /** Names of what could not be measured, each with the reason. */
  readonly missing: readonly string[]
}

const median = (numbers: readonly number[]): number =>
  numbers.toSorted((a, b) => a - b)[Math.floor((numbers.length - 1) / 2)] ?? Number.NaN
const medianOf = (entry: Entry, name: string, of: (figures: Figures) => number): number =>
  median((entry.figures.get(name) ?? []).map(of))

function cell({ entries, direct }: Results, entry: Entry, name: string): string {
  if (name === 'latency') {
    const [p50, p99] = [median(direct.map((one) => one.p50)), median(direct.map((one) => one.p99))]
    const added = [
      medianOf(entry, name, (one) => one.p50) - p50,
      medianOf(entry, name, (one) => one.p99) - p99,
    ]
    return added.map((ms) => ms.toFixed(2)).join(' / ')
  }
  const cpu = medianOf(entry, name, (one) => one.cpu)
  const bare = entries.find(({ proxy }) => proxy.name === 'bare node:http')
  const ratio = bare === undefined ? Number.NaN : cpu / medianOf(bare, name, (one) => one.cpu)
  return `${cpu.toFixed(cpu < 10 ? 1 : 0)} (${ratio.toFixed(2)}×)`
}

/** A Markdown table with medians, ratios to the bare proxy, and what is missing below it. */
export function tableOf(results: Results): string {
  const { entries, counts, missing } = results
  const columns = results.loads.filter((name) => name in titles)
  const hasRates = columns.includes('small')
  const header = [
    'proxy',
    'version',
    ...columns.map((name) => titles[name] ?? name),
    ...(hasRates ? ['requests/s, 657 B'] : []),
    'MB at rest / after',
    ...counts.map((count) => `${count} streams: KB each, ms p99 beside`),
  ]
  const lines = [`| ${header.join(' | ')} |`, `|${'---|'.repeat(header.length)}`]
  for (const entry of entries) {
    const after = Math.max(...[...entry.figures.values()].flat().map(({ memory }) => memory), entry.atRest)
    const cells = [
      entry.proxy.name,
      entry.proxy.version(),
      ...columns.map((name) => cell(results, entry, name)),
      ...(hasRates ? [medianOf(entry, 'small', (one) => one.perSecond).toFixed(0)] : []),
      `${(entry.atRest / 1e6).toFixed(0)} / ${(after / 1e6).toFixed(0)}`,
      ...counts.map((count) => {
        const held = entry.streams.get(count)
        return held === undefined
          ? 'did not open'
          : `${(held.bytesEach / 1_024).toFixed(0)}, ${held.p99.toFixed(1)}`
      }),
    ]
    lines.push(`| ${cells.join(' | ')} |`)
  }
  for (const reason of missing) lines.push('', `Not measured: ${reason}`)
  const failed = entries.flatMap(({ proxy, figures }) =>
    [...figures].flatMap(([name, all]) =>
      all
        .filter(({ failures }) => failures > 0)
        .map(({ failures }) => `${proxy.name}, ${name}: ${failures} failed`),
    ),
  )
  for (const line of failed) lines.push('', line)
  return lines.join('\n')
}
