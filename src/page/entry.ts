import type { ShownEntry, ShownKey, ShownPreset, ShownProblem } from './api.ts'
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
type OwnField = (typeof OWN_FIELDS)[number]
export type EntryValues = Readonly<Record<OwnField | 'further', string>>
/** What the gateway adds to an entry, and the file does not have. */
const NOT_OF_THE_FILE: ReadonlySet<string> = new Set(['index', 'keys', 'query'])

/** What an entry is called in a list. */
export const entryTitle = (entry: ShownEntry): string =>
  ['name', 'vendor', 'model', 'base_url'].map((name) => plainText(entry[name])).find(Boolean) ??
  `#${entry.index + 1}`

/** A value of the file in an input: lists with commas; nothing of what is no plain value. */
export function plainText(value: unknown): string {
  if (Array.isArray(value)) return value.map(plainText).filter(Boolean).join(', ')
  return typeof value === 'string' || typeof value === 'number' ? String(value) : ''
}

/** Its keys, without telling them. */
export const keysText = (keys: readonly ShownKey[] = []): string =>
  keys
    .map(
      ({ last4, is_variable: variable }) =>
        variable ?? (last4 === null ? '•••' : `…${last4.replace(/^…/, '')}`),
    )
    .join(', ')

/** The field that a problem is about; undefined where it is about none of the entry. */
export function fieldOf({ path, entry_path: inside = path }: ShownProblem): keyof EntryValues | undefined {
  const [first = ''] = (inside ?? '').split(/[.[]/)
  if (first === '') return undefined
  if (first === 'models') return 'model'
  return OWN_FIELDS.find((name) => name === first) ?? 'further'
}

/** What is in the fields to begin with. */
export function valuesOf(entry: ShownEntry | undefined, presets: readonly ShownPreset[]): EntryValues {
  const text = (name: string): string => plainText(entry?.[name])
  const own = new Set<string>(OWN_FIELDS)
  const others = Object.entries(entry ?? {}).filter(
    ([name, value]) =>
      !own.has(name) &&
      !NOT_OF_THE_FILE.has(name) &&
      value != null &&
      !isEmptyList(value) &&
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
const isEmptyList = (value: unknown): boolean => Array.isArray(value) && value.length === 0

type Given =
  | { readonly entry: object }
  | { readonly problems: readonly { readonly path: keyof EntryValues; readonly word: WordKey }[] }

/** The entry that was typed, as the file would have it. An empty field is none; keys that are not given stay. */
export function typedEntryOf(values: EntryValues, before: ShownEntry | undefined): Given {
  const problems: { path: keyof EntryValues; word: WordKey }[] = []
  const listed = (text: string, separator: RegExp): string[] =>
    text
      .split(separator)
      .map((part) => part.trim())
      .filter(Boolean)
  const single = (list: readonly string[]): string | readonly string[] | undefined =>
    list.length > 1 ? list : list[0]
  const numberIn = (name: 'weight' | 'priority'): number | undefined => {
    if (values[name].trim() === '') return undefined
    const number = Number(values[name])
    if (Number.isNaN(number)) problems.push({ path: name, word: 'numberBad' })
    return number
  }
  const isVendor = values.vendor !== ''
  const further = furtherOf(values.further)
  if (further === undefined) problems.push({ path: 'further', word: 'furtherBad' })
  const models = listed(values.model, /,/)
  const isList = models.length > 1 || (models.length > 0 && isNames(before?.['models']))
  const entry = {
    ...further,
    vendor: isVendor ? values.vendor : undefined,
    // That of a vendor with an address of one's own is not typed here, and stays.
    base_url: values.base_url.trim() || undefined,
    name: values.name.trim() || undefined,
    ...(models.length > 0 && (isList ? { models } : { model: models[0] })),
    api_key: single(listed(values.api_key, /\s+/)),
    weight: numberIn('weight'),
    priority: numberIn('priority'),
    enabled: values.enabled === 'true' ? undefined : false,
  }
  return problems.length > 0 ? { problems } : { entry }
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
