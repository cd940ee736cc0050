import { useState } from 'preact/hooks'
import type { TestResult } from '../http/operate.ts'
import type { LimitStatus, UpstreamStatus } from '../telemetry/status.ts'
import { errorText, useNow, usePage } from './context.ts'
import {
  amountText,
  clockText,
  joined,
  msText,
  outcomeTone,
  spanText,
  sparkPoints,
  type Tone,
} from './format.ts'
import { limitAmount, limitName, reasonText, wordKeyOf, wordOf, type WordKey } from './words.ts'

interface RowProps {
  readonly upstream: UpstreamStatus
}

/** One upstream: what it is, what it may do now, what is left of its limits, how it did lately. */
export function UpstreamRow({ upstream }: RowProps) {
  const { t, lang } = usePage()
  const { name, model, host, key, windows, in_flight: inFlight, last_error: last } = upstream
  const keyText = joined([key.position && t('keyAt', { position: key.position }), key.last4], ' ')
  return (
    <li class="upstream" data-tone={toneOf(upstream)} aria-label={name}>
      <div class="who">
        <h3>
          <i class="dot" aria-hidden="true" />
          {name}
        </h3>
        <p class="muted" title={host}>
          {joined([model === name ? host : model, keyText])}
        </p>
        <Sentence upstream={upstream} />
        {!upstream.available && last?.message != null && last.at !== null && (
          <p class="muted">{t('lastError', { time: clockText(last.at, lang), text: last.message })}</p>
        )}
      </div>
      <div class="limits">
        {windows.length === 0 && <p class="muted">{t('noLimits')}</p>}
        {windows.map((window) => (
          <Bar key={`${window.scope} ${window.counts} ${window.window} ${window.source}`} window={window} />
        ))}
      </div>
      <div class="pulse">
        <p>
          <b>{amountText(inFlight)}</b> <span class="muted">{t('inFlight')}</span>
        </p>
        <Spark upstream={upstream} />
        <Ticks upstream={upstream} />
      </div>
      <Actions upstream={upstream} />
    </li>
  )
}

const toneOf = ({ available, enabled, paused, why, attempts }: UpstreamStatus): Tone => {
  if (!enabled || paused) return 'quiet'
  if (available) return attempts === 0 ? 'quiet' : 'good'
  return why?.startsWith('needs attention') === true ? 'bad' : 'wait'
}

/** Its state as a sentence, with the cause and until when. The countdown is not read aloud each second. */
function Sentence({ upstream }: RowProps) {
  const { t, lang } = usePage()
  const { name, until } = upstream
  const now = useNow(until === null ? 60_000 : 1_000)
  const cause = causeOf(upstream)
  function causeOf({ enabled, paused, available, why, attempts, blocked_by: scope }: UpstreamStatus): string {
    if (!enabled) return t('disabled')
    if (paused) return t('pausedByYou')
    if (available) return t(attempts === 0 ? 'untried' : 'works')
    const owner = wordKeyOf(`scope_${scope}`)
    const reason = reasonText(why ?? '', lang)
    return owner === undefined ? reason : t('sharedCause', { why: reason, scope: t(owner) })
  }
  const left = until === null ? 0 : Date.parse(until) - now
  return (
    <p class="sentence">
      {until === null || left <= 0 || upstream.available
        ? cause
        : t('untilTime', { why: cause, time: clockText(until, lang, now), span: spanText(left, lang) })}
      <span class="unseen" aria-live="polite">{`${name}: ${cause}`}</span>
    </p>
  )
}

/** One limit: how much of it is used, and what is to come. */
function Bar({ window }: { window: LimitStatus }) {
  const { t, lang } = usePage()
  const { used, limit, left, source, scope, runs_out_at: end, reopens_at: more, resets_at: whole } = window
  const moment = (word: WordKey, iso: string | null): string =>
    iso === null ? '' : t(word, { time: clockText(iso, lang) })
  const coming =
    moment('runsOut', end) ||
    (left <= 0 && moment('reopens', more)) ||
    (left < (limit ?? Infinity) && moment('resets', whole))
  const all = limit ?? used + left
  const share = all > 0 ? Math.min(1, Math.max(0, 1 - left / all)) : 0
  const tone = left <= 0 ? 'bad' : share >= 0.85 ? 'wait' : 'quiet'
  const owner = ['upstream', 'key', 'endpoint', 'origin'].includes(scope) ? '' : ` (${scope})`
  return (
    <div class="bar">
      <span class="label">{limitName(window, t) + owner}</span>
      <span class="track" data-tone={tone} aria-hidden="true">
        <span style={{ width: `${(share * 100).toFixed(1)}%` }} />
      </span>
      <span class="amount">{limitAmount(window, t)}</span>
      <span class="muted aside">{joined([wordOf('source', source, t), coming])}</span>
    </div>
  )
}

const SPARK = { width: 160, height: 22 }

/** The first bytes of the last answers, the newest at the right. */
function Spark({ upstream: { first_bytes: values, first_byte_ms: firstByte } }: RowProps) {
  const { t } = usePage()
  if (firstByte === null) return null
  const text = t('firstByteOf', { p50: msText(firstByte.p50), p95: msText(firstByte.p95) })
  return (
    <div class="spark" title={text}>
      {values.length > 1 && (
        <svg viewBox={`0 0 ${SPARK.width} ${SPARK.height}`} preserveAspectRatio="none" aria-hidden="true">
          <polyline points={sparkPoints(values, SPARK.width, SPARK.height)} />
        </svg>
      )}
      <span aria-hidden="true">{msText(firstByte.p50)}</span>
      <span class="unseen">{text}</span>
    </div>
  )
}

const MOST_TICKS = 40

/** One tick an attempt, the newest at the right; a taller one is worse, for those who see no colours. */
function Ticks({ upstream: { last_outcomes: outcomes } }: RowProps) {
  const { t, lang } = usePage()
  const shown = outcomes.slice(0, MOST_TICKS).toReversed()
  const good = shown.filter(({ outcome }) => outcomeTone(outcome) === 'good').length
  const bad = shown.filter(({ outcome }) => ['bad', 'wait'].includes(outcomeTone(outcome))).length
  const text = shown.length === 0 ? t('noOutcomes') : t('lastOutcomes', { count: shown.length, good, bad })
  const titleOf = ({ at, outcome, status, ms }: (typeof outcomes)[number]): string =>
    joined([at && clockText(at, lang), wordOf('outcome', outcome, t), status, msText(ms)], ' ')
  return (
    <div class="ticks" role="img" aria-label={text}>
      {Array.from({ length: MOST_TICKS - shown.length }, (_, at) => (
        <i key={at} data-tone="none" />
      ))}
      {shown.map((outcome, at) => (
        <i key={`${outcome.at} ${at}`} data-tone={outcomeTone(outcome.outcome)} title={titleOf(outcome)} />
      ))}
    </div>
  )
}

/** What an operator may do with it. */
function Actions({ upstream: { name, paused, enabled, available } }: RowProps) {
  const { api, t, announce, refresh } = usePage()
  const [isBusy, setIsBusy] = useState('')
  const [result, setResult] = useState<{ text: string; tone: Tone }>()

  async function act(path: string, done: (answer: TestResult) => string): Promise<void> {
    // A disabled button would lose the focus of the keyboard.
    if (isBusy !== '') return
    setIsBusy(path)
    setResult(undefined)
    try {
      announce(done(await api.json<TestResult>(path, { method: 'POST', body: { upstream: name } })))
    } catch (error) {
      const text = errorText(error, t)
      setResult({ text, tone: 'bad' })
      announce(text)
    }
    await refresh()
    setIsBusy('')
  }
  function testText({ ok, status, total_ms: ms, error }: TestResult): string {
    const text = ok
      ? t('testOk', { status: status ?? '', ms: msText(ms) })
      : t('testFailed', { why: error ?? String(status ?? '') })
    setResult({ text, tone: ok ? 'good' : 'bad' })
    return text
  }
  const button = (word: WordKey, onClick: () => Promise<void>) => (
    <button type="button" aria-disabled={isBusy !== ''} onClick={() => void onClick()}>
      {t(word)}
    </button>
  )
  const isTesting = isBusy === 'admin/test'
  return (
    <div class="actions" role="group" aria-label={t('actionsOf', { name })}>
      {enabled &&
        (paused
          ? button('resume', () => act('admin/resume', () => t('wasResumed', { name })))
          : button('pause', () => act('admin/pause', () => t('wasPaused', { name }))))}
      {enabled && button(isTesting ? 'testing' : 'test', () => act('admin/test', testText))}
      {enabled &&
        !paused &&
        !available &&
        button('forget', () => act('admin/forget', () => t('wasForgotten', { name })))}
      {result && <p class={result.tone}>{result.text}</p>}
    </div>
  )
}
