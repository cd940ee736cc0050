/**
 * Does the gateway keep anything of a request?
 *
 * `node --import tsx bench/heap.ts [requests]` sends 100,000 requests, a fifth of them streams, through a
 * gateway process and prints its heap after a forced collection at a fifth of them and at the end. The aim: at
 * most 5 MB more.
 */
import { healthy } from '../tests/support/believable.ts'
import { startGateway } from '../tests/support/gateway-process.ts'
import { heapAfterCollection, inspected } from '../tests/support/inspected-heap.ts'
import { atOnce, createLoadClient } from '../tests/support/load-client.ts'
import { startScriptedUpstream } from '../tests/support/scripted-upstream.ts'

const requests = Number(process.argv[2] ?? 100_000)
const aimBytes = 5_000_000
const concurrency = 32

const upstream = await startScriptedUpstream(healthy())
const gateway = await startGateway(
  { models: [{ base_url: `${upstream.url}/v1`, model: 'm' }], settings: { affinity: 'conversation' } },
  { env: inspected },
)
const client = createLoadClient(gateway)

async function send(times: number, from: number): Promise<void> {
  await atOnce(concurrency, times, async (nth) => {
    const content = `conversation ${(from + nth) % 1_000}`
    const { status } = await client.chat({ stream: nth % 5 === 0, messages: [{ role: 'user', content }] })
    if (status !== 200) throw new Error(`status ${status}`)
  })
}

await send(requests / 5, 0)
const early = await heapAfterCollection(gateway)
await send((4 * requests) / 5, requests / 5)
const late = await heapAfterCollection(gateway)
const megabytes = (bytes: number): string => (bytes / 1e6).toFixed(2)
console.log(
  `heap after a collection: ${megabytes(early)} MB at ${requests / 5} requests, ${megabytes(late)} MB at ${requests} (growth ${megabytes(late - early)} MB)`,
)
client.close()
await gateway.stop()
process.exit(late - early <= aimBytes ? 0 : 1)
