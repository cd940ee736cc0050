import { isIPv6 } from 'node:net'
import type { Config } from '../config/config.ts'
import { upstreamsOf } from '../config/upstreams.ts'
import type { AffinityRule } from '../pool/vocabulary.ts'
import type { Upstream } from '../pool/upstream.ts'
import { countText } from './count-text.ts'

/** What a start has to tell. */
export interface Started {
  readonly version: string
  readonly config: Config
  /** The port that was really taken. */
  readonly port: number
  /** The configuration file. */
  readonly file: string
  readonly isNew: boolean
  readonly hasNewToken: boolean
}

/** Up to so many upstreams have a line each; more are told by host. */
const MOST_LINES = 8

/** The few lines of a start: where it listens, the upstreams, how it chooses, where the token is. Holds no secret. */
export function startLines({ version, config, port, file, isNew, hasNewToken }: Started): string[] {
  return [
    `AILoad ${version} listens on ${addressText(config.server.host, port)}`,
    ...upstreamLines(upstreamsOf(config)),
    `strategy ${config.settings.strategy}, affinity ${affinityText(config.settings.affinity)}`,
    ...(isNew
      ? [`a first configuration was made: write your keys into ${file}; it is read again when it changes`]
      : []),
    `${hasNewToken ? 'a new token for your clients was made; it' : 'the token for your clients'} is "auth_token" in ${file}`,
  ]
}

/** As a client on this machine writes it. */
function addressText(host: string, port: number): string {
  if (host === '0.0.0.0' || host === '::')
    return `http://localhost:${port}/v1 (every address of this machine)`
  return `http://${isIPv6(host) ? `[${host}]` : host}:${port}/v1`
}

function upstreamLines(upstreams: readonly Upstream[]): string[] {
  const head = countText(upstreams.length, 'upstream')
  if (upstreams.length <= MOST_LINES)
    return [`${head}:`, ...upstreams.map((upstream) => `  ${upstreamText(upstream)}`)]
  const byHost = groupByHost(upstreams)
  const hosts = [...byHost].slice(0, MOST_LINES)
  const left = byHost.size - hosts.length
  return [
    `${head}:`,
    ...hosts.map(([host, those]) => `  ${those.length} at ${host}: ${modelsText(those)}`),
    ...(left > 0 ? [`  and ${countText(left, 'more host')}`] : []),
  ]
}

function upstreamText({ name, model, root, enabled }: Upstream): string {
  return `${name}: model ${model} at ${new URL(root).host}${enabled ? '' : ' (not enabled)'}`
}

function groupByHost(upstreams: readonly Upstream[]): Map<string, Upstream[]> {
  const byHost = new Map<string, Upstream[]>()
  for (const upstream of upstreams) {
    const { host } = new URL(upstream.root)
    byHost.set(host, [...(byHost.get(host) ?? []), upstream])
  }
  return byHost
}

/** Models named for a host. */
const MOST_MODELS = 4

function modelsText(upstreams: readonly Upstream[]): string {
  const models = [...new Set(upstreams.map(({ model }) => model))]
  const left = models.length - MOST_MODELS
  return models.slice(0, MOST_MODELS).join(', ') + (left > 0 ? ` and ${left} more` : '')
}

function affinityText(affinity: AffinityRule): string {
  if (affinity.kind === 'header') return `header:${affinity.name}`
  if (affinity.kind !== 'ip') return affinity.kind
  return 'ip: one client address means one upstream at a time; with settings.affinity "conversation" each conversation has its own'
}
