import {
  AZURE_KEY_HEADER,
  azureDeployment,
  keyVariableOf,
  presetAddress,
  rootWith,
  unreachable,
  type VendorAddress,
} from './addresses.ts'
import { fieldsIn, modelsFrom, type Draft, type DraftModel, type Importer, type MadeModels } from './draft.ts'
import { entryOf, type Part } from './part.ts'
import type { Variables } from './variables.ts'

/** `os.environ/NAME` in the place of any value. https://docs.litellm.ai/docs/proxy/configs */
const reference = /^os\.environ\/([A-Za-z_]\w*)$/g

/** LiteLLM's config.yaml. https://docs.litellm.ai/docs/proxy/configs and /docs/routing */
function read(root: Part, variables: Variables): Draft {
  const environment = root.part('environment_variables')
  for (const name of environment.keys()) {
    const value = environment.peek(name)
    if (value !== undefined) variables.define(name, value)
  }
  const credentials = new Map(
    root.parts('credential_list').map((entry) => {
      entry.part('credential_info')
      return [entry.text('credential_name'), entry.part('credential_values')] as const
    }),
  )
  const models = root.parts('model_list').flatMap((entry) => {
    const params = entry.part('litellm_params')
    const credential = credentials.get(params.text('litellm_credential_name'))
    return modelsFrom(entry, modelsOf({ entry, params, credential, variables }))
  })

  const router = root.part('router_settings')
  const settings = root.part('litellm_settings')
  orderTheRest(models)
  addFallbacks(models, [...fallbacksIn(router), ...fallbacksIn(settings)])
  for (const [alias, name] of aliasesIn(router.part('model_group_alias')))
    for (const { clients } of models) if (clients.includes(name)) clients.push(alias)

  const masterKey = root.part('general_settings').text('master_key')
  const timeout = router.number('timeout')
  const requestTimeout = settings.number('request_timeout')
  if (timeout !== undefined && requestTimeout !== undefined)
    settings.leave('router_settings.timeout counts', 'request_timeout')
  const draft = {
    authToken: masterKey && variables.secret(masterKey, 'LITELLM_MASTER_KEY'),
    models,
    settings: {
      strategy: strategyOf(router, models),
      affinity: 'conversation',
      timeout: timeout ?? requestTimeout,
    },
  }
  for (const name of environment.keys()) if (variables.isReferred(name)) environment.text(name)
  return draft
}

interface Deployment {
  readonly entry: Part
  readonly params: Part
  readonly credential: Part | undefined
  readonly variables: Variables
}

function modelsOf({ entry, params, credential, variables }: Deployment): MadeModels {
  const text = (key: string): string | undefined => params.text(key) ?? credential?.text(key)
  const written = text('model')
  const client = entry.text('model_name') ?? written
  if (written === undefined || client === undefined) return 'it names no model'
  const { provider, model } = providerOf(written, text('custom_llm_provider'))
  const base = text('api_base') ?? text('base_url')
  const place = placeOf({ provider, model, base, version: text('api_version') })
  if (typeof place === 'string') return place
  const isWildcard = place.model.includes('*')
  if (client.includes('*') !== isWildcard || (isWildcard && place.isAzure))
    return 'its wildcard stands for no list of models; add each model by its name'
  if (isWildcard && client !== model)
    entry.leave('clients ask for each model by the name that its vendor gives it', 'model_name')
  const address = variables.written(place.address)
  const key = text('api_key')
  const isUsual = place.usualKey !== undefined && (base === undefined || place.isAzure)
  const known = key && variables.secret(key, (isUsual && place.usualKey) || keyVariableOf(address))
  const info = entry.part('model_info')
  const organization = params.text('organization')
  const quantity = (name: string, parts: readonly Part[] = [params]) => quantityIn({ parts, name, variables })
  return [
    {
      base_url: place.finish(address),
      model: place.model,
      clients: isWildcard ? [] : [client],
      // What is not in the file, LiteLLM takes from the variable of the vendor.
      api_key: known ?? (place.usualKey && variables.refer(place.usualKey)),
      key_header: place.isAzure ? AZURE_KEY_HEADER : undefined,
      priority: params.number('order') ?? info.number('order'),
      weight: quantity('weight'),
      limits: {
        rpm: quantity('rpm', [params, entry]),
        tpm: quantity('tpm', [params, entry]),
        concurrency: quantity('max_parallel_requests'),
      },
      endpoints: endpointsOf(info),
      headers: {
        ...variables.headersIn(params.part('extra_headers')),
        ...(organization !== undefined && { 'openai-organization': variables.written(organization) }),
      },
      params: parametersIn(params, variables),
      timeout: quantity('timeout'),
    },
  ]
}

/**
 * Parameters of requests stand among the others and give way to the client's; `extra_body` is put over the body.
 * https://docs.litellm.ai/docs/completion/input
 */
function parametersIn(params: Part, variables: Variables) {
  const set = fieldsIn(params.part('extra_body'), variables)
  const absent = fieldsIn(params, variables, PARAMETERS)
  for (const name of Object.keys(set)) delete absent[name]
  return { set, default: absent }
}

const PARAMETERS = (
  'temperature,top_p,top_k,min_p,n,stop,seed,max_tokens,max_completion_tokens,presence_penalty,user,' +
  'frequency_penalty,repetition_penalty,logit_bias,logprobs,top_logprobs,response_format,reasoning_effort,' +
  'thinking,verbosity,tools,tool_choice,parallel_tool_calls,modalities,service_tier,store,stream_options,dimensions'
).split(',')

/** `provider/model`, or a model whose name says who makes it. */
function providerOf(written: string, custom: string | undefined) {
  const [, head, rest = written] = /^([^/]+)\/(.+)$/.exec(written) ?? []
  if (custom !== undefined) return { provider: custom, model: head === custom ? rest : written }
  const maker = MAKERS.find(([pattern]) => pattern.test(written))?.[1]
  const isMaker = maker !== undefined && providerAt(head) === undefined
  return isMaker ? { provider: maker, model: written } : { provider: head, model: rest }
}

const MAKERS: readonly (readonly [RegExp, string])[] = [
  [
    /^(?:\*$|gpt-|chatgpt-|o\d|ft:gpt|text-embedding-|dall-e|whisper|tts-|omni-moderation|davinci|babbage)/,
    'openai',
  ],
  [/^claude/, 'anthropic'],
  [/^gemini/, 'vertex_ai'],
  [/^command/, 'cohere'],
]

/**
 * Who is meant by a name of LiteLLM's: an address, a server that somebody runs (the path of OpenAI's form below the
 * address that the file gives), or why it can't be reached.
 */
type Provider = VendorAddress | { readonly below: string } | string

/** The providers of LiteLLM that have another id here, or a preset of their own name that is another account. */
const PRESETS: Readonly<Record<string, string>> = {
  'text-completion-openai': 'openai',
  together_ai: 'together',
  fireworks_ai: 'fireworks',
  nvidia_nim: 'nvidia',
  moonshot: 'moonshot-ai',
  minimax: 'minimax-io',
  cohere_chat: 'cohere',
}

/**
 * All others but those with a preset of their name. Addresses from LiteLLM
 * (BerriAI/litellm, litellm/litellm_core_utils/get_llm_provider_logic.py, read in November 2026).
 */
const PROVIDERS: Readonly<Record<string, Provider>> = {
  ...named('openai_like,custom_openai,aiohttp_openai,hosted_vllm,vllm,lm_studio,llamafile', { below: '' }),
  ...named('litellm_proxy,xinference,infinity,docker_model_runner,azure,azure_ai,databricks', { below: '' }),
  ...named('ollama,ollama_chat', { below: '/v1' }),
  ...named('anthropic,anthropic_text', unreachable.anthropic),
  ...named('bedrock,bedrock_converse,sagemaker,sagemaker_chat', unreachable.amazon),
  ...named('vertex_ai,vertex_ai_beta', unreachable.vertex),
  // GitHub Models ended in July, chat completions of Perplexity in September.
  ...named('github,perplexity', unreachable.retired),
  codestral: { root: 'https://codestral.mistral.ai/v1', variable: 'CODESTRAL_API_KEY' },
  deepinfra: { root: 'https://api.deepinfra.com/v1/openai', variable: 'DEEPINFRA_API_KEY' },
  novita: { root: 'https://api.novita.ai/v3/openai', variable: 'NOVITA_API_KEY' },
  hyperbolic: { root: 'https://api.hyperbolic.xyz/v1', variable: 'HYPERBOLIC_API_KEY' },
  nebius: { root: 'https://api.studio.nebius.ai/v1', variable: 'NEBIUS_API_KEY' },
  meta_llama: { root: 'https://api.llama.com/compat/v1', variable: 'LLAMA_API_KEY' },
  friendliai: { root: 'https://api.friendli.ai/serverless/v1', variable: 'FRIENDLI_TOKEN' },
  ...named('ai21,ai21_chat', { root: 'https://api.ai21.com/studio/v1', variable: 'AI21_API_KEY' }),
}

function named(names: string, provider: Provider): Record<string, Provider> {
  return Object.fromEntries(names.split(',').map((name) => [name, provider]))
}

const providerAt = (name = ''): Provider | undefined =>
  entryOf(PROVIDERS, name) ?? presetAddress(entryOf(PRESETS, name) ?? name)

interface Wanted {
  readonly provider: string | undefined
  readonly model: string
  readonly base: string | undefined
  readonly version: string | undefined
}

/** Where a deployment is called, before and after references in it are replaced. */
interface Place {
  readonly address: string
  readonly finish: (address: string) => string
  readonly model: string
  readonly isAzure: boolean
  /** The variable in which LiteLLM looks for a key that the file lacks. */
  readonly usualKey?: string
}

/** Of LiteLLM itself, before the name of a model or deployment. https://docs.litellm.ai/docs/providers/azure */
const ROUTES = /^(?:responses|o_series|gpt5_series)\//

function placeOf({ provider: name, model: routed, base, version }: Wanted): Place | string {
  if (name === undefined) return 'the model does not say its vendor; write vendor/model'
  const model = routed.replace(ROUTES, '')
  const place = { model, finish: (given: string) => rootWith(given, ''), isAzure: false }
  if (name === 'azure' || (name === 'azure_ai' && /\.azure\.com/.test(base ?? ''))) {
    // https://docs.litellm.ai/docs/providers/azure_ai: models of the Foundry are behind one path.
    const isFirstVersion =
      /^(?:preview|latest|v1)$/.test(version ?? '') || /\/openai\/v1\/?$/.test(base ?? '')
    const finish = (given: string): string => {
      if (name === 'azure_ai') return `${rootWith(given, '/models')}?api-version=2024-05-01-preview`
      return isFirstVersion ? rootWith(given, '/openai/v1') : azureDeployment(given, model, version)
    }
    const address = base ?? 'os.environ/AZURE_API_BASE'
    return { ...place, address, finish, isAzure: true, usualKey: 'AZURE_API_KEY' }
  }
  const provider = providerAt(name) ?? unreachable.other
  if (typeof provider === 'string') return provider
  if ('root' in provider) {
    // https://docs.litellm.ai/docs/providers/fireworks_ai: short names are those of Fireworks' own account.
    const isShort = name === 'fireworks_ai' && !/^accounts\/|#/.test(model)
    const whole = isShort ? `accounts/fireworks/models/${model}` : model
    return { ...place, model: whole, address: base ?? provider.root, usualKey: provider.variable }
  }
  const { below } = provider
  const address = base ?? (below === '' ? undefined : 'http://localhost:11434')
  if (address === undefined) return unreachable.other
  return { ...place, address, finish: (given) => rootWith(given, below) }
}

/** Who has no `order` comes after all of its group that have one (`_get_order_filtered_deployments` of litellm/utils.py). */
function orderTheRest(models: readonly DraftModel[]): void {
  const last = new Map<string | undefined, number>()
  for (const { clients, priority } of models)
    if (priority !== undefined) last.set(clients[0], Math.max(priority, last.get(clients[0]) ?? priority))
  for (const model of models) {
    const order = last.get(model.clients[0])
    if (order !== undefined && model.clients.length > 0) model.priority ??= order + 1
  }
}

/** A number above 0, or a reference to one, of the first part that has it. */
function quantityIn(asked: {
  readonly parts: readonly Part[]
  readonly name: string
  readonly variables: Variables
}): number | string | undefined {
  const { parts, name, variables } = asked
  const part = parts.find((each) => each.has(name))
  const number = part?.positive(name)
  if (part === undefined || number !== undefined) return number
  const text = part.text(name) ?? ''
  if (text.search(reference) >= 0) return variables.written(text)
  part.leave('is no number above 0; leave it out for no limit', name)
  return undefined
}

/** https://docs.litellm.ai/docs/proxy/health: `mode` says for what a model is. */
function endpointsOf(info: Part): readonly string[] | undefined {
  const mode = info.text('mode')
  const endpoint = entryOf(MODES, mode)
  if (mode !== undefined && mode !== 'chat' && endpoint === undefined)
    info.leave('no endpoint that is relayed', 'mode')
  return endpoint === undefined ? undefined : [endpoint]
}

const MODES: Readonly<Record<string, string>> = {
  completion: 'completions',
  embedding: 'embeddings',
  rerank: 'rerank',
  moderation: 'moderations',
  image_generation: 'images',
  audio_transcription: 'audio',
  audio_speech: 'audio',
  responses: 'responses',
}

/** https://docs.litellm.ai/docs/routing: without one it draws, by weight or, where there is none, by rpm and tpm. */
function strategyOf(router: Part, models: readonly DraftModel[]): string {
  const written = router.text('routing_strategy') ?? 'simple-shuffle'
  const hasLimits = models.some(({ limits = {} }) =>
    Object.values(limits).some((limit) => limit !== undefined),
  )
  const isByLimits = hasLimits && models.every(({ weight }) => weight === undefined)
  if (written === 'simple-shuffle' && isByLimits) return 'headroom'
  const strategy = entryOf(STRATEGIES, written)
  if (strategy === undefined)
    router.leave('no strategy is like it; "headroom" takes its place', 'routing_strategy')
  return strategy ?? 'headroom'
}

const STRATEGIES: Readonly<Record<string, string>> = {
  'simple-shuffle': 'random',
  'least-busy': 'least_busy',
  'latency-based-routing': 'fastest',
  'usage-based-routing': 'headroom',
  'usage-based-routing-v2': 'headroom',
}

/** `alias: name`, or `alias: {model: name, hidden: true}`. https://docs.litellm.ai/docs/proxy/load_balancing */
const aliasesIn = (aliases: Part): (readonly [alias: string, name: string])[] =>
  aliases.keys().flatMap((alias) => {
    const name = aliases.text(alias) ?? aliases.part(alias).text('model')
    return name === undefined ? [] : [[alias, name] as const]
  })

/** `fallbacks: [{name: [first, second]}]`. https://docs.litellm.ai/docs/proxy/reliability */
interface Fallback {
  readonly from: string
  readonly to: readonly string[]
  readonly leave: (why: string) => void
}

const fallbacksIn = (part: Part): Fallback[] =>
  part.parts('fallbacks').flatMap((chain) =>
    chain.keys().map((from) => ({
      from,
      to: chain.texts(from),
      leave: (why: string) => chain.leave(why, from),
    })),
  )

/** A fallback becomes a lower tier: its models join the group that they stand in for, behind those that are in it. */
function addFallbacks(models: readonly DraftModel[], fallbacks: readonly Fallback[]): void {
  const names = new Set(models.flatMap(({ clients }) => clients))
  const behind = new Map<string, Set<string>>()
  const joins: (readonly [group: string, member: string])[] = []
  for (const { from, to, leave } of fallbacks) {
    for (const [at, name] of to.entries()) {
      const ahead = to[at - 1] ?? from
      if (!names.has(name) || !names.has(from)) leave('names a model that was not carried over')
      else if (isBehind(ahead, name, behind)) leave('leads back to where it began, which tiers cannot')
      else {
        behind.set(ahead, (behind.get(ahead) ?? new Set<string>()).add(name))
        joins.push([from, name])
      }
    }
  }
  const tiers = tiersOf(behind)
  const orders = models.map(({ priority = 0 }) => priority)
  const span = orders.reduce((most, order) => Math.max(most, order), 0) + 1
  for (const model of models) {
    const tier = Math.max(...model.clients.map((name) => tiers.get(name) ?? 0))
    if (tier > 0) model.priority = (model.priority ?? 0) + tier * span
  }
  const members = joins.map(([, name]) => models.filter(({ clients }) => clients.includes(name)))
  for (const [at, [group]] of joins.entries())
    for (const { clients } of members[at] ?? []) clients.push(group)
}

/** Whether a name comes after another, or is it. */
function isBehind(name: string, other: string, behind: ReadonlyMap<string, ReadonlySet<string>>): boolean {
  const reached = new Set([other])
  for (const each of reached) for (const next of behind.get(each) ?? []) reached.add(next)
  return reached.has(name)
}

/** How many tiers are ahead of each name. There are no circles in `behind`. */
function tiersOf(behind: ReadonlyMap<string, ReadonlySet<string>>): ReadonlyMap<string, number> {
  const tiers = new Map<string, number>()
  for (let layer = new Set(behind.keys()), tier = 1; layer.size > 0; tier += 1) {
    layer = new Set([...layer].flatMap((name) => [...(behind.get(name) ?? [])]))
    for (const name of layer) tiers.set(name, tier)
  }
  return tiers
}

export const liteLlm: Importer = { read, reference }
