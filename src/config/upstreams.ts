import { fingerprint, hash01 } from '../lib/hash.ts'
import type { Proxy, UpstreamRoute } from '../pool/route.ts'
import {
  endpoints,
  uniqueNames,
  type Claim,
  type Endpoint,
  type Limits,
  type LimitScope,
  type Upstream,
} from '../pool/upstream.ts'
import type { Config, ModelConfig } from './config.ts'
import { limitsFrom } from './model-schema.ts'
import { discoveredBy, presetOf, type PresetLimits, type PresetModel } from './presets.ts'

/** Whose list of models it is. */
export interface ModelSource {
  readonly root: string
  readonly query: string
  readonly apiKey: string
  readonly headers: Readonly<Record<string, string>>
  readonly route?: UpstreamRoute | undefined
}

/** One model as an upstream's own list has it. */
export interface ListedModel {
  readonly id: string
  /** What the list says that it serves; undefined = nothing. */
  readonly endpoints?: readonly Endpoint[] | undefined
}

/** The models that an upstream lists; undefined = not known yet. */
export type ListedBy = (source: ModelSource) => readonly ListedModel[] | undefined

const nothingListed: ListedBy = () => undefined

/**
 * One upstream for each key and model of each entry, disabled ones too, in the order of the file. Of an entry without a
 * model those of its vendor's preset, or what `listedBy` has of its globs, but for those that an entry names or that an
 * earlier one has found.
 */
export function upstreamsOf(config: Config, listedBy = nothingListed): Upstream[] {
  const all = config.models.flatMap((entry) => targetsOf(entry, config, listedBy))
  const isNamed = ({ entry }: Target): boolean => entry.model !== undefined
  // Found by another entry as well, a model would be asked past what its own says, such as its limits.
  const first = new Map<string, Target>()
  for (const target of [...all.filter(isNamed), ...all])
    if (!first.has(target.identity)) first.set(target.identity, target)
  const targets = all.filter((target) => isNamed(target) || first.get(target.identity) === target)
  const names = uniqueNames(targets.map(({ name }) => name))
  return targets.map((target, at) => upstreamOf({ ...target, name: names[at] ?? target.name }, config))
}

/** The entries whose models are to be asked for: whose list, and which of it. */
export const discoveriesOf = (config: Config) =>
  config.models.flatMap((entry) => {
    const globs = globsOf(entry)
    return globs === undefined || !entry.enabled
      ? []
      : entry.apiKeys.map((apiKey) => ({ entry, globs, source: sourceOf(entry, config, apiKey) }))
  })

/** Which models of a list an entry takes; undefined for one that names its models or whose preset does. */
function globsOf({ model, models, vendor }: ModelConfig): readonly string[] | undefined {
  if (model !== undefined) return undefined
  const preset = vendor === undefined ? undefined : presetOf(vendor)
  return models ?? (preset && discoveredBy(preset))
}

function sourceOf(entry: ModelConfig, config: Config, apiKey: string): ModelSource {
  const { root, query = '', headers } = entry
  return { root, query, apiKey, headers, route: routeOf(entry, config) }
}

/** Whether a name is meant: `*` stands for any text, `?` for one sign, and what follows a `!` is left out again. */
export function matchesGlobs(name: string, globs: readonly string[]): boolean {
  const matches = (glob: string): boolean => isMeantBy(glob.toLowerCase(), name.toLowerCase())
  const [wanted, unwanted] = [
    globs.filter((glob) => !glob.startsWith('!')),
    globs.filter((glob) => glob.startsWith('!')),
  ]
  return (wanted.length === 0 || wanted.some(matches)) && !unwanted.some((glob) => matches(glob.slice(1)))
}

/** Steps back to the last `*` alone: as a pattern of the language, several of them would take ages for a name made so. */
function isMeantBy(glob: string, name: string): boolean {
  let [at, from, star] = [0, 0, -1]
  for (let sign = 0; sign < name.length;) {
    if (glob[at] === '*') {
      star = at++
      from = sign
    } else if (at < glob.length && (glob[at] === '?' || glob[at] === name[sign])) {
      at += 1
      sign += 1
    } else if (star >= 0) {
      at = star + 1
      sign = ++from
    } else return false
  }
  return /^\**$/.test(glob.slice(at))
}

/** One upstream to be. */
interface Target {
  readonly entry: ModelConfig
  readonly model: string
  readonly apiKey: string
  readonly name: string
  readonly presumed: Presumed
  /** Equal where the same model is asked at the same address with the same key. */
  readonly identity: string
}

/** What is only presumed of an upstream. */
interface Presumed {
  readonly preset?: PresetModel | undefined
  readonly account?: PresetLimits | undefined
  readonly endpoints?: readonly Endpoint[] | undefined
}

function targetsOf(entry: ModelConfig, config: Config, listedBy: ListedBy): Target[] {
  const { vendor, model, apiKeys, root, name } = entry
  const preset = vendor === undefined ? undefined : presetOf(vendor)
  const targetOf = (id: string, apiKey: string, listed?: ListedModel): Target => ({
    entry,
    model: id,
    apiKey,
    name: model === undefined || name === undefined ? `${id}@${name ?? new URL(root).host}` : name,
    presumed: {
      preset: preset?.models?.find((one) => one.model === id),
      account: preset?.account?.limits,
      endpoints: listed && (listed.endpoints ?? endpointsNamed(id)),
    },
    identity: JSON.stringify([root, apiKey, id]),
  })
  const globs = globsOf(entry)
  if (globs !== undefined)
    return apiKeys.flatMap((apiKey) =>
      (listedBy(sourceOf(entry, config, apiKey)) ?? [])
        .filter(({ id }) => matchesGlobs(id, globs))
        .map((listed) => targetOf(listed.id, apiKey, listed)),
    )
  const models = model === undefined ? (preset?.models ?? []).map((one) => one.model) : [model]
  return models.flatMap((id) => apiKeys.map((apiKey) => targetOf(id, apiKey)))
}

/** What words in the name of a model say of what it serves, as vendors use them; the first that fits. */
const NAMED_ENDPOINTS: readonly (readonly [RegExp, Endpoint])[] = [
  [/rerank/i, 'rerank'],
  [/embed|\b(?:bge|e5|gte)-/i, 'embeddings'],
  [/moderation/i, 'moderations'],
  [/whisper|transcri|\btts\b|speech|\basr\b/i, 'audio'],
  [/dall-e|image|flux|stable-diffusion|\bsd(?:xl|3)|imagen|kolors|cogview|seedream/i, 'images'],
]

/** What a model without a word of its own is for. */
const TEXT_ENDPOINTS: readonly Endpoint[] = ['chat', 'completions', 'responses']

function endpointsNamed(model: string): readonly Endpoint[] {
  const named = NAMED_ENDPOINTS.find(([pattern]) => pattern.test(model))?.[1]
  return named === undefined ? TEXT_ENDPOINTS : [named]
}

/** What is known of an upstream is kept under this, whatever becomes of its name or weight. */
export const upstreamIdOf = ({ root, apiKey, model }: Pick<Upstream, 'root' | 'apiKey' | 'model'>): string =>
  fingerprint(`${root}\n${apiKey}\n${model}`)

function upstreamOf({ entry, model, apiKey, name, presumed }: Target, config: Config): Upstream {
  const { root, groups, weight, priority, headers, enabled } = entry
  const id = upstreamIdOf({ root, apiKey, model })
  const { origin } = new URL(root)
  const account = fingerprint(`${origin}\n${apiKey}`)
  const route = routeOf(entry, config)
  // Who writes limits knows better than a preset.
  const isPreset = entry.limits === undefined
  const limits = isPreset ? presumedLimits(presumed.preset?.limits) : entry.limits
  const shared = isPreset ? presumedLimits(presumed.account) : undefined
  // Named by fingerprints: the state is written to disk, and no key may stand there.
  const draws: LimitScope[] = [
    { scope: id, role: 'upstream', ...(limits && { limits }) },
    { scope: `key ${account}`, role: 'key' },
    { scope: `origin ${origin}`, role: 'origin' },
    ...(route?.proxy ? [{ scope: `proxy ${proxyKey(route.proxy)}`, role: 'proxy' as const }] : []),
    ...(shared
      ? [
          {
            scope: `quota ${entry.vendor} account ${account}`,
            role: 'account' as const,
            limits: shared,
          },
        ]
      : []),
    ...entry.quotas.flatMap((quota) => {
      const quotaLimits = config.quotas[quota]
      return quotaLimits ? [{ scope: `quota ${quota}`, role: 'quota' as const, limits: quotaLimits }] : []
    }),
  ]
  const claimFor = (endpoint: Endpoint): Claim => ({
    id,
    priority,
    draws: [...draws, { scope: `endpoint ${id} ${endpoint}`, role: 'endpoint' }],
  })
  const { preset } = presumed
  const served = entry.endpoints ?? (preset?.endpoints as readonly Endpoint[] | undefined) ?? endpoints
  return {
    id,
    rendezvousHash: hash01(id),
    name,
    model,
    root,
    query: entry.query ?? '',
    apiKey,
    keyPosition: entry.apiKeys.indexOf(apiKey) + 1,
    endpoints: new Set(served),
    groups,
    weight,
    priority,
    headers,
    timeoutMs: entry.timeoutMs ?? config.settings.timeoutMs,
    connectTimeoutMs: config.settings.connectTimeoutMs,
    ...(route && { route }),
    can: entry.can,
    contextTokens: entry.contextTokens,
    presumed: {
      can: preset?.can,
      contextTokens: preset?.context,
      endpoints:
        entry.endpoints === undefined && presumed.endpoints ? new Set(presumed.endpoints) : undefined,
    },
    edits: entry.edits,
    enabled,
    claims: Object.fromEntries(endpoints.map((each) => [each, claimFor(each)])) as Upstream['claims'],
  }
}

/** Limits of a preset. Requests at once are left to what the upstream says: to keep to a wrong number would be to refuse. */
function presumedLimits(written: PresetLimits | undefined): Limits | undefined {
  if (written === undefined) return undefined
  const { day_resets: dayResets = 'UTC', concurrency: _, ...limits } = written
  const { windows } = limitsFrom({ ...limits, dayResets })
  return { windows: windows.map((window) => ({ ...window, isPresumed: true })) }
}

/** All that tells one proxy from another, and no secret in it. */
const proxyKey = ({ kind, host, port, login }: Proxy): string =>
  fingerprint(JSON.stringify([kind, host, port, login?.user, login?.password]))

/** The way through a proxy, with the runtime's own certificates. */
export const routeThrough = (proxy: Proxy): UpstreamRoute => ({
  key: fingerprint(JSON.stringify(proxyKey(proxy))),
  proxy,
})

/** Undefined for a straight connection with the runtime's own certificates. */
function routeOf({ proxy: own, trust = {} }: ModelConfig, { settings }: Config): UpstreamRoute | undefined {
  const chosen = own ?? settings.proxy
  const proxy = chosen === 'direct' ? undefined : chosen
  const { ca, insecure } = trust
  if (proxy === undefined && ca === undefined && insecure === undefined) return undefined
  const key = fingerprint(JSON.stringify([proxy && proxyKey(proxy), ca, insecure]))
  return { key, ...(proxy && { proxy }), trust }
}
