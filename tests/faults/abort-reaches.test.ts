import { afterAll, beforeAll, expect, test } from 'vitest'
import { chunkEvent, healthy } from '../support/believable.ts'
import { startGateway, type GatewayProcess } from '../support/gateway-process.ts'
import { upstreamStatus } from '../support/gateway-status.ts'
import { connectRaw, headOf } from '../support/raw-client.ts'
import { answer, stall } from '../support/scripted-scenes.ts'
import { startScriptedUpstream, type Scene, type ScriptedUpstream } from '../support/scripted-upstream.ts'
import { until } from '../support/until.ts'

interface Moment {
  readonly when: string
  readonly scene: Scene
  readonly stream: boolean
  /** What the client has before it leaves. */
  readonly sees: RegExp
}

const streaming: Scene = async (exchange) => {
  await exchange.head(200, { 'content-type': 'text/event-stream', 'transfer-encoding': 'chunked' })
  await exchange.chunk(chunkEvent('one'))
  await exchange.closed
}

const moments: readonly Moment[] = [
  { when: 'before the headers', scene: stall(), stream: false, sees: /^$/ },
  { when: 'before the headers of a stream', scene: stall(), stream: true, sees: /^$/ },
  {
    when: 'between the headers and the first byte',
    scene: answer({ body: [], framing: 'chunked', headers: { 'content-type': 'text/event-stream' } }),
    stream: true,
    sees: /^$/,
  },
  { when: 'in the middle of a stream', scene: streaming, stream: true, sees: /"one"/ },
]

// An answer that has no end: only its headers come.
const headOnly: Scene = async (exchange) => {
  await exchange.head(200, { 'content-type': 'text/event-stream', 'transfer-encoding': 'chunked' })
  await exchange.closed
}

let upstreams: ScriptedUpstream[]
let other: ScriptedUpstream
let gateway: GatewayProcess

beforeAll(async () => {
  other = await startScriptedUpstream(healthy())
  upstreams = await Promise.all(
    moments.map(({ when, scene }) => startScriptedUpstream(when.startsWith('between') ? headOnly : scene)),
  )
  gateway = await startGateway({
    models: [
      ...upstreams.map(({ url }, nth) => ({
        name: `u${nth}`,
        base_url: `${url}/v1`,
        model: 'm',
        groups: [`g${nth}`],
      })),
      { name: 'other', base_url: `${other.url}/v1`, model: 'm', groups: moments.map((_, nth) => `g${nth}`) },
    ],
    settings: { strategy: 'in_order', affinity: 'off' },
  })
})

afterAll(async () => {
  await gateway.stop()
  for (const upstream of [other, ...upstreams]) await upstream.close()
})

test.each(
  moments.flatMap((moment, nth) => (['closes', 'resets'] as const).map((how) => ({ ...moment, nth, how }))),
)(
  'a client that $how its connection $when ends the call upstream, nobody rests, and no attempt follows',
  async ({ nth, stream, sees, how }) => {
    const upstream = upstreams[nth]!
    const client = await connectRaw(gateway.port)
    const body = JSON.stringify({ model: `g${nth}`, stream, messages: [] })
    client.send(
      headOf('POST /v1/chat/completions HTTP/1.1', {
        authorization: `Bearer ${gateway.token}`,
        'content-length': body.length,
      }),
    )
    client.send(body)
    const call = await upstream.request(how === 'closes' ? 1 : 2)
    await client.received(sees)
    if (how === 'closes') client.socket.destroy()
    else client.socket.resetAndDestroy()

    await call.closed
    expect(call.aborted).toBe(true)
    const own = await until(
      () => upstreamStatus(gateway, `u${nth}`),
      ({ in_flight: flying }) => flying === 0,
    )
    expect(own).toMatchObject({ why: null, failures: 0 })
    expect(own.last_outcomes[0]!.outcome).toBe('aborted')
    expect(other.requests).toHaveLength(0)
  },
)

test('each of them is logged as 499', async () => {
  await gateway.stop()
  const requests = gateway.stdout
    .split('\n')
    .filter((line) => line.includes('"event":"request"'))
    .map((line) => /"status":(\d+)/.exec(line)?.[1])
  expect(requests).toEqual(Array.from({ length: moments.length * 2 }, () => '499'))
})
