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

function drip({ socket, send }: RawClient, bytes: string): void {
  const timer = setInterval(() => send(bytes), 500)
  socket.once('close', () => clearInterval(timer))
}

const answered = 'GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n'

/** How a client wastes a connection. */
const wasters: Readonly<Record<string, (client: RawClient) => void>> = {
  'says nothing': () => {},
  'sends half a request line': ({ send }) => send('POST /v1/ch'),
  'drips its headers': (client) => {
    client.send('POST /v1/chat/completions HTTP/1.1\r\n')
    drip(client, 'x-a: b\r\n')
  },
  'drips one header': (client) => {
    client.send('POST /v1/chat/completions HTTP/1.1\r\nx-a: ')
    drip(client, 'b')
  },
  'drips empty lines in front of its request': (client) => drip(client, '\r\n'),
  'never ends its headers': ({ send }) => send('GET /healthz HTTP/1.1\r\nhost: x\r\n'),
  'sends half a head behind a request that was answered': ({ send }) => send(`${answered}POST /v1/ch`),
  'drips headers behind a request that was answered': (client) => {
    client.send(`${answered}POST /v1/chat/completions HTTP/1.1\r\n`)
    drip(client, 'x-a: b\r\n')
  },
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
