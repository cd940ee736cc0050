import { useEffect, useRef, useState } from 'preact/hooks'
import { ApiError, type ConfigEntry, type KeyState, type Preset, type Problem } from './api.ts'
import { errorText, usePage } from './context.ts'
import type { WordKey } from './words.ts'

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
type Values = Readonly<Record<OwnField | 'further', string>>
/** What the gateway adds to an entry, and the file does not have. */
const NOT_OF_THE_FILE: ReadonlySet<string> = new Set(['index', 'keys', 'vendor_title'])

/** What an entry is called in a list. */
export const entryTitle = (entry: ConfigEntry): string =>
  ['name', 'vendor', 'model', 'base_url'].map((name) => plainText(entry[name])).find(Boolean) ??
  `#${entry.index + 1}`

/** A value of the file in an input: lists with commas; nothing of what is no plain value. */
export function plainText(value: unknown): string {
  if (Array.isArray(value)) return value.map(plainText).filter(Boolean).join(', ')
  return typeof value === 'string' || typeof value === 'number' ? String(value) : ''
}

/** Its keys, without telling them. */
export const keysText = (keys: readonly KeyState[] = []): string =>
  keys
    .map(
      ({ last4, is_variable: variable }) =>
        variable ?? (last4 === null ? '•••' : `…${last4.replace(/^…/, '')}`),
    )
    .join(', ')

interface EntryFormProps {
  /** Undefined = a new one. */
  readonly entry: ConfigEntry | undefined
  /** Empty = by hand. */
  readonly presets: readonly Preset[]
  /** @throws ApiError with the problems of the schema */
  readonly onSave: (entry: object) => Promise<void>
  readonly onCancel: () => void
}

/** One upstream of the file. What the schema does not like is told at its field. */
export function EntryForm({ entry, presets, onSave, onCancel }: EntryFormProps) {
  const { t } = usePage()
  const [values, setValues] = useState<Values>(() => valuesOf(entry, presets))
  const [problems, setProblems] = useState<readonly Problem[]>([])
  const [said, setSaid] = useState('')
  const [isSaving, setIsSaving] = useState(false)
  const form = useRef<HTMLFormElement>(null)
  useEffect(() => form.current?.querySelector<HTMLElement>('select, input, textarea')?.focus(), [])

  const isVendor = presets.length > 0 || (entry?.['vendor'] ?? null) !== null
  const preset = presets.find(({ vendor }) => vendor === values.vendor)
  const set = (name: keyof Values, value: string): void => setValues({ ...values, [name]: value })

  async function submit(event: SubmitEvent): Promise<void> {
    event.preventDefault()
    if (isSaving) return
    const given = entryOf(values, entry)
    if ('problems' in given) {
      setProblems(given.problems.map(({ path, word }) => ({ path, message: t(word) })))
      return setSaid(t('notSaved'))
    }
    setIsSaving(true)
    try {
      return await onSave(given.entry)
    } catch (error) {
      const { problems: found } = error as ApiError
      setProblems(found ?? [])
      setSaid(found?.length > 0 ? t('notSaved') : errorText(error, t))
    }
    setIsSaving(false)
    setTimeout(() => form.current?.querySelector<HTMLElement>('[aria-invalid=true]')?.focus())
  }

  const problemAt = (name: keyof Values): readonly Problem[] =>
    problems.filter((problem) => fieldOf(problem) === name)
  const field = (
    name: keyof Values,
    label: WordKey,
    more: { hint?: string; rows?: number; kind?: string } = {},
  ) => {
    const found = problemAt(name)
    const id = `entry-${name}`
    const shared = {
      id,
      value: values[name],
      spellcheck: false,
      autocomplete: 'off',
      'aria-invalid': found.length > 0,
      'aria-describedby': `${id}-hint`,
      onInput: ({ currentTarget }: { currentTarget: HTMLInputElement | HTMLTextAreaElement }) =>
        set(name, currentTarget.value),
    }
    return (
      <div class={more.rows === undefined ? 'field' : 'field wide'}>
        <label for={id}>{t(label)}</label>
        {more.rows === undefined ? (
          <input {...shared} {...(more.kind === 'number' && { inputMode: 'decimal' })} />
        ) : (
          <textarea {...shared} rows={more.rows} class={more.kind} />
        )}
        <p id={`${id}-hint`} class={found.length > 0 ? 'bad' : 'muted'}>
          {found.length > 0 ? found.map(problemText).join(' ') : more.hint}
        </p>
      </div>
    )
  }
  const elsewhere = problems.filter((problem) => fieldOf(problem) === undefined)
  const keysHint =
    entry !== undefined && (entry.keys?.length ?? 0) > 0
      ? t('keepKeys', { keys: keysText(entry.keys) })
      : t('keysHint')
  const variable = preset?.key_variable
  return (
    <form
      ref={form}
      class="entry-form"
      onSubmit={(event) => void submit(event)}
      aria-label={entry ? t('changeEntry', { name: entryTitle(entry) }) : t('newEntry')}
    >
      {presets.length > 0 && entry === undefined && (
        <div class="field">
          <label for="entry-vendor">{t('vendor')}</label>
          <select
            id="entry-vendor"
            value={values.vendor}
            aria-invalid={problemAt('vendor').length > 0}
            onChange={({ currentTarget }) => set('vendor', currentTarget.value)}
          >
            {presets.map(({ vendor, title }) => (
              <option key={vendor} value={vendor}>
                {title}
              </option>
            ))}
          </select>
          <p class={problemAt('vendor').length > 0 ? 'bad' : 'muted'}>
            {problemAt('vendor').map(problemText).join(' ') || preset?.base_url}
          </p>
        </div>
      )}
      {!isVendor && field('base_url', 'baseUrl', { hint: 'https://api.example.com/v1' })}
      {field('model', 'models', { ...(isVendor && { hint: t('modelsHint') }) })}
      {field('name', 'name')}
      {field('weight', 'weight', { kind: 'number' })}
      {field('priority', 'priority', { kind: 'number' })}
      <div class="field">
        <label class="check">
          <input
            type="checkbox"
            checked={values.enabled === 'true'}
            onChange={({ currentTarget }) => set('enabled', String(currentTarget.checked))}
          />
          <span>{t('enabled')}</span>
        </label>
      </div>
      {field('api_key', 'keys', {
        hint:
          variable == null || entry
            ? keysHint
            : `${keysHint} ${t('keyVariable', { name: `\${${variable}}` })}`,
        rows: 2,
        kind: 'secret',
      })}
      {field('further', 'further', {
        hint: '{ "limits": { "requests_per_minute": 30 } }',
        rows: 3,
        kind: 'code',
      })}
      <div role="alert" class="wide">
        {elsewhere.map((problem) => (
          <p key={`${problem.path} ${problem.message}`} class="bad">
            <code>{problem.path}</code> {problemText(problem)}
          </p>
        ))}
        {said !== '' && <p class="bad">{said}</p>}
      </div>
      <div class="line wide">
        <button type="submit" class="strong" aria-disabled={isSaving}>
          {t(isSaving ? 'saving' : 'save')}
        </button>
        <button type="button" onClick={onCancel}>
          {t('cancel')}
        </button>
      </div>
    </form>
  )
}

const problemText = ({ message, hint }: Problem): string =>
  [message, hint].filter((part) => part != null && part !== '').join('; ')

/** The field that a problem is about; undefined where it is about none of the entry. */
export function fieldOf({ path, entry_path: inside = path }: Problem): keyof Values | undefined {
  const [first = ''] = (inside ?? '').split(/[.[]/)
  if (first === '') return undefined
  if (first === 'models') return 'model'
  return OWN_FIELDS.find((name) => name === first) ?? 'further'
}

function valuesOf(entry: ConfigEntry | undefined, presets: readonly Preset[]): Values {
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
  | { readonly problems: readonly { readonly path: keyof Values; readonly word: WordKey }[] }

/** The entry that was typed, as the file would have it. An empty field is none; keys that are not given stay. */
export function entryOf(values: Values, before: ConfigEntry | undefined): Given {
  const problems: { path: keyof Values; word: WordKey }[] = []
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
