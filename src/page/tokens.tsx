import { useEffect, useState } from 'preact/hooks'
import type { ShownLimit, ShownToken, ShownSums } from './api.ts'
import { usePage } from './context.ts'
import { clockText, amountText } from './format.ts'
import { limitName } from './words.ts'

const SPANS = [
  ['day', 'today'],
  ['week', 'week'],
  ['month', 'month'],
] as const
const ASK_EVERY_MS = 15_000

/** Who may ask, and who did. */
export function Tokens() {
  const { api, t, lang } = usePage()
  const [listed, setListed] = useState<readonly ShownToken[]>()
  useEffect(() => {
    let timer: ReturnType<typeof setTimeout> | undefined
    const ask = (): void => {
      api.json<{ tokens: readonly ShownToken[] }>('admin/tokens').then(
        ({ tokens }) => {
          setListed(tokens)
          timer = setTimeout(ask, ASK_EVERY_MS)
        },
        () => {},
      )
    }
    ask()
    return () => clearTimeout(timer)
  }, [api])
  const tokens = listed ?? []
  const usageText = (usage: ShownSums | undefined, span: keyof ShownSums): string => {
    const sum = usage?.[span]
    if (sum === undefined) return '–'
    const all = sum.input_tokens + sum.output_tokens
    return t('usageText', { requests: amountText(sum.requests), tokens: amountText(all) })
  }
  const limitText = ({ used, left, limit }: ShownLimit): string =>
    limit === null
      ? t('onlyLeft', { left: amountText(left) })
      : t('usedOf', { used: amountText(used), left: amountText(left), limit: amountText(limit) })
  const rightsOf = ({ admin, models, expires }: ShownToken): string =>
    [
      admin === true ? t('mayAdmin') : '',
      models == null ? t('mayAll') : t('mayModels', { models: models.join(', ') }),
      expires == null ? '' : t('expires', { time: clockText(expires, lang, Date.now()) }),
    ]
      .filter(Boolean)
      .join(' · ')
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
              {tokens.map((token) => (
                <tr key={token.name}>
                  <th scope="row">{token.name}</th>
                  <td>{rightsOf(token)}</td>
                  <td>
                    {(token.limits ?? []).map((one) => (
                      <div key={limitName(one, t)} class={one.left <= 0 ? 'bad' : undefined}>
                        {limitName(one, t)}
                        {' · '}
                        {limitText(one)}
                      </div>
                    ))}
                  </td>
                  {SPANS.map(([span]) => (
                    <td key={span} class="number">
                      {usageText(token.usage, span)}
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
