import type { Entry } from './bed.ts'
import { loads, titles } from './loads.ts'
import { medianFigure, ratioOf, remarksOn, toldCpu, toldRatio, type Results } from './table.ts'

/** A Markdown table of two proxies, a load in each line, and what there is to say below it. */
export function duelTable(results: Results): string {
  const [one, other] = results.entries
  if (one === undefined || other === undefined) return remarksOn(results).join('\n\n')
  const rounds = one.figures.get(results.loads[0] ?? '')?.length ?? 0
  const { coverage } = ratioOf(one, other, results.loads[0] ?? '')
  const header = [
    'load',
    one.proxy.name,
    other.proxy.name,
    'ratio',
    'ms p50 / p99',
    'ms p50 / p99 of the other',
    'of no proxy',
  ]
  const lines = [`| ${header.join(' | ')} |`, `|${'---|'.repeat(header.length)}`]
  for (const name of results.loads) {
    const direct = results.direct.get(name)
    const cells = [
      titles[name] ?? name,
      toldCpu(medianFigure(one, name, ({ cpu }) => cpu)),
      toldCpu(medianFigure(other, name, ({ cpu }) => cpu)),
      toldRatio(ratioOf(one, other, name)),
      latency(one, name),
      latency(other, name),
      direct === undefined ? '' : `${direct.p50.toFixed(2)} / ${direct.p99.toFixed(2)}`,
    ]
    lines.push(`| ${cells.join(' | ')} |`)
  }
  const versions = [one, other].map(({ proxy }) => `${proxy.name} ${proxy.version()}`).join(', ')
  lines.push('', `${versions}. ${rounds} rounds in alternation; the median of their ratios, and in brackets`)
  lines.push(
    `its order-statistic interval (${(100 * coverage).toFixed(1)} %). Latencies are of a request, or of a chunk`,
  )
  lines.push('from the write of the upstream to its arrival.')
  for (const remark of remarksOn(results)) lines.push('', remark)
  return lines.join('\n')
}

/** Requests that are sent as fast as it goes have a throughput instead: nobody waits for them at a rate. */
function latency(entry: Entry, name: string): string {
  const load = loads[name]
  if (load?.unit === 'request' && load.rate === 0) {
    return `${medianFigure(entry, name, ({ perSecond }) => perSecond).toFixed(0)}/s`
  }
  const [p50, p99] = [
    medianFigure(entry, name, (one) => one.p50),
    medianFigure(entry, name, (one) => one.p99),
  ]
  return `${p50.toFixed(2)} / ${p99.toFixed(2)}`
}
