import { createHash } from 'node:crypto'
import { keyVariableOf, presetAddress, rootWith, unreachable } from './addresses.ts'
import { fieldsIn, modelsFrom, proxyIn, type Draft, type Importer, type MadeModels } from './draft.ts'
import { WHOLE_LIST, type Part } from './part.ts'
import { MADE_OF_REQUEST, NO_REFERENCE, type Variables } from './variables.ts'

/**
 * gpt-load has no export of its groups (tbphp/gpt-load issue 358): what is read is what its API answers and its tables
 * hold, `internal/models/types.go` at cc5383c. A list of groups, or an object with `groups` and `api_keys`; a group may
 * have its keys in it.
 */
function read(root: Part, variables: Variables): Draft {
  const lists = [WHOLE_LIST, 'groups', 'data'].map((key) => root.parts(key))
  const groups = lists.find(({ length }) => length > 0) ?? []
  const keys = keyPartsIn(root)
  const models = groups.flatMap((group) => {
    const id = group.number('id')
    const own = keys.filter((key) => key.number('group_id') === id)
    return modelsFrom(group, groupModels(group, [...keyPartsIn(group), ...own], variables))
  })
  const tokens = groups.flatMap((group) => {
    if (group.has('proxy_keys')) group.leave('taken along, and each opens everything here', 'proxy_keys')
    return group.texts('proxy_keys', ',')
  })
  return {
    authToken: [...new Set(tokens)].map((token) => variables.secret(token, 'GPT_LOAD_PROXY_KEY')),
    models,
    settings: { strategy: 'round_robin', affinity: 'conversation' },
  }
}

const keyPartsIn = (part: Part): Part[] => [...part.parts('api_keys'), ...part.parts('keys')]

function groupModels(group: Part, keyParts: readonly Part[], variables: Variables): MadeModels {
  const type = group.text('channel_type') ?? ''
  const upstreams = group.parts('upstreams')
  const [first = ''] = upstreams.map((upstream) => upstream.text('url'))
  if (group.text('group_type') === 'aggregate')
    return 'it only joins other groups; give their models a common name in "groups"'
  const isGemini = type === 'gemini' && /generativelanguage\.googleapis\.com/.test(first)
  if (!/^openai(?:-response)?$/.test(type) && !isGemini)
    return unreachable[type === 'anthropic' ? type : 'other']
  const redirects = group.part('model_redirect_rules')
  const renamed = redirects.keys().map((client) => ({ model: redirects.text(client), clients: [client] }))
  // Every other model passes through there, unless it is strict.
  const isStrict = group.text('model_redirect_strict') === 'true'
  const asked = [...renamed, ...(isStrict ? [] : [{ model: '*', clients: [] }])]

  const endpoint = group.text('validation_endpoint') ?? '/v1/chat/completions'
  const path = endpoint.replace(/\/(?:chat\/completions|responses)\/?(?:\?.*)?$/, '')
  const config = group.part('config')
  const shared = {
    endpoints: type === 'openai-response' ? ['responses'] : undefined,
    headers: headersIn(group, variables),
    params: { set: fieldsIn(group.part('param_overrides'), variables) },
    proxy: proxyIn(config, 'proxy_url', variables),
    timeout: config.positive('response_header_timeout') ?? config.positive('request_timeout'),
  }
  const name = group.text('name') ?? 'group'
  return upstreams.flatMap((upstream) => {
    const own = rootWith(upstream.text('url') ?? '', path)
    const address = (isGemini ? presetAddress('gemini')?.root : undefined) ?? own
    const isOff = upstream.number('weight') === 0
    const keys = keysIn({ group, keyParts, variables, address })
    return asked
      .filter(({ model }) => model !== undefined)
      .map(({ model, clients: [client] }) => ({
        ...shared,
        base_url: variables.written(address),
        model,
        clients: client === undefined ? [] : [client],
        api_key: keys,
        name: client && `${client}@${name}`,
        weight: upstream.positive('weight'),
        enabled: isOff ? (false as const) : undefined,
      }))
  })
}

interface GroupKeys {
  readonly group: Part
  readonly keyParts: readonly Part[]
  readonly variables: Variables
  readonly address: string
}

function keysIn({ group, keyParts, variables, address }: GroupKeys): string[] {
  const wanted = keyVariableOf(address)
  const keys = keyParts.flatMap((part) => {
    const value = part.text('key_value')
    const isActive = (part.text('status') ?? 'active') === 'active'
    if (!isActive) part.leave('left out, since it is marked as invalid')
    else if (isEncrypted(value, part.text('key_hash')))
      part.leave('left out, since it is encrypted; take the keys from the API, which decrypts them')
    else if (value !== undefined) return [variables.secret(value, wanted)]
    return []
  })
  return keys.length > 0 ? keys : [variables.lacking(group, 'api_keys', wanted)]
}

/** Without encryption a key's hash is its SHA-256; what is encrypted is hexadecimal. */
function isEncrypted(value: string | undefined, hash: string | undefined): boolean {
  if (value === undefined || hash === undefined || !/^[\da-f]{56,}$/i.test(value)) return false
  return createHash('sha256').update(value).digest('hex') !== hash
}

function headersIn(group: Part, variables: Variables): Record<string, string> {
  const headers: Record<string, string> = {}
  for (const rule of group.parts('header_rules')) {
    const name = rule.text('key')
    const value = rule.text('value')
    if (rule.text('action') === 'remove') rule.leave('headers of clients are not passed on anyway')
    else if (name === undefined || value === undefined || value.includes('${')) rule.leave(MADE_OF_REQUEST)
    else headers[name] = variables.header(name, value)
  }
  return headers
}

export const gptLoad: Importer = { read, reference: NO_REFERENCE }
