import { endpoints } from '../pool/upstream.ts'
import type { GatewayEvent, Report } from '../relay/deps.ts'

/** What is true at the moment of asking, and no sum of events. */
export interface Gauges {
  readonly version: string
  /** Requests in the queue. */
  readonly waiting: number
  readonly upstreams: readonly UpstreamGauges[]
}

interface UpstreamGauges {
  readonly name: string
  readonly inFlight: number
  readonly available: boolean
}

/** Counts what happened, and prints it for Prometheus. */
export interface Metrics {
  readonly report: Report
  /** Everything counted since the start, with the gauges of this moment, in the text format 0.0.4. */
  text(gauges: Gauges): string
}

/** Seconds. From a cache hit next door to an answer that takes ten minutes; the long end has a bucket at each usual timeout. */
const SECONDS = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600]

/**
 * Label values are upstream names of the configuration, endpoints, outcomes and status codes: nothing that a
 * client chooses, so the number of series is bounded. Series of an upstream that left the configuration stay
 * until the process ends, as counters should. An event costs well under 2 µs (`bench/log.ts`).
 */
export function createMetrics(): Metrics {
  const requests = new Map(ENDPOINT_LABELS.map((endpoint) => [endpoint, new Map<string, number>()]))
  const requestSeconds = new Map(ENDPOINT_LABELS.map((endpoint) => [endpoint, createHistogram(SECONDS)]))
  const queueSeconds = createHistogram(SECONDS)
  const attempts = new Map<string, Map<string, number>>()
  const firstByte = new Map<string, Histogram>()
  const tokens = new Map<string, Map<string, number>>()

  function countRequest(event: Extract<GatewayEvent, { kind: 'request' }>): void {
    const endpoint = requests.has(event.endpoint) ? event.endpoint : OTHER
    increment(requests, endpoint, [statusLabel(event.status), 1])
    observeIn(requestSeconds, endpoint, event.durationMs)
    if (event.queuedMs > 0) observe(queueSeconds, event.queuedMs / 1000)
    if (event.upstream === undefined) return
    if (event.inputTokens !== undefined) increment(tokens, event.upstream, ['input', event.inputTokens])
    if (event.outputTokens !== undefined) increment(tokens, event.upstream, ['output', event.outputTokens])
  }

  return {
    report(event) {
      if (event.kind === 'request') return countRequest(event)
      if (event.kind !== 'attempt') return
      increment(attempts, event.upstream, [event.outcome, 1])
      if (event.firstByteMs !== undefined) observeIn(firstByte, event.upstream, event.firstByteMs)
    },
    text: (gauges) =>
      expositionText([
        counter('aiload_requests_total', requests, ['endpoint', 'status']),
        counter('aiload_attempts_total', attempts, ['upstream', 'outcome']),
        counter('aiload_tokens_total', tokens, ['upstream', 'direction']),
        histogram('aiload_first_byte_seconds', withLabel('upstream', firstByte)),
        histogram('aiload_request_seconds', withLabel('endpoint', usedOnly(requestSeconds))),
        histogram('aiload_queue_seconds', [[[], queueSeconds]]),
        ...gaugesOf(gauges),
      ]),
  }
}

const HELP = {
  aiload_requests_total:
    'Requests that ended, by endpoint and the status that the client got; 499 = it left.',
  aiload_attempts_total: 'Requests sent to upstreams, by how they ended.',
  aiload_tokens_total: 'Tokens that answers said they used.',
  aiload_first_byte_seconds: 'From sending to an upstream to its first real byte.',
  aiload_request_seconds: 'From arrival to the end of the answer.',
  aiload_queue_seconds: 'Time in the queue, of the requests that had to wait.',
  aiload_queue_waiting: 'Requests that wait for an upstream now.',
  aiload_in_flight: 'Requests under way, streams included.',
  aiload_available: 'Whether the upstream may take a request now.',
  aiload_build_info: 'Always 1; the version is in the label.',
}
type Name = keyof typeof HELP

const OTHER = 'other'
const ENDPOINT_LABELS: readonly string[] = [...endpoints, 'passthrough', OTHER]

/** An upstream may send any number as its status, and one that is passed on gets as far as here. */
const statusLabel = (status: number): string =>
  status >= 100 && status <= 599 ? String(Math.trunc(status)) : OTHER

function increment(
  to: Map<string, Map<string, number>>,
  key: string,
  [label, amount]: readonly [string, number],
): void {
  if (!(amount >= 0 && amount < Infinity)) return
  let counts = to.get(key)
  if (counts === undefined) to.set(key, (counts = new Map()))
  counts.set(label, (counts.get(label) ?? 0) + amount)
}

function observeIn(histograms: Map<string, Histogram>, key: string, ms: number): void {
  let histogram = histograms.get(key)
  if (histogram === undefined) histograms.set(key, (histogram = createHistogram(SECONDS)))
  observe(histogram, ms / 1000)
}

function usedOnly(histograms: ReadonlyMap<string, Histogram>): Map<string, Histogram> {
  return new Map([...histograms].filter(([, { counts }]) => counts.some((count) => count > 0)))
}

function counter(
  name: Name,
  counts: ReadonlyMap<string, ReadonlyMap<string, number>>,
  [outerLabel, innerLabel]: readonly [string, string],
): Metric {
  const samples = [...counts].flatMap(([outer, inner]) =>
    withLabel(innerLabel, inner).map(([labels, count]) => [[[outerLabel, outer], ...labels], count] as const),
  )
  return { name, help: HELP[name], series: { type: 'counter', samples } }
}

function histogram(name: Name, samples: readonly (readonly [Labels, Histogram])[]): Metric {
  return { name, help: HELP[name], series: { type: 'histogram', samples } }
}

function gauge(name: Name, samples: readonly (readonly [Labels, number])[]): Metric {
  return { name, help: HELP[name], series: { type: 'gauge', samples } }
}

function gaugesOf({ version, waiting, upstreams }: Gauges): Metric[] {
  const inFlight = new Map(upstreams.map(({ name, inFlight }) => [name, inFlight]))
  const available = new Map(upstreams.map(({ name, available }) => [name, available ? 1 : 0]))
  return [
    gauge('aiload_queue_waiting', [[[], waiting]]),
    gauge('aiload_in_flight', withLabel('upstream', inFlight)),
    gauge('aiload_available', withLabel('upstream', available)),
    gauge('aiload_build_info', [[[['version', version]], 1]]),
  ]
}

function withLabel<T>(label: string, values: ReadonlyMap<string, T>): (readonly [Labels, T])[] {
  return [...values].map(([value, one]) => [[[label, value]], one] as const)
}

/** Label names with their values, in the order in which they are written. */
type Labels = readonly (readonly [name: string, value: string])[]

/** One metric with all its series. Names and label names are ours and need no escaping. */
interface Metric {
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
function expositionText(metrics: readonly Metric[]): string {
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

/** Counts of observations by size. */
interface Histogram {
  /** Upper bounds, ascending, without the infinite one. */
  readonly bounds: readonly number[]
  /** Observations in each bucket alone, not cumulated; the last one is above all bounds. */
  readonly counts: Float64Array
  sum: number
}

/** An empty one; all that it will ever need is allocated. */
function createHistogram(bounds: readonly number[]): Histogram {
  return { bounds, counts: new Float64Array(bounds.length + 1), sum: 0 }
}

/** Counts a value; one that is no finite number is left out, for it would spoil the sum for ever. */
function observe(histogram: Histogram, value: number): void {
  if (!Number.isFinite(value)) return
  const { bounds, counts } = histogram
  let at = 0
  while (at < bounds.length && value > (bounds[at] ?? Infinity)) at++
  counts[at] = (counts[at] ?? 0) + 1
  histogram.sum += value
}
