import { afterAll, beforeAll, expect, test } from 'vitest'
import { healthy } from '../support/believable.ts'
import { startGateway, type GatewayProcess } from '../support/gateway-process.ts'
import { upstreamStatus } from '../support/gateway-status.ts'
import { atOnce, createLoadClient, type LoadClient } from '../support/load-client.ts'
import { byConnection, close, reset } from '../support/scripted-scenes.ts'
import { startScriptedUpstream, type ScriptedUpstream } from '../support/scripted-upstream.ts'

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

let hasty: ScriptedUpstream
let closing: ScriptedUpstream
let resetting: ScriptedUpstream
let gateway: GatewayProcess
let client: LoadClient

beforeAll(async () => {
  hasty = await startScriptedUpstream(healthy(), { closeIdleAfterMs: () => Math.random() * 12 })
  closing = await startScriptedUpstream(byConnection(healthy(), close()))
  resetting = await startScriptedUpstream(byConnection(healthy(), reset()))
  const models = Object.entries({ hasty, closing, resetting }).map(([name, { url }]) => ({
    name,
    base_url: `${url}/v1`,
    model: name,
  }))
  gateway = await startGateway({ models, settings: { affinity: 'off' } })
  client = createLoadClient(gateway)
})

afterAll(async () => {
  client.close()
  await gateway.stop()
  for (const upstream of [hasty, closing, resetting]) await upstream.close()
})

async function restOf(name: string): Promise<string | null> {
  return (await upstreamStatus(gateway, name)).why
}

test('600 requests into the moment in which the upstream closes its idle connections: none fails', async () => {
  const failures: string[] = []
  await atOnce(4, 600, async () => {
    await pause(Math.random() * 12)
    const { status, text, error, headers } = await client.chat({ model: 'hasty' })
    if (status !== 200 || headers['x-aiload-attempts'] !== '1') failures.push(`${status} ${error} ${text}`)
  })
  expect(failures).toEqual([])
  expect(
    hasty.requests.some(({ nth }) => nth > 1),
    'connections were reused',
  ).toBe(true)
  expect(hasty.accepted, 'and lost').toBeGreaterThan(50)
  expect(await restOf('hasty')).toBeNull()
})

test.each([
  { how: 'closes', name: 'closing', upstream: () => closing },
  { how: 'resets', name: 'resetting', upstream: () => resetting },
])(
  'a reused connection that $how under a request is replaced at once, and nobody rests',
  async ({ name, upstream }) => {
    for (let nth = 0; nth < 20; nth++) {
      const { status, headers } = await client.chat({ model: name })
      expect({ status, attempts: headers['x-aiload-attempts'] }).toEqual({ status: 200, attempts: '1' })
    }
    expect(
      upstream().requests.filter(({ nth }) => nth > 1).length,
      'connections were reused',
    ).toBeGreaterThan(5)
    expect(await restOf(name)).toBeNull()
  },
)
