import { afterAll, afterEach, beforeAll } from 'vitest'
import { startScriptedUpstream, type Scene, type ScriptedUpstream } from '../support/scripted-upstream.ts'
import { TOKEN, type Running, type Runtime } from './runtimes.ts'

/**
 * One gateway for a whole suite, since starting one takes seconds: its upstreams are asked by model name,
 * and each test gives them their scenes.
 */
export interface Bed {
  /** The upstreams of the groups; `solo` is one, `pair-a` and `pair-b` are the group `pair`, in this order. */
  readonly upstreams: Record<UpstreamName, ScriptedUpstream>
  readonly gateway: Running
  /** What an upstream does from now on, until the test ends. */
  play(name: UpstreamName, scene: Scene): void
  /** Every request that reached an upstream in this test. */
  seen(name: UpstreamName): ScriptedUpstream['requests']
  /** `POST /v1/chat/completions` with the token; a text is sent as it is. */
  chat(body: object | string, init?: RequestInit): Promise<Response>
  /** A text with the models of this test in it, where it says ROUND. */
  inRound(text: string): string
}

export type UpstreamName = 'solo' | 'pair-a' | 'pair-b'

const NAMES: readonly UpstreamName[] = ['solo', 'pair-a', 'pair-b']

/** @param timeout seconds of silence that an upstream is granted */
export function createBed(runtime: Runtime, { timeout }: { timeout: number }): Bed {
  const scenes = new Map<UpstreamName, Scene>()
  const upstreams: Partial<Record<UpstreamName, ScriptedUpstream>> = {}
  const before = new Map<UpstreamName, number>()
  let gateway: Running | undefined
  let round = 0

  beforeAll(async () => {
    for (const name of NAMES) {
      upstreams[name] = await startScriptedUpstream((exchange) => scenes.get(name)?.(exchange))
    }
    gateway = await runtime.start({
      models: modelsOf(upstreams as Bed['upstreams']),
      settings: { affinity: 'off', strategy: 'in_order', timeout, heartbeat: 0.5 },
    })
  })
  afterEach(() => {
    scenes.clear()
    round += 1
    for (const name of NAMES) before.set(name, upstreams[name]?.requests.length ?? 0)
  })
  afterAll(async () => {
    await gateway?.stop()
    await Promise.all(Object.values(upstreams).map((upstream) => upstream.close()))
  })

  // Models of its own in each test: no cooldown of one reaches the next.
  const inRound = (text: string): string => text.replaceAll('ROUND', String(round))

  return {
    inRound,
    upstreams: upstreams as Bed['upstreams'],
    get gateway() {
      return gateway!
    },
    play: (name, scene) => void scenes.set(name, scene),
    seen: (name) => upstreams[name]!.requests.slice(before.get(name) ?? 0),
    chat(body, init = {}) {
      const text =
        typeof body === 'string'
          ? body
          : JSON.stringify({ messages: [{ role: 'user', content: 'Hello' }], ...body })
      const headers = {
        authorization: `Bearer ${TOKEN}`,
        'content-type': 'application/json',
        ...(init.headers as object),
      }
      return fetch(`${gateway!.url}/v1/chat/completions`, {
        ...init,
        method: 'POST',
        headers,
        body: inRound(text),
      })
    },
  }
}

/** Enough of them: each test has a round of models that nothing else has asked. */
const ROUNDS = 24

function modelsOf(upstreams: Bed['upstreams']): object[] {
  return Array.from({ length: ROUNDS }, (_, round) =>
    NAMES.map((name) => ({
      base_url: `${upstreams[name].url}/v1`,
      api_key: `key-${name}-${round}`,
      model: `${name}-${round}`,
      groups: [`${name.replace(/-.$/, '')}-of-${round}`],
    })),
  ).flat()
}
