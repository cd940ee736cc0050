import { expect, onTestFinished, test } from 'vitest'
import { errorBody, healthy } from '../support/believable.ts'
import { startGateway } from '../support/gateway-process.ts'
import { resourceOf, readExport, startCollector } from '../support/otlp.ts'
import { answer } from '../support/scripted-scenes.ts'
import { startScriptedUpstream, type Scene } from '../support/scripted-upstream.ts'
import { until } from '../support/until.ts'

const PARENT = { traceId: '4bf92f3577b34da6a3ce929d0e0e4736', spanId: '00f067aa0ba902b7' }
const TRACEPARENT = `00-${PARENT.traceId}-${PARENT.spanId}-01`
const PROMPT = 'the prompt that nobody else may read'
const KEY = 'sk-the-key-of-the-upstream'

async function upstreamWith(scene: Scene) {
  const upstream = await startScriptedUpstream(scene)
  onTestFinished(() => upstream.close())
  return upstream
}

async function collecting(answers?: number[]) {
  const collector = await startCollector(answers)
  onTestFinished(() => collector.close())
  return collector
}

const overloaded = (): Scene =>
  answer({ status: 503, body: errorBody('overloaded', `too much of "${PROMPT}"`) })

/** One that fails with words that quote the prompt, and one that answers. */
async function bed(more: object, env: Record<string, string> = {}) {
  const sick = await upstreamWith(overloaded())
  const well = await upstreamWith(healthy(`an answer to ${PROMPT}`))
  const at = (url: string, name: string) => ({ base_url: `${url}/v1`, model: 'gpt-4o', name, api_key: KEY })
  const models = [at(sick.url, 'sick'), at(well.url, 'well')]
  const settings = { strategy: 'in_order', affinity: 'off' }
  const quick = { OTEL_BSP_SCHEDULE_DELAY: '100' }
  const gateway = await startGateway(
    { models, settings: { ...settings, ...more } },
    { env: { ...quick, ...env } },
  )
  const ask = (headers: Record<string, string> = {}) =>
    gateway.chat({ messages: [{ role: 'user', content: PROMPT }] }, { headers })
  return { gateway, sick, well, ask, models, settings }
}

test('a request and each of its attempts are spans of the trace that the client began, and upstreams go on with it', async () => {
  const collector = await collecting()
  const traces = { endpoint: `${collector.url}/`, headers: { 'x-team': 'sk-secret' }, service_name: 'ours' }
  const { ask, sick, well, gateway } = await bed({ traces })
  expect((await ask({ traceparent: TRACEPARENT, 'x-request-id': 'asked-1' })).status).toBe(200)
  const [request, first, second, ...more] = await collector.spans(3)

  expect(request).toMatchObject({
    traceId: PARENT.traceId,
    parentSpanId: PARENT.spanId,
    name: 'POST /v1/chat/completions',
    kind: 2,
    status: {},
    attributes: {
      'http.request.method': 'POST',
      'http.route': '/v1/chat/completions',
      'http.response.status_code': 200,
      'aiload.request.id': 'asked-1',
      'aiload.upstream': 'well',
      'aiload.attempts': 2,
    },
  })
  const parentSpanId = request?.spanId
  expect(first).toMatchObject({
    traceId: PARENT.traceId,
    parentSpanId,
    name: 'chat gpt-4o',
    kind: 3,
    status: { code: 2 },
    attributes: {
      'gen_ai.operation.name': 'chat',
      'gen_ai.provider.name': 'openai',
      'gen_ai.request.model': 'gpt-4o',
      'server.address': '127.0.0.1',
      'server.port': sick.port,
      'http.response.status_code': 503,
      'error.type': '503',
      'aiload.outcome': 'failure',
    },
  })
  expect(first?.attributes).not.toHaveProperty('gen_ai.usage.output_tokens')
  expect(second).toMatchObject({ parentSpanId, name: 'chat gpt-4o', kind: 3, status: {} })
  expect(second?.attributes).toMatchObject({
    'server.port': well.port,
    'http.response.status_code': 200,
    'http.request.resend_count': 1,
    'gen_ai.usage.input_tokens': expect.any(Number) as number,
    'gen_ai.usage.output_tokens': expect.any(Number) as number,
    'aiload.why': 'fallback',
  })
  expect(more).toEqual([])

  // What went to the upstreams names the spans of their attempts.
  expect(sick.requests[0]?.headers['traceparent']).toBe(`00-${PARENT.traceId}-${first?.spanId}-01`)
  expect(well.requests[0]?.headers['traceparent']).toBe(`00-${PARENT.traceId}-${second?.spanId}-01`)

  const [sent] = collector.received
  expect(sent).toMatchObject({
    path: '/v1/traces',
    headers: { 'content-type': 'application/json', 'x-team': 'sk-secret' },
  })
  expect(resourceOf(readExport(sent?.text ?? ''))).toMatchObject({ 'service.name': 'ours' })
  for (const secret of [PROMPT, KEY, 'sk-secret', gateway.token]) expect(sent?.text).not.toContain(secret)
  expect(gateway.stdout).not.toContain('sk-secret')
  expect(gateway.stdout).toContain(`requests are traced; spans go to ${new URL(collector.url).host}`)
  expect(gateway.stdout).toMatch(new RegExp(`"event":"request".*"trace_id":"${PARENT.traceId}"`))
})

test('without tracing a traceparent goes on as it came', async () => {
  const { ask, well } = await bed({})
  await ask({ traceparent: TRACEPARENT })
  await ask()
  expect(well.requests.map(({ headers }) => headers['traceparent'])).toEqual([TRACEPARENT, undefined])
})

test('the variables of OpenTelemetry do without the configuration, and a stop sends what waits', async () => {
  const collector = await collecting()
  const { ask, gateway, well } = await bed(
    {},
    {
      OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
      OTEL_EXPORTER_OTLP_HEADERS: 'authorization=Bearer%20sk-secret,x-team=a',
      OTEL_SERVICE_NAME: 'gateway-1',
      OTEL_RESOURCE_ATTRIBUTES: 'deployment.environment.name=staging,service.name=other',
    },
  )
  await ask({ traceparent: 'nonsense' })
  await gateway.stop()
  const spans = await collector.spans(3)
  expect(new Set(spans.map(({ traceId }) => traceId)).size).toBe(1)
  expect(spans[0]).not.toHaveProperty('parentSpanId')
  expect(well.requests[0]?.headers['traceparent']).toBe(`00-${spans[2]?.traceId}-${spans[2]?.spanId}-01`)
  const [sent] = collector.received
  expect(sent?.headers).toMatchObject({ authorization: 'Bearer sk-secret', 'x-team': 'a' })
  expect(resourceOf(readExport(sent?.text ?? ''))).toMatchObject({
    'service.name': 'gateway-1',
    'deployment.environment.name': 'staging',
  })
  expect(gateway.stdout + gateway.stderr).not.toContain('sk-secret')
})

test('a collector that is away delays nobody, is told of once, and gets the spans later', async () => {
  const collector = await collecting([503])
  const { ask, gateway } = await bed({ traces: { endpoint: collector.url } })
  await ask()
  await gateway.printed(/the collector of traces at 127\.0\.0\.1:\d+ answered 503; spans lost so far: 0/)
  expect((await ask()).status).toBe(200)
  const sent = (await collector.spans(5)).length
  expect(gateway.stdout.match(/collector of traces/g)).toHaveLength(1)
  const metrics = await until(
    async () => (await gateway.fetch('/metrics')).text(),
    (text) => text.includes(`aiload_trace_spans_total{result="sent"} ${sent}`),
  )
  expect(metrics).toContain('aiload_trace_spans_total{result="dropped"} 0')
})

test('a changed configuration begins and ends tracing', async () => {
  const collector = await collecting()
  const { ask, gateway, models, settings } = await bed({})
  await ask()
  gateway.writeConfig({ models, settings: { ...settings, traces: { endpoint: collector.url } } })
  await gateway.printed(/the configuration was reloaded/)
  await ask()
  await collector.spans(2)
  gateway.writeConfig({ models, settings })
  await gateway.printed(/the configuration was reloaded[\s\S]*the configuration was reloaded/)
  await ask()
  await gateway.stop()
  expect((await collector.spans(2)).filter(({ kind }) => kind === 2)).toHaveLength(1)
})
