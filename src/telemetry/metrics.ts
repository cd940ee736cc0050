import { endpoints } from '../pool/upstream.ts'
import type { GatewayEvent } from '../relay/deps.ts'
import type { SpanCounts } from './traces.ts'
import type { GatewayStatus, UpstreamStatus } from './status.ts'
import type { TokenStatus } from './token-status.ts'

/** What is true at the moment of asking, and no sum of events: a part of the status. */
export interface Gauges extends Pick<GatewayStatus, 'version' | 'queue' | 'reloads' | 'last_reload'> {
  readonly upstreams: readonly Pick<
    UpstreamStatus,
    'name' | 'in_flight' | 'available' | 'reason' | 'windows'
  >[]
  /** None unless given. */
  readonly tokens?: readonly Pick<TokenStatus, 'name' | 'limits' | 'usage'>[]
  /** Absent where nothing is traced. */
  readonly spans?: SpanCounts | undefined
  /** Absent where the runtime tells nothing of its process. */
  readonly processFigures?: ProcessFigures | undefined
}

/** What a runtime says of its process; what it can't say has no sample. */
export interface ProcessFigures extends Partial<Record<keyof typeof PROCESS_HELP, number>> {
  /** Its name and version, such as `node 20.20.0`. */
  readonly runtime: string
}

/**
 * Counts what happened, and prints it for Prometheus.
 *
 * Label values are names of upstreams and client tokens of the configuration, endpoints, outcomes, reasons and status codes: nothing that a
 * client chooses, so the number of series is bounded. Series of an upstream that left the configuration stay
 * until the process ends, as counters should. An event costs well under 2 µs (`bench/log.ts`).
 */
export function createMetrics() {
  const requests: Counts = new Map(ENDPOINT_LABELS.map((endpoint) => [endpoint, new Map()]))
  const requestSeconds = new Map(ENDPOINT_LABELS.map((endpoint) => [endpoint, createHistogram()]))
  const queueSeconds = createHistogram()
  const attempts: Counts = new Map()
  const firstByte = new Map<string, Histogram>()
  const tokens: Counts = new Map()

  return {
    report(event: GatewayEvent): void {
      if (event.kind === 'attempt') {
        increment(attempts, [event.upstream, event.outcome], 1)
        if (event.firstByteMs !== undefined) observeIn(firstByte, event.upstream, event.firstByteMs)
      }
      if (event.kind !== 'request') return
      const endpoint = requests.has(event.endpoint) ? event.endpoint : OTHER
      increment(requests, [endpoint, statusLabel(event.status)], 1)
      observeIn(requestSeconds, endpoint, event.durationMs)
      if (event.queuedMs > 0) observe(queueSeconds, event.queuedMs)
      if (event.upstream === undefined) return
      increment(tokens, [event.upstream, 'input'], event.inputTokens)
      increment(tokens, [event.upstream, 'output'], event.outputTokens)
    },
    /**
     * Everything counted since the start, with the gauges of this moment, in the text format 0.0.4. A metric without
     * samples is left out. Source: https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format
     */
    text(gauges: Gauges): string {
      const { version, queue, reloads, last_reload, upstreams, spans, processFigures } = gauges
      const used = [...requestSeconds].filter(([, { counts }]) => counts.some((count) => count > 0))
      const inFlight = upstreams.map((one) => [label('upstream', one.name), one.in_flight] as const)
      const available = upstreams.map((one) => [label('upstream', one.name), one.available ? 1 : 0] as const)
      const unavailable = upstreams.flatMap(({ name, reason }) =>
        reason === null ? [] : [[`${label('upstream', name)},${label('reason', reason)}`, 1] as const],
      )
      const reloadedAt = epochSeconds(last_reload?.at)
      const build = [
        label('version', version),
        ...(processFigures ? [label('runtime', processFigures.runtime)] : []),
      ]
      return [
        countersText('aiload_requests_total', requests, ['endpoint', 'status']),
        countersText('aiload_attempts_total', attempts, ['upstream', 'outcome']),
        countersText('aiload_tokens_total', tokens, ['upstream', 'direction']),
        histogramsText('aiload_first_byte_seconds', labelled('upstream', firstByte)),
        histogramsText('aiload_request_seconds', labelled('endpoint', used)),
        histogramsText('aiload_queue_seconds', [['', queueSeconds]]),
        gaugesText('aiload_queue_waiting', [['', queue.waiting]]),
        gaugesText('aiload_queue_size', [['', queue.size]]),
        gaugesText('aiload_in_flight', inFlight),
        gaugesText('aiload_available', available),
        gaugesText('aiload_unavailable', unavailable),
        ...limitGauges(upstreams),
        ...tokenTexts(gauges.tokens ?? []),
        gaugesText('aiload_reloads_total', resultsOf(reloads), 'counter'),
        gaugesText('aiload_last_reload_successful', [['', last_reload?.ok === false ? 0 : 1]]),
        gaugesText(
          'aiload_last_reload_timestamp_seconds',
          reloadedAt === undefined ? [] : [['', reloadedAt]],
        ),
        gaugesText('aiload_trace_spans_total', resultsOf(spans), 'counter'),
        gaugesText('aiload_build_info', [[build.join(','), 1]]),
        ...(processFigures ? processGauges(processFigures) : []),
      ].join('')
    },
  }
}

/** Names, label names and these texts hold nothing that the format escapes. */
const HELP = {
  aiload_requests_total:
    'Requests that ended, by endpoint and the status that the client got; 499 = it left.',
  aiload_attempts_total: 'Requests sent to upstreams, by how they ended.',
  aiload_tokens_total: 'Tokens that answers said they used.',
  aiload_first_byte_seconds: 'From sending to an upstream to its first real byte.',
  aiload_request_seconds: 'From arrival to the end of the answer.',
  aiload_queue_seconds: 'Time in the queue, of the requests that had to wait.',
  aiload_queue_waiting: 'Requests that wait for an upstream now.',
  aiload_queue_size: 'How many requests may wait at once.',
  aiload_in_flight: 'Requests under way, streams included.',
  aiload_available: 'Whether the upstream may take a request now; 0 after a failure until it answers again.',
  aiload_unavailable: 'Always 1: why an upstream may not take a request now, for each that may not.',
  aiload_limit: 'Of a limit: how much it is, where the upstream said so.',
  aiload_limit_used: 'Of a limit: what counts against it, as far as is known here.',
  aiload_limit_left: 'Of a limit: what may still be sent.',
  aiload_limit_rate: 'Of a limit: what is sent, a minute.',
  aiload_limit_runs_out_timestamp_seconds:
    'Of a limit: when nothing is left at this rate, where that is before it is whole again.',
  aiload_limit_reopens_timestamp_seconds: 'Of a limit that lets nothing through: when it does again.',
  aiload_token_requests_total: 'Requests of a client token that upstreams have worked for.',
  aiload_token_tokens_total:
    'Tokens that requests of a client token have used; estimated where an answer does not say.',
  aiload_token_limit_left: 'Of a limit of a client token: what may still be sent.',
  aiload_limit_resets_timestamp_seconds: 'Of a limit of which something is used: when it is whole again.',
  aiload_reloads_total: 'Changed configurations that were read, by what came of them: ok or refused.',
  aiload_last_reload_successful:
    'Whether the last changed configuration was taken; 1 where none was changed.',
  aiload_last_reload_timestamp_seconds: 'When a changed configuration was read last.',
  aiload_trace_spans_total:
    'Spans of traces, by what came of them: sent, dropped (too many waited) or refused by the collector.',
  aiload_build_info: 'Always 1; the version and the runtime are in the labels.',
}

/** Names and meanings by https://prometheus.io/docs/instrumenting/writing_clientlibs/#process-metrics and prom-client. */
const PROCESS_HELP = {
  process_cpu_user_seconds_total: 'CPU time in user mode.',
  process_cpu_system_seconds_total: 'CPU time in system mode.',
  process_cpu_seconds_total: 'CPU time in both modes.',
  process_start_time_seconds: 'When the process started.',
  process_resident_memory_bytes: 'Resident memory.',
  process_open_fds: 'Open file descriptors.',
  process_max_fds: 'Most file descriptors that may be open.',
  nodejs_heap_size_total_bytes: 'Memory of the heap of JavaScript.',
  nodejs_heap_size_used_bytes: 'What of it is in use.',
  nodejs_external_memory_bytes: 'Memory outside of the heap that objects in it hold, such as bodies.',
  nodejs_eventloop_lag_seconds: 'How late the event loop was, on average since the last scrape.',
  nodejs_eventloop_lag_p99_seconds: 'The same, the 99th percentile.',
  nodejs_eventloop_lag_max_seconds: 'The same, the largest.',
}
const MEANINGS = { ...HELP, ...PROCESS_HELP }
type Name = keyof typeof MEANINGS

function processGauges(figures: ProcessFigures): string[] {
  return (Object.keys(PROCESS_HELP) as (keyof typeof PROCESS_HELP)[]).map((name) => {
    const value = figures[name]
    const type = name.endsWith('_total') ? 'counter' : 'gauge'
    return gaugesText(name, value === undefined || !Number.isFinite(value) ? [] : [['', value]], type)
  })
}

/** One series for each limit of each upstream; a shared one stands with each that draws on it. */
function limitGauges(upstreams: Gauges['upstreams']): string[] {
  const series = new Map<string, Limit>()
  for (const { name, windows } of upstreams)
    for (const limit of windows) {
      const named =
        limit.meter ?? `${limit.counts}:${limit.window}${limit.source === 'refused' ? ':refused' : ''}`
      const labels = [label('upstream', name), label('scope', limit.scope), label('limit', named)]
      series.set(labels.join(','), limit)
    }
  const gauge = (name: Name, valueOf: (limit: Limit) => number | undefined): string =>
    gaugesText(
      name,
      [...series].flatMap(([labels, limit]) => {
        const value = valueOf(limit)
        return value === undefined ? [] : [[labels, value] as const]
      }),
    )
  return [
    gauge('aiload_limit', ({ limit }) => limit ?? undefined),
    gauge('aiload_limit_used', ({ used }) => used),
    gauge('aiload_limit_left', ({ left }) => left),
    gauge('aiload_limit_rate', ({ rate }) => rate),
    gauge('aiload_limit_runs_out_timestamp_seconds', (limit) => epochSeconds(limit.runs_out_at)),
    gauge('aiload_limit_reopens_timestamp_seconds', (limit) => epochSeconds(limit.reopens_at)),
    gauge('aiload_limit_resets_timestamp_seconds', (limit) => epochSeconds(limit.resets_at)),
  ]
}

/** Of the tokens in the configuration. */
function tokenTexts(tokens: NonNullable<Gauges['tokens']>): string[] {
  const sums = tokens.map(({ name, usage }) => [label('token', name), usage.since_start] as const)
  const left = tokens.flatMap(({ name, limits }) =>
    limits.map(
      (limit) =>
        [`${label('token', name)},${label('limit', `${limit.counts}:${limit.window}`)}`, limit.left] as const,
    ),
  )
  const requests = sums.map(([token, { requests: sum }]) => [token, sum] as const)
  const used = sums.flatMap(([token, { input_tokens: input, output_tokens: output }]) => [
    [`${token},${label('direction', 'input')}`, input] as const,
    [`${token},${label('direction', 'output')}`, output] as const,
  ])
  return [
    gaugesText('aiload_token_requests_total', requests, 'counter'),
    gaugesText('aiload_token_tokens_total', used, 'counter'),
    gaugesText('aiload_token_limit_left', left),
  ]
}

type Limit = UpstreamStatus['windows'][number]

const epochSeconds = (iso: string | null | undefined): number | undefined =>
  iso ? Date.parse(iso) / 1_000 : undefined

const resultsOf = (counts: Readonly<Record<string, number>> = {}) =>
  Object.entries(counts).map(([result, count]) => [label('result', result), count] as const)

const OTHER = 'other'
const ENDPOINT_LABELS: readonly string[] = [...endpoints, 'passthrough', OTHER]

/** An upstream may send any number as its status, and one that is passed on gets as far as here. */
const statusLabel = (status: number): string =>
  status >= 100 && status <= 599 ? String(Math.trunc(status)) : OTHER

/** Sums by two labels. */
type Counts = Map<string, Map<string, number>>

/** An amount that is unknown or no amount is left out, for it would spoil the sum for ever. */
function increment(to: Counts, [outer, inner]: readonly [string, string], amount = Number.NaN): void {
  if (!(amount >= 0 && amount < Infinity)) return
  let counts = to.get(outer)
  if (counts === undefined) to.set(outer, (counts = new Map()))
  counts.set(inner, (counts.get(inner) ?? 0) + amount)
}

/** Upper bounds in s: from a cache hit next door to an answer that takes ten minutes, with each usual timeout. */
const BOUNDS = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600]

/** Observations in each bucket alone, not cumulated; the last one is above all bounds. */
interface Histogram {
  readonly counts: Float64Array
  sum: number
}

const createHistogram = (): Histogram => ({ counts: new Float64Array(BOUNDS.length + 1), sum: 0 })

/** What is no finite number is left out, as with counters. */
function observe(histogram: Histogram, ms: number): void {
  if (!Number.isFinite(ms)) return
  const seconds = ms / 1000
  let at = 0
  while (at < BOUNDS.length && seconds > (BOUNDS[at] ?? Infinity)) at++
  histogram.counts[at] = (histogram.counts[at] ?? 0) + 1
  histogram.sum += seconds
}

function observeIn(histograms: Map<string, Histogram>, key: string, ms: number): void {
  let histogram = histograms.get(key)
  if (histogram === undefined) histograms.set(key, (histogram = createHistogram()))
  observe(histogram, ms)
}

function countersText(name: Name, counts: Counts, [outer, inner]: readonly [string, string]): string {
  const samples = labelled(outer, counts).flatMap(([labels, sums]) =>
    labelled(inner, sums).map(([own, sum]) => sampleText(name, `${labels},${own}`, sum)),
  )
  return metricText(name, 'counter', samples)
}

function histogramsText(name: Name, series: readonly (readonly [labels: string, Histogram])[]): string {
  const samples = series.map(([labels, { counts, sum }]) => {
    let total = 0
    const buckets = Array.from(counts, (count, at) => {
      total += count
      const le = label('le', String(BOUNDS[at] ?? '+Inf'))
      return sampleText(`${name}_bucket`, labels === '' ? le : `${labels},${le}`, total)
    })
    return `${buckets.join('')}${sampleText(`${name}_sum`, labels, sum)}${sampleText(`${name}_count`, labels, total)}`
  })
  return metricText(name, 'histogram', samples)
}

function gaugesText(
  name: Name,
  samples: readonly (readonly [labels: string, number])[],
  type: 'counter' | 'gauge' = 'gauge',
): string {
  const lines = samples.map(([labels, value]) => sampleText(name, labels, value))
  return metricText(name, type, lines)
}

function metricText(name: Name, type: 'counter' | 'gauge' | 'histogram', samples: readonly string[]): string {
  if (samples.length === 0) return ''
  return `# HELP ${name} ${MEANINGS[name]}\n# TYPE ${name} ${type}\n${samples.join('')}`
}

const sampleText = (name: string, labels: string, value: number): string =>
  `${name}${labels === '' ? '' : `{${labels}}`} ${value}\n`

const labelled = <T>(name: string, values: Iterable<readonly [string, T]>): (readonly [string, T])[] =>
  Array.from(values, ([value, one]) => [label(name, value), one])

function label(name: string, value: string): string {
  const escaped = value.replaceAll('\\', '\\\\').replaceAll('\n', '\\n').replaceAll('"', '\\"')
  return `${name}="${escaped}"`
}
