import { useState } from 'preact/hooks'
import type { ShownLimit, ShownOutcome, ShownUpstream } from './api.ts'
import { errorText, useNow, usePage } from './context.ts'
import { clockText, amountText, msText, outcomeTone, spanText, sparkPoints, type Tone } from './format.ts'
import { limitName, reasonText, wordKeyOf, wordOf, type Lang, type Translate } from './words.ts'

/** One upstream: what it is, what it may do now, what is left of its limits, how it did lately. */
export function UpstreamRow({ upstream }: { upstream: ShownUpstream }) {
  const { t, lang } = usePage()
  const { name, model, host, key, windows, in_flight: inFlight, last_error: last } = upstream
  const keyText = [
    key?.position == null ? '' : t('keyAt', { position: key.position }),
    key?.last4 == null ? '' : `…${key.last4.replace(/^…/, '')}`,
  ]
  return (
    <li class="upstream" data-tone={toneOf(upstream)} aria-label={name}>
      <div class="who">
        <h3>
          <i class="dot" aria-hidden="true" />
          {name}
        </h3>
        <p class="muted" title={host}>
          {[model === name ? host : model, keyText.filter(Boolean).join(' ')].filter(Boolean).join(' · ')}
        </p>
        <Sentence upstream={upstream} />
        {!upstream.available && last?.message != null && last.at !== null && (
          <p class="muted">
            {t('lastError', { time: clockText(last.at, lang, Date.now()), text: last.message })}
          </p>
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
        <Ticks outcomes={upstream.last_outcomes} />
      </div>
      <Actions upstream={upstream} />
    </li>
  )
}

const toneOf = ({ available, enabled, paused, why, attempts }: ShownUpstream): Tone => {
  if (!enabled || paused === true) return 'quiet'
  if (available) return attempts === 0 ? 'quiet' : 'good'
  return why?.startsWith('needs attention') === true ? 'bad' : 'wait'
}

/** Its state as a sentence, with the cause and until when. The countdown is not read aloud each second. */
function Sentence({ upstream }: { upstream: ShownUpstream }) {
  const { t, lang } = usePage()
  const { name, until } = upstream
  const now = useNow(until === null ? 60_000 : 1_000)
  const cause = causeOf(upstream, lang, t)
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

function causeOf(upstream: ShownUpstream, lang: Lang, t: Translate): string {
  const { enabled, paused, available, why, attempts, blocked_by: scope } = upstream
  if (!enabled) return t('disabled')
  if (paused === true) return t('pausedByYou')
  if (available) return t(attempts === 0 ? 'untried' : 'works')
  const owner = scope === null ? undefined : wordKeyOf(`scope_${scope}`)
  const reason = reasonText(why ?? '', lang)
  return owner === undefined ? reason : t('sharedCause', { why: reason, scope: t(owner) })
}

/** One limit: how much of it is used, and what is to come. */
function Bar({ window }: { window: ShownLimit }) {
  const { t, lang } = usePage()
  const { used, limit, left, source, scope } = window
  const amount =
    limit === null
      ? t('onlyLeft', { left: amountText(left) })
      : t('usedOf', { used: amountText(used), left: amountText(left), limit: amountText(limit) })
  const at = (iso: string | null): string => (iso === null ? '' : clockText(iso, lang, Date.now()))
  const moment =
    window.runs_out_at !== null
      ? t('runsOut', { time: at(window.runs_out_at) })
      : left <= 0 && window.reopens_at !== null
        ? t('reopens', { time: at(window.reopens_at) })
        : window.resets_at !== null && left < (limit ?? Infinity)
          ? t('resets', { time: at(window.resets_at) })
          : ''
  const whole = limit ?? used + left
  const share = whole > 0 ? Math.min(1, Math.max(0, 1 - left / whole)) : 0
  const tone = left <= 0 ? 'bad' : share >= 0.85 ? 'wait' : 'quiet'
  const owner = ['upstream', 'key', 'endpoint', 'origin'].includes(scope) ? '' : ` (${scope})`
  return (
    <div class="bar">
      <span class="label">{limitName(window, t) + owner}</span>
      <span class="track" data-tone={tone} aria-hidden="true">
        <span style={{ width: `${(share * 100).toFixed(1)}%` }} />
      </span>
      <span class="amount">{amount}</span>
      <span class="muted aside">{[wordOf('source', source, t), moment].filter(Boolean).join(' · ')}</span>
    </div>
  )
}

const SPARK = { width: 160, height: 22 }

/** The first bytes of the last answers, the newest at the right. */
function Spark({
  upstream: { first_bytes: values = [], first_byte_ms: firstByte },
}: {
  upstream: ShownUpstream
}) {
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
function Ticks({ outcomes }: { outcomes: readonly ShownOutcome[] }) {
  const { t, lang } = usePage()
  const shown = outcomes.slice(0, MOST_TICKS).toReversed()
  const good = shown.filter(({ outcome }) => outcomeTone(outcome) === 'good').length
  const bad = shown.filter(({ outcome }) => ['bad', 'wait'].includes(outcomeTone(outcome))).length
  const text = shown.length === 0 ? t('noOutcomes') : t('lastOutcomes', { count: shown.length, good, bad })
  const titleOf = ({ at, outcome, status, ms }: ShownOutcome): string =>
    [
      at === null ? '' : clockText(at, lang, Date.now()),
      wordOf('outcome', outcome, t),
      status ?? '',
      msText(ms),
    ]
      .filter(Boolean)
      .join(' ')
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

interface TestResult {
  readonly ok: boolean
  readonly status: number | null
  readonly total_ms: number
  readonly error: string | null
}

/** What an operator may do with it. An older gateway can only end its rest. */
function Actions({ upstream }: { upstream: ShownUpstream }) {
  const { api, t, announce, refresh } = usePage()
  const [isBusy, setIsBusy] = useState('')
  const [result, setResult] = useState<{ text: string; tone: Tone }>()
  const { name, paused, enabled } = upstream
  const isRestable = enabled && paused !== true && !upstream.available

  async function act(path: string, done: (answer: unknown) => string): Promise<void> {
    // A disabled button would lose the focus of the keyboard.
    if (isBusy !== '') return
    setIsBusy(path)
    setResult(undefined)
    try {
      announce(done(await api.json(path, { method: 'POST', body: { upstream: name } })))
    } catch (error) {
      const text = errorText(error, t)
      setResult({ text, tone: 'bad' })
      announce(text)
    }
    await refresh()
    setIsBusy('')
  }
  function testText(answer: unknown): string {
    const { ok, status, total_ms: ms, error } = answer as TestResult
    const text = ok
      ? t('testOk', { status: status ?? '', ms: msText(ms) })
      : t('testFailed', { why: error ?? String(status ?? '') })
    setResult({ text, tone: ok ? 'good' : 'bad' })
    return text
  }

  return (
    <div class="actions" role="group" aria-label={t('actionsOf', { name })}>
      {paused !== undefined && enabled && (
        <button
          type="button"
          aria-disabled={isBusy !== ''}
          onClick={() =>
            void act(paused ? 'admin/resume' : 'admin/pause', () =>
              t(paused ? 'wasResumed' : 'wasPaused', { name }),
            )
          }
        >
          {t(paused ? 'resume' : 'pause')}
        </button>
      )}
      {paused !== undefined && enabled && (
        <button type="button" aria-disabled={isBusy !== ''} onClick={() => void act('admin/test', testText)}>
          {t(isBusy === 'admin/test' ? 'testing' : 'test')}
        </button>
      )}
      {isRestable && (
        <button
          type="button"
          aria-disabled={isBusy !== ''}
          onClick={() => void act('admin/forget', () => t('wasForgotten', { name }))}
        >
          {t('forget')}
        </button>
      )}
      {result && <p class={result.tone}>{result.text}</p>}
    </div>
  )
}
