import { useEffect, useState } from 'preact/hooks'
import type { AttemptLine, Decision, Explanation } from '../events/explain.ts'
import type { ExplainedId } from '../events/requests.ts'
import { ApiError } from './api.ts'
import { errorText, usePage } from './context.ts'
import { clockText, joined, msText, outcomeTone, shareText, statusTone } from './format.ts'
import { reasonText, wordKeyOf, wordOf, type WordKey } from './words.ts'

/** What happened to a request, as the gateway computes it again. */
export function Explained({ id }: { id: string }) {
  const { api, t, lang } = usePage()
  const [found, setFound] = useState<ExplainedId>()
  const [problem, setProblem] = useState('')
  useEffect(() => {
    const abort = new AbortController()
    setFound(undefined)
    setProblem('')
    api
      .json<ExplainedId>(`admin/requests/${encodeURIComponent(id)}`, { signal: abort.signal })
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
              <a href={`#requests/${request.id}`}>
                {clockText(request.at, lang)} {request.id}
              </a>
            </li>
          ))}
        </ul>
      </div>
    )
  return <TimeLine explanation={found} />
}

/** From arrival to end: each choice with those who could and could not be taken, each attempt with what became of it. */
function TimeLine({ explanation }: { explanation: Explanation }) {
  const { t, lang } = usePage()
  const { request, decisions, attempts, end, exact } = explanation
  const totalMs = request.duration_ms
  const moments = [
    ...decisions.map((decision) => ({ at: decision.after_ms, shown: <Choice decision={decision} /> })),
    ...attempts.map((attempt) => ({
      at: attempt.started_ms,
      shown: <Tried attempt={attempt} totalMs={totalMs} />,
    })),
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
        {moments.map(({ at, shown }, nth) => (
          <li key={nth}>
            <span class="after">{msText(at)}</span>
            {shown}
          </li>
        ))}
        {end === null ? (
          <li>{t('underWay')}</li>
        ) : (
          <li>
            <span class="after">{msText(totalMs)}</span>
            <p>
              <b class={statusTone(end.status)}>{t('ended', { status: end.status, ms: msText(totalMs) })}</b>
              {end.code !== null && <code> {end.code}</code>}
            </p>
            {lang === 'en' && (end.status >= 400 || end.status === 0) && <p class="muted">{end.text}</p>}
          </li>
        )}
      </ol>
      <p class="muted">{t(exact ? 'exact' : 'notExact')}</p>
      <p class="muted">
        <code>{request.id}</code>
      </p>
    </article>
  )
}

const CANDIDATE_COLUMNS: readonly WordKey[] = [
  'rank',
  'headroom',
  'inFlight',
  'latency',
  'weight',
  'priority',
]

function Choice({ decision }: { decision: Decision }) {
  const { t, lang } = usePage()
  const { kind, strategy, candidates, unavailable, chosen, remembered, owner } = decision
  return (
    <>
      <p>
        {t(wordKeyOf(`decision_${kind}`) ?? 'decision')}
        {t('colon')}
        <b>{chosen === null ? t('choseNobody') : t('choseUpstream', { name: chosen })}</b>
        <span class="muted">
          {' '}
          {joined([
            strategy,
            remembered && t('remembered', { name: remembered }),
            owner && t('madeBy', { name: owner }),
          ])}
        </span>
      </p>
      {candidates.length > 0 && (
        <div class="scroll" tabIndex={0} role="group" aria-label={t('candidates')}>
          <table>
            <thead>
              <tr>
                <th scope="col">{t('candidates')}</th>
                {CANDIDATE_COLUMNS.map((word) => (
                  <th key={word} scope="col" class="number">
                    {t(word)}
                  </th>
                ))}
              </tr>
            </thead>
            <tbody>
              {candidates.map((one) => (
                <tr key={one.upstream} class={one.upstream === chosen ? 'chosen' : undefined}>
                  <th scope="row">
                    {one.upstream}
                    {one.standing !== null && <small class="muted"> {one.standing}</small>}
                  </th>
                  {[
                    one.rank ?? '–',
                    shareText(one.headroom),
                    one.in_flight,
                    one.latency_ms === null ? '–' : msText(one.latency_ms),
                    one.weight,
                    one.priority,
                  ].map((value, nth) => (
                    <td key={nth} class="number">
                      {value}
                    </td>
                  ))}
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
      {unavailable.length > 0 && (
        <ul class="unavailable">
          {unavailable.map(({ upstream, why: reason, until, source }) => (
            <li key={upstream}>
              <b>{upstream}</b> <span class="wait">{reasonText(reason, lang)}</span>
              <span class="muted">
                {until !== null && ` ${t('until', { time: clockText(until, lang, Date.parse(until)) })}`}
                {` · ${wordOf('source', source, t)}`}
              </span>
            </li>
          ))}
        </ul>
      )}
    </>
  )
}

function Tried({ attempt, totalMs }: { attempt: AttemptLine; totalMs: number }) {
  const { t } = usePage()
  const { upstream, model, outcome, status, reason } = attempt
  const { started_ms: from, first_byte_ms: first, duration_ms: ms } = attempt
  const share = (part: number): string => `${Math.min(100, (100 * part) / Math.max(1, totalMs)).toFixed(2)}%`
  const times = { outcome: joined([wordOf('outcome', outcome, t), status], ' '), total: msText(ms) }
  return (
    <>
      <p>
        {t('attempt', { name: upstream })} <span class="muted">{model}</span>
        {t('colon')}
        <b class={outcomeTone(outcome)}>
          {first === null ? t('attemptTime', times) : t('attemptTimes', { ...times, first: msText(first) })}
        </b>
        {reason !== null && <span class="muted"> {reason}</span>}
      </p>
      <div class="gantt" aria-hidden="true" data-tone={outcomeTone(outcome)}>
        <i style={{ left: share(from), width: share(ms) }} />
        {first !== null && <b style={{ left: share(from + first) }} />}
      </div>
    </>
  )
}
