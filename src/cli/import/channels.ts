import { AZURE_KEY_HEADER, azureDeployment, keyVariableOf, rootWith, unreachable } from './addresses.ts'
import { fieldsIn, modelsFrom, proxyIn, type Importer, type MadeModels } from './draft.ts'
import { entryOf, WHOLE_LIST, type Part } from './part.ts'
import { MADE_OF_REQUEST, NO_REFERENCE, type Variables } from './variables.ts'

/** Azure OpenAI, whose deployments have addresses of their own, in the place of a path. */
const AZURE = 'azure'

/** How the channels of a type are called, by its numbers in both programs; 0 = the program has no such type. */
type ChannelType = readonly [oneApi: number, newApi: number, base: string, path: string]

/**
 * songquanpeng/one-api: relay/channeltype/define.go and url.go, and the paths of relay/adaptor, read at 8df4a26.
 * QuantumNous/new-api (once Calcium-Ion/new-api): constant/channel.go, and the paths of relay/channel, read in November
 * 2026. Types that they translate are called by the OpenAI form that the vendor has by now. The address is that of a
 * channel without one, the path that of OpenAI's form below it, in which `{account}` is the account of the channel.
 */
const types: readonly ChannelType[] = [
  [1, 1, 'https://api.openai.com', '/v1'],
  [2, 0, 'https://oa.api2d.net', '/v1'],
  [3, 3, '', AZURE],
  [4, 0, 'https://api.closeai-proxy.xyz', '/v1'],
  [5, 0, 'https://api.openai-sb.com', '/v1'],
  [6, 6, 'https://api.openaimax.com', '/v1'],
  [7, 7, 'https://api.ohmygpt.com', '/v1'],
  [8, 47, '', '/v1'],
  [9, 9, 'https://api.caipacity.com', '/v1'],
  [10, 10, 'https://api.aiproxy.io', '/v1'],
  [12, 12, 'https://api.api2gpt.com', '/v1'],
  [13, 13, 'https://api.aigc2d.com', '/v1'],
  [16, 16, 'https://open.bigmodel.cn', '/api/paas/v4'],
  [17, 17, 'https://dashscope.aliyuncs.com', '/compatible-mode/v1'],
  [19, 0, 'https://ai.360.cn', '/v1'],
  [0, 19, 'https://api.360.cn', '/v1'],
  [20, 20, 'https://openrouter.ai/api', '/v1'],
  [22, 22, 'https://fastgpt.run/api/openapi', '/v1'],
  [24, 24, 'https://generativelanguage.googleapis.com', '/v1beta/openai'],
  [25, 25, 'https://api.moonshot.cn', '/v1'],
  [26, 0, 'https://api.baichuan-ai.com', '/v1'],
  [0, 26, 'https://open.bigmodel.cn', '/api/paas/v4'],
  [27, 35, 'https://api.minimaxi.com', '/v1'],
  [28, 42, 'https://api.mistral.ai', '/v1'],
  [29, 0, 'https://api.groq.com/openai', '/v1'],
  [30, 4, 'http://localhost:11434', '/v1'],
  [31, 31, 'https://api.lingyiwanwu.com', '/v1'],
  [32, 0, 'https://api.stepfun.com', '/v1'],
  [35, 34, 'https://api.cohere.ai', '/compatibility/v1'],
  [36, 43, 'https://api.deepseek.com', '/v1'],
  [37, 39, 'https://api.cloudflare.com', '/client/v4/accounts/{account}/ai/v1'],
  [0, 38, 'https://api.jina.ai', '/v1'],
  [39, 0, 'https://api.together.ai', '/v1'],
  [40, 45, 'https://ark.cn-beijing.volces.com', '/api/v3'],
  [41, 0, 'https://api.novita.ai/v3/openai', ''],
  [44, 40, 'https://api.siliconflow.cn', '/v1'],
  [0, 44, 'https://api.moka.ai', '/v1'],
  [45, 48, 'https://api.x.ai', '/v1'],
  [47, 46, 'https://qianfan.baidubce.com', '/v2'],
  [48, 0, 'https://spark-api-open.xf-yun.com', '/v1'],
  [49, 0, 'https://dashscope.aliyuncs.com', '/compatible-mode/v1'],
  // The full address, in which `{model}` stands for the model at new-api.
  [50, 8, '', ''],
  [51, 0, 'https://generativelanguage.googleapis.com/v1beta/openai', ''],
  [0, 53, 'https://llm.submodel.ai', '/v1'],
]

/** Types of known vendors that can't be reached; what is not here either has no address that is known. */
const refused: readonly (readonly [oneApi: number, newApi: number, why: keyof typeof unreachable])[] = [
  [14, 14, 'anthropic'],
  [33, 33, 'amazon'],
  [42, 41, 'vertex'],
  [0, 27, 'retired'],
]

/** What differs between the programs that keep channels. */
interface Dialect {
  /** Where its numbers stand in the tables above. */
  readonly column: 0 | 1
  /** Names that stand in the place of an address. */
  readonly plans: Readonly<Record<string, string>>
  /** The version of Azure's interface for a channel that says none. */
  readonly azureVersion?: string
  /** Channels of Azure made since this moment (Unix seconds) keep the dots in names of models. */
  readonly dotsSince: number
  /** Weights count; else every channel of a priority is as likely. */
  readonly hasWeights: boolean
}

/** Channels of one-api. It draws among the channels of a priority without their weights (model/cache.go). */
export const oneApi = channelImporter({ column: 0, plans: {}, dotsSince: Infinity, hasWeights: false })

/** Channels of new-api. */
export const newApi = channelImporter({
  column: 1,
  // Subscriptions (`ChannelSpecialBases` of constant/channel.go).
  plans: {
    'glm-coding-plan': 'https://open.bigmodel.cn/api/coding/paas/v4',
    'glm-coding-plan-international': 'https://api.z.ai/api/coding/paas/v4',
    'kimi-coding-plan': 'https://api.kimi.com/coding/v1',
    'doubao-coding-plan': 'https://ark.cn-beijing.volces.com/api/coding/v3',
  },
  // AZURE_DEFAULT_API_VERSION.
  azureVersion: '2025-04-01-preview',
  // 10 May 2025 (`AzureNoRemoveDotTime`).
  dotsSince: 1_746_835_200,
  hasWeights: true,
})

/** Reads the channels of one-api and of what came of it: the list of its API, or rows of its table. */
function channelImporter(dialect: Dialect): Importer {
  return {
    read(root, variables) {
      const channels = channelsIn(root)
      const priorityOf = (channel: Part): number => channel.number('priority') ?? 0
      // Higher first there, and any number.
      const tiers = [...new Set(channels.map(priorityOf))].toSorted((a, b) => b - a)
      const models = channels.flatMap((channel) => {
        const priority = tiers.indexOf(priorityOf(channel))
        return modelsFrom(channel, channelModels({ channel, variables, dialect, priority }))
      })
      return { models, settings: { strategy: 'random', affinity: 'conversation' } }
    },
    reference: NO_REFERENCE,
  }
}

/** Where the list is: by itself, below `data` or `data.items` in what the API answers, or under the table's name. */
function channelsIn(root: Part): readonly Part[] {
  root.text('success')
  const lists = [WHOLE_LIST, 'channels', 'data'].map((key) => root.parts(key))
  return lists.find(({ length }) => length > 0) ?? root.part('data').parts('items')
}

interface Channel {
  readonly channel: Part
  readonly variables: Variables
  readonly dialect: Dialect
  readonly priority: number
}

function channelModels({ channel, variables, dialect, priority }: Channel): MadeModels {
  const number = channel.number('type') ?? 0
  const isOfType = (row: readonly [number, number, ...string[]]): boolean =>
    number > 0 && row[dialect.column] === number
  const type = types.find(isOfType)
  const asked = channel.texts('models', ',')
  if (type === undefined) return unreachable[refused.find(isOfType)?.[2] ?? 'other']
  if (asked.length === 0) return 'it lists no models'
  const addressOf = addressIn({ channel, type, dialect })
  const name = channel.text('name')
  const organization = channel.text('openai_organization')
  const params = channel.part('param_override')
  if (params.has('operations')) params.leave('is more than fields that are set', 'operations')
  // Texts of JSON, in which each key has its reason.
  channel.part('settings')
  const shared = {
    api_key: keysIn(channel, variables, addressOf('')),
    key_header: type[3] === AZURE ? AZURE_KEY_HEADER : undefined,
    priority,
    weight: dialect.hasWeights ? channel.positive('weight') : undefined,
    enabled: (channel.number('status') ?? 1) === 1 ? undefined : (false as const),
    headers: {
      ...headersIn(channel.part('header_override'), variables),
      ...(organization !== undefined && { 'openai-organization': variables.written(organization) }),
    },
    params: {
      set: fieldsIn(
        params,
        variables,
        params.keys().filter((key) => key !== 'operations'),
      ),
    },
    proxy: proxyIn(channel.part('setting'), 'proxy', variables),
  }
  return [...clientsByModel(channel, asked)].map(([model, clients]) => ({
    ...shared,
    base_url: variables.written(addressOf(model)),
    model,
    clients,
    name: name && (asked.length === 1 ? name : `${model}@${name}`),
  }))
}

/** `model_mapping` is by what clients ask for; several names may stand for one model. */
function clientsByModel(channel: Part, asked: readonly string[]): ReadonlyMap<string, string[]> {
  const mapping = channel.part('model_mapping')
  const clients = new Map<string, string[]>()
  for (const name of asked) {
    const model = mapping.text(name) ?? name
    clients.set(model, [...(clients.get(model) ?? []), name])
  }
  return clients
}

function addressIn({
  channel,
  type: [, , base, path],
  dialect,
}: Pick<Channel, 'channel' | 'dialect'> & { readonly type: ChannelType }): (model: string) => string {
  const given = channel.text('base_url')
  const config = channel.part('config')
  const other = channel.text('other')
  const plan = entryOf(dialect.plans, given)
  const root = plan ?? given ?? base
  if (path === AZURE) {
    const version = config.text('api_version') ?? other ?? dialect.azureVersion
    // Names of deployments could not have dots once, and these programs took them out.
    const keepsDots = (channel.number('created_time') ?? 0) >= dialect.dotsSince
    return (model) => azureDeployment(root, keepsDots ? model : model.replaceAll('.', ''), version)
  }
  // Cloudflare's AI Gateway has the version in front of what it stands before.
  const isWhole = plan !== undefined || root.startsWith('https://gateway.ai.cloudflare.com')
  const below = isWhole ? '' : path.replace('{account}', config.text('user_id') ?? other ?? '')
  return (model) => rootWith(root, below).replaceAll('{model}', model)
}

/** One key a line; a list of JSON in newer programs. Lists of the API leave keys out. */
function keysIn(channel: Part, variables: Variables, address: string): string[] {
  const wanted = keyVariableOf(address)
  const states = channel.part('channel_info').part('multi_key_status_list')
  const used = channel.texts('key', '\n').filter((_, at) => {
    const isOn = (states.number(String(at)) ?? 1) === 1
    if (!isOn) channel.leave(`key ${at + 1} of it is switched off, and left out`, 'key')
    return isOn
  })
  if (used.length > 0) return used.map((key) => variables.secret(key, wanted))
  return /^http:\/\/(?:localhost|127\.)/.test(address) ? [] : [variables.lacking(channel, 'key', wanted)]
}

function headersIn(override: Part, variables: Variables): Record<string, string> {
  const isMade = (name: string): boolean => /[{}]/.test(override.peek(name) ?? '')
  for (const name of override.keys().filter(isMade)) override.leave(MADE_OF_REQUEST, name)
  return variables.headersIn(
    override,
    override.keys().filter((name) => !isMade(name)),
  )
}
