/**
 * An answer that nobody has asked for, on a connection that waits for its next request. Whoever sends a request there
 * takes it for the answer, and every answer after it goes to the wrong client. What makes it hard is a busy loop: the
 * request and the stray answer are found in the same turn. A gateway that is stopped in the meantime is such a loop.
 */
import type net from 'node:net'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { completion, promptOf, question } from '../support/believable.ts'
import { startGateway, type GatewayProcess } from '../support/gateway-process.ts'
import { isStopped } from '../support/process-facts.ts'
import { answersIn, chatOf } from '../support/raw-answers.ts'
import { connectRaw, type RawClient } from '../support/raw-client.ts'
import { createGate } from '../support/scripted-scenes.ts'
import { startScriptedUpstream, type ScriptedUpstream } from '../support/scripted-upstream.ts'
import { until } from '../support/until.ts'

const CONNECTIONS = 4

/** Open connections of the upstream. */
const sockets = new Set<net.Socket>()
/** Requests are answered together, so that each leaves a connection of its own. */
let together = createGate()
let held = 0
/** What follows each answer. */
let surplus = ''
let upstream: ScriptedUpstream
let gateway: GatewayProcess

beforeAll(async () => {
  upstream = await startScriptedUpstream(
    async ({ request, raw }) => {
      held += 1
      await together.opened
      await raw(answerOf(200, completion(promptOf(request.body))) + surplus)
    },
    {
      whenConnected(socket) {
        sockets.add(socket)
        socket.once('close', () => sockets.delete(socket))
      },
    },
  )
  gateway = await startGateway({ models: [{ base_url: `${upstream.url}/v1`, model: 'm' }] })
})

afterAll(async () => {
  gateway.signal('SIGCONT')
  await gateway.stop()
  await upstream.close()
})

const answerOf = (status: number, body: string, more = ''): string =>
  `HTTP/1.1 ${status} Stray\r\ncontent-type: application/json\r\n${more}content-length: ${body.length}\r\n\r\n${body}`

/** Resolves when the system has taken the bytes, which on the loopback is when they are there. */
const written = (socket: net.Socket, bytes: string): Promise<unknown> =>
  new Promise((resolve) => socket.write(bytes, resolve))

/** Stops the gateway while the bytes of both sides arrive, in this order. */
async function whileStopped(...arrivals: (() => Promise<unknown>)[]): Promise<void> {
  gateway.signal('SIGSTOP')
  await until(() => isStopped(gateway.pid), Boolean)
  for (const arrive of arrivals) await arrive()
  gateway.signal('SIGCONT')
}

/** Asks of every client at once; each must get the answer to its own prompt. */
async function round(
  clients: readonly RawClient[],
  name: string,
  send: (requests: readonly string[]) => Promise<void>,
): Promise<void> {
  const prompts = clients.map((_, nth) => `${name} of client ${nth}`)
  const before = clients.map(({ text }) => answersIn(text).length)
  await send(prompts.map((prompt) => chatOf(gateway, question(prompt))))
  for (const [nth, client] of clients.entries()) {
    const [answer] = await until(
      () => answersIn(client.text).slice(before[nth]),
      (answers) => answers.length > 0,
    )
    expect(answer).toMatchObject({ status: 200, body: completion(prompts[nth]) })
  }
}

test.each(
  [
    { what: 'a whole answer', bytes: answerOf(200, completion('stray')) },
    { what: 'the head of an answer', bytes: answerOf(200, completion('stray')).split('\r\n\r\n')[0]! },
    { what: 'two answers', bytes: answerOf(200, completion('stray')).repeat(2) },
    {
      what: 'the 408 of a closing server',
      bytes: answerOf(408, '{}', 'connection: close\r\n'),
    },
  ].flatMap((stray) => (['before', 'behind'] as const).map((when) => ({ ...stray, when }))),
)('$what that arrives $when the next request of a client is nobody’s answer', async ({ bytes, when }) => {
  const clients = await Promise.all(Array.from({ length: CONNECTIONS }, () => connectRaw(gateway.port)))
  const sendAll = async (requests: readonly string[]): Promise<void> => {
    await Promise.all(clients.map(({ socket }, nth) => written(socket, requests[nth]!)))
  }
  const before = upstream.requests.length
  together = createGate()
  held = 0

  await round(clients, 'first', async (requests) => {
    await sendAll(requests)
    await until(
      () => held,
      (count) => count === CONNECTIONS,
    )
    together.open()
  })
  expect(sockets.size, 'each request has left an idle connection').toBeGreaterThanOrEqual(CONNECTIONS)

  await round(clients, 'second', async (requests) => {
    const stray = (): Promise<unknown> => Promise.all([...sockets].map((socket) => written(socket, bytes)))
    const asked = (): Promise<void> => sendAll(requests)
    await whileStopped(...(when === 'before' ? [stray, asked] : [asked, stray]))
  })
  for (const name of ['third', 'fourth']) await round(clients, name, sendAll)
  expect(upstream.requests.length - before, 'no request was sent twice').toBe(4 * CONNECTIONS)
  for (const { socket } of clients) socket.destroy()
})

test('an upstream that answers everything twice is asked on a new connection each time', async () => {
  surplus = answerOf(200, completion('stray'))
  const before = upstream.requests.length
  const client = await connectRaw(gateway.port)
  for (const name of ['first', 'second', 'third'])
    await round([client], name, async ([request]) => client.send(request!))
  expect(upstream.requests.length - before).toBe(3)
  client.socket.destroy()
})
