import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import type { GatewayEvent } from '../../src/relay/deps.ts'
import { createMetrics, type Gauges } from '../../src/telemetry/metrics.ts'
import { attemptEvent, requestEvent } from './events.ts'
import { parseExposition, type Sample } from './parse-exposition.ts'

const quiet: Gauges = {
  version: '0.1.0',
  queue: { waiting: 0, size: 256 },
  reloads: { ok: 0, refused: 0 },
  last_reload: null,
  upstreams: [],
}

function samplesAfter(events: readonly GatewayEvent[], gauges: Gauges = quiet): Sample[] {
  const metrics = createMetrics()
  for (const event of events) metrics.report(event)
  return [...parseExposition(metrics.text(gauges)).values()].flatMap(({ samples }) => samples)
}

function valueOf(
  samples: readonly Sample[],
  name: string,
  labels: Record<string, string> = {},
): number | undefined {
  const wanted = JSON.stringify(labels)
  return samples.find((sample) => sample.name === name && JSON.stringify(sample.labels) === wanted)?.value
}

test('before the first request the text is valid and says what there is', () => {
  const families = parseExposition(
    createMetrics().text({
      ...quiet,
      queue: { waiting: 2, size: 256 },
      reloads: { ok: 3, refused: 1 },
      upstreams: [{ name: 'a', in_flight: 3, available: false, reason: 'auth', windows: [] }],
    }),
  )
  const samples = [...families.values()].flatMap((family) => family.samples)
  expect(valueOf(samples, 'aiload_build_info', { version: '0.1.0' })).toBe(1)
  expect(valueOf(samples, 'aiload_queue_waiting')).toBe(2)
  expect(valueOf(samples, 'aiload_in_flight', { upstream: 'a' })).toBe(3)
  expect(valueOf(samples, 'aiload_available', { upstream: 'a' })).toBe(0)
  expect(valueOf(samples, 'aiload_unavailable', { upstream: 'a', reason: 'auth' })).toBe(1)
  expect(families.get('aiload_queue_seconds')?.type).toBe('histogram')
  expect(families.get('aiload_reloads_total')?.type).toBe('counter')
  expect(valueOf(samples, 'aiload_reloads_total', { result: 'ok' })).toBe(3)
  expect(valueOf(samples, 'aiload_reloads_total', { result: 'refused' })).toBe(1)
})

test('each limit has its own series, with what is left and when it changes', () => {
  const limit = { counts: 'requests', scope: 'upstream', limit: 10, used: 10, left: 0, rate: 3, age: null }
  const ends = {
    runs_out_at: null,
    reopens_at: '2026-11-22T12:00:30.500Z',
    resets_at: '2026-11-22T12:01:00.000Z',
  }
  const windows = [
    { ...limit, ...ends, window: 'minute', source: 'configured' },
    { ...limit, ...ends, window: 'minute', source: 'refused', reopens_at: null },
    { ...limit, ...ends, window: 'day', source: 'learned', meter: 'x-ratelimit-*', limit: null, left: 4 },
  ]
  const families = parseExposition(
    createMetrics().text({
      ...quiet,
      upstreams: [{ name: 'a', in_flight: 0, available: false, reason: 'limit', windows }],
    }),
  )
  const samples = [...families.values()].flatMap((family) => family.samples)
  const of = (name: string, named: string) =>
    valueOf(samples, name, { upstream: 'a', scope: 'upstream', limit: named })
  expect(of('aiload_limit_left', 'requests:minute')).toBe(0)
  expect(of('aiload_limit_left', 'x-ratelimit-*')).toBe(4)
  expect(of('aiload_limit_used', 'requests:minute:refused')).toBe(10)
  expect(of('aiload_limit_reopens_timestamp_seconds', 'requests:minute')).toBe(1_795_348_830.5)
  expect(of('aiload_limit_rate', 'x-ratelimit-*')).toBe(3)
  expect(of('aiload_limit', 'requests:minute')).toBe(10)
  expect(of('aiload_limit', 'x-ratelimit-*')).toBeUndefined()
  expect(of('aiload_limit_resets_timestamp_seconds', 'requests:minute')).toBe(1_795_348_860)
})

test('a refused reload shows until one is taken, with its time', () => {
  const at = '2026-11-22T12:00:00.000Z'
  const before = samplesAfter([])
  const refused = samplesAfter([], { ...quiet, last_reload: { at, ok: false, problems: ['x'] } })
  const taken = samplesAfter([], { ...quiet, last_reload: { at, ok: true, problems: [] } })
  const isGood = (samples: Sample[]) => valueOf(samples, 'aiload_last_reload_successful')
  expect([before, refused, taken].map(isGood)).toEqual([1, 0, 1])
  expect(valueOf(before, 'aiload_last_reload_timestamp_seconds')).toBeUndefined()
  expect(valueOf(refused, 'aiload_last_reload_timestamp_seconds')).toBe(1_795_348_800)
})

test('what a runtime says of its process is shown, and what it does not say is not', () => {
  const figures = { process_cpu_seconds_total: 1.5, process_open_fds: Number.NaN }
  const families = parseExposition(
    createMetrics().text({ ...quiet, processFigures: { runtime: 'node 20.20.0', ...figures } }),
  )
  const names = [...families.keys()].filter((name) => !name.startsWith('aiload_'))
  expect(names).toEqual(['process_cpu_seconds_total'])
  expect(families.get('process_cpu_seconds_total')?.type).toBe('counter')
  const labels = { version: '0.1.0', runtime: 'node 20.20.0' }
  expect(families.get('aiload_build_info')?.samples).toEqual([
    { name: 'aiload_build_info', labels, value: 1 },
  ])
})

test('requests are counted by endpoint and status, attempts by upstream and outcome', () => {
  const samples = samplesAfter([
    requestEvent(),
    requestEvent(),
    requestEvent({ status: 499 }),
    requestEvent({ endpoint: 'passthrough', status: 404 }),
    attemptEvent(),
    attemptEvent({ upstream: 'b', outcome: 'rate-limited' }),
  ])
  expect(valueOf(samples, 'aiload_requests_total', { endpoint: 'chat', status: '200' })).toBe(2)
  expect(valueOf(samples, 'aiload_requests_total', { endpoint: 'chat', status: '499' })).toBe(1)
  expect(valueOf(samples, 'aiload_requests_total', { endpoint: 'passthrough', status: '404' })).toBe(1)
  expect(valueOf(samples, 'aiload_attempts_total', { upstream: 'a', outcome: 'ok' })).toBe(1)
  expect(valueOf(samples, 'aiload_attempts_total', { upstream: 'b', outcome: 'rate-limited' })).toBe(1)
})

test('a duration falls into every bucket that it is not above, in seconds', () => {
  const samples = samplesAfter([
    attemptEvent({ firstByteMs: 250 }),
    attemptEvent({ firstByteMs: 251 }),
    attemptEvent({ firstByteMs: 4_000_000 }),
  ])
  const bucket = (le: string) => valueOf(samples, 'aiload_first_byte_seconds_bucket', { upstream: 'a', le })
  expect([bucket('0.1'), bucket('0.25'), bucket('0.5'), bucket('600'), bucket('+Inf')]).toEqual([
    0, 1, 2, 2, 3,
  ])
  expect(valueOf(samples, 'aiload_first_byte_seconds_sum', { upstream: 'a' })).toBeCloseTo(4_000.501)
  expect(valueOf(samples, 'aiload_first_byte_seconds_count', { upstream: 'a' })).toBe(3)
})

test('only requests that waited are in the waiting times', () => {
  const samples = samplesAfter([requestEvent(), requestEvent({ queuedMs: 2_000 })])
  expect(valueOf(samples, 'aiload_queue_seconds_count')).toBe(1)
  expect(valueOf(samples, 'aiload_queue_seconds_sum')).toBe(2)
  expect(valueOf(samples, 'aiload_request_seconds_count', { endpoint: 'chat' })).toBe(2)
})

test('tokens are summed by upstream and direction', () => {
  const samples = samplesAfter([
    requestEvent({ inputTokens: 10, outputTokens: 3 }),
    requestEvent({ inputTokens: 5 }),
    requestEvent(),
  ])
  expect(valueOf(samples, 'aiload_tokens_total', { upstream: 'a', direction: 'input' })).toBe(15)
  expect(valueOf(samples, 'aiload_tokens_total', { upstream: 'a', direction: 'output' })).toBe(3)
})

test('any name that an upstream may have comes back as it was', () => {
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string({ unit: 'grapheme' }),
        fc.string({ unit: fc.constantFrom('"', '\\', '\n', 'n', '{', '}', ',', '=', ' ') }),
      ),
      (upstream) => {
        const samples = samplesAfter([attemptEvent({ upstream })], {
          ...quiet,
          upstreams: [{ name: upstream, in_flight: 0, available: true, reason: null, windows: [] }],
        })
        expect(valueOf(samples, 'aiload_attempts_total', { upstream, outcome: 'ok' })).toBe(1)
        expect(valueOf(samples, 'aiload_available', { upstream })).toBe(1)
      },
    ),
  )
})

test('each token of the configuration has what it used, and what is left of its limits', () => {
  const sum = { requests: 3, input_tokens: 40, output_tokens: 5 }
  const usage = { day: sum, week: sum, month: sum, since_start: sum }
  const limit = {
    counts: 'requests',
    window: 'day',
    scope: 'token',
    used: 3,
    limit: 10,
    left: 7,
    source: 'configured',
    runs_out_at: null,
    reopens_at: null,
    resets_at: null,
    age: null,
  }
  const samples = samplesAfter([], { ...quiet, tokens: [{ name: '张三', usage, limits: [limit] }] })
  expect(valueOf(samples, 'aiload_token_requests_total', { token: '张三' })).toBe(3)
  expect(valueOf(samples, 'aiload_token_tokens_total', { token: '张三', direction: 'input' })).toBe(40)
  expect(valueOf(samples, 'aiload_token_tokens_total', { token: '张三', direction: 'output' })).toBe(5)
  expect(valueOf(samples, 'aiload_token_limit_left', { token: '张三', limit: 'requests:day' })).toBe(7)
})

test('nothing that a client chooses makes a series, and odd statuses share one', () => {
  const events = Array.from({ length: 500 }, (_, at) =>
    requestEvent({ requestedModel: `model-${at}`, id: `id-${at}`, endpoint: `e${at}`, status: 600 + at }),
  )
  const before = samplesAfter(events.slice(0, 1))
  const after = samplesAfter(events)
  expect(after).toHaveLength(before.length)
  expect(valueOf(after, 'aiload_requests_total', { endpoint: 'other', status: 'other' })).toBe(500)
})

test('numbers that are none spoil no sum', () => {
  const samples = samplesAfter([
    requestEvent({ durationMs: Number.NaN, inputTokens: -5, outputTokens: Infinity }),
    requestEvent({ durationMs: 1_000, inputTokens: 5 }),
  ])
  expect(valueOf(samples, 'aiload_request_seconds_sum', { endpoint: 'chat' })).toBe(1)
  expect(valueOf(samples, 'aiload_tokens_total', { upstream: 'a', direction: 'input' })).toBe(5)
  expect(valueOf(samples, 'aiload_tokens_total', { upstream: 'a', direction: 'output' })).toBeUndefined()
})
