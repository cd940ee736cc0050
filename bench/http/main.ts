/**
 * What does the gateway cost next to the limit (nginx), to a bare proxy and to its peers? All in one run.
 *
 *     npm run bench:http -- [--proxies a,b] [--loads small,large] [--seconds 4] [--rounds 2]
 *
 * One core for the proxy, the other for load and upstream; every proxy is warmed up, then the rounds go forth and
 * back through all of them. CPU comes from the scheduler's account of the process tree. Prints Markdown, and
 * writes the raw figures to `bench/http/results.json`. Linux. Needs `npm run build`; what is not installed is
 * listed as missing: the runtimes come with `npm run test:runtimes`, peers with `npm run bench:peers`.
 */
import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { root } from '../../tests/runtime/tools.ts'
import type { Load, LoadResult } from './load.ts'
import { base, loads } from './loads.ts'
import { cpuOf, memoryOf } from './process-cost.ts'
import { proxies } from './proxies.ts'
import { startProxy, type Proxy } from './start-proxy.ts'
import { tableOf, type Entry } from './table.ts'

const { values } = parseArgs({
  options: {
    proxies: { type: 'string', default: '' },
    loads: { type: 'string', default: 'small,steady,large,huge,paced,thousand,flat,latency,streams' },
    seconds: { type: 'string', default: '4' },
    rounds: { type: 'string', default: '2' },
    warm: { type: 'string', default: '8' },
    streams: { type: 'string', default: '1000,5000' },
  },
})
const seconds = Number(values.seconds)
const asked = values.loads.split(',')
const counts = asked.includes('streams') ? values.streams.split(',').map(Number) : []
const PROXY_CORE = 0
const LOAD_CORE = 1

const UPSTREAM_PORT = 19_500

const upstream = worker('upstream.ts', [`${UPSTREAM_PORT}`])
await once(upstream, 'message')
const generator = worker('load.ts', [])
const entries: Entry[] = []
const missing: string[] = []
for (const proxy of proxies.filter(isWanted)) await enter(proxy)
// Before the loads: afterwards a heap that has grown would hide what streams take.
for (const entry of entries) await holdStreams(entry)
const direct: LoadResult[] = []
for (let round = 0; round < Number(values.rounds); round++) {
  for (const name of asked.filter((one) => one !== 'streams')) {
    if (name === 'latency') direct.push(await run(name, UPSTREAM_PORT))
    for (const entry of round % 2 === 0 ? entries : entries.toReversed()) await measure(entry, name)
    console.error(`round ${round + 1}, ${name}: done`)
  }
}
console.log(tableOf({ entries, direct, loads: asked, counts, missing }))
upstream.send('count')
const [seen] = (await once(upstream, 'message')) as [{ requests: number; wrongModels: number }]
console.error(
  `the upstream had ${seen.requests} requests, ${seen.wrongModels} of them with a model that nobody wrote`,
)
writeFileSync(
  join(root, 'bench/http/results.json'),
  JSON.stringify(
    { date: new Date().toISOString(), node: process.version, direct, entries: entries.map(rawOf) },
    undefined,
    1,
  ),
)
for (const { running } of entries) await running.stop()
upstream.send('stop')
process.exit(0)

function isWanted({ name }: Proxy): boolean {
  return values.proxies.split(',').some((part) => name.includes(part))
}

function worker(name: string, args: string[]): ChildProcess {
  return fork(join(root, 'bench/http', name), args, {
    execPath: 'taskset',
    execArgv: ['-c', `${LOAD_CORE}`, process.execPath, ...process.execArgv],
  })
}

/** Starts a proxy and warms it up: the same one costs twice as much in its first seconds. */
async function enter(proxy: Proxy): Promise<void> {
  if (proxy.missing !== undefined) return void missing.push(`${proxy.name}: ${proxy.missing}`)
  const port = UPSTREAM_PORT + 1 + proxies.indexOf(proxy)
  try {
    const running = await startProxy(proxy, { port, upstream: UPSTREAM_PORT }, PROXY_CORE)
    await pause(1_500)
    const atRest = memoryOf(running.pid)
    const trial = await run('small', port, Number(values.warm))
    if (trial.requests > 0)
      return void entries.push({ proxy, running, port, atRest, figures: new Map(), streams: new Map() })
    missing.push(`${proxy.name}: answered nothing but errors (${trial.failures})`)
    await running.stop()
  } catch (error) {
    missing.push(`${proxy.name}: ${error instanceof Error ? error.message : 'it could not be started'}`)
  }
}

async function run(name: string, port: number, forSeconds = seconds): Promise<LoadResult> {
  const load = loads[name]
  if (load === undefined) throw new Error(`there is no load ${name}`)
  return (await tell({ kind: 'run', load: { ...load, port, seconds: forSeconds } })) as LoadResult
}

async function tell(message: { kind: 'run' | 'hold' | 'release'; load?: Load }): Promise<unknown> {
  generator.send(message)
  const [answer] = (await once(generator, 'message')) as [unknown]
  return answer
}

async function measure({ running, port, figures }: Entry, name: string): Promise<void> {
  const before = cpuOf(running.pid)
  const result = await run(name, port)
  const cpu = cpuOf(running.pid) - before
  const count = loads[name]?.unit === 'chunk' ? result.chunks : result.requests
  const { p50, p99, failures } = result
  const memory = memoryOf(running.pid)
  const one = { cpu: cpu / Math.max(1, count), perSecond: count / result.seconds, p50, p99, memory, failures }
  figures.set(name, [...(figures.get(name) ?? []), one])
}

/** Memory of open streams, and the time of a new request beside them. */
async function holdStreams({ running, port, streams }: Entry): Promise<void> {
  for (const count of counts) {
    const before = memoryOf(running.pid)
    const load: Load = { ...base, port, connections: count, bodyBytes: 657, seconds: 2 }
    if ((await tell({ kind: 'hold', load })) === 'failed') continue
    await pause(1_000)
    const bytesEach = (memoryOf(running.pid) - before) / count
    const { p99 } = (await tell({ kind: 'run', load: { ...load, connections: 1, rate: 20 } })) as LoadResult
    await tell({ kind: 'release' })
    await pause(2_000)
    streams.set(count, { bytesEach, p99 })
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}

function rawOf({ proxy, atRest, figures, streams }: Entry): object {
  const { name } = proxy
  const maps = { figures: Object.fromEntries(figures), streams: Object.fromEntries(streams) }
  return { name, version: proxy.version(), atRest, ...maps }
}
