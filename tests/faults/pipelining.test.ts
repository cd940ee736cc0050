/** Requests that a client sends without waiting for the answers before them (RFC 9112 §9.3.2). */
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { chunkEvent, completion, echoing, promptOf, question, streamEnd } from '../support/believable.ts'
import { startGateway, type GatewayProcess } from '../support/gateway-process.ts'
import { createLoadClient } from '../support/load-client.ts'
import { residentBytes } from '../support/process-facts.ts'
import { answersIn, chatOf } from '../support/raw-answers.ts'
import { connectRaw, headOf, type RawClient } from '../support/raw-client.ts'
import { createGate } from '../support/scripted-scenes.ts'
import { startScriptedUpstream, type ScriptedUpstream } from '../support/scripted-upstream.ts'
import { until } from '../support/until.ts'

const MEBIBYTE = 1_048_576
/** Behind the one that is being answered. */
const MOST_WAITING = 16
const FLOODERS = 20

/** No request of a prompt that begins with `held` is answered before. */
let gate = createGate()
/** Prompts that came, in order. */
let prompts: string[] = []
/** Requests that the upstream has now, for each client: the first word of the prompt. */
const busy = new Map<string, number>()
/** The most of one client, and of all. */
let busiest = 0
let mostBusy = 0
let upstream: ScriptedUpstream
let gateway: GatewayProcess

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

beforeAll(async () => {
  upstream = await startScriptedUpstream(async (exchange) => {
    const prompt = promptOf(exchange.request.body)
    const [client = ''] = prompt.split(' ')
    prompts.push(prompt)
    busy.set(client, (busy.get(client) ?? 0) + 1)
    busiest = Math.max(busiest, busy.get(client) ?? 0)
    mostBusy = Math.max(
      mostBusy,
      [...busy.values()].reduce((sum, count) => sum + count),
    )
    if (client.startsWith('held')) await Promise.race([gate.opened, exchange.closed])
    if (/^(?:odd|flood)/.test(client)) await Promise.race([pause(Math.random() * 4), exchange.closed])
    // Before the answer is there, the next one cannot be.
    busy.set(client, (busy.get(client) ?? 0) - 1)
    await echoing()(exchange)
  })
  gateway = await startGateway({
    models: [{ base_url: `${upstream.url}/v1`, model: 'm' }],
    settings: { affinity: 'off' },
  })
})

beforeEach(() => {
  gate = createGate()
  prompts = []
  busy.clear()
  busiest = mostBusy = 0
})

afterAll(async () => {
  await gateway.stop()
  await upstream.close()
  expect(gateway.stderr).toBe('')
})

const promptsOf = (client: string, count: number): string[] =>
  Array.from({ length: count }, (_, nth) => `${client} asks ${nth}`)

const asked = (prompt: string, more: object = {}): string => chatOf(gateway, { ...question(prompt), ...more })

/** Waits for so many answers. */
const answered = (client: RawClient, count: number) =>
  until(
    () => answersIn(client.text),
    (answers) => answers.length >= count,
  )

test('the requests of a connection are asked one after the other, and each is answered in its turn', async () => {
  const clients = await Promise.all(Array.from({ length: 8 }, () => connectRaw(gateway.port)))
  const isStreamed = (nth: number): boolean => nth % 3 === 1
  const lists = clients.map((_, nth) => promptsOf(`odd${nth}`, MOST_WAITING + 1))
  clients.forEach(({ send }, nth) =>
    send(lists[nth]!.map((prompt, at) => asked(prompt, { stream: isStreamed(at) })).join('')),
  )
  for (const [nth, client] of clients.entries()) {
    const answers = await answered(client, MOST_WAITING + 1)
    expect(answers.map(({ body }) => body)).toEqual(
      lists[nth]!.map((prompt, at) => (isStreamed(at) ? chunkEvent(prompt) + streamEnd : completion(prompt))),
    )
    expect(prompts.filter((prompt) => prompt.startsWith(`odd${nth} `))).toEqual(lists[nth])
    client.socket.destroy()
  }
  expect(busiest).toBe(1)
})

test(`${MOST_WAITING} requests may wait behind the one that is being answered`, async () => {
  const client = await connectRaw(gateway.port)
  const list = promptsOf('held', MOST_WAITING + 1)
  client.send(list.map((prompt) => asked(prompt)).join(''))
  await until(
    () => prompts.length,
    (count) => count > 0,
  )
  expect(prompts).toEqual(list.slice(0, 1))
  gate.open()
  const answers = await answered(client, list.length)
  expect(answers.map(({ body }) => body)).toEqual(list.map((prompt) => completion(prompt)))
  // Those that were answered no longer count.
  const more = promptsOf('later', MOST_WAITING + 1)
  client.send(more.map((prompt) => asked(prompt)).join(''))
  expect(await answered(client, 2 * list.length)).toHaveLength(2 * list.length)
  client.socket.destroy()
})

test('a client that sends more ahead in one write is answered in full, one after the other', async () => {
  const client = await connectRaw(gateway.port)
  const list = promptsOf('odd ahead', 5 * MOST_WAITING)
  client.send(list.map((prompt) => asked(prompt)).join(''))
  const answers = await answered(client, list.length)
  expect(answers.map(({ body }) => body)).toEqual(list.map((prompt) => completion(prompt)))
  expect(busiest).toBe(1)
  client.socket.destroy()
})

test('while requests wait a connection is not read, and afterwards it is read on', async () => {
  const client = await connectRaw(gateway.port)
  client.send(asked('held asks'))
  await until(
    () => prompts.length,
    (count) => count > 0,
  )
  // More than the system keeps for a connection by itself.
  const quick = headOf('GET /healthz HTTP/1.1', { 'x-filler': 'x'.repeat(20_000) })
  const count = 1_000
  client.send(quick.repeat(count))
  await gateway.chat(question('another'))
  const waiting = client.socket.writableLength
  expect(waiting, 'most has not left').toBeGreaterThan(quick.length * (count / 4))
  await gateway.chat(question('another'))
  expect(client.socket.writableLength).toBe(waiting)
  gate.open()
  await answered(client, 1 + count)
  client.socket.destroy()
})

test('nothing that stands behind a request with connection: close is asked', async () => {
  const client = await connectRaw(gateway.port)
  client.send(asked('last').replace('\r\n', '\r\nconnection: close\r\n') + asked('behind it'))
  await client.ended()
  await gateway.chat(question('another'))
  expect(prompts).not.toContain('behind it')
  expect(answersIn(client.text).length).toBeLessThanOrEqual(1)
})

interface Flood {
  readonly name: string
  /** In each write. */
  readonly requests: number
  readonly reads: boolean
  readonly isConnected: () => void
}

/** Sends requests for as long as the connection takes them, and connects again when it is cut. */
async function flood({ name, requests, reads, isConnected }: Flood, isOver: AbortSignal): Promise<void> {
  const bytes = Buffer.from(
    promptsOf(name, requests)
      .map((prompt) => asked(prompt))
      .join(''),
  )
  while (!isOver.aborted) {
    const { socket } = await connectRaw(gateway.port)
    isConnected()
    const closed = new Promise((resolve) => socket.once('close', resolve))
    socket.removeAllListeners('data')
    if (reads) socket.resume()
    else socket.pause()
    while (!isOver.aborted && !socket.destroyed)
      await Promise.race([pause(socket.write(bytes) ? 1 : 100), closed])
    socket.destroy()
  }
}

test.each([
  { who: 'read the answers', reads: true },
  { who: 'never read', reads: false },
])(
  `${FLOODERS} connections that flood with requests and $who: others are answered, and memory is bounded`,
  async ({ reads }) => {
    const before = residentBytes(gateway.pid)
    const end = new AbortController()
    let connected = 0
    const isConnected = (): void => void (connected += 1)
    const floods = Array.from({ length: FLOODERS }, (_, nth) =>
      flood({ name: `flood${nth}`, requests: nth % 2 === 0 ? 200 : 3, reads, isConnected }, end.signal),
    )
    const neighbour = createLoadClient(gateway)
    let most = 0
    try {
      await until(
        () => connected,
        (count) => count === FLOODERS,
      )
      for (const prompt of promptsOf('neighbour', 40)) {
        const { status, text } = await neighbour.chat(question(prompt))
        expect({ status, text }).toEqual({ status: 200, text: completion(prompt) })
        most = Math.max(most, residentBytes(gateway.pid) - before)
      }
    } finally {
      end.abort()
      await Promise.all(floods)
      neighbour.close()
    }
    expect(most).toBeLessThan(192 * MEBIBYTE)
    expect(mostBusy).toBeLessThanOrEqual(FLOODERS + 1)
    expect((await gateway.chat(question('afterwards'))).status).toBe(200)
  },
)
