import { afterAll, beforeAll, expect, test } from 'vitest'
import { errorBody, healthy } from '../support/believable.ts'
import { startGateway, type GatewayProcess } from '../support/gateway-process.ts'
import { createLoadClient, type LoadClient } from '../support/load-client.ts'
import { answer } from '../support/scripted-scenes.ts'
import { startScriptedUpstream, type Scene, type ScriptedUpstream } from '../support/scripted-upstream.ts'

const CLIENTS = 8
const DOWN_MS = 2_500
const UP_MS = 2_500

let isDown = true
let failed = 0
let flapping: ScriptedUpstream
let well: ScriptedUpstream
let gateway: GatewayProcess
let client: LoadClient

beforeAll(async () => {
  const up = healthy('from the flapping one')
  const down = answer({ status: 500, body: errorBody('server_error') })
  const scene: Scene = (exchange) => {
    if (isDown) failed += 1
    return (isDown ? down : up)(exchange)
  }
  flapping = await startScriptedUpstream(scene)
  well = await startScriptedUpstream(healthy())
  gateway = await startGateway({
    models: [flapping, well].map(({ url }) => ({ base_url: `${url}/v1`, model: 'm' })),
    settings: { strategy: 'in_order', affinity: 'off' },
  })
  client = createLoadClient(gateway)
})

afterAll(async () => {
  client.close()
  await gateway.stop()
  for (const upstream of [flapping, well]) await upstream.close()
})

/** Sends for so long; resolves with the answers of the flapping one. */
async function load(ms: number): Promise<number> {
  const end = performance.now() + ms
  let ofTheFlapping = 0
  const work = async (): Promise<void> => {
    while (performance.now() < end) {
      const { status, text, error } = await client.chat()
      expect({ status, error }).toEqual({ status: 200, error: undefined })
      if (text.includes('flapping')) ofTheFlapping += 1
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
  }
  await Promise.all(Array.from({ length: CLIENTS }, work))
  return ofTheFlapping
}

test('an upstream that goes down, up and down again costs no client an error, and about one probe a cooldown', async () => {
  await load(DOWN_MS)
  // Cooldowns of 1 s, 2 s, …: two begin in this time, a third on a slow machine.
  expect(failed).toBeGreaterThanOrEqual(2)
  expect(failed).toBeLessThanOrEqual(CLIENTS + 4)

  isDown = false
  expect(await load(UP_MS + 2_500), 'it is taken back').toBeGreaterThan(10)

  isDown = true
  const before = failed
  await load(DOWN_MS)
  expect(failed - before).toBeLessThanOrEqual(CLIENTS + 4)
  // The back-off has begun anew: had it gone on doubling, there would be one failure in this time.
  expect(failed - before).toBeGreaterThanOrEqual(2)
})
