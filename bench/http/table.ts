import type { Entry, Figures } from './bed.ts'
import { medianInterval, medianOf, type MedianInterval } from './interval.ts'
import type { LoadResult } from './load.ts'
import { titles } from './loads.ts'

/** Everything that was measured in one run. */
export interface Results {
  readonly entries: readonly Entry[]
  /** Loads without any proxy, once before the rounds: those of which latencies are told. */
  readonly direct: ReadonlyMap<string, LoadResult>
  /** Loads, and numbers of open streams, in the order of the columns. */
  readonly loads: readonly string[]
  readonly counts: readonly number[]
  /** Names of what could not be measured, each with the reason. */
  readonly missing: readonly string[]
}

/** The median of one figure over the rounds of a load. */
export function medianFigure(entry: Entry, name: string, of: (figures: Figures) => number): number {
  return medianOf((entry.figures.get(name) ?? []).map(of))
}

/** What one costs in terms of the other, round by round. */
export function ratioOf(entry: Entry, other: Entry, name: string): MedianInterval {
  const others = other.figures.get(name) ?? []
  const ratios = (entry.figures.get(name) ?? []).map(({ cpu }, round) => cpu / (others[round]?.cpu ?? 0))
  return medianInterval(ratios)
}

/** `1.23 (1.20–1.27)` */
export const toldRatio = ({ median, low, high }: MedianInterval): string =>
  `${median.toFixed(2)} (${low.toFixed(2)}–${high.toFixed(2)})`

const FAILED = 'failed'
/** µs, with one digit where they are few; where nothing was answered there is nothing to tell. */
export const toldCpu = (cpu: number): string => {
  return Number.isFinite(cpu) ? cpu.toFixed(cpu < 100 ? 1 : 0) : FAILED
}

/** One line for everybody who could not be measured, and for each load that somebody did not answer. */
export function remarksOn({ entries, missing }: Results): readonly string[] {
  const failed = entries.flatMap(({ proxy, figures }) =>
    [...figures].flatMap(([name, rounds]) => {
      const failures = rounds.reduce((sum, one) => sum + one.failures, 0)
      return failures === 0 ? [] : [`${proxy.name}, ${name}: ${failures} failed`]
    }),
  )
  const unwritten = entries.filter(({ writesModel }) => !writesModel).map(({ proxy }) => proxy.name)
  const remark = unwritten.length === 0 ? [] : [`The model is not written by: ${unwritten.join(', ')}`]
  return [...missing.map((reason) => `Not measured: ${reason}`), ...remark, ...failed]
}

function cell({ entries, direct }: Results, entry: Entry, name: string): string {
  if (name === 'latency') {
    const { p50 = 0, p99 = 0 } = direct.get(name) ?? {}
    const added = [
      medianFigure(entry, name, (one) => one.p50) - p50,
      medianFigure(entry, name, (one) => one.p99) - p99,
    ]
    return added.map((ms) => ms.toFixed(2)).join(' / ')
  }
  const cpu = toldCpu(medianFigure(entry, name, (one) => one.cpu))
  if (cpu === FAILED) return cpu
  const bare = entries.find(({ proxy }) => proxy.id === 'bare')
  return bare === undefined ? cpu : `${cpu}, ${toldRatio(ratioOf(entry, bare, name))}`
}

/** A Markdown table with medians, ratios to the bare proxy with their intervals, and what is missing below it. */
export function tableOf(results: Results): string {
  const { entries, counts } = results
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
      ...(hasRates ? [medianFigure(entry, 'small', (one) => one.perSecond).toFixed(0)] : []),
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
  for (const remark of remarksOn(results)) lines.push('', remark)
  return lines.join('\n')
}
