import type { Histogram } from './histogram.ts'

/** Label names with their values, in the order in which they are written. */
export type Labels = readonly (readonly [name: string, value: string])[]

/** One metric with all its series. Names and label names are ours and need no escaping. */
export interface Metric {
  readonly name: string
  readonly help: string
  readonly series:
    | { readonly type: 'counter' | 'gauge'; readonly samples: readonly (readonly [Labels, number])[] }
    | { readonly type: 'histogram'; readonly samples: readonly (readonly [Labels, Histogram])[] }
}

/**
 * Metrics as Prometheus reads them: the text format, version 0.0.4. A metric without samples is left out.
 *
 * Source: https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format
 */
export function expositionText(metrics: readonly Metric[]): string {
  return metrics
    .filter(({ series }) => series.samples.length > 0)
    .map((metric) => metricText(metric))
    .join('')
}

function metricText({ name, help, series }: Metric): string {
  const head = `# HELP ${name} ${escapeHelp(help)}\n# TYPE ${name} ${series.type}\n`
  if (series.type === 'histogram') {
    return head + series.samples.map(([labels, one]) => histogramText(name, labelText(labels), one)).join('')
  }
  return head + series.samples.map(([labels, value]) => sampleText(name, labelText(labels), value)).join('')
}

function histogramText(name: string, labels: string, { bounds, counts, sum }: Histogram): string {
  const before = labels === '' ? '' : `${labels},`
  let text = ''
  let total = 0
  for (const [at, count] of counts.entries()) {
    total += count
    text += sampleText(`${name}_bucket`, `${before}le="${numberText(bounds[at] ?? Infinity)}"`, total)
  }
  return `${text}${sampleText(`${name}_sum`, labels, sum)}${sampleText(`${name}_count`, labels, total)}`
}

const sampleText = (name: string, labels: string, value: number): string =>
  `${name}${labels === '' ? '' : `{${labels}}`} ${numberText(value)}\n`

const labelText = (labels: Labels): string =>
  labels.map(([name, value]) => `${name}="${escapeLabel(value)}"`).join(',')

/** Go's ParseFloat reads what JavaScript prints, but for the infinities. */
function numberText(value: number): string {
  if (value === Infinity) return '+Inf'
  return value === -Infinity ? '-Inf' : String(value)
}

const escapeHelp = (text: string): string => text.replaceAll('\\', '\\\\').replaceAll('\n', '\\n')
const escapeLabel = (text: string): string => escapeHelp(text).replaceAll('"', '\\"')
