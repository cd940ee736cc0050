import { loadConfig } from '../../src/config/load.ts'
import type { Config } from '../../src/config/config.ts'
import { upstreamsOf } from '../../src/config/upstreams.ts'
import type { Outcome } from '../../src/pool/outcome.ts'
import { createPools, type Pools } from '../../src/pool/pool.ts'
import type { Endpoint, Upstream } from '../../src/pool/upstream.ts'
import type { Instant } from '../../src/lib/clock.ts'
import { createMemoryStore } from '../../src/state/memory.ts'
import type { AnswerStart, Lease } from '../../src/state/store.ts'
import { statusOf, type GatewayStatus, type UpstreamStatus } from '../../src/telemetry/status.ts'
import { createRecent } from '../../src/telemetry/recent.ts'
import { createUsage } from '../../src/telemetry/usage.ts'

/** The monotonic clock of these tests is an hour behind the wall clock, so that a mix-up shows. */
export const NOW = Date.UTC(2026, 10, 22, 11)
const WALL = Date.UTC(2026, 10, 22, 12)

/** A store, a past and a configuration, at a moment that a test moves. */
export function createBed(models: readonly object[], more: object = {}) {
  const text = JSON.stringify({ auth_token: 'sk-client-secret', models, ...more })
  const loaded = loadConfig(text, {}, 'config.json')
  if (!loaded.ok) throw new Error(loaded.problems.map(({ message }) => message).join('; '))
  const config: Config = loaded.config
  const upstreams = upstreamsOf(config)
  const pools: Pools = createPools(upstreams, 'reject')
  const store = createMemoryStore({ random: () => 0.5 })
  let at: Instant = { now: NOW, wall: WALL }
  const recent = createRecent(() => at.wall)
  const usage = createUsage(() => at.wall)
  const upstream = (place: number): Upstream => upstreams[place]!

  /** Leases one request; undefined when the upstream has no room. */
  function lease(place: number, endpoint: Endpoint = 'chat'): Lease | undefined {
    const ask = { inputTokens: 100, outputTokens: 100, probeMs: 10_000, lastResort: false }
    return store.acquire([upstream(place).claims[endpoint]], ask, at)
  }

  return {
    upstreams,
    store,
    recent,
    usage,
    lease,
    pass(ms: number) {
      at = { now: at.now + ms, wall: at.wall + ms }
    },
    /** One request from lease to end. */
    ask(place: number, how: { outcome: Outcome; answer?: AnswerStart; endpoint?: Endpoint }) {
      const taken = lease(place, how.endpoint)
      if (taken === undefined) throw new Error('no room')
      if (how.answer) store.confirm(taken, how.answer, at)
      store.settle(taken, how.outcome, at)
    },
    status(more: object = {}): GatewayStatus {
      const gateway = {
        stateOf: (scope: string) => store.snapshot([scope])[0],
        version: '0.1.0',
        startedAt: WALL - 5_000,
        waiting: 0,
        isDraining: false,
        configState: { warnings: [] },
        abilities: store.abilities,
      }
      return statusOf({ runtimeConfig: { config, pools }, recent, usage, at, ...gateway, ...more })
    },
    of(place: number): UpstreamStatus {
      return this.status().upstreams[place]!
    },
  }
}

/** A failure that only a test about something else would spell out. */
export function failure(more: Partial<Extract<Outcome, { kind: 'failed' }>>): Outcome {
  return {
    kind: 'failed',
    class: 'refused',
    scope: 'upstream',
    cause: 'failure',
    code: 'upstream_error',
    readings: [],
    ...more,
  }
}

export const model = (name: string, more: object = {}): object => ({
  base_url: `https://${name}.test:8443/v1`,
  api_key: `sk-upstream-secret-${name}`,
  model: `model-${name}`,
  name,
  ...more,
})
