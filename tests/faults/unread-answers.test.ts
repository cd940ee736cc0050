/** Whole answers whose clients do not read count as held, as long as they wait to leave. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { healthy, promptOf, question } from '../support/believable.ts'
import { startGateway, type GatewayProcess } from '../support/gateway-process.ts'
import { statusOf } from '../support/gateway-status.ts'
import { createLoadClient } from '../support/load-client.ts'
import { chatOf } from '../support/raw-answers.ts'
import { connectRaw } from '../support/raw-client.ts'
import { startScriptedUpstream, type ScriptedUpstream } from '../support/scripted-upstream.ts'
import { until } from '../support/until.ts'

const ANSWER_BYTES = 7_500_000
const MOST_HELD_BYTES = 20_000_000

let upstream: ScriptedUpstream
let gateway: GatewayProcess

beforeAll(async () => {
  const long = 'x'.repeat(ANSWER_BYTES)
  upstream = await startScriptedUpstream((exchange) =>
    healthy(promptOf(exchange.request.body) === 'long' ? long : 'ok')(exchange),
  )
  gateway = await startGateway({
    models: [{ base_url: `${upstream.url}/v1`, model: 'm' }],
    server: { max_body: 10_000_000, max_buffered: MOST_HELD_BYTES },
  })
})

afterAll(async () => {
  await gateway.stop()
  await upstream.close()
})

test('while clients do not read whole answers there is that much less room for others, until they leave', async () => {
  const other = createLoadClient(gateway)
  const large = question('y'.repeat(MOST_HELD_BYTES - 2 * ANSWER_BYTES + 1_000_000))
  const clients = await Promise.all([connectRaw(gateway.port), connectRaw(gateway.port)])
  for (const { socket, send } of clients) {
    socket.pause()
    send(chatOf(gateway, question('long')))
  }
  await upstream.request(2)
  await until(
    async () => (await statusOf(gateway)).upstreams[0]?.in_flight,
    (flying) => flying === 0,
  )
  expect(await other.chat(large)).toMatchObject({ status: 503, headers: { 'retry-after': '1' } })
  expect((await other.chat(question('small'))).status).toBe(200)
  for (const { socket } of clients) socket.destroy()
  await until(
    async () => (await other.chat(large)).status,
    (status) => status === 200,
  )
  for (let nth = 0; nth < 5; nth++) expect((await other.chat(question('long'))).status).toBe(200)
  expect((await other.chat(large)).status).toBe(200)
  other.close()
})
