import { Hono } from 'hono/tiny'
import { onTestFinished } from 'vitest'
import { createTimerWheel } from '../../src/adapter/node/timers.ts'
import { createNodeReceive, toNodeResponse } from '../../src/adapter/node/messages.ts'
import { listen, type NodeServer, type ServerLimits } from '../../src/adapter/node/server.ts'
import { createBufferedBytes, type IncomingRequest } from '../../src/http/incoming.ts'
import { asGatewayError, errorResponse } from '../../src/http/response.ts'
import { END, type ByteReader } from '../../src/lib/bytes.ts'

/** A server of a few routes, and what became of its requests. */
export interface ServerBed extends NodeServer {
  /** `GET /path` for each request, `left /path` for each client that left, `cancelled` for a body nobody wants. */
  readonly seen: readonly string[]
  /** Bytes that `/endless` has given. */
  readonly given: number
  /** Lets everything go on that waits. */
  release(): void
}

/** Far more than systems keep for a client that does not read. */
const ENDLESS_BYTES = 300_000_000

type Env = { Bindings: object }
const receive = createNodeReceive(createTimerWheel())
const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text)

/**
 * Node's server with an app in place of the gateway: `/echo` tells the length and the start of a body, `/refused` reads
 * none, `/held` waits for `release`, `/pieces` is a stream of two of which the second waits, `/broken` one that breaks
 * there, `/endless` one without an end, `/hollow` one with an empty piece; `/twice` is 20 MB and then another answer,
 * `/empty` is 204, `/unchanged` 304.
 */
export async function startServerBed(limits: Partial<ServerLimits> = {}): Promise<ServerBed> {
  const seen: string[] = []
  const memory = createBufferedBytes(() => 100_000_000)
  let waiting: (() => void)[] = []
  let given = 0
  const hold = (): Promise<void> => new Promise((go) => void waiting.push(go))

  function streamOf(next: (nth: number) => Promise<Uint8Array | undefined>): ByteReader {
    let nth = 0
    return {
      async read() {
        const value = await next(nth++)
        return value === undefined ? END : { done: false, value }
      },
      async cancel() {
        seen.push('cancelled')
      },
    }
  }
  async function secondOf(nth: number): Promise<Uint8Array | undefined> {
    if (nth === 0) return bytesOf('one ')
    if (nth > 1) return undefined
    await hold()
    return bytesOf('two')
  }

  const app = new Hono<Env>()
  const answering = (
    path: string,
    answer: (incoming: IncomingRequest, env: object) => Response | Promise<Response>,
  ) =>
    app.all(path, (c) => {
      const incoming = receive(c.req.raw, c.env)
      seen.push(`${c.req.method} ${path}`)
      incoming.clientSignal.addEventListener('abort', () => seen.push(`left ${path}`))
      return answer(incoming, c.env)
    })
  const giving = (status: number, body: Uint8Array | ByteReader | null, env: object): Response =>
    toNodeResponse({ status, headers: { 'x-route': 'a' }, body }, env)

  answering('/echo', async ({ readBody }, env) => {
    const { pieces, heldBytes } = await readBody({ maxBytes: 10_000_000, memory, codings: [] })
    const whole = Buffer.concat(pieces)
    memory.release(heldBytes)
    return giving(200, bytesOf(`${whole.length} ${whole.subarray(0, 20).toString()}`), env)
  })
  // As the gateway's app does, it answers a moment later.
  answering('/refused', async () => new Response('no', { status: 401 }))
  answering('/empty', (_, env) => giving(204, null, env))
  answering('/unchanged', (_, env) => giving(304, null, env))
  answering('/twice', async (_, env) => {
    giving(200, new Uint8Array(20_000_000), env)
    return giving(200, bytesOf('again'), env)
  })
  answering('/hollow', (_, env) =>
    giving(
      200,
      streamOf(async (nth) => [bytesOf('one'), new Uint8Array(0), bytesOf('two')][nth]),
      env,
    ),
  )
  answering('/held', async (_, env) => {
    await hold()
    return giving(200, bytesOf('held'), env)
  })
  answering('/pieces', (_, env) => giving(200, streamOf(secondOf), env))
  answering('/broken', (_, env) =>
    giving(
      200,
      streamOf(async (nth) => {
        if (nth > 0) await hold().then(() => Promise.reject(new Error('broken')))
        return bytesOf('one ')
      }),
      env,
    ),
  )
  answering('/endless', (_, env) =>
    giving(
      200,
      streamOf(async () => {
        given += 65_536
        // A server that took all of it at once would take all memory too.
        await new Promise(setImmediate)
        return given < ENDLESS_BYTES ? new Uint8Array(65_536) : undefined
      }),
      env,
    ),
  )
  app.get('/injected', (c) =>
    toNodeResponse({ status: 200, headers: { 'x-a': '1\r\nset-cookie: x' }, body: null }, c.env),
  )
  app.get('/fetch-stream', (c) => {
    let left = 40
    return c.body(
      new ReadableStream({
        pull(controller) {
          if (left-- > 0) controller.enqueue(new Uint8Array(65_536).fill(0x61))
          else controller.close()
        },
      }),
    )
  })
  app.get('/fetch-api', (c) => c.text(`${c.req.header('x-a')} ${c.req.raw.headers.get('host')}`))
  app.onError((error) => errorResponse(asGatewayError(error), {}))

  const server = await listen(app, { host: '127.0.0.1', port: 0 }, limits)
  onTestFinished(async () => void (await server.drain(0)))
  return {
    ...server,
    seen,
    get given() {
      return given
    },
    release() {
      for (const go of waiting) go()
      waiting = []
    },
  }
}
