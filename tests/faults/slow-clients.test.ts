import { afterAll, beforeAll, expect, test } from 'vitest'
import { healthy } from '../support/believable.ts'
import { startGateway, type GatewayProcess } from '../support/gateway-process.ts'
import { connectRaw, type RawClient } from '../support/raw-client.ts'
import { startScriptedUpstream, type ScriptedUpstream } from '../support/scripted-upstream.ts'

/** The promise, and what a busy machine may take on top. */
const CLOSED_WITHIN_MS = 20_000 + 5_000
const FLOOD = 300

let upstream: ScriptedUpstream
let gateway: GatewayProcess

beforeAll(async () => {
  upstream = await startScriptedUpstream(healthy())
  gateway = await startGateway({ models: [{ base_url: `${upstream.url}/v1`, model: 'm' }] })
})

afterAll(async () => {
  await gateway.stop()
  await upstream.close()
})

/** How a client wastes a connection. */
const wasters: Readonly<Record<string, (client: RawClient) => void>> = {
  'says nothing': () => {},
  'sends half a request line': (client) => client.send('POST /v1/ch'),
  'drips its headers': (client) => {
    client.send('POST /v1/chat/completions HTTP/1.1\r\n')
    const timer = setInterval(() => client.send('x-a: b\r\n'), 500)
    client.socket.once('close', () => clearInterval(timer))
  },
  'never ends its headers': (client) => client.send('GET /healthz HTTP/1.1\r\nhost: x\r\n'),
}

test(
  `${FLOOD} connections that waste time are closed within 20 s, while others are served`,
  { timeout: 60_000 },
  async () => {
    const kinds = Object.entries(wasters)
    const clients = await Promise.all(Array.from({ length: FLOOD }, () => connectRaw(gateway.port)))
    clients.forEach((client, nth) => kinds[nth % kinds.length]![1](client))

    const over = new AbortController()
    let served = 0
    const others = (async () => {
      while (!over.signal.aborted) {
        const answer = await gateway.chat()
        expect(answer.status).toBe(200)
        await answer.text()
        served += 1
        await new Promise((resolve) => setTimeout(resolve, 100))
      }
    })()
    await Promise.all(clients.map((client) => client.ended(CLOSED_WITHIN_MS)))
    over.abort()
    await others
    expect(served).toBeGreaterThan(20)
  },
)
