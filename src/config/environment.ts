import { nearestName } from './checks.ts'
import { quoted, type Environment } from './problem.ts'
import { presetOf, vendorPresets, type VendorPreset } from './presets.ts'

/** A vendor whose keys are in the environment, and the variables that hold them. */
export interface VendorKeys {
  readonly vendor: string
  readonly title: string
  /** One for each key; none for a server that wants no key. */
  readonly variables: readonly string[]
}

/** Which vendors are taken, where not all that have a key shall be. */
const VENDORS_VARIABLE = 'AILOAD_VENDORS'
/** The token of the clients, where there is no file for it. */
export const TOKEN_VARIABLE = 'AILOAD_TOKEN'

/** Every variable in which the key of a vendor is looked for, with those that its address needs besides. */
export const keyVariables: readonly string[] = vendorPresets.flatMap(([, preset]) =>
  preset.key_optional
    ? []
    : preset.key_variables.slice(0, 1).map((name) => [name, ...addressVariables(preset)].join(' with ')),
)

/**
 * The vendors whose keys are in the environment: in NAME, and further ones in NAME_2 to NAME_9. Those that AILOAD_VENDORS
 * names, where it is set: servers on this machine are taken only then, since they need no key. What is wrong with that
 * list is a problem, a line each.
 */
export function vendorsIn(env: Environment): {
  readonly vendors: readonly VendorKeys[]
  readonly problems: readonly string[]
} {
  const names = (env[VENDORS_VARIABLE] ?? '').toLowerCase().split(/[\s,;]+/)
  const wanted = [...new Set(names)].filter((name) => name !== '')
  if (wanted.length > 0) {
    const problems = wanted.flatMap((name) => problemsOf(name, env))
    return { vendors: problems.length > 0 ? [] : wanted.flatMap((name) => keysIn(name, env)), problems }
  }
  const found = vendorPresets.flatMap(([id, preset]) => (isReady(preset, env) ? keysIn(id, env) : []))
  return { vendors: found.filter(({ variables }) => variables.length > 0), problems: [] }
}

/** Vendors of which there is a key and no address, a line each: they are left out, unless AILOAD_VENDORS names them. */
export function lackingIn(env: Environment): readonly string[] {
  if (isSet(env, VENDORS_VARIABLE)) return []
  return vendorPresets.flatMap(([id, preset]) => {
    const lacking = addressVariables(preset).filter((variable) => !isSet(env, variable))
    const [key] = keysIn(id, env).flatMap(({ variables }) => variables)
    return key === undefined || lacking.length === 0
      ? []
      : [`${key} is set, and ${preset.title} is left out; set ${lacking.join(', ')} too`]
  })
}

/** Whether all that its address refers to is set. */
const isReady = (preset: VendorPreset, env: Environment): boolean =>
  addressVariables(preset).every((name) => isSet(env, name))

function addressVariables({ base_url: url }: VendorPreset): string[] {
  return [...url.matchAll(/\$\{(\w+)\}/g)].map(([, name = '']) => name)
}

const isSet = (env: Environment, name: string): boolean => (env[name] ?? '').trim() !== ''

function problemsOf(name: string, env: Environment): string[] {
  const preset = presetOf(name)
  const known = vendorPresets.map(([id]) => id)
  if (preset === undefined) {
    const near = nearestName(name, known)
    const hint = near === undefined ? `known: ${known.join(', ')}` : `did you mean ${near}?`
    return [`${VENDORS_VARIABLE} names ${quoted([name])}, which is not a vendor that is known here; ${hint}`]
  }
  const hasKey = keysIn(name, env).some(({ variables }) => variables.length > 0)
  const lacking = addressVariables(preset).filter((variable) => !isSet(env, variable))
  if (hasKey && lacking.length > 0)
    return [`${VENDORS_VARIABLE} names ${name}, whose address is not known yet; set ${lacking.join(', ')}`]
  if (hasKey || preset.key_optional) return []
  const [variable] = preset.key_variables
  const hint =
    variable === undefined
      ? `write it into a file, as "vendor": "${name}" with its api_key`
      : `set ${variable}`
  return [`${VENDORS_VARIABLE} names ${name}, and there is no key of it; ${hint}`]
}

function keysIn(id: string, env: Environment): VendorKeys[] {
  const preset = presetOf(id)
  if (preset === undefined) return []
  const named = preset.key_variables.find((name) => isSet(env, name))
  const further = Array.from({ length: 8 }, (_, at) => `${named}_${at + 2}`)
  const variables = named === undefined ? [] : [named, ...further.filter((name) => isSet(env, name))]
  return [{ vendor: id.toLowerCase(), title: preset.title, variables }]
}

/** A configuration of these vendors as the text of a file. The keys and the token stay in the environment. */
export function environmentText(vendors: readonly VendorKeys[], host: string, env: Environment): string {
  const models = vendors.map(({ vendor, variables }) => ({
    vendor,
    ...(variables.length > 0 && { api_key: variables.map((name) => `\${${name}}`) }),
  }))
  const settings = { strategy: 'headroom', affinity: 'conversation' }
  // Empty = none yet, which a file says so too.
  const token = isSet(env, TOKEN_VARIABLE) ? `\${${TOKEN_VARIABLE}}` : ''
  return JSON.stringify({ auth_token: token, models, server: { host }, settings })
}
