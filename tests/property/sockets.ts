import { createServer, type AddressInfo } from 'node:net'
import { once } from 'node:events'
import { startNodeGateway } from '../../src/adapter/node/gateway.ts'
import type { GatewayEvent } from '../../src/relay/deps.ts'
import { readAll } from '../support/played.ts'
import { startScriptedUpstream, type Exchange, type ScriptedUpstream } from '../support/scripted-upstream.ts'
import { checked, TOKEN } from '../support/test-app.ts'
import { askedOf, judge, type Violation } from './oracle.ts'
import { bodyOf, configOf, HOSTS, modelOf, nameOf, PATHS, type Scenario } from './scenario.ts'
import { playOf, type Played } from './scripts.ts'

/** Far longer than anything takes here: no time is measured on sockets. */
const PATIENCE_S = 15
const POLL_MS = 2

/** Plays scenarios through Node's server, undici and real upstreams, one at a time. */
export interface SocketStage {
  playOut(scenario: Scenario): Promise<readonly Violation[]>
  close(): Promise<void>
}

/** Its upstreams are there as long as the stage is; each scenario has a gateway of its own. */
export async function createSocketStage(): Promise<SocketStage> {
  let scenario: Scenario | undefined
  let served: number[] = []
  const nobody = await closedPort()

  const sceneOf = (host: number) => async (exchange: Exchange) => {
    const { headers, body } = exchange.request
    const [, model] = /"model":"(m\d+)"/.exec(new TextDecoder().decode(body)) ?? []
    const key = headers['authorization']?.replace('Bearer ', '')
    const upstream = (scenario?.upstreams ?? []).findIndex(
      (one) => one.host === host && one.key === key && modelOf(one) === model,
    )
    // Its list of models, which may be read in the background, is no part of the request.
    if (scenario === undefined || upstream < 0) return perform({ status: 404 }, exchange)
    served.push(upstream)
    return perform(playOf(scenario.upstreams[upstream]!.script, askedOf(scenario, upstream)), exchange)
  }
  const hosts: ScriptedUpstream[] = []
  for (let host = 0; host < HOSTS; host++) hosts.push(await startScriptedUpstream(sceneOf(host)))
  const urlOf = ({ host, script }: Scenario['upstreams'][number]): string =>
    script.does === 'fail' && script.how === 'not-sent'
      ? `http://127.0.0.1:${nobody}`
      : (hosts[host]?.url ?? '')

  return {
    async playOut(next) {
      scenario = next
      served = []
      const events: GatewayEvent[] = []
      const config = configOf(next, urlOf, { timeout: PATIENCE_S, drain_timeout: 0 })
      const gateway = await startNodeGateway(
        checked({ ...config, server: { host: '127.0.0.1', port: 0, mode: 'debug' } }),
        { log: (event) => void events.push(event) },
      )
      try {
        const base = `http://127.0.0.1:${gateway.port}`
        const authorization = { authorization: `Bearer ${TOKEN}` }
        const answer = await fetch(`${base}/v1/${PATHS[next.endpoint]}`, {
          method: 'POST',
          headers: { ...authorization, 'content-type': 'application/json' },
          body: JSON.stringify(bodyOf(next)),
        })
        const { status, headers } = answer
        const client = { status, headers: Object.fromEntries(headers), ...(await readAll(answer)) }
        const isOver = await comesTrue(() => events.some(({ kind }) => kind === 'request'))
        // Who refuses a connection sees nothing of it: the attempts are the gateway's own word.
        const asks = events
          .filter((event) => event.kind === 'attempt')
          .map((event) => ({ upstream: indexOf(event.upstream), at: 0 }))
        const isIdle = await comesTrue(async () => {
          const state = await fetch(`${base}/admin/status`, { headers: authorization })
          const { upstreams } = (await state.json()) as { upstreams: { in_flight: number }[] }
          return upstreams.every((one) => one.in_flight === 0)
        })
        const unseen = served.filter((upstream) => !asks.some((one) => one.upstream === upstream))
        return [
          ...judge(next, { asks, endedAt: 0, client }),
          ...(isOver && unseen.length === 0 ? [] : [violation('an attempt is not told of', unseen)]),
          ...(new Set(served).size < served.length ? [violation('an upstream is asked twice', served)] : []),
          ...(isIdle ? [] : [violation('a lease is not settled', [])]),
        ]
      } finally {
        await gateway.close()
      }
    },
    async close() {
      for (const host of hosts) await host.close()
    },
  }
}

const indexOf = (name: string): number => Number(name.slice(nameOf(0).length - 1))
const violation = (kind: string, upstreams: readonly number[]): Violation => ({
  kind,
  detail: upstreams.map(nameOf).join(' '),
})

/** Waits until something is so, for as long as it is believable; a busy machine takes its time. */
async function comesTrue(isSo: () => boolean | Promise<boolean>): Promise<boolean> {
  for (const until = performance.now() + PATIENCE_S * 1_000; performance.now() < until;) {
    if (await isSo()) return true
    await new Promise((resolve) => setTimeout(resolve, POLL_MS))
  }
  return false
}

/** A port where nobody listens. */
async function closedPort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  return port
}

/** A script on a connection of its own, so that none is reused and no request is sent again. */
async function perform(played: Played, exchange: Exchange): Promise<void> {
  if ('throws' in played) {
    if (played.throws !== 'undecodable') return exchange.reset()
    const headers = { 'content-encoding': 'gzip', 'content-length': '9', connection: 'close' }
    await exchange.head(200, { 'content-type': 'application/json', ...headers })
    await exchange.raw('no gzip !')
    return exchange.close()
  }
  const { status = 200, headers, body = [], end = 'close' } = played
  const hasBody = status !== 204 && status !== 304
  const framing: Record<string, string> = hasBody ? { 'transfer-encoding': 'chunked' } : {}
  await exchange.head(status, { ...headers, ...framing, connection: 'close' })
  for (const piece of body) if (typeof piece !== 'number' && piece.length > 0) await exchange.chunk(piece)
  if (end === 'stall') return exchange.closed
  // Without its last chunk a body is cut; a reset would take bytes along that are on their way.
  if (end === 'close' && hasBody) await exchange.lastChunk()
  return exchange.close()
}
