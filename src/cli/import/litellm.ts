import {
  AZURE_VERSION,
  azureDeployment,
  keyVariableOf,
  rootWith,
  unreachable,
  vendorAddress,
} from './addresses.ts'
import { filled, type Draft, type DraftModel, type Importer } from './draft.ts'
import { entryOf, type Part } from './part.ts'
import type { Variables } from './variables.ts'

/** `os.environ/NAME` in the place of any value. https://docs.litellm.ai/docs/proxy/configs */
const reference = /^os\.environ\/([A-Za-z_]\w*)$/g

const CHANGES_REQUESTS = 'a parameter of requests; let clients send it'
const BY_ITSELF = 'AILoad does this by itself'

/** Why what nobody takes is left. https://docs.litellm.ai/docs/proxy/config_settings */
const reasons: Readonly<Record<string, string>> = {
  temperature: CHANGES_REQUESTS,
  max_tokens: CHANGES_REQUESTS,
  top_p: CHANGES_REQUESTS,
  seed: CHANGES_REQUESTS,
  extra_body: CHANGES_REQUESTS,
  drop_params: 'requests are passed on as they are',
  num_retries: BY_ITSELF,
  max_retries: BY_ITSELF,
  retry_policy: BY_ITSELF,
  allowed_fails: BY_ITSELF,
  cooldown_time: BY_ITSELF,
  context_window_fallbacks:
    'what is too long for one model is tried with the others of its group; put them into one group',
  content_policy_fallbacks:
    'what one model refuses is tried with the others of its group; put them into one group',
  default_fallbacks: 'there is no group for everything that fails; ask for the model "auto"',
  model_info: 'limits and abilities are learned from answers',
  cache: 'answers are not cached',
  cache_params: 'answers are not cached',
  callbacks: 'see /metrics and the log',
  success_callback: 'see /metrics and the log',
  failure_callback: 'see /metrics and the log',
  database_url: 'there is no database',
  hidden: 'every name is listed',
}

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
    return modelsOf({ entry, params, credential, variables })
  })

  const router = root.part('router_settings')
  const settings = root.part('litellm_settings')
  const general = root.part('general_settings')
  orderTheRest(models)
  addFallbacks(models, [...fallbacksIn(router), ...fallbacksIn(settings)])
  for (const [alias, name] of aliasesIn(router.part('model_group_alias')))
    for (const { clients } of models) if (clients.includes(name)) clients.push(alias)

  const masterKey = general.text('master_key')
  const timeout = router.number('timeout')
  const requestTimeout = settings.number('request_timeout')
  if (timeout !== undefined && requestTimeout !== undefined)
    settings.leave('router_settings.timeout counts', 'request_timeout')
  const draft = {
    authToken: masterKey === undefined ? undefined : variables.secret(masterKey, 'LITELLM_MASTER_KEY'),
    models,
    settings: filled({
      strategy: strategyOf(router, models),
      affinity: 'conversation',
      timeout: timeout ?? requestTimeout,
    }),
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

/** One model, or none with the reason told. */
function modelsOf({ entry, params, credential, variables }: Deployment): DraftModel[] {
  const info = entry.part('model_info')
  const text = (key: string): string | undefined => params.text(key) ?? credential?.text(key)
  const written = text('model')
  const client = entry.text('model_name') ?? written
  if (written === undefined || client === undefined) {
    entry.leave('left out, since it names no model')
    return []
  }
  const { provider, model } = providerOf(written, text('custom_llm_provider'))
  const refusal = refusalOf(provider)
  const base = text('api_base') ?? text('base_url')
  const place =
    refusal === undefined ? placeOf({ provider, model, base, version: text('api_version') }) : undefined
  if (place === undefined) {
    entry.leave(refusal ?? unreachable['other'] ?? '')
    return []
  }
  const isWildcard = place.model.includes('*')
  if (client.includes('*') !== isWildcard || (isWildcard && place.keyHeader !== undefined)) {
    entry.leave('left out, since its wildcard stands for no list of models; add each model by its name')
    return []
  }
  if (isWildcard && client !== model)
    entry.leave('clients ask for each model by the name that its vendor gives it', 'model_name')
  const key = text('api_key')
  const address = variables.written(place.address)
  const isAzure = place.keyHeader !== undefined
  const usual = isAzure ? 'AZURE_API_KEY' : vendorAddress(provider)?.variable
  const wanted = usual === undefined || (base !== undefined && !isAzure) ? keyVariableOf(address) : usual
  const known = key === undefined ? undefined : variables.secret(key, wanted)
  // What is not in the file, LiteLLM takes from the variable of the vendor.
  const secret = known ?? (usual === undefined ? undefined : variables.refer(usual))
  return [
    filled<DraftModel>({
      from: entry,
      base_url: place.finish(address),
      ...(isWildcard ? { models: place.model } : { model: variables.written(place.model) }),
      clients: isWildcard ? [] : [variables.written(client)],
      api_key: isAzure ? undefined : secret,
      weight: quantity({ parts: [params], key: 'weight', least: 0.001, variables }),
      priority: orderIn(params, info),
      limits: filled({
        rpm: quantity({ parts: [params, entry], key: 'rpm', least: 1, variables }),
        tpm: quantity({ parts: [params, entry], key: 'tpm', least: 1, variables }),
        concurrency: quantity({ parts: [params], key: 'max_parallel_requests', least: 1, variables }),
      }),
      endpoints: endpointsOf(info),
      headers: {
        ...(place.keyHeader !== undefined && secret !== undefined && { [place.keyHeader]: secret }),
        ...headersOf(params, variables),
      },
      timeout: quantity({ parts: [params], key: 'timeout', least: 0.001, variables }),
    }),
  ]
}

/** `provider/model`, or a model whose name says who makes it. */
function providerOf(written: string, custom: string | undefined) {
  const head = /^([^/]+)\/(.+)$/.exec(written)
  const isProvider = (name: string | undefined): boolean =>
    vendorAddress(name) !== undefined ||
    [SELF_HOSTED, FOREIGN].some((table) => entryOf(table, name) !== undefined)
  if (custom !== undefined)
    return { provider: custom, model: head?.[1] === custom ? (head[2] ?? written) : written }
  if (isProvider(head?.[1])) return { provider: head?.[1], model: head?.[2] ?? written }
  const made = MAKERS.find(([pattern]) => pattern.test(written))
  return { provider: made?.[1] ?? head?.[1], model: made === undefined ? (head?.[2] ?? written) : written }
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

/** Servers that somebody runs: the path of OpenAI's form below the address that the file gives. */
const SELF_HOSTED: Readonly<Record<string, string>> = {
  openai_like: '',
  custom_openai: '',
  aiohttp_openai: '',
  hosted_vllm: '',
  vllm: '',
  lm_studio: '',
  llamafile: '',
  litellm_proxy: '',
  xinference: '',
  infinity: '',
  docker_model_runner: '',
  azure: '',
  azure_ai: '',
  databricks: '',
  ollama: '/v1',
  ollama_chat: '/v1',
}

const FOREIGN: Readonly<Record<string, string>> = {
  anthropic: 'anthropic',
  anthropic_text: 'anthropic',
  bedrock: 'bedrock',
  bedrock_converse: 'bedrock',
  sagemaker: 'sagemaker',
  sagemaker_chat: 'sagemaker',
  vertex_ai: 'vertex',
  vertex_ai_beta: 'vertex',
  // GitHub Models ended in July, chat completions of Perplexity in September.
  github: 'retired',
  perplexity: 'retired',
}

function refusalOf(provider: string | undefined): string | undefined {
  if (provider === undefined) return 'left out, since the model does not say its vendor; write vendor/model'
  return entryOf(unreachable, entryOf(FOREIGN, provider))
}

interface Wanted {
  readonly provider: string | undefined
  readonly model: string
  readonly base: string | undefined
  readonly version: string | undefined
}

/** Where a deployment is called: what `finish` makes of an address, and the header of the key where it is not the usual. */
interface Place {
  readonly address: string
  readonly model: string
  readonly finish: (address: string) => string
  readonly keyHeader?: string
}

function placeOf({ provider = '', model, base, version }: Wanted): Place | undefined {
  const as = (address: string, path = ''): Place => ({
    address,
    model,
    finish: (given) => rootWith(given, path),
  })
  if (provider === 'azure' || (provider === 'azure_ai' && /\.azure\.com/.test(base ?? ''))) {
    const address = base ?? 'os.environ/AZURE_API_BASE'
    // https://docs.litellm.ai/docs/providers/azure_ai: models of the Foundry are behind one path.
    const finish = (given: string): string =>
      provider === 'azure_ai'
        ? `${rootWith(given, '/models')}?api-version=2024-05-01-preview`
        : azureDeployment(given, model, version ?? AZURE_VERSION)
    return { address, model, finish, keyHeader: 'api-key' }
  }
  const path = entryOf(SELF_HOSTED, provider)
  if (path !== undefined) {
    const local = path === '/v1' ? 'http://localhost:11434' : undefined
    return base === undefined && local === undefined ? undefined : as(base ?? local ?? '', path)
  }
  const root = vendorAddress(provider)?.root
  if (root === undefined) return undefined
  // https://docs.litellm.ai/docs/providers/fireworks_ai: short names are those of Fireworks' own account.
  const isShort = provider === 'fireworks_ai' && !/^accounts\/|#/.test(model)
  return { ...as(base ?? root), model: isShort ? `accounts/fireworks/models/${model}` : model }
}

function orderIn(params: Part, info: Part): number | undefined {
  const order = params.number('order') ?? info.number('order')
  if (order === undefined || Number.isSafeInteger(order)) return order
  params.leave('is no whole number', 'order')
  return undefined
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

/** A number of at least `least`, or a reference to one. */
function quantity(asked: {
  readonly parts: readonly Part[]
  readonly key: string
  readonly least: number
  readonly variables: Variables
}): number | string | undefined {
  const { parts, key, least, variables } = asked
  for (const part of parts) {
    const number = part.number(key)
    if (number !== undefined && number < least)
      part.leave(`is below ${least}; leave it out for no limit`, key)
    if (number !== undefined) return number < least ? undefined : least === 1 ? Math.floor(number) : number
    const text = part.has(key) ? part.text(key) : undefined
    if (text !== undefined && text.search(reference) >= 0) return variables.written(text)
  }
  return undefined
}

/** https://docs.litellm.ai/docs/proxy/health: `mode` says for what a model is. */
function endpointsOf(info: Part): readonly string[] | undefined {
  const mode = info.text('mode')
  const endpoint = entryOf(MODES, mode)
  if (mode !== undefined && mode !== 'chat' && endpoint === undefined)
    info.leave('no endpoint that is relayed', 'mode')
  return endpoint
}

const MODES: Readonly<Record<string, readonly string[]>> = {
  completion: ['completions'],
  embedding: ['embeddings'],
  rerank: ['rerank'],
  moderation: ['moderations'],
  image_generation: ['images'],
  audio_transcription: ['audio'],
  audio_speech: ['audio'],
  responses: ['responses'],
}

function headersOf(params: Part, variables: Variables): Record<string, string> {
  const extra = params.part('extra_headers')
  const headers: Record<string, string> = {}
  for (const name of extra.keys()) {
    const value = extra.text(name)
    if (value !== undefined) headers[name] = variables.header(name, value)
  }
  const organization = params.text('organization')
  return organization === undefined
    ? headers
    : { ...headers, 'openai-organization': variables.written(organization) }
}

/** https://docs.litellm.ai/docs/routing: without one it draws, by weight or, where there is none, by rpm and tpm. */
function strategyOf(router: Part, models: readonly DraftModel[]): string {
  const written = router.text('routing_strategy') ?? 'simple-shuffle'
  const isByLimits = models.every(({ weight }) => weight === undefined) && models.some(({ limits }) => limits)
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

export const liteLlm: Importer = { read, reasons, reference }
