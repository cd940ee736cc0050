/**
 * Does a connection that lives long cost more and more?
 *
 * `npm run bench:connection -- [requests]` sends a million requests, one after the other, through one connection to
 * a gateway process. Every answer has to bear the word of its request. Prints ten times the heap after a forced
 * collection, the resident memory and the requests a second. The aims: none lost, none mistaken, one connection, and
 * at most 3 MB more heap at the end than after the first tenth.
 */
import { startGateway } from '../tests/support/gateway-process.ts'
import { heapAfterCollection, inspected } from '../tests/support/inspected-heap.ts'
import { residentBytes } from '../tests/support/process-facts.ts'
import { createEchoClient, startEchoUpstream } from './echo-client.ts'

const requests = Number(process.argv[2] ?? 1_000_000)
const upstreamPort = 19_470
const tenths = 10
const aimBytes = 3_000_000

const upstream = await startEchoUpstream(upstreamPort)
const gateway = await startGateway(
  { models: [{ base_url: `http://127.0.0.1:${upstreamPort}/v1`, model: 'm', api_key: 'k' }] },
  { env: inspected },
)
const client = createEchoClient(gateway, 'one')
const outcomes = new Map<string, number>()
const heaps: number[] = []
const megabytes = (bytes: number): string => (bytes / 1e6).toFixed(2)

console.log('| requests | requests/s | heap MB | resident MB |\n|---|---|---|---|')
for (let tenth = 1; tenth <= tenths; tenth++) {
  const since = performance.now()
  for (let nth = 0; nth < requests / tenths; nth++) {
    const { outcome } = await client.ask()
    outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1)
  }
  const perSecond = (requests / tenths / (performance.now() - since)) * 1_000
  const heap = await heapAfterCollection(gateway)
  heaps.push(heap)
  const resident = megabytes(residentBytes(gateway.pid))
  console.log(
    `| ${(requests * tenth) / tenths} | ${perSecond.toFixed(0)} | ${megabytes(heap)} | ${resident} |`,
  )
}
const growth = (heaps.at(-1) ?? 0) - (heaps[0] ?? 0)
const told = [...outcomes].map(([outcome, count]) => `${outcome} ${count}`).join(', ')
console.log(`answers: ${told}; ${client.connections} connections; growth of the heap ${megabytes(growth)} MB`)
client.close()
await gateway.stop()
upstream.kill()
const isGood = outcomes.get('own') === requests && client.connections === 1 && growth <= aimBytes
process.exit(isGood ? 0 : 1)
