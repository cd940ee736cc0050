/** Descriptors that run out here: whose fault that is, who is told, and that it passes. */
import net from 'node:net'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { completion } from '../support/believable.ts'
import { startGateway, type GatewayProcess } from '../support/gateway-process.ts'
import { statusOf } from '../support/gateway-status.ts'
import { descriptors } from '../support/process-facts.ts'
import { answersIn } from '../support/raw-answers.ts'
import { connectRaw, headOf, type RawClient } from '../support/raw-client.ts'
import { answer, createGate } from '../support/scripted-scenes.ts'
import { startScriptedUpstream, type ScriptedUpstream } from '../support/scripted-upstream.ts'
import { until } from '../support/until.ts'

const DESCRIPTORS = 96
let gate = createGate()
let upstream: ScriptedUpstream

beforeAll(async () => {
  upstream = await startScriptedUpstream(async (exchange) => {
    await Promise.race([gate.opened, exchange.closed])
    await answer({ body: completion() })(exchange)
  })
})

afterAll(() => upstream.close())

/** A gateway that may have few descriptors, over two upstreams at one address. */
const startShort = (server: object): Promise<GatewayProcess> =>
  startGateway(
    {
      models: ['a', 'b'].map((name) => ({ base_url: `${upstream.url}/v1`, model: name, name })),
      settings: { affinity: 'off', strategy: 'in_order' },
      server,
    },
    { descriptors: DESCRIPTORS },
  )

const ask = (gateway: GatewayProcess): string => {
  const body = JSON.stringify({ model: 'auto', messages: [] })
  const authorization = `Bearer ${gateway.token}`
  return headOf('POST /v1/chat/completions HTTP/1.1', { authorization, 'content-length': body.length }) + body
}

/** Resolves when the gateway has taken them all. */
async function connectMany(gateway: GatewayProcess, count: number): Promise<RawClient[]> {
  const before = descriptors(gateway.pid)
  const clients = await Promise.all(Array.from({ length: count }, () => connectRaw(gateway.port)))
  await until(
    () => descriptors(gateway.pid),
    (open) => open >= before + count - 1,
  )
  return clients
}

const closeAll = (clients: readonly RawClient[]): void => {
  for (const { socket } of clients) socket.destroy()
}

test('without a descriptor for an upstream it is 503 at once, nobody cools, and it passes by itself', async () => {
  gate = createGate()
  const calls = upstream.requests.length
  // More clients than leave room for their upstreams.
  const gateway = await startShort({ max_connections: 60 })
  const clients = await connectMany(gateway, 55)
  for (const { send } of clients) send(ask(gateway))
  await until(
    () => clients.filter(({ text }) => text !== '').length + upstream.requests.length - calls,
    (begun) => begun === clients.length,
  )
  const refused = clients.filter(({ text }) => text !== '')
  expect(refused.length).toBeGreaterThan(5)
  for (const { text } of refused) {
    expect(text).toMatch(/^HTTP\/1\.1 503 [^]*\r\nretry-after: 1\r\n[^]*"code":"overloaded"/i)
  }
  gate.open()
  await until(
    () => clients.filter(({ text }) => / 200 OK/.test(text)).length,
    (count) => count === clients.length - refused.length,
  )
  closeAll(clients.slice(1))
  for (const state of (await statusOf(gateway)).upstreams)
    expect(state).toMatchObject({ available: true, why: null })
  // The connection that the status came over may be closed by now, which no client of `fetch` repeats a POST for.
  // Those of the closed clients are still going: how many are open says nothing here.
  const again = await connectRaw(gateway.port)
  again.send(ask(gateway))
  await again.received(/ 200 OK/)
  expect(gateway.stdout + gateway.stderr).not.toMatch(/internal error/)
  closeAll([...clients, again])
  await gateway.stop()
})

test('by default so many clients are served that each may have an upstream, and others are told to come back', async () => {
  gate = createGate()
  const gateway = await startShort({})
  // One is that of the question whether it has started.
  const most = (DESCRIPTORS - 48) / 2 - 1
  const calls = upstream.requests.length
  const clients = await connectMany(gateway, most)
  for (const { send } of clients) send(ask(gateway))
  await upstream.request(calls + most - 1)
  const others = await Promise.all(Array.from({ length: 8 }, () => connectRaw(gateway.port)))
  // The connection of that question may have been closed by now.
  const refused = /^HTTP\/1\.1 503 [^]*\r\nretry-after: 1\r\n[^]*"code":"overloaded"/i
  await until(
    () => others.filter(({ text, ending }) => refused.test(text) && ending !== undefined).length,
    (count) => count >= others.length - 1,
  )
  expect(descriptors(gateway.pid)).toBeLessThan(DESCRIPTORS)
  gate.open()
  for (const client of clients) await client.received(/^HTTP\/1\.1 200 /)
  expect(clients.flatMap(({ text }) => answersIn(text))).toHaveLength(most)
  await gateway.printed(/server\.max_connections \(24\) is reached; connections refused: 1\b/)
  closeAll(clients)
  await until(
    async () => {
      const socket = net.connect(gateway.port, '127.0.0.1').on('error', () => {})
      socket.destroy()
      return (await gateway.chat().catch(() => undefined))?.status
    },
    (status) => status === 200,
  )
  expect(gateway.stdout.match(/is reached/g), 'told once').toHaveLength(1)
  await gateway.stop()
})
