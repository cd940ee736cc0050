import { Charts } from './charts.tsx'
import { usePage } from './context.ts'
import type { ShownNeed, ShownStatus } from './api.ts'
import { clockText, amountText, msText, shareText } from './format.ts'
import { UpstreamRow } from './upstream.tsx'
import { reasonText, wordKeyOf, type Lang, type Translate } from './words.ts'

export function Overview() {
  const { live, t } = usePage()
  const { status, usage } = live
  if (status === undefined) return null
  return (
    <>
      <Headline status={status} />
      <Needs status={status} />
      <section aria-labelledby="upstreams">
        <h2 id="upstreams">{t('upstreams')}</h2>
        {status.upstreams.length === 0 && <p class="muted">{t('noUpstreams')}</p>}
        <ul class="upstreams">
          {status.upstreams.map((upstream) => (
            <UpstreamRow key={upstream.id ?? upstream.name} upstream={upstream} />
          ))}
        </ul>
      </section>
      {usage && <Charts usage={usage} />}
    </>
  )
}

/** The first line: does it work now, and how well. */
function Headline({ status }: { status: ShownStatus }) {
  const { t, lang } = usePage()
  const { last_hour: hour, draining } = status
  const free = status.upstreams.filter(({ available }) => available).length
  const canAnswer = !draining && (status.can_answer?.now ?? free > 0)
  const counts = [
    t('upstreamsAvailable', { free, all: status.upstreams.length }),
    ...(status.queue.waiting > 0 ? [t('waiting', { count: status.queue.waiting })] : []),
    ...(status.can_answer?.why == null || canAnswer ? [] : [reasonText(status.can_answer.why, lang)]),
  ]
  const figure = (label: string, value: string | undefined) => (
    <div>
      <dt>{label}</dt>
      <dd>{value ?? '–'}</dd>
    </div>
  )
  const share = hour?.answered_share
  return (
    <section class="headline">
      <div class="verdict" aria-live="polite">
        <h1 class={canAnswer ? 'good' : 'bad'}>
          {t(draining ? 'draining' : canAnswer ? 'canAnswer' : 'cannotAnswer')}
        </h1>
        <p class="muted">{counts.join(' · ')}</p>
      </div>
      {hour && (
        <dl class="figures">
          {figure(t('lastHour'), amountText(hour.requests))}
          {figure(t('answered'), share == null ? undefined : shareText(share))}
          {figure(t('firstWord'), hour.first_byte_ms ? msText(hour.first_byte_ms.p50) : undefined)}
          {figure(t('firstWordSlow'), hour.first_byte_ms ? msText(hour.first_byte_ms.p95) : undefined)}
        </dl>
      )}
    </section>
  )
}

/** What is told of, by the sentence: `the key of groq, gemini was refused; …`. */
const namesIn = ({ upstream, text }: ShownNeed): string =>
  upstream ?? /\bof (.+?) (?:was|has|is)\b/.exec(text)?.[1] ?? ''

/** English as the gateway says it, where it says it. */
function needText(need: ShownNeed, lang: Lang, t: Translate): string {
  const key = wordKeyOf(`need_${need.kind}`)
  const isSaid = need.text !== '' && (lang === 'en' || key === undefined)
  const text = isSaid || key === undefined ? need.text : t(key, { names: namesIn(need), text: need.text })
  return text.replace(/^[a-z]/, (letter) => letter.toUpperCase())
}

/** What does not heal by itself; of an older gateway, as far as its status tells. */
function needsOf(status: ShownStatus): readonly ShownNeed[] {
  if (status.needs_you !== undefined) return status.needs_you
  const refused = status.last_reload?.ok === false ? status.last_reload : undefined
  return [
    ...(refused ? [{ kind: 'reload_refused', upstream: null, text: '', since: refused.at }] : []),
    ...status.upstreams
      .filter(({ why }) => why?.startsWith('needs attention') === true)
      .map(({ name, why, last_error: last }) => ({
        kind: why?.includes('key refused') === true ? 'key_refused' : 'not_found',
        upstream: name,
        text: '',
        since: last?.at ?? null,
      })),
  ]
}

function Needs({ status }: { status: ShownStatus }) {
  const { t, lang } = usePage()
  const needs = needsOf(status)
  if (needs.length === 0) return null
  return (
    <section class="needs" aria-labelledby="needs">
      <h2 id="needs">{t('needsYou')}</h2>
      <ul>
        {needs.map((need) => (
          <li key={`${need.kind} ${need.upstream} ${need.text}`}>
            <span>{needText(need, lang, t)}</span>
            {need.since !== null && (
              <span class="muted">{t('since', { time: clockText(need.since, lang, Date.now()) })}</span>
            )}
            {/^(?:config|reload)/.test(need.kind) && <a href="#configuration">{t('seeConfiguration')}</a>}
          </li>
        ))}
      </ul>
    </section>
  )
}
