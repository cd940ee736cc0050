import { quoted } from './problem.ts'
import type { WrittenLimits } from './model-schema.ts'
import data from './presets.json' with { type: 'json' }

/** One default model of a vendor. What it says is presumed: it orders, never refuses, and gives way to what is heard. */
export interface PresetModel {
  readonly model: string
  /** Tokens of input and output together. */
  readonly context?: number
  readonly can?: Readonly<Record<string, boolean>>
  readonly endpoints?: readonly string[]
  readonly limits?: PresetLimits
}

/** Limits as the configuration writes them. */
export type PresetLimits = Omit<WrittenLimits, 'dayResets'> & { readonly day_resets?: string }

/** What is known beforehand of a vendor; `presets.json` has where and when each part of it was read. */
export interface VendorPreset {
  readonly title: string
  /** Environment variables that hold its key, the vendor's own name first. */
  readonly key_variables: readonly string[]
  /** What its keys begin with, where that tells them from others. */
  readonly key_prefixes?: readonly string[]
  /** As in the configuration; may refer to further variables. */
  readonly base_url: string
  /** A server of one's own, which mostly wants no key. */
  readonly key_optional?: boolean
  /** Limits that all models of one key share. */
  readonly account?: { readonly limits: PresetLimits }
  /** Served where an entry names no model. */
  readonly models?: readonly PresetModel[]
  /** Served in their place: models of its list that one of these matches. */
  readonly discover?: readonly string[]
}

const presets: Readonly<Record<string, VendorPreset>> = data

/** By their ids, in alphabetical order. */
export const vendorPresets: readonly (readonly [id: string, preset: VendorPreset])[] = Object.entries(presets)

/** The preset of a vendor by its id, in any case. */
export function presetOf(vendor: string): VendorPreset | undefined {
  const id = vendor.trim().toLowerCase()
  return Object.hasOwn(presets, id) ? presets[id] : undefined
}

/** The models that an entry asks for which names none: globs, or undefined where the preset lists them. */
export const discoveredBy = ({
  models = [],
  discover = ['*'],
}: VendorPreset): readonly string[] | undefined => (models.length > 0 ? undefined : discover)

/** Who gives out keys that begin like this one: the longest prefix counts, and two vendors have none alike. Undefined where nobody does. */
export function vendorOfKey(key: string): string | undefined {
  let found: { id: string; length: number } | undefined
  for (const [id, { key_prefixes: prefixes = [] }] of vendorPresets)
    for (const { length } of prefixes.filter((prefix) => key.startsWith(prefix)))
      if (length > (found?.length ?? 0)) found = { id, length }
  return found?.id
}

/** Why a key does not look like one of `vendor`, as message and hint; undefined where it may be one. */
export function foreignKey(
  key: string,
  vendor: string,
): readonly [message: string, hint: string] | undefined {
  const other = vendorOfKey(key)
  if (other === undefined || other === vendor) return undefined
  const [its = other, own = vendor] = [presetOf(other)?.title, presetOf(vendor)?.title]
  const [variable] = presetOf(other)?.key_variables ?? []
  const instead = variable === undefined ? '' : ` (without a file: set ${variable})`
  return [
    `looks like a key of ${its}, and not of ${own}`,
    `write ${quoted([other])} as vendor${instead}, or the key of ${own}`,
  ]
}

const originOf = (url: string): string => /^\w+:\/\/[^/]+/.exec(url.trim().toLowerCase())?.[0] ?? ''

/** The first of those who share an origin. */
const vendorsByOrigin: ReadonlyMap<string, string> = new Map(
  vendorPresets
    .filter(([, { base_url: url }]) => !url.includes('${'))
    .map(([id, { base_url: url }]) => [originOf(url), id] as const)
    .toReversed(),
)

/** For addresses without `vendor`: whose they are. */
export const vendorAt = (baseUrl: string): string | undefined => vendorsByOrigin.get(originOf(baseUrl))
