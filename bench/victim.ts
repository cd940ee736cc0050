/**
 * What does a client notice of a hostile one with whom it shares a proxy and the gateway behind it?
 *
 * `npm run bench:victim -- [seconds]` puts nginx, and then haproxy, in front of a gateway process; both reuse their
 * connections to it for whoever comes. One client asks one question after the other while nobody, a pipelining client
 * or one that sends ambiguous requests is beside it. Prints the p50 and p99 of its latency, and whose answers it got:
 * each has to bear the word of its request. Needs Debian's nginx and haproxy; what is not there is told.
 */
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { setTimeout as pause } from 'node:timers/promises'
import { startGateway } from '../tests/support/gateway-process.ts'
import { createEchoClient, startEchoUpstream, type Echo } from './echo-client.ts'
import { hostileClients, type HostileTarget } from './hostile-client.ts'
import { fileOf, haproxyText, nginxText } from './http/config-files.ts'

const seconds = Number(process.argv[2] ?? 10)
const upstreamPort = 19_471
const frontPort = 19_472
const between = 2

const fronts = [
  { program: '/usr/sbin/nginx', args: ['-c'], config: nginxText },
  { program: '/usr/sbin/haproxy', args: ['-db', '-f'], config: haproxyText },
] as const

/** Asks for some seconds, with a hostile client beside. */
async function suffer(target: HostileTarget, name: string): Promise<Echo[]> {
  const leaving = new AbortController()
  const hostile = hostileClients[name]?.(target, leaving.signal)
  const client = createEchoClient(target, 'victim')
  const echoes: Echo[] = []
  const until = performance.now() + seconds * 1_000
  while (performance.now() < until) {
    echoes.push(await client.ask())
    await pause(between)
  }
  client.close()
  leaving.abort()
  await hostile
  return echoes
}

function toldOf(echoes: readonly Echo[]): string {
  const sorted = echoes.map(({ ms }) => ms).toSorted((a, b) => a - b)
  const at = (share: number): string => (sorted[Math.floor(share * sorted.length)] ?? Number.NaN).toFixed(2)
  const countOf = (one: string): number => echoes.filter(({ outcome }) => outcome === one).length
  const failed = [...new Set(echoes.map(({ outcome }) => outcome))].filter(
    (one) => one !== 'own' && one !== 'other',
  )
  const whys = failed.map((one) => `${one} ${countOf(one)}`).join(', ') || '0'
  return `${echoes.length} | ${at(0.5)} | ${at(0.99)} | ${countOf('other')} | ${whys}`
}

const upstream = await startEchoUpstream(upstreamPort)
const gateway = await startGateway({
  models: [{ base_url: `http://127.0.0.1:${upstreamPort}/v1`, model: 'm', api_key: 'k' }],
})
let mistaken = 0
console.log(
  '| in front | beside | requests | ms p50 | ms p99 | answers of another | failed |\n|---|---|---|---|---|---|---|',
)
for (const { program, args, config } of fronts) {
  if (!existsSync(program)) {
    console.log(`| ${program} | not installed |`)
    continue
  }
  const file = fileOf('front.conf', config({ port: frontPort, upstream: gateway.port }))
  const front = spawn(program, [...args, file], { stdio: 'ignore' })
  await pause(1_000)
  for (const name of Object.keys(hostileClients)) {
    const echoes = await suffer({ port: frontPort, token: gateway.token }, name)
    mistaken += echoes.filter(({ outcome }) => outcome === 'other').length
    console.log(`| ${program.split('/').at(-1)} | ${name} | ${toldOf(echoes)} |`)
  }
  front.kill()
  await pause(500)
}
await gateway.stop()
upstream.kill()
process.exit(mistaken === 0 ? 0 : 1)
