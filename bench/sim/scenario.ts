import type { Arrivals } from './arrivals.ts'
import type { VendorSpec } from './vendor.ts'

/** Traffic, the upstreams that it meets, and what the gateway is told of them beforehand. */
export interface Scenario {
  readonly title: string
  /** Epoch ms of the first moment. */
  readonly start: number
  readonly spanMs: number
  readonly arrivals: Arrivals
  readonly vendors: readonly VendorSpec[]
  /** Whether the limits stand in the configuration. */
  readonly knows: 'limits' | 'nothing'
  /** Further settings of the configuration. */
  readonly settings?: Readonly<Record<string, unknown>>
  /** Of every request; `output` is what the answers have, the clients name no maximum. */
  readonly tokens: { readonly input: number; readonly output: number }
  readonly seed: number
}

/** What came of a scenario. */
export interface Figures {
  readonly offered: number
  readonly answered: number
  /** What a perfect scheduler could have answered at most. */
  readonly perfect: number
  /** Refusals of the upstreams, and those of them that came in the first minute. */
  readonly refused: number
  readonly refusedByVendor: ReadonlyMap<string, readonly number[]>
  readonly answeredByVendor: ReadonlyMap<string, number>
  /** From arrival to the sending that was answered, ms; of the answered, sorted. */
  readonly waits: readonly number[]
}

/** The share of a sorted list that is not above the result; 0 for an empty list. */
export function quantile(sorted: readonly number[], share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0
}

/** The gateway's configuration for a scenario, as a file would hold it. */
export function configOf(scenario: Scenario, strategy: string): object {
  const { vendors, knows, settings } = scenario
  return {
    auth_token: 'sk-simulation',
    models: vendors.map(({ name, limits, day }) => ({
      base_url: `https://${name}.sim/v1`,
      api_key: `key-${name}`,
      model: name,
      name,
      ...(knows === 'limits' && {
        limits: {
          ...limits,
          ...((limits.rpd ?? limits.tpd) !== undefined && { day_resets: day === 'bucket' ? 'rolling' : day }),
        },
      }),
    })),
    settings: { affinity: 'off', strategy, ...settings },
  }
}
