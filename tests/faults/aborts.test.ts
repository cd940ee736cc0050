import { afterAll, beforeAll, expect, test } from 'vitest'
import { chunkEvent, completion, healthy } from '../support/believable.ts'
import { startGateway, type GatewayProcess } from '../support/gateway-process.ts'
import { statusOf } from '../support/gateway-status.ts'
import { atOnce, createLoadClient, type LoadClient } from '../support/load-client.ts'
import { descriptors, residentBytes } from '../support/process-facts.ts'
import { answer, close, flood, stall } from '../support/scripted-scenes.ts'
import {
  startScriptedUpstream,
  type Exchange,
  type Scene,
  type ScriptedUpstream,
} from '../support/scripted-upstream.ts'
import { until } from '../support/until.ts'

const MEBIBYTE = 1_048_576
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

/** Sends on and on, a little at a time. */
function drips(type: string, piece: string): Scene {
  return async (exchange: Exchange) => {
    await exchange.head(200, { 'content-type': type, 'transfer-encoding': 'chunked' })
    while (await exchange.chunk(piece)) await pause(5)
  }
}

const kinds: Readonly<Record<string, Scene>> = {
  quick: healthy(),
  late: answer({ body: [40, completion()] }),
  silent: stall(),
  'stuck behind its headers': async (exchange) => {
    await exchange.head(200, { 'content-type': 'application/json', 'content-length': '500' })
    await exchange.closed
  },
  'a stream': drips('text/event-stream', chunkEvent('x')),
  'a stream of comments': drips('text/event-stream', ': wait\n\n'),
  'an endless JSON': drips('application/json', ' '),
  'a flood': flood(),
  audio: drips('audio/mpeg', 'xxxx'),
  'failing late': answer({ status: 500, body: [30, '{}'] }),
  closing: close(),
}

let upstreams: ScriptedUpstream[]
let gateway: GatewayProcess
let client: LoadClient
/** Calls that an upstream is still busy with. */
let underWay = 0

const counted =
  (scene: Scene): Scene =>
  async (exchange) => {
    underWay += 1
    try {
      await scene(exchange)
    } finally {
      underWay -= 1
    }
  }

beforeAll(async () => {
  upstreams = await Promise.all(Object.values(kinds).map((scene) => startScriptedUpstream(counted(scene))))
  gateway = await startGateway({
    models: upstreams.map(({ url }, nth) => ({
      name: `u${nth}`,
      base_url: `${url}/v1`,
      model: 'm',
      groups: ['any'],
    })),
    settings: { affinity: 'off', timeout: 20 },
  })
  client = createLoadClient(gateway)
})

afterAll(async () => {
  client.close()
  await gateway.stop()
  for (const upstream of upstreams) await upstream.close()
  expect(gateway.stderr).toBe('')
})

async function abortRandomly(nth: number): Promise<void> {
  const controller = new AbortController()
  // Half of them choose their kind, so that none is spared by a cooldown.
  const model = nth % 2 === 0 ? 'any' : `u${nth % upstreams.length}`
  const done = client.chat({ model, stream: nth % 3 !== 0 }, controller.signal)
  await pause(Math.random() * 100)
  controller.abort()
  await done
}

async function inFlight(): Promise<number> {
  const { upstreams: all } = await statusOf(gateway)
  return all.reduce((sum, { in_flight: flying }) => sum + flying, 0)
}

/** Waits until nothing goes on and no idle connection is left. */
async function calm(): Promise<{ open: number; resident: number }> {
  await until(
    () => underWay,
    (calls) => calls === 0,
  )
  await until(inFlight, (calls) => calls === 0)
  for (const upstream of upstreams) upstream.closeIdle()
  await until(
    () => upstreams.reduce((sum, { open }) => sum + open, 0),
    (open) => open === 0,
  )
  // The connection that asks for the status is the gateway's own descriptor as well.
  const open = await until(
    () => descriptors(gateway.pid),
    () => true,
  )
  return { open, resident: residentBytes(gateway.pid) }
}

test('600 random aborts over every kind of upstream leave nothing behind', async () => {
  // As many before: the heap of Node 24 takes its time to find its size.
  await atOnce(12, 600, abortRandomly)
  const before = await calm()
  await atOnce(12, 600, abortRandomly)
  const after = await until(calm, ({ open }) => open <= before.open + 3)
  expect(after.open).toBeLessThanOrEqual(before.open + 3)
  expect(after.resident - before.resident).toBeLessThan(64 * MEBIBYTE)
  expect(
    Math.min(...upstreams.map(({ requests }) => requests.length)),
    'every kind was asked',
  ).toBeGreaterThan(5)
})
