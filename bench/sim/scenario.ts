import { SPAN_MS } from '../../src/pool/outcome.ts'
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
  /** What a scheduler could have answered that knows what the upstreams count. */
  readonly perfect: number
  /** Refused by the gateway although an upstream had had room for some seconds. */
  readonly refusedWithRoom: number
  /** The longest time in which it did so and answered nothing, ms. */
  readonly darkMs: number
  /** Refusals of the upstreams. */
  readonly met: number
  /** From arrival to the sending that was answered, ms; of the answered, sorted. */
  readonly waits: readonly number[]
}

/** The share of a sorted list that is not above the result; 0 for an empty list. */
export function quantile(sorted: readonly number[], share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0
}

/** How long the relay's queue holds a request, ms; 5 s unless the scenario says otherwise. */
export const patienceOf = ({ settings }: Scenario): number => 1000 * Number(settings?.['queue_timeout'] ?? 5)

/** The gateway's configuration for a scenario, as a file would hold it. */
export function configOf(scenario: Scenario, strategy: string): object {
  const { vendors, knows, settings } = scenario
  return {
    auth_token: 'sk-simulation',
    models: vendors.map((vendor) => ({
      base_url: `https://${vendor.name}.sim/v1`,
      api_key: `key-${vendor.name}`,
      model: vendor.name,
      name: vendor.name,
      ...(knows === 'limits' && { limits: configuredLimits(vendor) }),
    })),
    settings: { affinity: 'off', strategy, ...settings },
  }
}

/** As an operator writes them: minutes and days by their short names, the others as windows. */
function configuredLimits({ limits, concurrency }: VendorSpec): object {
  const named = limits.flatMap(({ counts, limit, spanMs, forgets }) => {
    const ofSpan = counts === 'tokens' ? 'tp' : 'rp'
    if (spanMs === SPAN_MS.minute) return [[`${ofSpan}m`, limit]]
    if (spanMs !== SPAN_MS.day) return []
    const resets = typeof forgets === 'object' && 'zone' in forgets ? forgets.zone : 'rolling'
    return [
      [`${ofSpan}d`, limit],
      ['day_resets', resets],
    ]
  })
  const windows = limits
    .filter(({ spanMs }) => spanMs !== SPAN_MS.minute && spanMs !== SPAN_MS.day)
    .map(({ counts, limit, spanMs }) => ({ [counts]: limit, per: `${spanMs / SPAN_MS.second}s` }))
  return { ...Object.fromEntries(named), ...(concurrency !== undefined && { concurrency }), windows }
}
