import { azureDeployment, keyVariableOf, rootWith, unreachable } from './addresses.ts'
import { filled, type DraftModel, type Importer } from './draft.ts'
import { entryOf, WHOLE_LIST, type Part } from './part.ts'
import { NO_REFERENCE, type Variables } from './variables.ts'

/**
 * How the channels of one type are called: the address that a channel without one has, and the path of OpenAI's form
 * below it; or why they can't be carried over. `{account}` in a path stands for the account of the channel.
 */
export type ChannelType = readonly [base: string, path: string] | { readonly why: string }

export const refused = (reason: string): ChannelType => ({ why: unreachable[reason] ?? '' })

/** Azure OpenAI, whose deployments have addresses of their own. */
export const AZURE: ChannelType = ['', 'azure']

/** What differs between the programs that keep channels. */
export interface ChannelDialect {
  readonly types: Readonly<Record<number, ChannelType>>
  /** Names that stand in the place of an address. */
  readonly plans: Readonly<Record<string, string>>
  /** The version of Azure's interface for a channel that says none. */
  readonly azureVersion: string
  /** Channels of Azure made since this moment (Unix seconds) keep the dots in names of models. */
  readonly dotsSince: number
  /** Weights count; else every channel of a priority is as likely. */
  readonly hasWeights: boolean
}

const A_RECORD = 'a record and no setting'
const EACH_KEY = 'each key is an upstream of its own'
const PASSED_ON = 'requests are passed on as they are'

/** Why what nobody takes is left, in both programs. */
const reasons: Readonly<Record<string, string>> = {
  id: 'entries have names here',
  created_time: A_RECORD,
  test_time: A_RECORD,
  response_time: A_RECORD,
  balance: A_RECORD,
  balance_updated_time: A_RECORD,
  used_quota: A_RECORD,
  other_info: A_RECORD,
  total: A_RECORD,
  type_counts: A_RECORD,
  group: 'says which users may ask for it; here all clients may',
  param_override: PASSED_ON,
  system_prompt: PASSED_ON,
  status_code_mapping: PASSED_ON,
  auto_ban: 'AILoad lets an upstream rest by itself, and tries it again',
  test_model: 'AILoad asks nothing by itself',
  weight: 'one-api itself does not use it',
  tag: 'a note',
  remark: 'a note',
  is_multi_key: EACH_KEY,
  multi_key_size: EACH_KEY,
  multi_key_polling_index: EACH_KEY,
  multi_key_mode: EACH_KEY,
  proxy: 'set HTTPS_PROXY, or settings.proxy',
}

/** Reads the channels of one-api and of what came of it: the list of its API, or rows of its table. */
export const channelImporter = (dialect: ChannelDialect): Importer => ({
  read(root, variables) {
    const channels = channelsIn(root)
    const priorityOf = (channel: Part): number => channel.number('priority') ?? 0
    // Higher first there, and any number.
    const tiers = [...new Set(channels.map(priorityOf))].toSorted((a, b) => b - a)
    const models = channels.flatMap((channel) =>
      channelModels({ channel, variables, dialect, priority: tiers.indexOf(priorityOf(channel)) }),
    )
    return { models, settings: { strategy: 'random', affinity: 'conversation' } }
  },
  reasons,
  reference: NO_REFERENCE,
})

/** Where the list is: by itself, below `data` or `data.items` in what the API answers, or under the table's name. */
function channelsIn(root: Part): readonly Part[] {
  root.flag('success')
  root.text('message')
  const listed = [root.parts(WHOLE_LIST), root.parts('channels'), root.parts('data')].find(
    ({ length }) => length > 0,
  )
  return listed ?? root.part('data').parts('items')
}

interface Channel {
  readonly channel: Part
  readonly variables: Variables
  readonly dialect: ChannelDialect
  readonly priority: number
}

function channelModels({ channel, variables, dialect, priority }: Channel): DraftModel[] {
  const number = channel.number('type') ?? 0
  const type = dialect.types[number]
  if (type === undefined || 'why' in type) {
    channel.leave(type?.why ?? `left out, since type ${number} is not known here`)
    return []
  }
  const asked = channel.texts('models').flatMap((names) => itemsOf(names, ','))
  if (asked.length === 0) {
    channel.leave('left out, since it lists no models')
    return []
  }
  const { addressOf, keyHeader } = addressIn({ channel, type, dialect })
  const name = channel.text('name')
  const headers = headersIn(channel, variables)
  // Texts of JSON, in which each key has its reason.
  channel.part('setting')
  channel.part('settings')
  const keys = keysIn(channel, variables, addressOf(''))
  const status = channel.number('status')
  const weight = dialect.hasWeights ? channel.number('weight') : undefined
  return [...clientsByModel(channel, asked)].flatMap(([model, clients]) => {
    const shared = {
      from: channel,
      base_url: variables.written(addressOf(model)),
      model: variables.written(model),
      clients: clients.map(variables.written),
      name: name && variables.written(asked.length === 1 ? name : `${model}@${name}`),
      priority: priority === 0 ? undefined : priority,
      weight: weight !== undefined && weight > 0 ? weight : undefined,
      enabled: status === undefined || status === 1 ? undefined : false,
    }
    if (keyHeader === undefined) return [filled<DraftModel>({ ...shared, api_key: keys, headers })]
    return keys.map((key) => filled<DraftModel>({ ...shared, headers: { [keyHeader]: key, ...headers } }))
  })
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
  type: [base, path],
  dialect,
}: {
  readonly channel: Part
  readonly type: readonly [base: string, path: string]
  readonly dialect: ChannelDialect
}) {
  const given = channel.text('base_url')
  const config = channel.part('config')
  const other = channel.text('other')
  const root = entryOf(dialect.plans, given) ?? given ?? base
  if (path === 'azure') {
    const version = config.text('api_version') ?? other ?? dialect.azureVersion
    // Names of deployments could not have dots once, and these programs took them out.
    const keepsDots = (channel.number('created_time') ?? 0) >= dialect.dotsSince
    const deployment = (model: string): string => (keepsDots ? model : model.replaceAll('.', ''))
    return {
      addressOf: (model: string) => azureDeployment(root, deployment(model), version),
      keyHeader: 'api-key',
    }
  }
  const isPlan = entryOf(dialect.plans, given) !== undefined
  // Cloudflare's AI Gateway has the version in front of what it stands before.
  const isGateway = root.startsWith('https://gateway.ai.cloudflare.com')
  const below = isPlan || isGateway ? '' : path.replace('{account}', config.text('user_id') ?? other ?? '')
  return { addressOf: (model: string) => rootWith(root, below).replaceAll('{model}', model) }
}

const itemsOf = (text: string, separator: string): string[] =>
  text
    .split(separator)
    .map((item) => item.trim())
    .filter((item) => item !== '')

/** One key a line; a list of JSON in newer programs. Lists of the API leave keys out. */
function keysIn(channel: Part, variables: Variables, address: string): string[] {
  const wanted = keyVariableOf(address)
  const keys = channel.texts('key').flatMap((lines) => itemsOf(lines, '\n'))
  const states = channel.part('channel_info').part('multi_key_status_list')
  const used = keys.filter((_, at) => {
    const state = states.number(String(at)) ?? 1
    if (state !== 1) channel.leave(`key ${at + 1} of it is switched off, and left out`, 'key')
    return state === 1
  })
  if (used.length > 0) return used.map((key) => variables.secret(key, wanted))
  if (/^http:\/\/(?:localhost|127\.)/.test(address)) return []
  const reference = variables.lacking(wanted)
  channel.leave(`is not in the file; put it into ${reference.slice(2, -1)}`, 'key')
  return [reference]
}

function headersIn(channel: Part, variables: Variables): Record<string, string> {
  const override = channel.part('header_override')
  const headers: Record<string, string> = {}
  for (const name of override.keys()) {
    const value = override.text(name)
    if (value !== undefined && /[{}]/.test(value))
      override.leave('is made from the key or the request, which a configured header cannot be', name)
    else if (value !== undefined) headers[name] = variables.header(name, value)
  }
  const organization = channel.text('openai_organization')
  return organization === undefined
    ? headers
    : { ...headers, 'openai-organization': variables.written(organization) }
}
