import { useRef, useState } from 'preact/hooks'
import type { RequestList } from '../events/requests.ts'
import type { RequestSummary } from '../telemetry/live.ts'
import { errorText, useHash, usePage } from './context.ts'
import { Explained } from './explanation.tsx'
import { amountText, joined, msText, secondsText, statusTone } from './format.ts'
import { withRequests } from './live.ts'
import type { WordKey } from './words.ts'

/** Kinds of statuses; `4xx` are those that the client is to blame for, where one chooses here. */
const STATUSES: readonly (readonly [value: string, word: WordKey, fits: (status: number) => boolean])[] = [
  ['2xx', 'status_answered', (status) => status < 400],
  ['429', 'status_refused', (status) => status === 429],
  ['5xx', 'status_failed', (status) => status >= 500],
  ['4xx', 'status_client', (status) => status >= 400 && status < 500 && status !== 429 && status !== 499],
  ['499', 'status_left', (status) => status === 499],
]

const NO_FILTER = { upstream: '', status: '', model: '', token: '', q: '' }
type Filter = typeof NO_FILTER

/** Whether a request is among those that are asked for. */
function fits(request: RequestSummary, { status: wanted, q, ...named }: Filter): boolean {
  const { id, code, model, upstream, endpoint, token, status } = request
  for (const name of ['upstream', 'model', 'token'] as const)
    if (named[name] !== '' && request[name] !== named[name]) return false
  if (STATUSES.find(([value]) => value === wanted)?.[2](status) === false) return false
  const text = joined([id, code, model, upstream, endpoint, token, status], ' ')
  return text.toLowerCase().includes(q.trim().toLowerCase())
}

export function Requests() {
  const { api, live, t } = usePage()
  const [filter, setFilter] = useState(NO_FILTER)
  const [older, setOlder] = useState<readonly RequestSummary[]>([])
  /** The last one that was asked for beyond those that are shown, with this filter. */
  const [cursor, setCursor] = useState('')
  const [isEnd, setIsEnd] = useState(false)
  const [problem, setProblem] = useState('')
  const [, opened] = useHash()

  const all = withRequests(older, live.requests ?? [], Infinity)
  const shown = all.filter((request) => fits(request, filter))
  /** Those that there are, as options. */
  const valuesOf = (name: 'upstream' | 'model' | 'token') =>
    [...new Set(all.map((request) => request[name] ?? ''))]
      .filter(Boolean)
      .toSorted((a, b) => a.localeCompare(b))
      .map((value) => [value, value] as const)

  function change(part: Partial<Filter>): void {
    setFilter({ ...filter, ...part })
    setCursor('')
    setIsEnd(false)
  }
  async function loadOlder(): Promise<void> {
    setProblem('')
    const before = cursor || (shown.at(-1)?.id ?? '')
    const q = filter.q.trim()
    const asked = Object.entries({ limit: '100', ...filter, q, before }).filter(([, value]) => value !== '')
    try {
      const { requests } = await api.json<RequestList>(`admin/requests?${new URLSearchParams(asked)}`)
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
  const tokens = valuesOf('token')
  const isListed = opened === undefined || shown.some(({ id }) => id === opened)
  return (
    <section aria-labelledby="requests">
      <h1 id="requests">{t('lastRequests')}</h1>
      <form class="filters" role="search" onSubmit={(event) => event.preventDefault()}>
        {select('upstream', 'filterUpstream', valuesOf('upstream'))}
        {select(
          'status',
          'filterStatus',
          STATUSES.map(([value, word]) => [value, t(word)] as const),
        )}
        {select('model', 'filterModel', valuesOf('model'))}
        {tokens.length > 0 && select('token', 'filterToken', tokens)}
        <label>
          <span>{t('filterText')}</span>
          <input
            type="search"
            value={filter.q}
            placeholder={t('filterTextHint')}
            onInput={({ currentTarget }) => change({ q: currentTarget.value })}
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
function Row({ request, isOpen }: { request: RequestSummary; isOpen: boolean }) {
  const { t, lang } = usePage()
  const link = useRef<HTMLAnchorElement>(null)
  const { id, at, model, upstream, status, code, attempts } = request
  const { first_byte_ms: first, duration_ms: total, input_tokens: input, output_tokens: output } = request
  const cells = [
    <a
      key="link"
      ref={link}
      href={isOpen ? '#requests' : `#requests/${id}`}
      aria-expanded={isOpen}
      aria-label={`${secondsText(at, lang)} ${t('showRequest', { id })}`}
    >
      <time dateTime={at}>{secondsText(at, lang)}</time>
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
