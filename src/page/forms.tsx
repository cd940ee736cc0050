import { useLayoutEffect, useRef, useState } from 'preact/hooks'
import type { ShownEntry } from '../config/shown.ts'
import type { EditableConfig, PresetLine } from '../http/admin-config.ts'
import { ApiError, type FieldProblem } from './api.ts'
import { errorText, usePage } from './context.ts'
import { entryTitle, fieldOf, keysText, plainText, typedEntryOf, valuesOf, type EntryField } from './entry.ts'
import { joined } from './format.ts'
import type { WordKey } from './words.ts'

/** One line of text, unless it says otherwise. */
interface Field<Name extends string> {
  readonly name: Name
  readonly label: WordKey
  readonly kind?: 'number' | 'secret' | 'code' | 'check'
  /** Chosen among these. */
  readonly options?: readonly (readonly [value: string, text: string])[]
  readonly hint?: string | undefined
}

interface FormProps<Name extends string> {
  /** In front of the ids of its fields. */
  readonly id: string
  readonly label: string
  readonly start: Readonly<Record<Name, string>>
  readonly fields: (values: Readonly<Record<Name, string>>) => readonly (Field<Name> | false)[]
  /** The field that a problem is about. */
  readonly fieldOf: (problem: FieldProblem, values: Readonly<Record<Name, string>>) => Name | undefined
  /** @throws ApiError with what is wrong */
  readonly onSave: (values: Readonly<Record<Name, string>>) => Promise<void>
  readonly onCancel: () => void
}

const ROWS = { secret: 2, code: 3 } as const

/** Something that is typed and saved. What is wrong with it is told at its field, and what was typed stays. */
function Form<Name extends string>({ id, label, start, onSave, onCancel, ...of }: FormProps<Name>) {
  const { t } = usePage()
  const [values, setValues] = useState(start)
  const [problems, setProblems] = useState<readonly FieldProblem[]>([])
  const [said, setSaid] = useState('')
  const [isSaving, setIsSaving] = useState(false)
  const form = useRef<HTMLFormElement>(null)
  const focus = (what: string): void => form.current?.querySelector<HTMLElement>(what)?.focus()
  useLayoutEffect(() => focus('select, input, textarea'), [])

  async function submit(event: SubmitEvent): Promise<void> {
    event.preventDefault()
    if (isSaving) return
    setIsSaving(true)
    try {
      return await onSave(values)
    } catch (error) {
      const { problems: found = [] } = error as Partial<ApiError>
      setProblems(found)
      setSaid(found.length > 0 ? t('notSaved') : errorText(error, t))
    }
    setIsSaving(false)
    setTimeout(() => focus('[aria-invalid=true]'))
  }

  const fields = of.fields(values).filter((field) => field !== false)
  const found = problems.map((problem) => {
    const field = of.fieldOf(problem, values)
    const { path, message, hint } = problem
    const own = fields.find(({ name, kind }) => name === field && kind !== 'check')
    return { path, field: own, text: joined([message, hint], '; ') }
  })
  const inputOf = ({ name, kind, options }: Field<Name>, isWrong: boolean) => {
    const shared = {
      id: `${id}-${name}`,
      value: values[name],
      spellcheck: false,
      autocomplete: 'off' as const,
      'aria-invalid': isWrong,
      'aria-describedby': `${id}-${name}-hint`,
      onInput: ({
        currentTarget: { value },
      }: {
        currentTarget: HTMLInputElement | HTMLTextAreaElement | HTMLSelectElement
      }) => setValues({ ...values, [name]: value }),
    }
    if (options !== undefined)
      return (
        <select {...shared}>
          {options.map(([value, text]) => (
            <option key={value} value={value}>
              {text}
            </option>
          ))}
        </select>
      )
    if (kind === 'secret' || kind === 'code') return <textarea {...shared} rows={ROWS[kind]} class={kind} />
    return <input {...shared} inputMode={kind === 'number' ? 'decimal' : 'text'} />
  }
  return (
    <form ref={form} class="edited" onSubmit={(event) => void submit(event)} aria-label={label}>
      {fields.map((field) => {
        const { name, kind = '', hint } = field
        if (kind === 'check')
          return (
            <label key={name} class="check wide">
              <input
                type="checkbox"
                checked={values[name] === 'true'}
                onChange={({ currentTarget }) =>
                  setValues({ ...values, [name]: String(currentTarget.checked) })
                }
              />
              <span>{t(field.label)}</span>
            </label>
          )
        const wrong = found.filter((one) => one.field === field).map(({ text }) => text)
        return (
          <div key={name} class={kind in ROWS ? 'field wide' : 'field'}>
            <label for={`${id}-${name}`}>{t(field.label)}</label>
            {inputOf(field, wrong.length > 0)}
            <p id={`${id}-${name}-hint`} class={wrong.length > 0 ? 'bad' : 'muted'}>
              {wrong.join(' ') || hint}
            </p>
          </div>
        )
      })}
      <div role="alert" class="wide">
        {found
          .filter(({ field }) => field === undefined)
          .map(({ path, text }) => (
            <p key={path + text} class="bad">
              <code>{path}</code> {text}
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

interface EntryFormProps {
  /** Undefined = a new one. */
  readonly entry: ShownEntry | undefined
  /** Empty = by hand. */
  readonly presets: readonly PresetLine[]
  /** @throws ApiError with the problems of the schema */
  readonly onSave: (entry: object) => Promise<void>
  readonly onCancel: () => void
}

/** One upstream of the file. */
export function EntryForm({ entry, presets, onSave, onCancel }: EntryFormProps) {
  const { t } = usePage()
  const isVendor = presets.length > 0 || (entry?.['vendor'] ?? null) !== null
  const keys = entry?.keys ?? []
  const keysHint = keys.length > 0 ? t('keepKeys', { keys: keysText(keys) }) : t('keysHint')
  return (
    <Form<EntryField>
      id="entry"
      label={entry ? t('changeEntry', { name: entryTitle(entry) }) : t('newEntry')}
      start={valuesOf(entry, presets)}
      fields={(values) => {
        const preset = entry ? undefined : presets.find(({ vendor }) => vendor === values.vendor)
        const variable = preset?.key_variable && t('keyVariable', { name: `\${${preset.key_variable}}` })
        return [
          entry === undefined &&
            isVendor && {
              name: 'vendor',
              label: 'vendor',
              options: presets.map(({ vendor, title }) => [vendor, title]),
              hint: preset?.base_url,
            },
          !isVendor && { name: 'base_url', label: 'baseUrl', hint: 'https://api.example.com/v1' },
          { name: 'model', label: 'models', hint: isVendor ? t('modelsHint') : '' },
          { name: 'name', label: 'name' },
          { name: 'weight', label: 'weight', kind: 'number' },
          { name: 'priority', label: 'priority', kind: 'number' },
          { name: 'api_key', label: 'keys', kind: 'secret', hint: joined([keysHint, variable], ' ') },
          { name: 'further', label: 'further', kind: 'code', hint: '{ "limits": { "rpm": 30 } }' },
          { name: 'enabled', label: 'enabled', kind: 'check' },
        ]
      }}
      fieldOf={fieldOf}
      onSave={async (values) => {
        const { entry: typed, problems } = typedEntryOf(values, entry)
        if (problems.length === 0) return onSave(typed)
        throw new ApiError(
          422,
          '',
          problems.map(({ path, word }) => ({ path, message: t(word) })),
        )
      }}
      onCancel={onCancel}
    />
  )
}

interface SettingsFormProps {
  readonly config: EditableConfig
  /** @throws ApiError with the problems of the schema */
  readonly onSave: (settings: object) => Promise<void>
  readonly onCancel: () => void
}

const OF_HEADER = 'header:'

/** How it chooses. What is not changed is not written into the file. */
export function SettingsForm({ config: { settings, choices }, onSave, onCancel }: SettingsFormProps) {
  const { t } = usePage()
  const [strategy, affinity] = [plainText(settings.strategy), plainText(settings.affinity)]
  const isOfHeader = affinity.startsWith(OF_HEADER)
  const start = {
    strategy,
    affinity: isOfHeader ? OF_HEADER : affinity,
    header: isOfHeader ? affinity.slice(OF_HEADER.length) : '',
  }
  /** What the file says now is among them, such as a variable. */
  const optionsOf = (values: readonly string[], now: string) =>
    [...new Set([...values.map((value) => value.replace('<name>', '')), now])].map(
      (value) => [value, value === OF_HEADER ? t('ofHeader') : value] as const,
    )
  return (
    <Form
      id="settings"
      label={t('changeSettings')}
      start={start}
      fields={(values) => [
        { name: 'strategy', label: 'strategy', options: optionsOf(choices.strategy, strategy) },
        { name: 'affinity', label: 'affinity', options: optionsOf(choices.affinity, start.affinity) },
        values.affinity === OF_HEADER && { name: 'header', label: 'header', hint: 'x-session-id' },
      ]}
      fieldOf={({ path }, values) =>
        path === 'settings.strategy'
          ? 'strategy'
          : path === 'settings.affinity'
            ? values.affinity === OF_HEADER
              ? 'header'
              : 'affinity'
            : undefined
      }
      onSave={async (values) => {
        const typed = values.affinity + (values.affinity === OF_HEADER ? values.header.trim() : '')
        const changed = {
          ...(values.strategy !== strategy && { strategy: values.strategy }),
          ...(typed !== affinity && { affinity: typed }),
        }
        return Object.keys(changed).length > 0 ? onSave(changed) : onCancel()
      }}
      onCancel={onCancel}
    />
  )
}
