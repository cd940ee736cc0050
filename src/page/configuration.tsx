import { useCallback, useEffect, useRef, useState } from 'preact/hooks'
import { ApiError, type ShownEntry, type ShownConfig, type ShownPreset } from './api.ts'
import { errorText, usePage } from './context.ts'
import { EntryForm } from './entry-form.tsx'
import { entryTitle, keysText, plainText } from './entry.ts'
import { clockText } from './format.ts'

/** What is being changed: an entry of the file by its place, or a new one of a vendor or by hand. */
type Edited = { readonly kind: 'entry'; readonly entry: ShownEntry } | { readonly kind: 'preset' | 'hand' }

/** What the gateway answers to a change. */
interface Saved {
  readonly etag: string
  readonly warnings?: readonly unknown[]
}

export function Configuration() {
  const { live, t, lang } = usePage()
  const { status } = live
  if (status === undefined) return null
  const { last_reload: reload, config_warnings: warnings, strategy, affinity, models } = status
  return (
    <>
      <section aria-labelledby="configuration">
        <h1 id="configuration">{t('configuration')}</h1>
        {reload?.ok === false && (
          <div class="needs" role="alert">
            <h2>
              {t('refusedReload', {
                time: reload.at === null ? '–' : clockText(reload.at, lang, Date.now()),
              })}
            </h2>
            <ul class="lines">
              {reload.problems.map((line) => (
                <li key={line}>{line}</li>
              ))}
            </ul>
            <p class="muted">{t('stillOld')}</p>
          </div>
        )}
        {warnings.length > 0 ? (
          <>
            <h2>{t('warnings')}</h2>
            <ul class="lines wait">
              {warnings.map((line) => (
                <li key={line}>{line}</li>
              ))}
            </ul>
          </>
        ) : (
          <p class="muted">{t('noWarnings')}</p>
        )}
        <dl class="facts">
          <div>
            <dt>{t('strategy')}</dt>
            <dd>{strategy}</dd>
          </div>
          <div>
            <dt>{t('affinity')}</dt>
            <dd>{affinity}</dd>
          </div>
          <div>
            <dt>{t('modelNames')}</dt>
            <dd>{models.join(', ')}</dd>
          </div>
        </dl>
      </section>
      <Entries />
    </>
  )
}

/** The upstreams of the file, in its order. */
function Entries() {
  const { api, t, lang, announce, refresh } = usePage()
  const [config, setConfig] = useState<ShownConfig>()
  const [presets, setPresets] = useState<readonly ShownPreset[]>([])
  const [edited, setEdited] = useState<Edited>()
  const [problem, setProblem] = useState<{ text: string; isChanged: boolean }>()
  const [said, setSaid] = useState('')
  const [isMissing, setIsMissing] = useState(false)
  const [removing, setRemoving] = useState<number>()
  /** Has the focus when what had it is gone. */
  const heading = useRef<HTMLHeadingElement>(null)

  const load = useCallback(async (): Promise<void> => {
    try {
      setConfig(await api.json<ShownConfig>('admin/config'))
      setProblem(undefined)
    } catch (error) {
      if (error instanceof ApiError && error.status === 404) setIsMissing(true)
      else setProblem({ text: errorText(error, t), isChanged: false })
    }
  }, [api, t])
  useEffect(() => void load(), [load])
  const isWritable = config?.writable === true
  useEffect(() => {
    if (!isWritable) return
    const take = (answer: readonly ShownPreset[] | { presets: readonly ShownPreset[] }): void =>
      setPresets('presets' in answer ? answer.presets : answer)
    api.json<readonly ShownPreset[]>('admin/presets').then(take, () => {})
  }, [api, isWritable])

  /** @throws ApiError with the problems of the schema */
  async function change(method: string, path: string, body: object): Promise<void> {
    setSaid('')
    try {
      const saved = await api.json<Saved>(path, { method, body: { etag: config?.etag, ...body } })
      const warnings = (saved.warnings ?? []).map(warningText)
      const text = warnings.length === 0 ? t('saved') : t('savedWarnings', { text: warnings.join('; ') })
      setEdited(undefined)
      setRemoving(undefined)
      heading.current?.focus()
      setSaid(text)
      announce(text)
      await load()
      await refresh()
    } catch (error) {
      const isChanged = error instanceof ApiError && error.status === 409
      if (isChanged) setProblem({ text: t('changedUnderneath'), isChanged })
      throw error
    }
  }
  const changeSimply = (method: string, path: string, body: object): void => {
    change(method, path, body).catch((error: unknown) => {
      if (!(error instanceof ApiError && error.status === 409))
        setProblem({ text: errorText(error, t), isChanged: false })
    })
  }
  function save(entry: object): Promise<void> {
    if (edited?.kind === 'entry')
      return change('PUT', 'admin/config/upstreams', { index: edited.entry.index, entry })
    return change('POST', 'admin/config/upstreams', { entry })
  }
  function move(from: number, to: number): void {
    const order = (config?.entries ?? []).map(({ index }) => index)
    const [moved] = order.splice(from, 1)
    if (moved === undefined) return
    order.splice(to, 0, moved)
    changeSimply('POST', 'admin/config/order', { order })
  }

  if (isMissing || config === undefined) return null
  const { entries } = config
  const form = edited && (
    <EntryForm
      key={edited.kind === 'entry' ? edited.entry.index : edited.kind}
      entry={edited.kind === 'entry' ? edited.entry : undefined}
      presets={edited.kind === 'hand' ? [] : presets}
      onSave={save}
      onCancel={() => {
        setEdited(undefined)
        heading.current?.focus()
      }}
    />
  )
  return (
    <section aria-labelledby="entries">
      <div class="title-line">
        <h2 id="entries" tabIndex={-1} ref={heading}>
          {t('entries')}
        </h2>
        {isWritable && (
          <div class="line">
            {presets.length > 0 && (
              <button type="button" onClick={() => setEdited({ kind: 'preset' })}>
                {t('addPreset')}
              </button>
            )}
            <button type="button" onClick={() => setEdited({ kind: 'hand' })}>
              {t('addByHand')}
            </button>
          </div>
        )}
      </div>
      {!isWritable && <p class="muted">{lang === 'en' ? (config.why ?? t('readOnly')) : t('readOnly')}</p>}
      {said !== '' && <p class="good">{said}</p>}
      <div role="alert">
        {problem && (
          <p class="bad">
            {problem.text}{' '}
            {problem.isChanged && (
              <button type="button" onClick={() => void load()}>
                {t('reload')}
              </button>
            )}
          </p>
        )}
      </div>
      {edited !== undefined && edited.kind !== 'entry' && form}
      <ol class="entries">
        {entries.map((entry, at) => (
          <li key={entry.index}>
            <div class="entry">
              <div>
                <b>{entryTitle(entry)}</b>
                <p class="muted">{entryFacts(entry, keysText(entry.keys))}</p>
              </div>
              {isWritable && (
                <div class="actions" role="group" aria-label={entryTitle(entry)}>
                  <button
                    type="button"
                    class="icon"
                    aria-disabled={at === 0}
                    aria-label={t('moveUp')}
                    title={t('moveUp')}
                    onClick={() => at > 0 && move(at, at - 1)}
                  >
                    ↑
                  </button>
                  <button
                    type="button"
                    class="icon"
                    aria-disabled={at === entries.length - 1}
                    aria-label={t('moveDown')}
                    title={t('moveDown')}
                    onClick={() => at < entries.length - 1 && move(at, at + 1)}
                  >
                    ↓
                  </button>
                  <button
                    type="button"
                    aria-expanded={edited?.kind === 'entry' && edited.entry.index === entry.index}
                    onClick={() => setEdited({ kind: 'entry', entry })}
                  >
                    {t('edit')}
                  </button>
                  {/* One button for both steps, so that the keyboard stays on it. */}
                  <button
                    type="button"
                    class={removing === entry.index ? 'bad' : undefined}
                    onClick={() => {
                      if (removing !== entry.index) return setRemoving(entry.index)
                      changeSimply('DELETE', 'admin/config/upstreams', { index: entry.index })
                    }}
                  >
                    {removing === entry.index ? t('removeSure', { name: entryTitle(entry) }) : t('remove')}
                  </button>
                  {removing === entry.index && (
                    <button type="button" onClick={() => setRemoving(undefined)}>
                      {t('cancel')}
                    </button>
                  )}
                </div>
              )}
            </div>
            {edited?.kind === 'entry' && edited.entry.index === entry.index && form}
          </li>
        ))}
      </ol>
    </section>
  )
}

const warningText = (warning: unknown): string =>
  typeof warning === 'string' ? warning : plainText((warning as { message?: unknown }).message)

/** What of an entry is worth a line. */
function entryFacts(entry: ShownEntry, keys: string): string {
  const models = [entry['model'] ?? entry['models'] ?? []].flat() as readonly unknown[]
  const names = models.map((model) => plainText((model as { model?: unknown } | null)?.model ?? model))
  const facts = [plainText(entry['base_url']), names.filter(Boolean).join(', '), keys]
  for (const name of ['priority', 'weight'])
    if (entry[name] != null) facts.push(`${name} ${plainText(entry[name])}`)
  return facts.filter(Boolean).join(' · ')
}
