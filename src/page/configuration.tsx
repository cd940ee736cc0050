import { useCallback, useEffect, useRef, useState } from 'preact/hooks'
import type { ShownEntry } from '../config/shown.ts'
import type { EditableConfig, PresetLine } from '../http/admin-config.ts'
import type { EditAnswer } from '../http/deps.ts'
import { ApiError } from './api.ts'
import { errorText, usePage } from './context.ts'
import { entryTitle, keysText, plainText } from './entry.ts'
import { clockText, joined } from './format.ts'
import { EntryForm, SettingsForm } from './forms.tsx'
import type { WordKey } from './words.ts'

/** What is being changed: how it chooses, a new entry of a vendor or by hand, or one of the file. */
type Edited = 'settings' | 'preset' | 'hand' | ShownEntry

export function Configuration() {
  const { live, t, lang } = usePage()
  const { last_reload: reload, config_warnings: warnings, strategy, affinity, models } = live.status
  const facts = [
    ['strategy', strategy],
    ['affinity', affinity],
    ['modelNames', models.join(', ')],
  ] as const
  return (
    <>
      <section aria-labelledby="configuration">
        <h1 id="configuration">{t('configuration')}</h1>
        {reload?.ok === false && (
          <div class="needs" role="alert">
            <h2>{t('refusedReload', { time: reload.at === null ? '–' : clockText(reload.at, lang) })}</h2>
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
          {facts.map(([word, value]) => (
            <div key={word}>
              <dt>{t(word)}</dt>
              <dd>{value}</dd>
            </div>
          ))}
        </dl>
      </section>
      <ConfigFile />
    </>
  )
}

/** The upstreams of the file in its order, and what may be changed in it. */
function ConfigFile() {
  const { api, t, lang, live, announce, refresh } = usePage()
  const [config, setConfig] = useState<EditableConfig>()
  const [presets, setPresets] = useState<readonly PresetLine[]>([])
  const [edited, setEdited] = useState<Edited>()
  const [problem, setProblem] = useState<{ text: string; isChanged?: boolean }>()
  const [said, setSaid] = useState('')
  const [removing, setRemoving] = useState<number>()
  /** Has the focus when what had it is gone. */
  const heading = useRef<HTMLHeadingElement>(null)

  const load = useCallback(async (): Promise<void> => {
    try {
      setConfig(await api.json<EditableConfig>('admin/config'))
      setProblem(undefined)
    } catch (error) {
      setProblem({ text: errorText(error, t) })
    }
  }, [api, t])
  useEffect(() => void load(), [load])
  const isWritable = config?.writable === true
  useEffect(() => {
    if (!isWritable) return
    api.json<readonly PresetLine[]>('admin/presets').then(setPresets, () => {})
  }, [api, isWritable])

  function close(): void {
    setEdited(undefined)
    setRemoving(undefined)
    heading.current?.focus()
  }
  /** @throws ApiError with the problems of the schema */
  async function change(method: string, path: string, body: object): Promise<void> {
    setSaid('')
    try {
      const { warnings } = await api.json<EditAnswer>(path, { method, body: { etag: config?.etag, ...body } })
      const warned = warnings.map(({ message }) => message).join('; ')
      const text = warned === '' ? t('saved') : t('savedWarnings', { text: warned })
      close()
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
      if (!(error instanceof ApiError && error.status === 409)) setProblem({ text: errorText(error, t) })
    })
  }
  function move(from: number, to: number): void {
    const order = (config?.entries ?? []).map(({ index }) => index)
    const [moved] = order.splice(from, 1)
    if (moved === undefined) return
    order.splice(to, 0, moved)
    changeSimply('POST', 'admin/config/order', { order })
  }

  if (config === undefined) return null
  const { entries, file, why } = config
  const reason = file === null ? 'noFile' : live.status.admin === 'read' && 'readOnly'
  const own = typeof edited === 'object' ? edited : undefined
  const form =
    edited === 'settings' ? (
      <SettingsForm
        config={config}
        onSave={(settings) => change('POST', 'admin/config/settings', { settings })}
        onCancel={close}
      />
    ) : (
      edited && (
        <EntryForm
          key={own?.index ?? edited}
          entry={own}
          presets={edited === 'hand' ? [] : presets}
          onSave={(entry) =>
            own
              ? change('PUT', 'admin/config/upstreams', { index: own.index, entry })
              : change('POST', 'admin/config/upstreams', { entry })
          }
          onCancel={close}
        />
      )
    )
  const opening = (kind: 'settings' | 'preset' | 'hand', word: WordKey) => (
    <button type="button" aria-expanded={edited === kind} onClick={() => setEdited(kind)}>
      {t(word)}
    </button>
  )
  return (
    <section aria-labelledby="entries">
      <div class="title-line">
        <h2 id="entries" tabIndex={-1} ref={heading}>
          {t('entries')}
        </h2>
        {isWritable && (
          <div class="line">
            {opening('settings', 'changeSettings')}
            {presets.length > 0 && opening('preset', 'addPreset')}
            {opening('hand', 'addByHand')}
          </div>
        )}
      </div>
      {why !== null && <p class="muted">{lang !== 'en' && reason ? t(reason) : why}</p>}
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
      {own === undefined && form}
      <ol class="entries">
        {entries.map((entry, at) => (
          <li key={entry.index}>
            <div class="entry">
              <div>
                <b>{entryTitle(entry)}</b>
                <p class="muted">{entryFacts(entry)}</p>
              </div>
              {isWritable && (
                <div class="actions" role="group" aria-label={entryTitle(entry)}>
                  {MOVES.map(({ sign, word, by }) => (
                    <button
                      key={by}
                      type="button"
                      class="icon"
                      aria-disabled={entries[at + by] === undefined}
                      aria-label={t(word)}
                      title={t(word)}
                      onClick={() => entries[at + by] && move(at, at + by)}
                    >
                      {sign}
                    </button>
                  ))}
                  <button
                    type="button"
                    aria-expanded={own?.index === entry.index}
                    onClick={() => setEdited(entry)}
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
            {own?.index === entry.index && form}
          </li>
        ))}
      </ol>
    </section>
  )
}

const MOVES = [
  { sign: '↑', word: 'moveUp', by: -1 },
  { sign: '↓', word: 'moveDown', by: 1 },
] as const

/** What of an entry is worth a line. */
function entryFacts(entry: ShownEntry): string {
  const models = [entry['model'] ?? entry['models'] ?? []].flat() as readonly unknown[]
  const names = models.map((model) => plainText((model as { model?: unknown } | null)?.model ?? model))
  const numbers = ['priority', 'weight'].map(
    (name) => entry[name] != null && `${name} ${plainText(entry[name])}`,
  )
  return joined([plainText(entry['base_url']), joined(names, ', '), keysText(entry.keys), ...numbers])
}
