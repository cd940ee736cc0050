/** What every run of the HTTP bench stands on: one core for the proxy, the other for load and upstream. Linux. */
import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { root } from '../../tests/runtime/tools.ts'
import type { Load, LoadResult } from './load.ts'
import { base, loads } from './loads.ts'
import { cpuOf, memoryOf } from './process-cost.ts'
import { startProxy, type Proxy, type RunningProxy } from './start-proxy.ts'

/** What one run of a load has cost. */
export interface Figures {
  /** CPU time of the proxy's process tree for a request or a chunk, µs. */
  readonly cpu: number
  readonly perSecond: number
  readonly p50: number
  readonly p99: number
  readonly memory: number
  readonly failures: number
}

/** A proxy that runs, and what was measured of it. */
export interface Entry {
  readonly proxy: Proxy
  readonly running: RunningProxy
  readonly atRest: number
  /** Whether the upstream saw another model than the client asked for. */
  readonly writesModel: boolean
  /** By load, one for each round. */
  readonly figures: Map<string, Figures[]>
  readonly streams: Map<number, { bytesEach: number; p99: number }>
}

/** Where a load is sent to. */
type Target = Pick<Load, 'port' | 'path' | 'model'>

/** The processes of a bench. */
export interface Bed {
  /** Starts a proxy and warms it up: the same one costs twice as much in its first seconds. */
  enter(proxy: Proxy, warmSeconds: number): Promise<Entry>
  /** Runs a load and keeps what it has cost. */
  measure(entry: Entry, name: string, seconds: number): Promise<void>
  /** Runs a load without any proxy. */
  direct(name: string, seconds: number): Promise<LoadResult>
  /** Memory of so many open streams, and the time of a new request beside them. */
  holdStreams(entry: Entry, count: number): Promise<void>
  close(entries: readonly Entry[]): Promise<void>
}

const PROXY_CORE = 0
const LOAD_CORE = 1
const UPSTREAM_PORT = 19_500
const UPSTREAM: Target = { port: UPSTREAM_PORT, path: '/v1/chat/completions', model: 'auto' }

/** Starts upstream and load generator. */
export async function createBed(): Promise<Bed> {
  const upstream = worker('upstream.ts', [`${UPSTREAM_PORT}`])
  await once(upstream, 'message')
  const generator = worker('load.ts', [])
  let lastPort = UPSTREAM_PORT

  const tell = async (message: { kind: 'run' | 'hold' | 'release'; load?: Load }): Promise<unknown> => {
    generator.send(message)
    const [answer] = (await once(generator, 'message')) as [unknown]
    return answer
  }

  const run = async (name: string, target: Target, seconds: number): Promise<LoadResult> => {
    const load = loads[name]
    if (load === undefined) throw new Error(`no load is called ${name}: ${Object.keys(loads).join(', ')}`)
    return (await tell({ kind: 'run', load: { ...load, ...target, seconds } })) as LoadResult
  }

  const unwritten = async (): Promise<number> => {
    upstream.send('count')
    const [seen] = (await once(upstream, 'message')) as [{ unwritten: number }]
    return seen.unwritten
  }

  return {
    async enter(proxy, warmSeconds) {
      const why = proxy.missing?.()
      if (why !== undefined) throw new Error(why)
      const running = await startProxy(proxy, { port: ++lastPort, upstream: UPSTREAM_PORT }, PROXY_CORE)
      await pause(1_500)
      const atRest = memoryOf(running.pid)
      const before = await unwritten()
      const { requests, failures } = await run('small', targetOf(proxy, running), warmSeconds)
      if (requests === 0) {
        await running.stop()
        throw new Error(`it answered nothing but errors (${failures})`)
      }
      const writesModel = (await unwritten()) === before
      return { proxy, running, atRest, writesModel, figures: new Map(), streams: new Map() }
    },
    async measure({ proxy, running, figures }, name, seconds) {
      const before = cpuOf(running.pid)
      const result = await run(name, targetOf(proxy, running), seconds)
      const cpu = cpuOf(running.pid) - before
      const count = loads[name]?.unit === 'chunk' ? result.chunks : result.requests
      const { p50, p99, failures } = result
      const memory = memoryOf(running.pid)
      const one = { cpu: cpu / count, perSecond: count / result.seconds, p50, p99, memory, failures }
      figures.set(name, [...(figures.get(name) ?? []), one])
    },
    direct: (name, seconds) => run(name, UPSTREAM, seconds),
    async holdStreams({ proxy, running, streams }, count) {
      const before = memoryOf(running.pid)
      const load: Load = { ...base, ...targetOf(proxy, running), connections: count, seconds: 2 }
      if ((await tell({ kind: 'hold', load })) === 'failed') return
      await pause(1_000)
      const bytesEach = (memoryOf(running.pid) - before) / count
      const { p99 } = (await tell({ kind: 'run', load: { ...load, connections: 1, rate: 20 } })) as LoadResult
      await tell({ kind: 'release' })
      await pause(2_000)
      streams.set(count, { bytesEach, p99 })
    },
    async close(entries) {
      for (const { running } of entries) await running.stop()
      upstream.send('stop')
      generator.disconnect()
      // The next bed listens at the same port.
      if (upstream.exitCode === null) await once(upstream, 'exit')
    },
  }
}

function worker(name: string, args: string[]): ChildProcess {
  return fork(join(root, 'bench/http', name), args, {
    execPath: 'taskset',
    execArgv: ['-c', `${LOAD_CORE}`, process.execPath, ...process.execArgv],
  })
}

function targetOf({ path, model }: Proxy, { port }: RunningProxy): Target {
  return { port, path: path ?? UPSTREAM.path, model: model ?? UPSTREAM.model }
}
