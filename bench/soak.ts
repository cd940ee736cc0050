/**
 * Does anything grow in an hour?
 *
 * `npm run bench:soak -- [minutes] [requests a second]` sends 20 requests a second for an hour, a fifth of
 * them streams, a fiftieth left by their client, in 1,000 conversations, through a gateway process, and prints its
 * heap after a forced collection, its resident memory and its descriptors ten times. The aim: no more heap at the end
 * than 3 MB above that after the first tenth.
 */
import { setTimeout as pause } from 'node:timers/promises'
import { healthy } from '../tests/support/believable.ts'
import { startGateway } from '../tests/support/gateway-process.ts'
import { heapAfterCollection, inspected } from '../tests/support/inspected-heap.ts'
import { createLoadClient } from '../tests/support/load-client.ts'
import { descriptors, residentBytes } from '../tests/support/process-facts.ts'
import { startScriptedUpstream } from '../tests/support/scripted-upstream.ts'

const [minutes = 60, rate = 20] = process.argv.slice(2).map(Number)
const rows = 10
const aimBytes = 3_000_000

const upstreams = await Promise.all([startScriptedUpstream(healthy()), startScriptedUpstream(healthy())])
const limits = { rpm: 10_000, tpm: 100_000_000 }
const models = upstreams.map(({ url }, nth) => ({
  base_url: `${url}/v1`,
  model: 'm',
  name: `m${nth}`,
  limits,
}))
const gateway = await startGateway({ models, settings: { affinity: 'conversation' } }, { env: inspected })
const client = createLoadClient(gateway)

let sent = 0
let failed = 0

async function sendOne(): Promise<void> {
  const nth = sent++
  const isLeft = nth % 50 === 0
  const leaving = isLeft ? AbortSignal.timeout(2) : undefined
  const messages = [{ role: 'user', content: `conversation ${nth % 1_000}` }]
  const { status } = await client.chat({ stream: nth % 5 === 0, messages }, leaving)
  if (status !== 200 && !isLeft) failed += 1
}

const began = performance.now()
const isBefore = (ms: number): boolean => performance.now() - began < ms
const inMegabytes = (bytes: number): string => (bytes / 1e6).toFixed(2)
const heaps: number[] = []

console.log('| minute | requests | heap MB | resident MB | descriptors |\n|---|---|---|---|---|')
for (let row = 1; row <= rows; row++) {
  const untilMs = (row / rows) * minutes * 60_000
  for (; isBefore(untilMs); await pause(1_000 / rate)) void sendOne()
  const heap = await heapAfterCollection(gateway)
  heaps.push(heap)
  const { pid } = gateway
  const cells = [inMegabytes(heap), inMegabytes(residentBytes(pid)), descriptors(pid)]
  console.log(`| ${((row * minutes) / rows).toFixed(1)} | ${sent} | ${cells.join(' | ')} |`)
}
const [early = 0] = heaps
const growth = (heaps.at(-1) ?? 0) - early
console.log(
  `${failed} failed; growth of the heap ${inMegabytes(growth)} MB (aim: at most ${inMegabytes(aimBytes)})`,
)
client.close()
await gateway.stop()
process.exit(failed === 0 && growth <= aimBytes ? 0 : 1)
