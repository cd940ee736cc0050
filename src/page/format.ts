/* Numbers, times and spans as the page writes them. Pure; `lang` is a BCP 47 tag. */

/** 1234 → 1,234; above 10,000 shortened: 12.3k, 4.5M. */
export function amountText(count: number): string {
  const sized = (divisor: number, unit: string): string =>
    `${(count / divisor).toFixed(count < divisor * 100 ? 1 : 0).replace(/\.0$/, '')}${unit}`
  if (count >= 999_500_000) return sized(1e9, 'G')
  if (count >= 999_500) return sized(1e6, 'M')
  if (count >= 10_000) return sized(1e3, 'k')
  return Math.round(count).toLocaleString('en')
}

/** 0.9984 → 99.8 %; what is not all never reads as 100 %. */
export function shareText(share: number): string {
  const percent = share < 1 ? Math.min(99.9, Math.floor(share * 1000) / 10) : 100
  return `${percent} %`
}

/** A duration of a request: 0.4 ms, 42 ms, 1.3 s, 2 min 5 s. */
export function msText(ms: number): string {
  if (ms < 1) return `${Math.max(0, Number(ms.toFixed(1)))} ms`
  if (ms < 999.5) return `${Math.round(ms)} ms`
  if (ms < 59_950) return `${(ms / 1000).toFixed(ms < 9_950 ? 1 : 0)} s`
  return spanText(ms)
}

/** The two largest units of a span: 3 d 4 h, 12 min, 8 s. */
export function spanText(ms: number, lang = 'en'): string {
  const seconds = Math.max(0, Math.round(ms / 1000))
  const [day, hour, minute, second] = lang.startsWith('zh')
    ? ['天', '小时', '分', '秒']
    : ['d', 'h', 'min', 's']
  const parts = [
    [Math.floor(seconds / 86_400), day],
    [Math.floor(seconds / 3600) % 24, hour],
    [Math.floor(seconds / 60) % 60, minute],
    [seconds % 60, second],
  ] as const
  const first = parts.findIndex(([count]) => count > 0)
  if (first < 0) return `0 ${second}`
  const shown = parts.slice(first, first + 2).filter(([count]) => count > 0)
  return shown.map(([count, unit]) => `${count} ${unit}`).join(' ')
}

/** What there is of some texts, in a line. */
export const joined = (
  parts: readonly (string | number | false | null | undefined)[],
  between = ' · ',
): string => parts.filter((part) => part !== '' && part !== false && part != null).join(between)

/** The local time of a moment: 14:05, with seconds where it is within two minutes of `now`, with its date on another day. */
export function clockText(iso: string, lang: string, now = Date.now()): string {
  const moment = new Date(iso)
  if (Number.isNaN(moment.getTime())) return iso
  return datedText(moment, { lang, now, hasSeconds: Math.abs(moment.getTime() - now) < 120_000 })
}

/** The same, always with seconds. */
export const secondsText = (iso: string, lang: string): string =>
  datedText(new Date(iso), { lang, now: Date.now(), hasSeconds: true })

function datedText(moment: Date, of: { lang: string; now: number; hasSeconds: boolean }): string {
  const { lang, now, hasSeconds } = of
  const second = hasSeconds ? '2-digit' : undefined
  const time = moment.toLocaleTimeString(lang, {
    hour: '2-digit',
    minute: '2-digit',
    second,
    hourCycle: 'h23',
  })
  if (moment.toDateString() === new Date(now).toDateString()) return time
  return `${moment.toLocaleDateString(lang, { month: 'short', day: 'numeric' })} ${time}`
}

/** What a status says of a request, as the charts and the ticks colour it. */
export type Tone = 'good' | 'wait' | 'bad' | 'quiet'

export function statusTone(status: number): Tone {
  if (status < 400) return 'good'
  if (status === 429 || status === 402 || status === 408) return 'wait'
  return status < 500 ? 'quiet' : 'bad'
}

/** The same of an attempt. */
export function outcomeTone(outcome: string): Tone {
  if (outcome === 'ok') return 'good'
  if (['aborted', 'client-error', 'other-model', 'unfit'].includes(outcome)) return 'quiet'
  return ['rate-limited', 'overloaded', 'quota', 'concurrency'].includes(outcome) ? 'wait' : 'bad'
}

/** Points of an SVG polyline in a box of `width` and `height`, the largest at the top; empty for fewer than two. */
export function sparkPoints(values: readonly number[], width: number, height: number): string {
  if (values.length < 2) return ''
  const most = Math.max(...values, 1)
  return values
    .map((value, at) => {
      const x = (at / (values.length - 1)) * width
      return `${x.toFixed(1)},${(height - 1 - (value / most) * (height - 2)).toFixed(1)}`
    })
    .join(' ')
}
