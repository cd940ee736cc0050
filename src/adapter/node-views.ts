import type { Setup } from '../http/setup.ts'
import type { Instant } from '../state/instant.ts'
import type { StateStore } from '../state/store.ts'
import { upstreamGauges } from '../telemetry/condition.ts'
import { knownStates } from '../telemetry/known-states.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import type { Recent } from '../telemetry/recent.ts'
import { statusOf, type GatewayStatus } from '../telemetry/status.ts'
import type { ReloadResult } from './node-reload.ts'

/** A running gateway as somebody who asks sees it, at one moment. */
export interface GatewayView {
  readonly setup: Setup
  readonly store: StateStore
  readonly recent: Recent
  readonly metrics: Metrics
  readonly at: Instant
  readonly waiting: number
  readonly isDraining: boolean
  /** Wall-clock epoch ms. */
  readonly startedAt: number
  readonly version: string
  readonly lastReload: ReloadResult | undefined
}

/** What `GET /admin/status` answers. */
export async function statusJsonOf(view: GatewayView): Promise<GatewayStatus> {
  const stateOf = await knownStates(view.setup.pools.upstreams, view.store)
  return statusOf({ ...view, stateOf })
}

/** What `GET /metrics` answers. */
export async function metricsTextOf({
  setup,
  store,
  metrics,
  at,
  waiting,
  version,
}: GatewayView): Promise<string> {
  const stateOf = await knownStates(setup.pools.upstreams, store)
  const upstreams = upstreamGauges(setup.pools.upstreams, stateOf, at.now)
  return metrics.text({ version, waiting, upstreams })
}
