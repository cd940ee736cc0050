import {
  AZURE_VERSION,
  azureDeployment,
  keyVariableOf,
  rootWith,
  unreachable,
  vendorAddress,
} from './addresses.ts'
import { filled, type Draft, type DraftLimits, type DraftModel, type Importer } from './draft.ts'
import { entryOf, type Part } from './part.ts'
import type { Variables } from './variables.ts'

/** `${NAME}` and `${NAME:-default}` in any text (`expand_string` of its config.rs). */
const reference = /\$\{([A-Za-z_]\w*)(?::-[^}]*)?\}/g

const BY_ITSELF = 'AILoad does this by itself'
const PASSED_ON = 'requests are passed on as they are'

/** Why what nobody takes is left. */
const reasons: Readonly<Record<string, string>> = {
  post_body_parameter_overrides: PASSED_ON,
  api_key_schedule_algorithm: 'each key is an upstream of its own, and settings.strategy chooses among all',
  api_key_cooldown_period: BY_ITSELF,
  api_key_quota_cooldown_period: BY_ITSELF,
  cooldown_period: BY_ITSELF,
  AUTO_RETRY: BY_ITSELF,
  error_triggers: BY_ITSELF,
  rate_limit: 'limits are those of upstreams and not of clients',
  role: 'every token opens everything here',
  credits: 'money is not counted',
  created_at: 'money is not counted',
  model_price: 'money is not counted',
  proxy: 'set HTTPS_PROXY, or settings.proxy',
  keepalive_interval: 'see settings.heartbeat',
  notes: 'a note',
}

/** uni-api's api.yaml, as its README explains it (yym68686/uni-api at 7abb50a). */
function read(root: Part, variables: Variables): Draft {
  const apiKeys = root.parts('api_keys')
  const [client] = apiKeys
  const preferences = root.part('preferences')
  const weights = weightsOf(apiKeys)
  const models = root
    .parts('providers')
    .flatMap((provider) => providerModels({ provider, weights, variables }))
  const tokens = apiKeys.flatMap((key) => key.text('api') ?? [])
  const algorithm = client?.part('preferences').text('SCHEDULING_ALGORITHM') ?? 'fixed_priority'
  const timeout = perModel(preferences, 'model_timeout', ['default'])
  return {
    authToken: tokens.map((token) => variables.secret(token, 'UNI_API_KEY')),
    models,
    settings: filled({
      strategy: entryOf(STRATEGIES, algorithm) ?? 'headroom',
      affinity: 'conversation',
      timeout: timeout === undefined || Number(timeout) <= 0 ? undefined : Number(timeout),
    }),
  }
}

const STRATEGIES: Readonly<Record<string, string>> = {
  fixed_priority: 'in_order',
  round_robin: 'round_robin',
  weighted_round_robin: 'round_robin',
  lottery: 'random',
  random: 'random',
}

/** `provider/*: 5` among the models of the first client. */
function weightsOf(apiKeys: readonly Part[]): ReadonlyMap<string, number> {
  const weights = new Map<string, number>()
  for (const rule of apiKeys[0]?.parts('model') ?? [])
    for (const name of rule.keys()) {
      const weight = rule.number(name)
      if (weight !== undefined && weight > 0) weights.set(name, weight)
    }
  for (const key of apiKeys)
    if (key.has('model')) key.leave('not limited here: every client may use every model', 'model')
  return weights
}

interface Provider {
  readonly provider: Part
  readonly weights: ReadonlyMap<string, number>
  readonly variables: Variables
}

function providerModels({ provider, weights, variables }: Provider): DraftModel[] {
  const name = provider.text('provider') ?? 'provider'
  const base = provider.text('base_url')
  const named = modelsIn(provider)
  const place = placeOf({ provider, name, base: base ?? '' })
  if ('why' in place) {
    provider.leave(place.why)
    return []
  }
  if (named.length === 0 && place.keyHeader !== undefined) {
    provider.leave('left out, since it lists no deployments; write those that you use')
    return []
  }
  const preferences = provider.part('preferences')
  const keys = provider.texts('api').map((key) => variables.secret(key, keyVariableOf(place.addressOf(''))))
  const headers = preferences.part('headers')
  const extra = headers
    .keys()
    .map((header) => [header, variables.header(header, headers.text(header) ?? '')] as const)
  const tools = provider.flag('tools')
  const asked = named.length > 0 ? named : [['*', undefined] as const]
  return asked.flatMap(([model, client]) => {
    const names = client === undefined ? [] : [client, model]
    const timeout = Number(perModel(preferences, 'model_timeout', names) ?? 0)
    const shared = {
      from: provider,
      base_url: variables.written(place.addressOf(model)),
      ...(client === undefined
        ? { models: model, clients: [] }
        : { model: variables.written(model), clients: [variables.written(client)] }),
      name: client && variables.written(named.length === 1 ? name : `${client}@${name}`),
      weight: weights.get(`${name}/${client}`) ?? weights.get(`${name}/*`),
      limits: limitsOf(preferences, names),
      endpoints: place.endpoints,
      timeout: timeout > 0 ? timeout : undefined,
      can: tools === false ? { tools } : undefined,
    }
    const { keyHeader } = place
    const rest = Object.fromEntries(extra)
    if (keyHeader === undefined) return [filled<DraftModel>({ ...shared, api_key: keys, headers: rest })]
    return keys.map((key) => filled<DraftModel>({ ...shared, headers: { [keyHeader]: key, ...rest } }))
  })
}

/** A name, or `{name of the vendor: name for clients}`. */
function modelsIn(provider: Part): (readonly [model: string, client: string])[] {
  const names = provider.texts('model').map((name) => [name, name] as const)
  const renamed = provider
    .parts('model')
    .flatMap((item) => item.keys().map((model) => [model, item.text(model) ?? model] as const))
  return [...names, ...renamed]
}

interface Place {
  readonly addressOf: (model: string) => string
  readonly endpoints?: readonly string[]
  readonly keyHeader?: string
}

/** By `engine`, else by what its `infer_engine` sees in the address. */
function placeOf({
  provider,
  name,
  base,
}: {
  readonly provider: Part
  readonly name: string
  readonly base: string
}): Place | { readonly why: string } {
  const engine = (provider.text('engine') ?? '').toLowerCase()
  const account = provider.text('cf_account_id')
  const why = REFUSED.find(([pattern]) => pattern.test(engine) || pattern.test(base))?.[1]
  if (why !== undefined) return { why: unreachable[why] ?? '' }
  if (engine === 'vertex' || name.startsWith('vertex')) return { why: unreachable['vertex'] ?? '' }
  if (account !== undefined)
    return { addressOf: () => `https://api.cloudflare.com/client/v4/accounts/${account}/ai/v1` }
  const vendor = VENDORS.find(([pattern]) => pattern.test(base))?.[1]
  const known = vendor === undefined ? undefined : vendorAddress(vendor)?.root
  if (known !== undefined) return { addressOf: () => known }
  if (engine === 'gemini') return { why: unreachable['other'] ?? '' }
  if (/\.azure\.com/.test(base)) {
    const isWhole = /\/models|\/openai\//.test(base)
    return {
      addressOf: (model) => (isWhole ? base : azureDeployment(base, model, AZURE_VERSION)),
      keyHeader: 'api-key',
    }
  }
  if (/azuredatabricks\.net\/?$/.test(base)) return { addressOf: () => rootWith(base, '/serving-endpoints') }
  const [, root = base, endpoint = ''] =
    /^(.*?)\/(responses|embeddings|moderations|images|audio)(?:\/|$)/.exec(base) ?? []
  return { addressOf: () => root, ...(endpoint !== '' && { endpoints: [endpoint] }) }
}

const REFUSED: readonly (readonly [RegExp, string])[] = [
  [/^claude$|\/v1\/messages|\/claude\//, 'anthropic'],
  [/^aws$|amazonaws\.com/, 'bedrock'],
  [/^vertex|aiplatform\.googleapis\.com/, 'vertex'],
  [/models\.inference\.ai\.azure\.com|models\.github\.ai|api\.perplexity\.ai/, 'retired'],
  [/^codex$|chatgpt\.com|tavily\.com/, 'other'],
]

/** Called by their own protocols there; the same keys open their OpenAI form. */
const VENDORS: readonly (readonly [RegExp, string])[] = [
  [/generativelanguage\.googleapis\.com/, 'gemini'],
  [/api\.cohere\.(?:com|ai)/, 'cohere'],
]

/** One value for all, or one by model: the name itself, else a part of it, else `default`. */
function perModel(preferences: Part, key: string, names: readonly string[]): string | undefined {
  const alone = preferences.text(key)
  if (alone !== undefined) return alone
  const table = preferences.part(key)
  const keys = table.keys()
  const near = names.flatMap((name) => keys.find((each) => each !== 'default' && name.includes(each)) ?? [])
  const found = [...names.filter((name) => keys.includes(name)), ...near, 'default']
  return table.text(found[0] ?? 'default')
}

/** `15/min,10/day`: for each key. https://github.com/yym68686/uni-api#how-does-api_key_rate_limit-work */
function limitsOf(preferences: Part, names: readonly string[]): DraftLimits {
  const written = perModel(preferences, 'api_key_rate_limit', names) ?? ''
  const limits: Record<string, unknown> = {}
  const windows: object[] = []
  for (const each of written.split(',').filter(Boolean)) {
    const [, count = '', unit = ''] = /^\s*(\d+)\s*\/\s*([a-z]+)\s*$/i.exec(each) ?? []
    const limit = entryOf(UNITS, unit.toLowerCase())
    const requests = Number(count)
    if (limit === undefined || requests < 1)
      preferences.leave(
        'has a limit that is neither by second, minute, hour, day nor month',
        'api_key_rate_limit',
      )
    else if (limit === 'rpm' || limit === 'rpd') limits[limit] = requests
    else windows.push({ requests, per: limit })
  }
  return { ...limits, ...(windows.length > 0 && { windows }) }
}

/** Keys of `limits`, or spans of its windows. */
const UNITS: Readonly<Record<string, string>> = {
  s: '1s',
  sec: '1s',
  second: '1s',
  m: 'rpm',
  min: 'rpm',
  minute: 'rpm',
  h: '1h',
  hr: '1h',
  hour: '1h',
  d: 'rpd',
  day: 'rpd',
  mo: 'month',
  month: 'month',
}

export const uniApi: Importer = { read, reasons, reference }
