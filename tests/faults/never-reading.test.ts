/** Very many clients that ask and never read what they get. */
import { Hono } from 'hono/tiny'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { listen, type NodeServer } from '../../src/adapter/node/server.ts'
import { completion, healthy, promptOf, question } from '../support/believable.ts'
import { startGateway, type GatewayProcess } from '../support/gateway-process.ts'
import { statusOf } from '../support/gateway-status.ts'
import { createLoadClient } from '../support/load-client.ts'
import { isConnected, residentBytes } from '../support/process-facts.ts'
import { postOf } from '../support/raw-answers.ts'
import { connectRaw, headOf, type RawClient } from '../support/raw-client.ts'
import { startScriptedUpstream, type Exchange, type ScriptedUpstream } from '../support/scripted-upstream.ts'
import { until } from '../support/until.ts'

const MEBIBYTE = 1_048_576
const PATIENCE_MS = 60_000

describe('400 clients that never read', () => {
  const CLIENTS = 400
  /** Of each answer: more than the systems of both connections keep, and all of it together less than a machine has. */
  const MOST_BYTES = 6 * MEBIBYTE
  /** Of the gateway: some buffers for each. If it took all that comes it would be over 1 GiB. */
  const MOST_GROWTH = 384 * MEBIBYTE
  let upstream: ScriptedUpstream
  let gateway: GatewayProcess

  beforeAll(async () => {
    upstream = await startScriptedUpstream(async (exchange) => {
      const { path, body } = exchange.request
      if (path.endsWith('/audio/speech')) return pour(exchange, 'audio/mpeg')
      if (promptOf(body) === 'endless') return pour(exchange, 'text/event-stream')
      return healthy(promptOf(body))(exchange)
    })
    gateway = await startGateway({ models: [{ base_url: `${upstream.url}/v1`, model: 'm' }] })
  })

  afterAll(async () => {
    await gateway.stop()
    await upstream.close()
  })

  async function pour(exchange: Exchange, type: string): Promise<void> {
    await exchange.head(200, { 'content-type': type, 'transfer-encoding': 'chunked' })
    const piece = Buffer.alloc(256 * 1024, 'data: {"choices":[{"index":0,"delta":{"content":"x"}}]}\n\n')
    for (let sent = 0; sent < MOST_BYTES; sent += piece.length) if (!(await exchange.chunk(piece))) return
    await exchange.closed
  }

  const asking = (nth: number): string =>
    nth % 2 === 0
      ? postOf(gateway, '/v1/audio/speech', {}, JSON.stringify({ model: 'auto', input: 'Hello' }))
      : postOf(
          gateway,
          '/v1/chat/completions',
          {},
          JSON.stringify({ model: 'auto', stream: true, ...question('endless') }),
        )

  test(
    'cost bounded memory, others are answered meanwhile, and nothing is left when they have gone',
    async () => {
      const before = residentBytes(gateway.pid)
      const clients: RawClient[] = []
      for (let nth = 0; nth < CLIENTS; nth++) {
        const client = await connectRaw(gateway.port)
        client.socket.pause()
        client.send(asking(nth))
        clients.push(client)
      }
      await upstream.request(CLIENTS)
      const neighbour = createLoadClient(gateway)
      let most = 0
      for (let nth = 0; nth < 50; nth++) {
        const { status, text } = await neighbour.chat(question(`of neighbour ${nth}`))
        expect({ status, text }).toEqual({ status: 200, text: completion(`of neighbour ${nth}`) })
        most = Math.max(most, residentBytes(gateway.pid) - before)
        await new Promise((resolve) => setTimeout(resolve, 20))
      }
      neighbour.close()
      expect(most).toBeLessThan(MOST_GROWTH)

      for (const { socket } of clients) socket.destroy()
      await until(
        async () => (await statusOf(gateway)).upstreams[0]?.in_flight,
        (flying) => flying === 0,
      )
    },
    PATIENCE_MS,
  )
})

/** Of the real server, with short times in place of its 60 and 120 s. */
describe('a write that makes no progress', () => {
  const limits = { stalledWriteMs: 1_500, stalledStreamMs: 5_000 }
  const WHOLE_BYTES = 16 * MEBIBYTE
  const piece = new Uint8Array(65_536).fill(0x61)
  let cancelled = 0
  let server: NodeServer

  /** Server-sent events, of which there is always one more. */
  const endless = (): ReadableStream<Uint8Array> =>
    new ReadableStream({
      async pull(controller) {
        // A server that took all of it at once would take all memory too.
        await new Promise(setImmediate)
        controller.enqueue(piece)
      },
      cancel: () => void (cancelled += 1),
    })
  /** Two of them, and a silence in between that is longer than any write may take. */
  const silent = (): ReadableStream<Uint8Array> =>
    new ReadableStream({
      async start(controller) {
        controller.enqueue(Buffer.from('data: first\n\n'))
        await new Promise((resolve) => setTimeout(resolve, limits.stalledStreamMs + 1_500))
        controller.enqueue(Buffer.from('data: last\n\n'))
        controller.close()
      },
    })

  beforeAll(async () => {
    const app = new Hono<{ Bindings: object }>()
    const type = { 'content-type': 'text/event-stream' }
    app.get('/whole', () => new Response(new Uint8Array(WHOLE_BYTES).fill(0x61)))
    app.get('/stream', () => new Response(endless(), { headers: type }))
    app.get('/silent', () => new Response(silent(), { headers: type }))
    server = await listen(app, { host: '127.0.0.1', port: 0 }, limits)
  })

  afterAll(async () => void (await server.drain(0)))

  /** Asks and reads nothing. */
  async function unread(path: string): Promise<RawClient> {
    const client = await connectRaw(server.port)
    client.socket.pause()
    client.send(headOf(`GET ${path} HTTP/1.1`, { connection: 'close' }))
    return client
  }

  /** Resolves when the server has let go of the connection; a client that reads nothing cannot see it. */
  const cut = (client: RawClient): Promise<boolean> =>
    until(
      () => isConnected(server.port, client.socket.localPort ?? 0),
      (connected) => !connected,
    )

  test.concurrent('ends the connection, and that of a stream later', async () => {
    const order: string[] = []
    const clients = await Promise.all(
      ['/stream', '/whole', '/stream', '/whole'].map(async (path) => {
        const client = await unread(path)
        await cut(client)
        order.push(path)
        return client
      }),
    )
    expect(order).toEqual(['/whole', '/whole', '/stream', '/stream'])
    // Nobody goes on to make what nobody reads.
    await until(
      () => cancelled,
      (count) => count === 2,
    )
    for (const client of clients) {
      client.socket.resume()
      await client.ended()
      expect(client.text.length).toBeLessThan(WHOLE_BYTES)
      expect(client.text, 'a part is not taken for the whole').not.toMatch(/\r\n0\r\n\r\n$/)
    }
  }, 30_000)

  test.concurrent('is none where the client reads, however slowly', async () => {
    const client = await unread('/whole')
    let read = 0
    let allowed = 0
    client.socket.on('data', ({ length }: Buffer) => {
      read += length
      if (read >= allowed) client.socket.pause()
    })
    // Some 6 s for all of it: four times as long as a write may stand still.
    const timer = setInterval(() => {
      allowed += MEBIBYTE
      if (read < allowed) client.socket.resume()
    }, 350)
    await client.ended()
    clearInterval(timer)
    expect(client.text.slice(client.text.indexOf('\r\n\r\n') + 4)).toHaveLength(WHOLE_BYTES)
  }, 30_000)

  test.concurrent('is none where there is nothing to write', async () => {
    const client = await unread('/silent')
    client.socket.resume()
    await client.ended()
    expect(client.text).toMatch(/data: first\n\n[^]*data: last\n\n/)
  }, 30_000)
})
