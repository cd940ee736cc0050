/**
 * How soon does an upstream learn that the client has left?
 *
 * `node --import tsx bench/abort.ts [aborts]` prints p50 and p99 of the time from a client's abort to the close of the
 * upstream's connection, both seen in this process, through a gateway process: before the first byte, and in
 * the middle of a stream. The aim is 100 ms.
 */
import { chunkEvent } from '../tests/support/believable.ts'
import { startGateway } from '../tests/support/gateway-process.ts'
import { connectRaw, headOf } from '../tests/support/raw-client.ts'
import { stall } from '../tests/support/scripted-scenes.ts'
import { startScriptedUpstream, type Scene } from '../tests/support/scripted-upstream.ts'

const aborts = Number(process.argv[2] ?? 500)
const aimMs = 100

const streaming: Scene = async (exchange) => {
  await exchange.head(200, { 'content-type': 'text/event-stream', 'transfer-encoding': 'chunked' })
  await exchange.chunk(chunkEvent('one'))
  await exchange.closed
}

const moments: readonly { when: string; scene: Scene; sees: RegExp }[] = [
  { when: 'before the first byte', scene: stall(), sees: /^$/ },
  { when: 'in the middle of a stream', scene: streaming, sees: /"one"/ },
]

const percentile = (sorted: readonly number[], share: number): number =>
  sorted[Math.floor(share * (sorted.length - 1))] ?? Number.NaN

console.log('| abort | p50 ms | p99 ms | most ms |')
console.log('|---|---|---|---|')
let isGood = true
for (const { when, scene, sees } of moments) {
  const upstream = await startScriptedUpstream(scene)
  const gateway = await startGateway({ models: [{ base_url: `${upstream.url}/v1`, model: 'm' }] })
  const head = headOf('POST /v1/chat/completions HTTP/1.1', {
    authorization: `Bearer ${gateway.token}`,
    'content-length': 45,
  })
  const delays: number[] = []
  for (let nth = 1; nth <= aborts; nth++) {
    const client = await connectRaw(gateway.port)
    client.send(`${head}{"model":"auto","stream":true,"messages":[]} `)
    const call = await upstream.request(nth)
    await client.received(sees)
    const since = performance.now()
    client.socket.destroy()
    await call.closed
    delays.push(performance.now() - since)
  }
  delays.sort((a, b) => a - b)
  const [p50, p99, most] = [percentile(delays, 0.5), percentile(delays, 0.99), percentile(delays, 1)]
  console.log(`| ${when} | ${p50.toFixed(1)} | ${p99.toFixed(1)} | ${most.toFixed(1)} |`)
  isGood &&= p99 < aimMs
  await gateway.stop()
  await upstream.close()
}
process.exit(isGood ? 0 : 1)
