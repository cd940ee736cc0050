import { createHash } from 'node:crypto'
import { keyVariableOf, rootWith, unreachable, vendorAddress } from './addresses.ts'
import { filled, type Draft, type DraftModel, type Importer } from './draft.ts'
import { WHOLE_LIST, type Part } from './part.ts'
import { NO_REFERENCE, type Variables } from './variables.ts'

const A_RECORD = 'a record and no setting'
const BY_ITSELF = 'AILoad does this by itself'

/** Why what nobody takes is left. */
const reasons: Readonly<Record<string, string>> = {
  id: 'entries have names here',
  code: A_RECORD,
  message: A_RECORD,
  created_at: A_RECORD,
  updated_at: A_RECORD,
  last_validated_at: A_RECORD,
  last_used_at: A_RECORD,
  request_count: A_RECORD,
  failure_count: A_RECORD,
  endpoint: 'all models are behind one address, and asked for by their names',
  sort: 'the order of groups says nothing about who is asked first',
  test_model: 'AILoad asks for the list of models',
  proxy_url: 'set HTTPS_PROXY, or settings.proxy',
  param_overrides: 'requests are passed on as they are',
  max_retries: BY_ITSELF,
  blacklist_threshold: BY_ITSELF,
  failover_status_codes: BY_ITSELF,
  key_validation_interval_minutes: BY_ITSELF,
  key_validation_concurrency: BY_ITSELF,
  key_validation_timeout_seconds: BY_ITSELF,
}

/**
 * gpt-load has no export of its groups (tbphp/gpt-load issue 358): what is read is what its API answers and its tables
 * hold, `internal/models/types.go` at cc5383c. A list of groups, or an object with `groups` and `api_keys`; a group may
 * have its keys in it.
 */
function read(root: Part, variables: Variables): Draft {
  const groups = [WHOLE_LIST, 'groups', 'data'].map((key) => root.parts(key)).find(({ length }) => length > 0)
  const keys = [...root.parts('api_keys'), ...root.parts('keys')]
  const models = (groups ?? []).flatMap((group) => {
    const id = group.number('id')
    const own = keys.filter((key) => key.number('group_id') === id)
    return groupModels(group, [...group.parts('api_keys'), ...group.parts('keys'), ...own], variables)
  })
  const tokens = (groups ?? []).flatMap((group) => {
    if (group.has('proxy_keys')) group.leave('taken along, and each opens everything here', 'proxy_keys')
    return itemsOf(group.text('proxy_keys') ?? '')
  })
  return {
    authToken: [...new Set(tokens)].map((token) => variables.secret(token, 'GPT_LOAD_PROXY_KEY')),
    models,
    settings: { strategy: 'round_robin', affinity: 'conversation' },
  }
}

const itemsOf = (list: string): string[] =>
  list
    .split(',')
    .map((item) => item.trim())
    .filter((item) => item !== '')

function groupModels(group: Part, keyParts: readonly Part[], variables: Variables): DraftModel[] {
  const type = group.text('channel_type') ?? ''
  const upstreams = group.parts('upstreams')
  const [first] = upstreams.map((upstream) => upstream.text('url'))
  if (group.text('group_type') === 'aggregate') {
    group.leave('left out, since it only joins other groups; give their models a common name in "groups"')
    return []
  }
  const isGemini = type === 'gemini' && /generativelanguage\.googleapis\.com/.test(first ?? '')
  if (!/^openai(?:-response)?$/.test(type) && !isGemini) {
    group.leave((type === 'anthropic' ? unreachable['anthropic'] : unreachable['other']) ?? '')
    return []
  }
  const redirects = group.part('model_redirect_rules')
  const renamed = redirects.keys().map((client) => [redirects.text(client), client] as const)
  // Every other model passes through there, unless it is strict.
  const isStrict = group.flag('model_redirect_strict') === true
  const asked = [...renamed, ...(isStrict ? [] : [['*', undefined] as const])]

  const path = (group.text('validation_endpoint') ?? '/v1/chat/completions').replace(
    /\/(?:chat\/completions|responses)\/?(?:\?.*)?$/,
    '',
  )
  const name = group.text('name') ?? 'group'
  const config = group.part('config')
  const timeout = config.number('response_header_timeout') ?? config.number('request_timeout')
  return upstreams.flatMap((upstream) => {
    const address = isGemini ? vendorAddress('gemini')?.root : rootWith(upstream.text('url') ?? '', path)
    const weight = upstream.number('weight')
    const keys = keysIn({ group, keyParts, variables, address: address ?? '' })
    return asked.flatMap(([model, client]) =>
      model === undefined
        ? []
        : filled<DraftModel>({
            from: group,
            base_url: variables.written(address ?? ''),
            ...(client === undefined
              ? { models: model, clients: [] }
              : { model: variables.written(model), clients: [variables.written(client)] }),
            api_key: keys,
            name: client === undefined ? undefined : variables.written(`${client}@${name}`),
            weight: weight !== undefined && weight > 0 ? weight : undefined,
            enabled: weight === 0 ? false : undefined,
            endpoints: type === 'openai-response' ? ['responses'] : undefined,
            headers: headersIn(group, variables),
            timeout: timeout !== undefined && timeout > 0 ? timeout : undefined,
          }),
    )
  })
}

function keysIn({
  group,
  keyParts,
  variables,
  address,
}: {
  readonly group: Part
  readonly keyParts: readonly Part[]
  readonly variables: Variables
  readonly address: string
}): string[] {
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
  if (keys.length > 0) return keys
  const reference = variables.lacking(wanted)
  group.leave(`are not in the file; put one into ${reference.slice(2, -1)}`, 'api_keys')
  return [reference]
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
    else if (name === undefined || value === undefined || value.includes('${'))
      rule.leave('is made from the key or the request, which a configured header cannot be')
    else headers[name] = variables.header(name, value)
  }
  return headers
}

export const gptLoad: Importer = { read, reasons, reference: NO_REFERENCE }
