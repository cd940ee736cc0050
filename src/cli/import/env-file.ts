import { vendorPresets, type VendorPreset } from '../../config/presets.ts'
import { rootWith } from './addresses.ts'
import { filled, type Draft, type DraftModel, type Importer } from './draft.ts'
import type { Part } from './part.ts'
import { NO_REFERENCE, type Variables } from './variables.ts'

/**
 * Lines of NAME=value: the keys of vendors that have a preset, `GROQ_API_KEY_2` and lists with commas too; beside
 * `OPENAI_API_KEY` also `OPENAI_BASE_URL` and `OPENAI_MODEL`.
 */
function read(root: Part, variables: Variables): Draft {
  const models = vendorPresets.flatMap(([vendor, preset]) => {
    const keys = preset.key_variables.flatMap((variable) =>
      root
        .keys()
        .filter((name) => new RegExp(`^${variable}S?(?:_?\\d+)?$`).test(name))
        .flatMap((name) => keysOf({ root, name, variables, wanted: variable })),
    )
    return keys.length === 0 ? [] : entriesOf({ root, vendor, preset, keys, variables })
  })
  return { models, settings: { strategy: 'headroom', affinity: 'conversation' } }
}

function entriesOf({
  root,
  vendor,
  preset,
  keys,
  variables,
}: {
  readonly root: Part
  readonly vendor: string
  readonly preset: VendorPreset
  readonly keys: readonly string[]
  readonly variables: Variables
}): DraftModel[] {
  const prefix = (preset.key_variables[0] ?? '').replace(/_(?:API_KEY|TOKEN)$/, '')
  const given = ['BASE_URL', 'API_BASE', 'API_URL'].map((suffix) => root.text(`${prefix}_${suffix}`))
  const address = given.find((each) => each !== undefined)
  const listed = root.text(`${prefix}_MODEL`) ?? root.text(`${prefix}_MODELS`)
  // An address with variables in it is written out, so that they are told or taken along.
  const own = preset.base_url.replaceAll(/\$\{(\w+)\}/g, (_, name: string) => {
    const value = root.text(name)
    if (value !== undefined) variables.define(name, value)
    return variables.refer(name)
  })
  const models = itemsOf(listed ?? '')
  const shared =
    address === undefined
      ? { from: root, vendor, base_url: preset.base_url.includes('${') ? own : undefined, api_key: keys }
      : { from: root, base_url: rootWith(address, ''), api_key: keys }
  if (models.length > 0)
    return models.map((model) => filled<DraftModel>({ ...shared, model, clients: [model] }))
  // What is behind another address has no preset.
  return [filled<DraftModel>({ ...shared, models: address === undefined ? undefined : '*', clients: [] })]
}

/** A key keeps the variable that it has; of several in one variable each gets its own. */
function keysOf({
  root,
  name,
  variables,
  wanted,
}: {
  readonly root: Part
  readonly name: string
  readonly variables: Variables
  readonly wanted: string
}): string[] {
  const value = root.text(name) ?? ''
  const keys = itemsOf(value)
  if (keys.length !== 1) return keys.map((key) => variables.secret(key, wanted))
  variables.define(name, value)
  return [variables.refer(name)]
}

const itemsOf = (list: string): string[] =>
  list
    .split(',')
    .map((item) => item.trim())
    .filter((item) => item !== '')

export const envFile: Importer = {
  read,
  reasons: {},
  otherwise: 'is no key of a vendor that is known here',
  reference: NO_REFERENCE,
}
