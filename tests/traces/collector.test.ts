import { expect, test } from 'vitest'
import { errorBody, healthy } from '../support/believable.ts'
import { startGateway } from '../support/gateway-process.ts'
import { spansIn, startCollector, type ReadSpan } from '../support/otlp.ts'
import { answer } from '../support/scripted-scenes.ts'
import { startScriptedUpstream } from '../support/scripted-upstream.ts'
import { until } from '../support/until.ts'
import { startOtelCollector } from './collector.ts'

const TRACEPARENT = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'

test("OpenTelemetry's own collector understands each span as it was meant", async () => {
  const behind = await startCollector()
  const collector = await startOtelCollector(behind.url)
  const sick = await startScriptedUpstream(answer({ status: 503, body: errorBody('overloaded') }))
  const well = await startScriptedUpstream(healthy())
  const at = (url: string, name: string) => ({ base_url: `${url}/v1`, model: 'gpt-4o', name })
  const gateway = await startGateway({
    models: [at(sick.url, 'sick'), at(well.url, 'well')],
    settings: { strategy: 'in_order', affinity: 'off', traces: { endpoint: collector.url } },
  })
  try {
    await gateway.chat({}, { headers: { traceparent: TRACEPARENT } })
    await gateway.chat({ model: 'no such model' })
    await gateway.fetch('/v1/models')
    await gateway.stop()
    const spans = await rawSpans(behind.received, 5)
    const [request, ...attempts] = spans.filter(({ traceId }) => TRACEPARENT.includes(traceId))
    expect(request).toMatchObject({
      name: 'POST /v1/chat/completions',
      kind: 2,
      parentSpanId: '00f067aa0ba902b7',
    })
    expect(attempts.map(({ name, kind, parentSpanId }) => [name, kind, parentSpanId])).toEqual([
      ['chat gpt-4o', 3, request?.spanId],
      ['chat gpt-4o', 3, request?.spanId],
    ])
    expect(attempts.map(({ status }) => status.code)).toEqual([2, undefined])
    expect(attempts[1]?.attributes).toMatchObject({
      'gen_ai.operation.name': 'chat',
      'http.response.status_code': 200,
      'gen_ai.usage.output_tokens': expect.any(Number) as number,
    })
    expect(spans.map(({ name }) => name)).toContain('GET /v1/models')
    expect(collector.said()).not.toMatch(/\berror\b/i)
  } finally {
    collector.stop()
    behind.close()
    await gateway.stop()
    for (const upstream of [sick, well]) await upstream.close()
  }
})

/** The collector adds fields of its own, which are none of ours to judge. */
async function rawSpans(
  received: readonly { readonly text: string }[],
  atLeast: number,
): Promise<ReadSpan[]> {
  return until(
    () => received.flatMap(({ text }) => spansIn(JSON.parse(text) as Parameters<typeof spansIn>[0])),
    ({ length }) => length >= atLeast,
  )
}
