import { useEffect, useState } from 'preact/hooks'
import {
  ApiError,
  type ShownAttempt,
  type ShownDecision,
  type ShownExplanation,
  type ShownRequest,
} from './api.ts'
import { errorText, usePage } from './context.ts'
import { clockText, msText, outcomeTone, shareText, statusTone } from './format.ts'
import { reasonText, wordKeyOf, wordOf } from './words.ts'

/** What happened to a request, as the gateway computes it again. */
export function Explained({ id }: { id: string }) {
  const { api, t, lang } = usePage()
  const [found, setFound] = useState<ShownExplanation | { requests: readonly ShownRequest[] }>()
  const [problem, setProblem] = useState('')
  useEffect(() => {
    const abort = new AbortController()
    setFound(undefined)
    setProblem('')
    api
      .json<ShownExplanation>(`admin/requests/${encodeURIComponent(id)}`, { signal: abort.signal })
      .then(setFound)
      .catch((error: unknown) => {
        if (abort.signal.aborted) return
        setProblem(
          error instanceof ApiError && error.status === 404 ? t('noExplanation') : errorText(error, t),
        )
      })
    return () => abort.abort()
  }, [api, id, t])
  if (problem !== '')
    return (
      <p class="muted" role="status">
        {problem}
      </p>
    )
  if (found === undefined) return <p class="muted">{t('loading')}</p>
  if ('requests' in found)
    return (
      <div>
        <p>{t('several', { count: found.requests.length })}</p>
        <ul>
          {found.requests.map((request) => (
            <li key={request.id}>
              <a href={`#requests/${encodeURIComponent(request.id)}`}>
                {clockText(request.at, lang, Date.now())} {request.id}
              </a>
            </li>
          ))}
        </ul>
      </div>
    )
  return <TimeLine explanation={found} />
}

type Moment =
  | { readonly kind: 'decision'; readonly at: number; readonly of: ShownDecision }
  | { readonly kind: 'attempt'; readonly at: number; readonly of: ShownAttempt }

/** From arrival to end: each choice with those who could and could not be taken, each attempt with what became of it. */
function TimeLine({ explanation }: { explanation: ShownExplanation }) {
  const { t, lang } = usePage()
  const { request, decisions, attempts, end, exact } = explanation
  const moments: Moment[] = [
    ...decisions.map((of) => ({ kind: 'decision', at: of.after_ms, of }) as const),
    ...attempts.map((of) => ({ kind: 'attempt', at: of.started_ms, of }) as const),
  ].toSorted((a, b) => a.at - b.at)
  return (
    <article aria-label={t('explanation', { id: request.id })}>
      <ol class="timeline">
        <li>
          <span class="after">0 ms</span>
          <p>
            {t('arrived', {
              time: clockText(request.at, lang, Date.parse(request.at)),
              model: request.model,
            })}
          </p>
        </li>
        {moments.map((moment, at) => (
          <li key={`${moment.kind} ${at}`}>
            <span class="after">{msText(moment.at)}</span>
            {moment.kind === 'decision' ? (
              <Choice decision={moment.of} />
            ) : (
              <Tried attempt={moment.of} totalMs={request.duration_ms} />
            )}
          </li>
        ))}
        {end === null ? (
          <li>{t('underWay')}</li>
        ) : (
          <li>
            <span class="after">{msText(request.duration_ms)}</span>
            <p>
              <b class={statusTone(end.status)}>
                {t('ended', { status: end.status, ms: msText(request.duration_ms) })}
              </b>
              {end.code !== null && <code> {end.code}</code>}
            </p>
            {lang === 'en' && (end.status >= 400 || end.status === 0) && <p class="muted">{end.text}</p>}
          </li>
        )}
      </ol>
      {exact !== undefined && <p class="muted">{t(exact ? 'exact' : 'notExact')}</p>}
      <p class="muted">
        <code>{request.id}</code>
      </p>
    </article>
  )
}

function Choice({ decision }: { decision: ShownDecision }) {
  const { t, lang } = usePage()
  const { kind, strategy, candidates, unavailable, chosen, remembered, owner } = decision
  const word = wordKeyOf(`decision_${kind}`)
  return (
    <>
      <p>
        {t(word ?? 'decision')}
        {': '}
        <b>{chosen === null ? t('choseNobody') : t('choseUpstream', { name: chosen })}</b>
        <span class="muted">
          {' '}
          {[
            strategy,
            remembered == null ? '' : t('remembered', { name: remembered }),
            owner == null ? '' : t('madeBy', { name: owner }),
          ]
            .filter(Boolean)
            .join(' · ')}
        </span>
      </p>
      {candidates.length > 0 && (
        <div class="scroll" tabIndex={0} role="group" aria-label={t('candidates')}>
          <table>
            <thead>
              <tr>
                <th scope="col">{t('candidates')}</th>
                <th scope="col" class="number">
                  {t('rank')}
                </th>
                <th scope="col" class="number">
                  {t('headroom')}
                </th>
                <th scope="col" class="number">
                  {t('inFlight')}
                </th>
                <th scope="col" class="number">
                  {t('latency')}
                </th>
                <th scope="col" class="number">
                  {t('weight')}
                </th>
                <th scope="col" class="number">
                  {t('priority')}
                </th>
              </tr>
            </thead>
            <tbody>
              {candidates.map((one) => (
                <tr key={one.upstream} class={one.upstream === chosen ? 'chosen' : undefined}>
                  <th scope="row">
                    {one.upstream}
                    {one.standing !== null && <small class="muted"> {one.standing}</small>}
                  </th>
                  <td class="number">{one.rank ?? '–'}</td>
                  <td class="number">{shareText(one.headroom)}</td>
                  <td class="number">{one.in_flight}</td>
                  <td class="number">{one.latency_ms === null ? '–' : msText(one.latency_ms)}</td>
                  <td class="number">{one.weight}</td>
                  <td class="number">{one.priority}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
      {unavailable.length > 0 && (
        <ul class="unavailable">
          {unavailable.map(({ upstream, why: reason, until, source }) => {
            return (
              <li key={upstream}>
                <b>{upstream}</b> <span class="wait">{reasonText(reason, lang)}</span>
                <span class="muted">
                  {until !== null && ` ${t('until', { time: clockText(until, lang, Date.parse(until)) })}`}
                  {` · ${wordOf('source', source, t)}`}
                </span>
              </li>
            )
          })}
        </ul>
      )}
    </>
  )
}

function Tried({ attempt, totalMs }: { attempt: ShownAttempt; totalMs: number }) {
  const { t } = usePage()
  const {
    upstream,
    model,
    outcome,
    status,
    started_ms: from,
    first_byte_ms: first,
    duration_ms: ms,
  } = attempt
  const share = (part: number): string => `${Math.min(100, (100 * part) / Math.max(1, totalMs)).toFixed(2)}%`
  const times = { outcome: [wordOf('outcome', outcome, t), status ?? ''].join(' ').trim(), total: msText(ms) }
  return (
    <>
      <p>
        {t('attempt', { name: upstream })} <span class="muted">{model}</span>
        {': '}
        <b class={outcomeTone(outcome)}>
          {first === null ? t('attemptTime', times) : t('attemptTimes', { ...times, first: msText(first) })}
        </b>
        {attempt.reason !== null && <span class="muted"> {attempt.reason}</span>}
      </p>
      <div class="gantt" aria-hidden="true" data-tone={outcomeTone(outcome)}>
        <i style={{ left: share(from), width: share(ms) }} />
        {first !== null && <b style={{ left: share(from + first) }} />}
      </div>
    </>
  )
}
