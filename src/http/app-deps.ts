import type { MaybePromise } from '../state/store.ts'
import type { RelayDeps } from '../relay/deps.ts'
import type { Traffic } from '../relay/turn.ts'
import type { Arrive, BufferedBytes } from './arrival.ts'
import type { Respond } from './respond.ts'
import type { Setup } from './setup.ts'

/** Everything that the app is given: what the relay needs, and what only HTTP does. */
export interface AppDeps extends RelayDeps {
  /** The configuration in force; asked once for each request. */
  readonly setup: () => Setup
  readonly traffic: Traffic
  readonly arrive: Arrive
  readonly respond: Respond
  readonly memory: BufferedBytes
  /** A new request id. */
  readonly newId: () => string
  /** True from the first signal to end until the end. */
  readonly isDraining: () => boolean
  /** The Prometheus text. */
  readonly metricsText: () => MaybePromise<string>
  /** What `/admin/status` shows. */
  readonly status: () => MaybePromise<unknown>
}
