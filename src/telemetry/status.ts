import type { Config } from '../config/config.ts'
import type { Pools } from '../pool/pool.ts'
import type { StrategyName } from '../pool/vocabulary.ts'
import { upstreamStatus, type Known, type UpstreamStatus } from './upstream-status.ts'
import { isoOf } from './wall-iso.ts'

/** What `GET /admin/status` answers. Holds no secret. */
export interface GatewayStatus {
  readonly version: string
  /** ISO 8601. */
  readonly started_at: string | null
  readonly uptime_ms: number
  readonly strategy: StrategyName
  /** As configured: `ip`, `conversation`, `header:x-team`, `off`, … */
  readonly affinity: string
  /** Names that clients may ask for, as `GET /v1/models` lists them. */
  readonly models: readonly string[]
  readonly queue: { readonly waiting: number }
  /** True from the first signal to end. */
  readonly draining: boolean
  /** Null before the first reload. */
  readonly last_reload: LastReload | null
  /** In the order of the configuration, disabled ones too. */
  readonly upstreams: readonly UpstreamStatus[]
}

export interface LastReload {
  /** ISO 8601. */
  readonly at: string | null
  /** False = the new file was refused and the last good configuration stays. */
  readonly ok: boolean
  /** One line for each problem: file, line, column, path, what is wrong, what would be right. */
  readonly problems: readonly string[]
}

/** A gateway at one moment. */
export interface StatusTask extends Known {
  /** The configuration in force. */
  readonly setup: { readonly config: Config; readonly pools: Pools }
  readonly version: string
  /** When the process began to serve, wall-clock epoch ms. */
  readonly startedAt: number
  /** Requests in the queue. */
  readonly waiting: number
  readonly isDraining: boolean
  /** `at`: wall-clock epoch ms. Undefined = none yet. */
  readonly lastReload:
    | { readonly at: number; readonly ok: boolean; readonly problems: readonly string[] }
    | undefined
}

/** The gateway as operators and scripts see it. Pure; costs a few µs for each upstream. */
export function statusOf(task: StatusTask): GatewayStatus {
  const { setup, version, startedAt, waiting, isDraining, lastReload, at } = task
  const { strategy, affinity } = setup.config.settings
  return {
    version,
    started_at: isoOf(startedAt),
    uptime_ms: Math.max(0, Math.round(at.wall - startedAt)),
    strategy,
    affinity: affinity.kind === 'header' ? `header:${affinity.name}` : affinity.kind,
    models: setup.pools.listedNames,
    queue: { waiting },
    draining: isDraining,
    last_reload: lastReload === undefined ? null : { ...lastReload, at: isoOf(lastReload.at) },
    upstreams: setup.pools.upstreams.map((upstream) => upstreamStatus(upstream, task)),
  }
}
