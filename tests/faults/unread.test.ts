import { afterAll, beforeAll, expect, test } from 'vitest'
import { startGateway, type GatewayProcess } from '../support/gateway-process.ts'
import { residentBytes } from '../support/process-facts.ts'
import { connectRaw, headOf } from '../support/raw-client.ts'
import { flood } from '../support/scripted-scenes.ts'
import { startScriptedUpstream, type ScriptedUpstream } from '../support/scripted-upstream.ts'
import { until } from '../support/until.ts'

const MEBIBYTE = 1_048_576

const types = ['text/event-stream', 'application/json', 'audio/mpeg']

let upstreams: ScriptedUpstream[]
let gateway: GatewayProcess

beforeAll(async () => {
  upstreams = await Promise.all(types.map((type) => startScriptedUpstream(flood({ 'content-type': type }))))
  gateway = await startGateway({
    models: upstreams.map(({ url }, nth) => ({
      name: `flood-${nth}`,
      base_url: `${url}/v1`,
      model: 'm',
      // More than a busy machine may keep an upstream from sending that lives in this process.
      timeout: 4,
    })),
    settings: { affinity: 'off' },
  })
})

afterAll(async () => {
  await gateway.stop()
  for (const upstream of upstreams) await upstream.close()
})

/** Resolves with the number of bytes once it has not grown for 5 s, longer than the upstream may be silent. */
async function stillAt(bytesSent: () => number): Promise<number> {
  let last = -1
  for (;;) {
    const now = bytesSent()
    if (now === last) return now
    last = now
    await new Promise((resolve) => setTimeout(resolve, 5_000))
  }
}

test.concurrent.each(types.map((type, nth) => ({ type, nth })))(
  'a client that never reads an endless $type stops the upstream, costs bounded memory, and may read on later',
  async ({ nth }) => {
    const upstream = upstreams[nth]!
    const before = residentBytes(gateway.pid)
    const client = await connectRaw(gateway.port)
    client.socket.pause()
    const body = JSON.stringify({ model: `flood-${nth}`, stream: nth === 0, messages: [] })
    client.send(
      headOf('POST /v1/chat/completions HTTP/1.1', {
        authorization: `Bearer ${gateway.token}`,
        'content-length': body.length,
      }),
    )
    client.send(body)
    await until(
      () => upstream.bytesSent,
      (bytes) => bytes > 0,
    )

    const stuckAt = await stillAt(() => upstream.bytesSent)
    expect(stuckAt).toBeLessThan(64 * MEBIBYTE)
    expect(residentBytes(gateway.pid) - before, 'of all three').toBeLessThan(160 * MEBIBYTE)
    expect(upstream.open, 'a slow client is no silence of the upstream').toBe(1)

    client.socket.removeAllListeners('data').resume()
    await until(
      () => upstream.bytesSent,
      (bytes) => bytes > stuckAt + 64 * MEBIBYTE,
    )
    client.socket.destroy()
    await until(
      () => upstream.open,
      (open) => open === 0,
    )
  },
)
