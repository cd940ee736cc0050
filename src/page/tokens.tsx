import { useEffect, useState } from 'preact/hooks'
import type { TokenStatus } from '../telemetry/token-status.ts'
import { usePage } from './context.ts'
import { amountText, clockText, joined } from './format.ts'
import { limitAmount, limitName } from './words.ts'

const SPANS = [
  ['day', 'today'],
  ['week', 'week'],
  ['month', 'month'],
] as const
const ASK_EVERY_MS = 15_000

/** Who may ask, and who did. */
export function Tokens() {
  const { api, t, lang, live } = usePage()
  /** With each request that ends and each reload it is asked again. */
  const news = joined([live.requests?.[0]?.id, live.status.last_reload?.at])
  const [tokens, setTokens] = useState<readonly TokenStatus[]>([])
  useEffect(() => {
    const ask = (): void =>
      void api.json<{ tokens: readonly TokenStatus[] }>('admin/tokens').then(
        (answer) => setTokens(answer.tokens),
        () => {},
      )
    ask()
    const timer = setInterval(ask, ASK_EVERY_MS)
    return () => clearInterval(timer)
  }, [api, news])
  const usageText = ({ requests, input_tokens: input, output_tokens: output }: TokenStatus['usage']['day']) =>
    t('usageText', { requests: amountText(requests), tokens: amountText(input + output) })
  return (
    <section aria-labelledby="tokens">
      <h1 id="tokens">{t('tokens')}</h1>
      {tokens.length === 0 ? (
        <p class="muted">{t('noTokens')}</p>
      ) : (
        <div class="scroll" tabIndex={0} role="group" aria-labelledby="tokens">
          <table>
            <thead>
              <tr>
                <th scope="col">{t('tokenName')}</th>
                <th scope="col">{t('rights')}</th>
                <th scope="col">{t('limits')}</th>
                {SPANS.map(([span, word]) => (
                  <th key={span} scope="col" class="number">
                    {t(word)}
                  </th>
                ))}
              </tr>
            </thead>
            <tbody>
              {tokens.map(({ name, admin, models, expires, limits, usage }) => (
                <tr key={name}>
                  <th scope="row">{name}</th>
                  <td>
                    {joined([
                      admin && t('mayAdmin'),
                      models === null ? t('mayAll') : t('mayModels', { models: models.join(', ') }),
                      expires !== null && t('expires', { time: clockText(expires, lang) }),
                    ])}
                  </td>
                  <td>
                    {limits.length === 0 && '–'}
                    {limits.map((one) => (
                      <div key={limitName(one, t)} class={one.left <= 0 ? 'bad' : undefined}>
                        {joined([limitName(one, t), limitAmount(one, t)])}
                      </div>
                    ))}
                  </td>
                  {SPANS.map(([span]) => (
                    <td key={span} class="number">
                      {usageText(usage[span])}
                    </td>
                  ))}
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </section>
  )
}
