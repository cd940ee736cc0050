/**
 * How many copies of a large body does the gateway hold while its upstream works?
 *
 * `npm run bench:body -- [requests]` sends 40 bodies of 5 MB at once to an upstream that has read them
 * and says nothing, and prints what the process holds outside of its heap for each of them, in bodies. The aim: at
 * most two.
 */
import { startGateway } from '../tests/support/gateway-process.ts'
import { inspected, buffersAfterCollection } from '../tests/support/inspected-heap.ts'
import { createLoadClient } from '../tests/support/load-client.ts'
import { residentBytes } from '../tests/support/process-facts.ts'
import { startScriptedUpstream } from '../tests/support/scripted-upstream.ts'

const requests = Number(process.argv[2] ?? 40)
const bodyBytes = 5_000_000

const upstream = await startScriptedUpstream((exchange) => exchange.closed)
const gateway = await startGateway(
  { models: [{ base_url: `${upstream.url}/v1`, model: 'm' }], server: { max_buffered: 1_000_000_000 } },
  { env: inspected },
)
const client = createLoadClient(gateway)
const content = 'x'.repeat(bodyBytes)

const before = { outside: await buffersAfterCollection(gateway), resident: residentBytes(gateway.pid) }
for (let nth = 0; nth < requests; nth++) void client.chat({ messages: [{ role: 'user', content }] })
while (upstream.requests.length < requests) await new Promise((resolve) => setTimeout(resolve, 50))
const resident = residentBytes(gateway.pid)
const outside = await buffersAfterCollection(gateway)

const inBodies = (bytes: number): string => (bytes / requests / bodyBytes).toFixed(2)
console.log(
  `a body of 5 MB is held ${inBodies(outside - before.outside)} times, in ${inBodies(resident - before.resident)} times its size of resident memory (${requests} at once)`,
)
process.exit(outside - before.outside <= 2 * requests * bodyBytes ? 0 : 1)
