/** Pages that watch the gateway over real sockets: they see what happens, and no more of them than may, for as long as they may. */
import { once } from 'node:events'
import http from 'node:http'
import { connect } from 'node:net'
import { expect, onTestFinished, test } from 'vitest'
import { createNodeReceive, toNodeResponse } from '../../src/adapter/node/messages.ts'
import { listen } from '../../src/adapter/node/server.ts'
import { createTimerWheel } from '../../src/adapter/node/timers.ts'
import { createApp } from '../../src/app.ts'
import type { AppDeps } from '../../src/http/deps.ts'
import { completion } from '../support/believable.ts'
import { startGateway, testToken, type GatewayProcess } from '../support/gateway-process.ts'
import { answer } from '../support/scripted-scenes.ts'
import { isConnected } from '../support/process-facts.ts'
import { connectRaw, headOf } from '../support/raw-client.ts'
import { startScriptedUpstream } from '../support/scripted-upstream.ts'
import { answer as fakeAnswer, configOf, createTestApp, TOKEN } from '../support/test-app.ts'
import { until } from '../support/until.ts'

const untilTrue = (look: () => boolean | Promise<boolean>) => until(look, (is) => is)

async function bed() {
  const upstream = await startScriptedUpstream(answer({ body: completion() }))
  onTestFinished(() => upstream.close())
  const models = [
    { name: 'a', base_url: `${upstream.url}/v1`, api_key: 'sk-of-the-upstream-itself', model: 'm' },
  ]
  return { models, gateway: await startGateway({ models }) }
}

/** A page on a connection of its own. */
async function watch({ port, token }: Pick<GatewayProcess, 'port' | 'token'>) {
  const headers = { authorization: `Bearer ${token}` }
  const call = http.get({ host: '127.0.0.1', port, path: '/admin/events', headers, agent: false })
  call.on('error', () => {})
  onTestFinished(() => void call.destroy())
  const [response] = (await once(call, 'response')) as [http.IncomingMessage]
  let text = ''
  let end: 'open' | 'whole' | 'cut' = 'open'
  response.setEncoding('utf8').on('data', (part: string) => (text += part))
  response.on('end', () => (end = 'whole'))
  response.on('error', () => (end = 'cut'))
  return {
    status: response.statusCode,
    leave: () => call.destroy(),
    text: () => text,
    end: () => end,
  }
}

test('a page sees a request and a pause while they happen, and no key and no prompt', async () => {
  const { gateway } = await bed()
  const page = await watch(gateway)
  await untilTrue(() => page.text().includes('event: snapshot'))
  await gateway.chat({ messages: [{ role: 'user', content: 'a secret of mine' }] })
  await untilTrue(() => /event: requests\ndata: \[\{"id":"[^"]+".*"upstream":"a"/.test(page.text()))
  await gateway.fetch('/admin/pause', { method: 'POST', body: '{"upstream":"a"}' })
  await untilTrue(() => /event: status\ndata: .*"why":"paused"/.test(page.text()))
  expect(page.text()).toContain('…self')
  for (const secret of ['a secret of mine', 'sk-of-the-upstream', testToken])
    expect(page.text()).not.toContain(secret)
  expect(page.end()).toBe('open')
})

test('the seventeenth page is refused, and one that leaves makes room', async () => {
  const { gateway } = await bed()
  const pages = await Promise.all(Array.from({ length: 16 }, () => watch(gateway)))
  expect(pages.map(({ status }) => status)).toEqual(pages.map(() => 200))
  const refused = await gateway.fetch('/admin/events')
  expect(refused.status).toBe(429)
  expect(await refused.json()).toMatchObject({ error: { code: 'too_many_viewers' } })
  pages[0]?.leave()
  await untilTrue(async () => (await watch(gateway)).status === 200)
})

test('a page whose token a reload has taken out is at its end, one with another token goes on', async () => {
  const { gateway, models } = await bed()
  const other = 'sk-the-other-token-of-the-tests'
  gateway.writeConfig({ models, auth_token: [testToken, other] })
  await gateway.printed(/the configuration was reloaded/)
  const [page, lasting] = [await watch(gateway), await watch({ port: gateway.port, token: other })]
  gateway.writeConfig({ models, auth_token: [other] })
  await untilTrue(() => page.end() === 'whole')
  expect(lasting.end()).toBe('open')
  expect((await watch(gateway)).status).toBe(401)
})

test('a stop waits for no page, read or unread', async () => {
  const { gateway } = await bed()
  const page = await watch(gateway)
  const unread = connect(gateway.port, '127.0.0.1').on('error', () => {})
  onTestFinished(() => void unread.destroy())
  unread.write(`GET /admin/events HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${testToken}\r\n\r\n`)
  await untilTrue(() => page.text().includes('event: snapshot'))
  expect(await gateway.stop()).toEqual({ code: 0, signal: null })
  expect(page.end()).toBe('whole')
})

test('a page that reads nothing is cut off after half a minute of many changes, and another one goes on seeing them', async () => {
  const UPSTREAMS = 20
  const upstream = await startScriptedUpstream(answer({ body: completion() }))
  onTestFinished(() => upstream.close())
  // Some seconds of changes are more than the systems of both sides keep: all upstreams change, 100 KB each.
  const groups = Array.from({ length: 1_000 }, (_, nth) => `${nth}-${'g'.repeat(95)}`)
  const models = Array.from({ length: UPSTREAMS }, (_, nth) => ({
    base_url: `${upstream.url}/v1`,
    model: `m${nth}`,
    name: `up-${nth}`,
    groups,
  }))
  const settings = { strategy: 'round_robin', affinity: 'off' }
  const gateway = await startGateway({ models, settings })
  const head = headOf('GET /admin/events HTTP/1.1', { authorization: `Bearer ${testToken}` })
  const since = performance.now()
  const unread = await connectRaw(gateway.port)
  unread.socket.pause()
  unread.send(head)
  const { localPort = 0 } = unread.socket
  const isHeld = (): boolean => isConnected(gateway.port, localPort)
  const reader = await connectRaw(gateway.port)
  reader.socket.removeAllListeners('data')
  let changes = 0
  let tail = ''
  reader.socket.on('data', (chunk: Buffer) => {
    const text = tail + chunk.toString('latin1')
    changes += text.split('event: status').length - 1
    tail = text.slice(-12)
  })
  reader.send(head)
  const round = async (): Promise<void> => {
    const before = changes
    await Promise.all(Array.from({ length: UPSTREAMS }, () => gateway.chat()))
    await untilTrue(() => changes > before)
  }
  let rounds = 0
  for (; isHeld(); rounds++) await round()
  expect(rounds).toBeGreaterThan(2)
  expect(performance.now() - since).toBeGreaterThan(30_000)
  await round()
  unread.socket.resume()
  await unread.ended()
  expect(reader.ending).toBe(undefined)
}, 180_000)

test('the connection of a page that takes nothing is cut, and until then nothing is gathered for it', async () => {
  // What is told first is more than the systems of both sides keep.
  const hosts = Array.from({ length: 80 }, (_, nth) => `host-${nth}.test`)
  const groups = Array.from({ length: 1_000 }, (_, nth) => `${nth}-${'g'.repeat(100)}`)
  const gateway = createTestApp(configOf(hosts, { models: { groups } }), ({ host }) => fakeAnswer(host))
  const receive = createNodeReceive(createTimerWheel())
  let given = 0
  const live: AppDeps['live'] = {
    watch(isAllowed) {
      const view = gateway.live.watch(isAllowed)
      return (
        view && { ...view, body: { ...view.body, read: () => view.body.read().finally(() => (given += 1)) } }
      )
    },
  }
  const app = createApp({ ...gateway.deps, live, receive, toResponse: toNodeResponse })
  const server = await listen(app, { host: '127.0.0.1', port: 0 })
  onTestFinished(async () => void (await server.drain(0)))
  const socket = connect(server.port, '127.0.0.1').pause()
  socket.on('error', () => {})
  const closed = once(socket, 'close')
  socket.write(`GET /admin/events HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${TOKEN}\r\n\r\n`)
  await untilTrue(() => given === 1)
  await gateway.chat()
  await gateway.clock.advance(29_000)
  expect([gateway.live.viewers, given]).toEqual([1, 1])
  await gateway.clock.advance(2_000)
  expect([gateway.live.viewers, given]).toEqual([0, 1])
  socket.resume()
  await closed
})
