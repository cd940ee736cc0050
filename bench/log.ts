/**
 * What does telling an event cost?
 *
 * `node --import tsx bench/log.ts`. Every request pays for one line and two counted events, next to about 80 µs for
 * the relay itself: a line must stay below 5 µs, an event in the metrics below 2 µs.
 */
import { bench, do_not_optimize, group, run } from 'mitata'
import type { GatewayEvent } from '../src/relay/deps.ts'
import { createLog, fanOut } from '../src/telemetry/log.ts'
import { createJsonLines } from '../src/telemetry/log-json.ts'
import { createPrettyLines } from '../src/telemetry/log-pretty.ts'
import { createMetrics } from '../src/telemetry/metrics.ts'
import { createRecent } from '../src/telemetry/recent.ts'

const attempt = {
  upstream: 'gpt-4o@api.openai.com',
  model: 'gpt-4o',
  outcome: 'ok',
  status: 200,
  firstByteMs: 80.1,
  durationMs: 312.4,
} as const
const request: GatewayEvent = {
  kind: 'request',
  id: '4f1c9c1e-6a57-4a44-a6f5-0a2b8a7f0c11',
  ownId: '4f1c9c1e-6a57-4a44-a6f5-0a2b8a7f0c11',
  endpoint: 'chat',
  requestedModel: 'auto',
  upstream: attempt.upstream,
  model: attempt.model,
  status: 200,
  attempts: [
    { upstream: 'llama@groq', model: 'llama', outcome: 'rate-limited', status: 429, durationMs: 20.5 },
    attempt,
  ],
  firstByteMs: 101.2,
  durationMs: 333.3,
  stream: true,
  queuedMs: 0,
  inputTokens: 120,
  outputTokens: 340,
}
const tried: GatewayEvent = {
  kind: 'attempt',
  requestId: request.id,
  upstreamId: '0123456789abcdef',
  endpoint: 'chat',
  ...attempt,
}
const wall = (): number => Date.now()

group('a line', () => {
  for (const [format, lines] of [
    ['json', createJsonLines(wall)],
    ['pretty', createPrettyLines(wall)],
  ] as const) {
    const log = createLog((line) => do_not_optimize(line), lines, 'info')
    bench(format, () => log(request))
    bench(`${format}, a model name to escape`, () => log({ ...request, requestedModel: '通义"千问"\n' }))
  }
})

group('an event', () => {
  const metrics = createMetrics()
  const recent = createRecent(wall)
  const all = fanOut([metrics.report, recent.report])
  bench('request in the metrics', () => metrics.report(request))
  bench('attempt in the metrics', () => metrics.report(tried))
  bench('attempt in recent', () => recent.report(tried))
  bench('attempt in both, fanned out', () => all(tried))
})

group('100 upstreams', () => {
  const metrics = createMetrics()
  const upstreams = Array.from({ length: 100 }, (_, at) => ({
    name: `model-${at}@host.test`,
    in_flight: at,
    available: true,
    reason: null,
    windows: [],
  }))
  for (const { name } of upstreams) metrics.report({ ...tried, upstream: name })
  bench('the text', () =>
    do_not_optimize(
      metrics.text({
        version: '0.1.0',
        queue: { waiting: 0, size: 256 },
        reloads: { ok: 0, refused: 0 },
        last_reload: null,
        upstreams,
      }),
    ))
})

await run()
