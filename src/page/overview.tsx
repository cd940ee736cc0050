import { Charts } from './charts.tsx'
import { usePage } from './context.ts'
import type { GatewayStatus } from '../telemetry/status.ts'
import { amountText, clockText, joined, msText, shareText } from './format.ts'
import { UpstreamRow } from './upstream.tsx'
import { reasonText, type Lang, type Translate } from './words.ts'

export function Overview() {
  const { live, t } = usePage()
  const { status, usage } = live
  return (
    <>
      <Headline status={status} />
      <Needs status={status} />
      <section aria-labelledby="upstreams">
        <h2 id="upstreams">{t('upstreams')}</h2>
        {status.upstreams.length === 0 && <p class="muted">{t('noUpstreams')}</p>}
        <ul class="upstreams">
          {status.upstreams.map((upstream) => (
            <UpstreamRow key={upstream.id} upstream={upstream} />
          ))}
        </ul>
      </section>
      {usage && <Charts usage={usage} />}
    </>
  )
}

/** The first line: does it work now, and how well. */
function Headline({ status }: { status: GatewayStatus }) {
  const { t, lang } = usePage()
  const { last_hour: hour, draining, queue, upstreams, can_answer: can } = status
  const free = upstreams.filter(({ available }) => available).length
  const figures = [
    ['lastHour', amountText(hour.requests)],
    ['answered', hour.answered_share === null ? '–' : shareText(hour.answered_share)],
    ['firstWord', hour.first_byte_ms ? msText(hour.first_byte_ms.p50) : '–'],
    ['firstWordSlow', hour.first_byte_ms ? msText(hour.first_byte_ms.p95) : '–'],
  ] as const
  return (
    <section class="headline">
      <div class="verdict" aria-live="polite">
        <h1 class={can.now ? 'good' : 'bad'}>
          {t(draining ? 'draining' : can.now ? 'canAnswer' : 'cannotAnswer')}
        </h1>
        <p class="muted">
          {joined([
            t('upstreamsAvailable', { free, all: upstreams.length }),
            queue.waiting > 0 && t('waiting', { count: queue.waiting }),
            can.why !== null && !draining && reasonText(can.why, lang),
          ])}
        </p>
      </div>
      <dl class="figures">
        {figures.map(([word, value]) => (
          <div key={word}>
            <dt>{t(word)}</dt>
            <dd>{value}</dd>
          </div>
        ))}
      </dl>
    </section>
  )
}

/** What does not heal by itself. */
function Needs({ status: { needs_you: needs } }: { status: GatewayStatus }) {
  const { t, lang } = usePage()
  if (needs.length === 0) return null
  return (
    <section class="needs" aria-labelledby="needs">
      <h2 id="needs">{t('needsYou')}</h2>
      <ul>
        {needs.map((need) => (
          <li key={`${need.kind} ${need.upstream} ${need.text}`}>
            <span>{needText(need, lang, t)}</span>
            {need.since !== null && (
              <span class="muted">{t('since', { time: clockText(need.since, lang) })}</span>
            )}
            {/^(?:config|reload)/.test(need.kind) && <a href="#configuration">{t('seeConfiguration')}</a>}
          </li>
        ))}
      </ul>
    </section>
  )
}

/** As the gateway says it, where it speaks the language of the page; edges speak English alone. */
function needText(
  { kind, upstream, text }: GatewayStatus['needs_you'][number],
  lang: Lang,
  t: Translate,
): string {
  const names = upstream ?? /\bof (.+?) (?:was|has|is)\b/.exec(text)?.[1] ?? ''
  if (lang === 'en') return text.replace(/^[a-z]/, (letter) => letter.toUpperCase())
  return /\p{Script=Han}/u.test(text) ? text : t(`need_${kind}`, { names, text })
}
