import {
  AZURE_KEY_HEADER,
  azureDeployment,
  keyVariableOf,
  presetAddress,
  rootWith,
  unreachable,
} from './addresses.ts'
import {
  fieldsIn,
  modelsFrom,
  proxyIn,
  type Draft,
  type DraftParams,
  type Importer,
  type MadeModels,
} from './draft.ts'
import { entryOf, type Part } from './part.ts'
import type { Variables } from './variables.ts'

/** `${NAME}` and `${NAME:-default}` in any text (`expand_string` of its config.rs). */
const reference = /\$\{([A-Za-z_]\w*)(?::-[^}]*)?\}/g

/** uni-api's api.yaml, as its README explains it (yym68686/uni-api at 7abb50a). */
function read(root: Part, variables: Variables): Draft {
  const apiKeys = root.parts('api_keys')
  const [client] = apiKeys
  const preferences = root.part('preferences')
  const weights = weightsOf(apiKeys)
  const models = root
    .parts('providers')
    .flatMap((provider) =>
      modelsFrom(provider, providerModels({ provider, weights, variables, preferences })),
    )
  const tokens = apiKeys.flatMap((key) => key.text('api') ?? [])
  const algorithm = client?.part('preferences').text('SCHEDULING_ALGORITHM') ?? 'fixed_priority'
  return {
    authToken: tokens.map((token) => variables.secret(token, 'UNI_API_KEY')),
    models,
    settings: {
      strategy: entryOf(STRATEGIES, algorithm) ?? 'headroom',
      affinity: 'conversation',
      timeout: timeoutIn(preferences, []),
      proxy: proxyIn(preferences, 'proxy', variables),
    },
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
      const weight = rule.positive(name)
      if (weight !== undefined) weights.set(name, weight)
    }
  for (const key of apiKeys)
    if (key.has('model')) key.leave('not limited here: every client may use every model', 'model')
  return weights
}

interface Provider {
  readonly provider: Part
  readonly weights: ReadonlyMap<string, number>
  readonly variables: Variables
  /** Those of all providers. */
  readonly preferences: Part
}

function providerModels({ provider, weights, variables, preferences: common }: Provider): MadeModels {
  const name = provider.text('provider') ?? 'provider'
  const named = modelsIn(provider)
  const place = placeOf(provider, name)
  if (typeof place === 'string') return place
  if (named.length === 0 && place.isAzure) return 'it lists no deployments; write those that you use'
  const preferences = provider.part('preferences')
  const wanted = keyVariableOf(place.addressOf(''))
  const shared = {
    api_key: provider.texts('api').map((key) => variables.secret(key, wanted)),
    key_header: place.isAzure ? AZURE_KEY_HEADER : undefined,
    endpoints: place.endpoints,
    headers: variables.headersIn(preferences.part('headers')),
    proxy: proxyIn(preferences, 'proxy', variables),
    can: provider.text('tools') === 'false' ? { tools: false } : undefined,
  }
  const overrides = preferences.part('post_body_parameter_overrides')
  const clients = named.map(([, client]) => client)
  const asked = named.length > 0 ? named : [['*', undefined] as const]
  return asked.map(([model, client]) => {
    const names = client === undefined ? [] : [client, model]
    return {
      ...shared,
      base_url: variables.written(place.addressOf(model)),
      model,
      clients: client === undefined ? [] : [client],
      name: client && (named.length === 1 ? name : `${client}@${name}`),
      weight: weights.get(`${name}/${client}`) ?? weights.get(`${name}/*`),
      limits: limitsOf(preferences, names),
      params: paramsOf(overrides, { client, clients }, variables),
      timeout: timeoutIn(preferences, names) ?? ownTimeoutIn(common, names),
    }
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

/** Fields that are set for all models, below the name of one for that alone; `__remove__` lists those that go. No field of
 * OpenAI's has a hyphen, and names of models do. */
function paramsOf(
  overrides: Part,
  { client, clients }: { readonly client: string | undefined; readonly clients: readonly string[] },
  variables: Variables,
): DraftParams {
  const isName = (key: string): boolean => /[- ]/.test(key) || clients.includes(key)
  const common = overrides.keys().filter((key) => key !== '__remove__' && !isName(key))
  const own = client === undefined ? {} : fieldsIn(overrides.part(client), variables)
  const set = { ...fieldsIn(overrides, variables, common), ...own }
  return { set, drop: overrides.texts('__remove__').filter((name) => !Object.hasOwn(set, name)) }
}

interface Place {
  readonly addressOf: (model: string) => string
  readonly endpoints?: readonly string[]
  readonly isAzure?: boolean
}

/** By `engine`, else by what its `infer_engine` sees in the address. */
function placeOf(provider: Part, name: string): Place | string {
  const engine = (provider.text('engine') ?? '').toLowerCase()
  const account = provider.text('cf_account_id')
  const base = provider.text('base_url') ?? ''
  const refused = REFUSED.find(([pattern]) => pattern.test(engine) || pattern.test(base))?.[1]
  const why = refused ?? (name.startsWith('vertex') ? 'vertex' : undefined)
  if (why !== undefined) return unreachable[why]
  if (account !== undefined)
    return { addressOf: () => `https://api.cloudflare.com/client/v4/accounts/${account}/ai/v1` }
  const known = presetAddress(VENDORS.find(([pattern]) => pattern.test(base))?.[1] ?? '')
  if (known !== undefined) return { addressOf: () => known.root }
  if (engine === 'gemini') return unreachable.other
  if (/\.azure\.com/.test(base)) {
    const isWhole = /\/models|\/openai\//.test(base)
    return { addressOf: (model) => (isWhole ? base : azureDeployment(base, model)), isAzure: true }
  }
  if (/azuredatabricks\.net\/?$/.test(base)) return { addressOf: () => rootWith(base, '/serving-endpoints') }
  const [, root = base, endpoint] =
    /^(.*?)\/(responses|embeddings|moderations|images|audio)(?:\/|$)/.exec(base) ?? []
  return { addressOf: () => root, ...(endpoint !== undefined && { endpoints: [endpoint] }) }
}

const REFUSED: readonly (readonly [RegExp, keyof typeof unreachable])[] = [
  [/^claude$|\/v1\/messages|\/claude\//, 'anthropic'],
  [/^aws$|amazonaws\.com/, 'amazon'],
  [/^vertex|aiplatform\.googleapis\.com/, 'vertex'],
  [/models\.inference\.ai\.azure\.com|models\.github\.ai|api\.perplexity\.ai/, 'retired'],
  [/^codex$|chatgpt\.com|tavily\.com/, 'other'],
]

/** Called by their own protocols there; the same keys open their OpenAI form. */
const VENDORS: readonly (readonly [RegExp, string])[] = [
  [/generativelanguage\.googleapis\.com/, 'gemini'],
  [/api\.cohere\.(?:com|ai)/, 'cohere'],
]

function timeoutIn(preferences: Part, names: readonly string[]): number | undefined {
  const timeout = Number(perModel(preferences, 'model_timeout', names) ?? 0)
  return timeout > 0 ? timeout : undefined
}

/** That of a model, where it is not that of all. */
function ownTimeoutIn(common: Part, names: readonly string[]): number | undefined {
  const timeout = timeoutIn(common, names)
  return timeout === timeoutIn(common, []) ? undefined : timeout
}

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
function limitsOf(preferences: Part, names: readonly string[]): Record<string, unknown> {
  const written = perModel(preferences, 'api_key_rate_limit', names) ?? ''
  const limits: Record<string, unknown> = {}
  const windows: object[] = []
  for (const each of written.split(',').filter(Boolean)) {
    const [, count = '', unit = ''] = /^\s*(\d+)\s*\/\s*([a-z]+)\s*$/i.exec(each) ?? []
    const limit = UNITS.find(([pattern]) => pattern.test(unit))?.[1]
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
const UNITS: readonly (readonly [RegExp, string])[] = [
  [/^s(?:ec(?:ond)?)?$/i, '1s'],
  [/^m(?:in(?:ute)?)?$/i, 'rpm'],
  [/^h(?:r|our)?$/i, '1h'],
  [/^d(?:ay)?$/i, 'rpd'],
  [/^mo(?:nth)?$/i, 'month'],
]

export const uniApi: Importer = { read, reference }
