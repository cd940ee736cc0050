import type { UpstreamRoute } from '../pool/route.ts'
import type { Settings } from './config.ts'
import type { Environment } from './problem.ts'
import { environmentProxy } from './proxy.ts'
import { headerName, headerValue } from './rules.ts'
import { tracesUrl } from './schema.ts'
import { routeThrough } from './upstreams.ts'

/** How traces are made and where they go. */
export interface TracesConfig {
  readonly url: string
  readonly route: UpstreamRoute | undefined
  /** Secrets. */
  readonly headers: Readonly<Record<string, string>>
  /** The share of requests that is traced, 0 to 1. */
  readonly sample: number
  /** Whether a request that brings a decision along is traced by that one. */
  readonly obeysParent: boolean
  /** How long spans wait for others at most, ms. */
  readonly everyMs: number
  /** Attributes of whoever traces; `service.name` is one. */
  readonly resource: Readonly<Record<string, string>>
}

/** Undefined for none; `problem` is for the operator, and holds no value. */
interface FoundTraces {
  readonly traces?: TracesConfig
  readonly problem?: string
}

/**
 * What the configuration says, else what the environment does, by the variables that every SDK of OpenTelemetry reads.
 * Source: https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/ and …/otel/protocol/exporter/
 */
export function tracesFrom({ traces, proxy }: Settings, env: Environment): FoundTraces {
  const valueOf = (name: string): string => env[name]?.trim() ?? ''
  if (valueOf('OTEL_SDK_DISABLED').toLowerCase() === 'true') return {}
  const pairs = pairsIn(valueOf('OTEL_RESOURCE_ATTRIBUTES'))
  const found = traces ?? fromEnvironment(valueOf)
  if (found === undefined) return {}
  if ('problem' in found) return found
  const { serviceName, url, ...rest } = found
  const own = proxy ?? environmentProxy(url, env)
  const route = own === undefined || own === 'direct' || !('kind' in own) ? undefined : routeThrough(own)
  const resource = { ...pairs, 'service.name': serviceName ?? pairs['service.name'] ?? 'aiload' }
  // OpenTelemetry's name and default of it, for both ways of configuration.
  const everyMs = Number(valueOf('OTEL_BSP_SCHEDULE_DELAY')) || 5_000
  return { traces: { obeysParent: true, ...rest, url, route, everyMs: Math.max(1, everyMs), resource } }
}

type FromEnvironment = Pick<TracesConfig, 'url' | 'headers' | 'sample' | 'obeysParent'> & {
  readonly serviceName: string | undefined
}

function fromEnvironment(
  valueOf: (name: string) => string,
): FromEnvironment | { readonly problem: string } | undefined {
  const specific = valueOf('OTEL_EXPORTER_OTLP_TRACES_ENDPOINT')
  const base = valueOf('OTEL_EXPORTER_OTLP_ENDPOINT')
  if ((specific || base) === '' || valueOf('OTEL_TRACES_EXPORTER') === 'none') return undefined
  const off = (problem: string) => ({ problem: `no traces are sent: ${problem}` })
  const name = specific ? 'OTEL_EXPORTER_OTLP_TRACES_ENDPOINT' : 'OTEL_EXPORTER_OTLP_ENDPOINT'
  const whole = tracesUrl(specific || base)
  if (typeof whole !== 'string') return off(`${name} ${whole.message}`)
  // That of traces is taken as it is.
  const url = specific || whole
  const protocol = valueOf('OTEL_EXPORTER_OTLP_TRACES_PROTOCOL') || valueOf('OTEL_EXPORTER_OTLP_PROTOCOL')
  if (protocol === 'grpc')
    return off('the protocol of the environment is grpc, and only http/json is spoken here (port 4318)')
  const headers = {
    ...pairsIn(valueOf('OTEL_EXPORTER_OTLP_HEADERS')),
    ...pairsIn(valueOf('OTEL_EXPORTER_OTLP_TRACES_HEADERS')),
  }
  const fields = Object.entries(headers)
  if (fields.some(([field, value]) => !headerName.test(field) || !headerValue.test(value)))
    return off('OTEL_EXPORTER_OTLP_HEADERS holds what no header can carry')
  const sampler = samplerOf(valueOf('OTEL_TRACES_SAMPLER'), valueOf('OTEL_TRACES_SAMPLER_ARG'))
  if (sampler === undefined) return off('OTEL_TRACES_SAMPLER is not a sampler that is known here')
  return {
    url,
    headers: Object.fromEntries(fields.map(([field, value]) => [field.toLowerCase(), value])),
    serviceName: valueOf('OTEL_SERVICE_NAME') || undefined,
    ...sampler,
  }
}

/** Undefined for an unknown name. An argument that is none counts as 1, as the specification has it. */
function samplerOf(name: string, argument: string) {
  const [, parent, kind] = /^(parentbased_)?(always_on|always_off|traceidratio)$/.exec(
    name || 'parentbased_always_on',
  ) ?? [undefined, undefined, undefined]
  if (kind === undefined) return undefined
  const ratio = argument === '' ? 1 : Number(argument)
  const given = ratio >= 0 && ratio <= 1 ? ratio : 1
  const sample = kind === 'always_on' ? 1 : kind === 'always_off' ? 0 : given
  return { sample, obeysParent: parent !== undefined }
}

/** `name=value,name=value` with escapes of URLs; what is none is left out. */
function pairsIn(list: string): Record<string, string> {
  const pairs = list.split(',').flatMap((item) => {
    const [, name = '', value = ''] = /^\s*([^=\s]+)\s*=(.*)$/.exec(item) ?? []
    try {
      return name === '' ? [] : [[name, decodeURIComponent(value.trim())] as const]
    } catch {
      return []
    }
  })
  return Object.fromEntries(pairs)
}
