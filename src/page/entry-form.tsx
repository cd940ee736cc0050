import { useEffect, useRef, useState } from 'preact/hooks'
import type { ApiError, ShownEntry, ShownPreset, ShownProblem } from './api.ts'
import { errorText, usePage } from './context.ts'
import { typedEntryOf, entryTitle, fieldOf, keysText, valuesOf, type EntryValues } from './entry.ts'
import type { WordKey } from './words.ts'

interface EntryFormProps {
  /** Undefined = a new one. */
  readonly entry: ShownEntry | undefined
  /** Empty = by hand. */
  readonly presets: readonly ShownPreset[]
  /** @throws ApiError with the problems of the schema */
  readonly onSave: (entry: object) => Promise<void>
  readonly onCancel: () => void
}

/** One upstream of the file. What the schema does not like is told at its field. */
export function EntryForm({ entry, presets, onSave, onCancel }: EntryFormProps) {
  const { t } = usePage()
  const [values, setValues] = useState<EntryValues>(() => valuesOf(entry, presets))
  const [problems, setProblems] = useState<readonly ShownProblem[]>([])
  const [said, setSaid] = useState('')
  const [isSaving, setIsSaving] = useState(false)
  const form = useRef<HTMLFormElement>(null)
  useEffect(() => form.current?.querySelector<HTMLElement>('select, input, textarea')?.focus(), [])

  const isVendor = presets.length > 0 || (entry?.['vendor'] ?? null) !== null
  const preset = presets.find(({ vendor }) => vendor === values.vendor)
  const set = (name: keyof EntryValues, value: string): void => setValues({ ...values, [name]: value })

  async function submit(event: SubmitEvent): Promise<void> {
    event.preventDefault()
    if (isSaving) return
    const given = typedEntryOf(values, entry)
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

  const problemAt = (name: keyof EntryValues): readonly ShownProblem[] =>
    problems.filter((problem) => fieldOf(problem) === name)
  const field = (
    name: keyof EntryValues,
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
      {field('api_key', 'keys', {
        hint:
          variable == null || entry
            ? keysHint
            : `${keysHint} ${t('keyVariable', { name: `\${${variable}}` })}`,
        rows: 2,
        kind: 'secret',
      })}
      {field('further', 'further', {
        hint: '{ "limits": { "rpm": 30 } }',
        rows: 3,
        kind: 'code',
      })}
      <div class="wide">
        <label class="check">
          <input
            type="checkbox"
            checked={values.enabled === 'true'}
            onChange={({ currentTarget }) => set('enabled', String(currentTarget.checked))}
          />
          <span>{t('enabled')}</span>
        </label>
      </div>
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

const problemText = ({ message, hint }: ShownProblem): string =>
  [message, hint].filter((part) => part != null && part !== '').join('; ')
