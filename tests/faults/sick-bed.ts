/** Three upstreams, one of which fails in some way, under load: for the test and for `npm run bench:failover`. */
import { chunkEvent, completion, errorBody, events, healthy } from '../support/believable.ts'
import { refusedUrl } from '../support/dead-ends.ts'
import { startGateway } from '../support/gateway-process.ts'
import { upstreamStatus } from '../support/gateway-status.ts'
import { atOnce, createLoadClient, type LoadAnswer } from '../support/load-client.ts'
import { answer, close, stall } from '../support/scripted-scenes.ts'
import { startScriptedUpstream, type Scene } from '../support/scripted-upstream.ts'

/** A way to be sick. */
export interface Sickness {
  readonly name: string
  /** None for an address where nobody listens. */
  readonly scene?: Scene
  /** Requests ask for streams. */
  readonly stream?: true
}

/** Every way that an upstream can fail and another can save. */
export const sicknesses: readonly Sickness[] = [
  { name: '500', scene: answer({ status: 500, body: errorBody('server_error') }) },
  { name: 'refused' },
  { name: 'closed', scene: close() },
  { name: 'silent', scene: stall() },
  { name: '429', scene: answer({ status: 429, body: errorBody('rate_limit_exceeded') }) },
  { name: 'SSE error', scene: events(`data: ${errorBody('server_error')}\n\n`), stream: true },
  {
    name: 'truncated',
    scene: answer({ body: completion('cut').slice(0, 90), framing: 900, ending: 'close' }),
  },
]

/** What a run has shown. */
export interface SickRun {
  readonly name: string
  readonly requests: number
  /** Of them, those with a complete and right answer. */
  readonly answered: number
  /** Attempts at the sick one. */
  readonly wasted: number
  readonly seconds: number
  /** What was wrong with those that were not answered. */
  readonly wrong: readonly string[]
}

const CONCURRENCY = 16

/** A gateway over two healthy upstreams, and one for each way to be sick. */
export interface SickBed {
  /** Sends so many requests, 16 at once, to the healthy ones and a sick one, in turn. */
  run(sickness: Sickness, requests: number): Promise<SickRun>
  close(): Promise<void>
}

export async function startSickBed(): Promise<SickBed> {
  const well = [await startScriptedUpstream(healthy()), await startScriptedUpstream(healthy())]
  const sick = new Map<string, { url: string; close?(): Promise<void> }>()
  for (const { name, scene } of sicknesses) {
    sick.set(name, scene === undefined ? { url: refusedUrl() } : await startScriptedUpstream(scene))
  }
  const gateway = await startGateway({
    models: [
      ...well.map(({ url }) => ({ base_url: `${url}/v1`, model: 'm', groups: [...sick.keys()] })),
      ...[...sick].map(([name, { url }]) => ({
        base_url: `${url}/v1`,
        model: 'm',
        name: `sick ${name}`,
        groups: [name],
      })),
    ],
    settings: { strategy: 'round_robin', affinity: 'off', timeout: 1 },
  })
  const client = createLoadClient(gateway)

  return {
    async run({ name, stream }, requests) {
      const wrong: string[] = []
      const since = performance.now()
      await atOnce(CONCURRENCY, requests, async () => {
        const got = await client.chat({ model: name, ...(stream && { stream }) })
        if (!isRight(got, stream === true))
          wrong.push(`${got.status} ${got.error ?? ''} ${got.text.slice(0, 200)}`)
      })
      const seconds = (performance.now() - since) / 1000
      const { attempts: wasted } = await upstreamStatus(gateway, `sick ${name}`)
      return { name, requests, answered: requests - wrong.length, wasted, seconds, wrong }
    },
    async close() {
      client.close()
      await gateway.stop()
      for (const upstream of [...well, ...sick.values()]) await upstream.close?.()
    },
  }
}

/**
 * The most calls that a sick upstream may cost: what is in flight when it falls ill, and one probe for each
 * cooldown of 1, 2, 4 … s. Some of a second is lost where a timeout comes first.
 */
export function mostWasted({ seconds }: Pick<SickRun, 'seconds'>): number {
  return CONCURRENCY + Math.ceil(Math.log2(seconds / 0.8 + 1)) + 1
}

function isRight({ status, text, error }: LoadAnswer, stream: boolean): boolean {
  if (status !== 200 || error !== undefined) return false
  return stream
    ? text.startsWith(chunkEvent('Hello')) && text.endsWith('data: [DONE]\n\n')
    : text === completion()
}
