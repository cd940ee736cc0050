import { useEffect, useRef, useState } from 'preact/hooks'
import type { ShownRequest } from './api.ts'
import { errorText, usePage } from './context.ts'
import { Explained } from './explanation.tsx'
import { amountText, msText, statusTone } from './format.ts'
import type { WordKey } from './words.ts'

/** Kinds of statuses; `4xx` are those that the client is to blame for, where one chooses here. */
const STATUSES: readonly (readonly [value: string, word: WordKey, fits: (status: number) => boolean])[] = [
  ['2xx', 'status_answered', (status) => status < 400],
  ['429', 'status_refused', (status) => status === 429],
  ['5xx', 'status_failed', (status) => status >= 500],
  ['4xx', 'status_client', (status) => status >= 400 && status < 500 && status !== 429 && status !== 499],
  ['499', 'status_left', (status) => status === 499],
]

interface Filter {
  readonly upstream: string
  readonly status: string
  readonly model: string
  readonly token: string
  readonly text: string
}
const NO_FILTER: Filter = { upstream: '', status: '', model: '', token: '', text: '' }

/** Whether a request is among those that are asked for. */
function fits(request: ShownRequest, { upstream, status, model, token, text }: Filter): boolean {
  if (upstream !== '' && request.upstream !== upstream) return false
  if (model !== '' && request.model !== model) return false
  if (token !== '' && request.token !== token) return false
  if (STATUSES.find(([value]) => value === status)?.[2](request.status) === false) return false
  const words = [
    request.id,
    request.code,
    request.model,
    request.upstream,
    request.endpoint,
    request.token,
    request.status,
  ]
  return text === '' || words.join(' ').toLowerCase().includes(text.trim().toLowerCase())
}

/** `#requests/ID` opens that one. */
const openedIn = (hash: string): string | undefined => {
  const [, id] = /^#requests\/(.+)$/.exec(hash) ?? []
  return id === undefined ? undefined : decodeURIComponent(id)
}

export function Requests() {
  const { api, live, t } = usePage()
  const [filter, setFilter] = useState(NO_FILTER)
  const [older, setOlder] = useState<readonly ShownRequest[]>([])
  /** The last one that was asked for beyond those that are shown, with this filter. */
  const [cursor, setCursor] = useState('')
  const [isEnd, setIsEnd] = useState(false)
  const [problem, setProblem] = useState('')
  const [opened, setOpened] = useState(() => openedIn(location.hash))
  useEffect(() => {
    const onHash = (): void => setOpened(openedIn(location.hash))
    addEventListener('hashchange', onHash)
    return () => removeEventListener('hashchange', onHash)
  }, [])

  const recent = live.requests ?? []
  const known = new Map([...older, ...recent].map((request) => [request.id, request]))
  const all = [...known.values()].toSorted((a, b) => Date.parse(b.at) - Date.parse(a.at))
  const shown = all.filter((request) => fits(request, filter))
  const valuesOf = (of: (request: ShownRequest) => string | null): string[] =>
    [...new Set(all.map((request) => of(request) ?? ''))]
      .filter(Boolean)
      .toSorted((a, b) => a.localeCompare(b))

  function change(part: Partial<Filter>): void {
    setFilter({ ...filter, ...part })
    setCursor('')
    setIsEnd(false)
  }
  async function loadOlder(): Promise<void> {
    setProblem('')
    const { text, ...named } = filter
    const query = new URLSearchParams({ limit: '100' })
    for (const [name, value] of Object.entries({
      ...named,
      q: text.trim(),
      before: cursor || (shown.at(-1)?.id ?? ''),
    }))
      if (value !== '') query.set(name, value)
    try {
      const path = `admin/requests?${query}`
      const { requests } = await api.json<{ requests: readonly ShownRequest[] }>(path)
      setOlder([...older, ...requests])
      setCursor(requests.at(-1)?.id ?? '')
      setIsEnd(requests.length === 0)
    } catch (error) {
      setProblem(errorText(error, t))
    }
  }

  const select = (name: keyof Filter, word: WordKey, options: readonly (readonly [string, string])[]) => (
    <label>
      <span>{t(word)}</span>
      <select value={filter[name]} onChange={({ currentTarget }) => change({ [name]: currentTarget.value })}>
        <option value="">{t('all')}</option>
        {options.map(([value, text]) => (
          <option key={value} value={value}>
            {text}
          </option>
        ))}
      </select>
    </label>
  )
  const same = (values: readonly string[]) => values.map((value) => [value, value] as const)
  const tokens = valuesOf(({ token }) => token)
  const isListed = opened === undefined || shown.some(({ id }) => id === opened)
  return (
    <section aria-labelledby="requests">
      <h1 id="requests">{t('lastRequests')}</h1>
      <form class="filters" role="search" onSubmit={(event) => event.preventDefault()}>
        {select('upstream', 'filterUpstream', same(valuesOf(({ upstream }) => upstream)))}
        {select(
          'status',
          'filterStatus',
          STATUSES.map(([value, word]) => [value, t(word)] as const),
        )}
        {select('model', 'filterModel', same(valuesOf(({ model }) => model)))}
        {tokens.length > 0 && select('token', 'filterToken', same(tokens))}
        <label>
          <span>{t('filterText')}</span>
          <input
            type="search"
            value={filter.text}
            placeholder={t('filterTextHint')}
            onInput={({ currentTarget }) => change({ text: currentTarget.value })}
          />
        </label>
      </form>
      {!isListed && opened !== undefined && <Explained id={opened} />}
      {shown.length === 0 ? (
        <p class="muted">{t('noRequests')}</p>
      ) : (
        <div class="table" role="table" aria-labelledby="requests">
          <div role="rowgroup">
            <div role="row" class="head">
              {COLUMNS.map(([word, kind]) => (
                <span key={word} role="columnheader" class={kind}>
                  {t(word)}
                </span>
              ))}
            </div>
          </div>
          {shown.map((request) => (
            <Row key={request.id} request={request} isOpen={request.id === opened} />
          ))}
        </div>
      )}
      {live.requests !== undefined && !isEnd && (
        <p>
          <button type="button" onClick={() => void loadOlder()}>
            {t('olderRequests')}
          </button>
        </p>
      )}
      <p class="bad" role="alert">
        {problem}
      </p>
    </section>
  )
}

const COLUMNS: readonly (readonly [WordKey, string])[] = [
  ['colTime', 'c-time'],
  ['colStatus', 'c-status'],
  ['colModel', 'c-model'],
  ['colUpstream', 'c-upstream'],
  ['colAttempts', 'c-attempts number'],
  ['colFirst', 'c-first number'],
  ['colTotal', 'c-total number'],
  ['colTokens', 'c-tokens number'],
]

/** One request; its time opens its explanation below it. */
function Row({ request, isOpen }: { request: ShownRequest; isOpen: boolean }) {
  const { t, lang } = usePage()
  const link = useRef<HTMLAnchorElement>(null)
  const { id, at, model, upstream, status, code, attempts } = request
  const { first_byte_ms: first, duration_ms: total, input_tokens: input, output_tokens: output } = request
  const cells = [
    <a
      key="link"
      ref={link}
      href={isOpen ? '#requests' : `#requests/${encodeURIComponent(id)}`}
      aria-expanded={isOpen}
      aria-label={`${timeText(at, lang)} ${t('showRequest', { id })}`}
    >
      <time dateTime={at}>{timeText(at, lang)}</time>
    </a>,
    <span key="status" class={statusTone(status)}>
      {status} {code !== null && <small>{code}</small>}
    </span>,
    model,
    upstream ?? '–',
    attempts,
    first === null ? '–' : msText(first),
    msText(total),
    input === null && output === null ? '–' : `${amountText(input ?? 0)} / ${amountText(output ?? 0)}`,
  ]
  return (
    <div role="rowgroup" class={isOpen ? 'open' : undefined}>
      {/* The link is for keyboards and readers; a click anywhere in the row does the same. */}
      <div
        role="row"
        class="row"
        onClick={({ target }) => (target as Element).closest('a') ?? link.current?.click()}
      >
        {COLUMNS.map(([word, kind], at) => (
          <span key={word} role="cell" class={kind}>
            {cells[at]}
          </span>
        ))}
      </div>
      {isOpen && (
        <div role="row">
          <div role="cell" class="detail">
            <Explained id={id} />
          </div>
        </div>
      )}
    </div>
  )
}

/** To the second, with its date on another day. */
function timeText(iso: string, lang: string): string {
  const moment = new Date(iso)
  const time = moment.toLocaleTimeString(lang, { hourCycle: 'h23' })
  if (moment.toDateString() === new Date().toDateString()) return time
  return `${moment.toLocaleDateString(lang, { month: 'short', day: 'numeric' })} ${time}`
}
