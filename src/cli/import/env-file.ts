import { vendorPresets, type VendorPreset } from '../../config/presets.ts'
import { rootWith } from './addresses.ts'
import type { Draft, DraftModel, Importer } from './draft.ts'
import type { Part } from './part.ts'
import { NO_REFERENCE, type Variables } from './variables.ts'

/**
 * Lines of NAME=value: the keys of vendors that have a preset, `GROQ_API_KEY_2` and lists with commas too; beside
 * `OPENAI_API_KEY` also `OPENAI_BASE_URL` and `OPENAI_MODEL`.
 */
function read(root: Part, variables: Variables): Draft {
  const models = vendorPresets.flatMap(([vendor, preset]) => {
    const keys = preset.key_variables.flatMap((variable) => keysIn(root, variable, variables))
    return keys.length === 0 ? [] : entriesOf(root, { ...preset, vendor, keys }, variables)
  })
  return { models, settings: { strategy: 'headroom', affinity: 'conversation' } }
}

type KeyedVendor = VendorPreset & { readonly vendor: string; readonly keys: readonly string[] }

function entriesOf(root: Part, { vendor, keys, ...preset }: KeyedVendor, variables: Variables): DraftModel[] {
  const prefix = (preset.key_variables[0] ?? '').replace(/_(?:API_KEY|TOKEN)$/, '')
  const given = ['BASE_URL', 'API_BASE', 'API_URL'].map((suffix) => root.text(`${prefix}_${suffix}`))
  const address = given.find((each) => each !== undefined)
  const models = ['MODEL', 'MODELS'].flatMap((suffix) => root.texts(`${prefix}_${suffix}`, ','))
  // An address with variables in it is written out, so that they are told or taken along.
  const own = preset.base_url.replaceAll(/\$\{(\w+)\}/g, (_, name: string) => {
    const value = root.text(name) ?? (name === 'AZURE_RESOURCE_NAME' ? azureResourceIn(root) : undefined)
    if (value !== undefined) variables.define(name, value)
    return variables.refer(name)
  })
  const shared =
    address === undefined
      ? { from: root, vendor, base_url: preset.base_url.includes('${') ? own : undefined, api_key: keys }
      : { from: root, base_url: rootWith(address, ''), api_key: keys }
  if (models.length > 0) return models.map((model) => ({ ...shared, model, clients: [model] }))
  // What is behind another address has no preset.
  return [{ ...shared, model: address === undefined ? undefined : '*', clients: [] }]
}

/** Azure's own clients read the whole address. */
function azureResourceIn(root: Part): string | undefined {
  const written = root.peek('AZURE_OPENAI_ENDPOINT') ?? ''
  return AZURE_ENDPOINT.test(written)
    ? root.text('AZURE_OPENAI_ENDPOINT')?.replace(AZURE_ENDPOINT, '$1')
    : undefined
}

const AZURE_ENDPOINT = /^https:\/\/([\w-]+)\.openai\.azure\.com(?:\/openai(?:\/v1)?)?\/?$/

/** The keys of a variable and of those numbered after it. A key keeps its variable; of several in one each gets its own. */
function keysIn(root: Part, variable: string, variables: Variables): string[] {
  const numbered = new RegExp(`^${variable}S?(?:_?\\d+)?$`)
  return root
    .keys()
    .filter((name) => numbered.test(name))
    .flatMap((name) => {
      const keys = root.texts(name, ',')
      const [key = ''] = keys
      if (keys.length !== 1) return keys.map((each) => variables.secret(each, variable))
      variables.define(name, key)
      return [variables.refer(name)]
    })
}

export const envFile: Importer = {
  read,
  otherwise: 'is no key of a vendor that is known here',
  reference: NO_REFERENCE,
}
