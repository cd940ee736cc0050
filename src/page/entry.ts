import type { ShownEntry, ShownKey } from '../config/shown.ts'
import type { PresetLine } from '../http/admin-config.ts'
import type { FieldProblem } from './api.ts'
import { joined } from './format.ts'
import type { WordKey } from './words.ts'

/* An upstream of the configuration as it is typed, and as the file has it. Pure. */

/** Fields with an input of their own; all others are changed as JSON. */
const OWN_FIELDS = [
  'vendor',
  'base_url',
  'name',
  'model',
  'api_key',
  'weight',
  'priority',
  'enabled',
] as const
export type EntryField = (typeof OWN_FIELDS)[number] | 'further'
type EntryValues = Readonly<Record<EntryField, string>>
/** Those, and what the gateway adds to an entry and the file does not have. */
const NOT_FURTHER: ReadonlySet<string> = new Set([...OWN_FIELDS, 'index', 'keys', 'query'])

/** What an entry is called in a list. */
export const entryTitle = (entry: ShownEntry): string =>
  ['name', 'vendor', 'model', 'base_url'].map((name) => plainText(entry[name])).find(Boolean) ??
  `#${entry.index + 1}`

/** A value of the file in an input: lists with commas; nothing of what is no plain value. */
export function plainText(value: unknown): string {
  if (Array.isArray(value)) return joined(value.map(plainText), ', ')
  return typeof value === 'string' || typeof value === 'number' ? String(value) : ''
}

/** Its keys, without telling them. */
export const keysText = (keys: readonly ShownKey[]): string =>
  keys.map(({ last4, is_variable: variable }) => variable ?? last4 ?? '•••').join(', ')

/** The field that a problem is about; undefined where it is about none of the entry. */
export function fieldOf({ path, entry_path: inside = path }: FieldProblem): EntryField | undefined {
  const [first = ''] = (inside ?? '').split(/[.[]/)
  if (first === '') return undefined
  if (first === 'models') return 'model'
  return OWN_FIELDS.find((name) => name === first) ?? 'further'
}

/** What is in the fields to begin with. */
export function valuesOf(entry: ShownEntry | undefined, presets: readonly PresetLine[]): EntryValues {
  const text = (name: string): string => plainText(entry?.[name])
  const others = Object.entries(entry ?? {}).filter(
    ([name, value]) =>
      !NOT_FURTHER.has(name) &&
      value != null &&
      !(Array.isArray(value) && value.length === 0) &&
      !(name === 'models' && isNames(value)),
  )
  return {
    vendor: entry === undefined ? (presets[0]?.vendor ?? '') : text('vendor'),
    base_url: text('base_url'),
    name: text('name'),
    model: text('model') || (isNames(entry?.['models']) ? text('models') : ''),
    api_key: '',
    weight: text('weight'),
    priority: text('priority'),
    enabled: String(entry?.['enabled'] !== false),
    further: others.length === 0 ? '' : JSON.stringify(Object.fromEntries(others), undefined, 2),
  }
}

const isNames = (value: unknown): boolean =>
  Array.isArray(value) && value.every((model) => typeof model === 'string')

/** The entry that was typed, as the file would have it. An empty field is none; keys that are not given stay. */
export function typedEntryOf(values: EntryValues, before: ShownEntry | undefined) {
  const problems: { readonly path: EntryField; readonly word: WordKey }[] = []
  const listed = (text: string, separator: RegExp): string[] =>
    text
      .split(separator)
      .map((part) => part.trim())
      .filter(Boolean)
  const numberIn = (name: 'weight' | 'priority'): number | undefined => {
    if (values[name].trim() === '') return undefined
    const number = Number(values[name])
    if (Number.isNaN(number)) problems.push({ path: name, word: 'numberBad' })
    return number
  }
  const further = furtherOf(values.further)
  if (further === undefined) problems.push({ path: 'further', word: 'furtherBad' })
  const models = listed(values.model, /,/)
  const keys = listed(values.api_key, /\s+/)
  const isList = models.length > 1 || (models.length > 0 && isNames(before?.['models']))
  const entry = {
    ...further,
    vendor: values.vendor || undefined,
    // That of a vendor with an address of one's own is not typed here, and stays.
    base_url: values.base_url.trim() || undefined,
    name: values.name.trim() || undefined,
    ...(models.length > 0 && (isList ? { models } : { model: models[0] })),
    api_key: keys.length > 1 ? keys : keys[0],
    weight: numberIn('weight'),
    priority: numberIn('priority'),
    enabled: values.enabled === 'true' ? undefined : false,
  }
  return { entry, problems }
}

function furtherOf(text: string): object | undefined {
  if (text.trim() === '') return {}
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? value : undefined
  } catch {
    return undefined
  }
}
