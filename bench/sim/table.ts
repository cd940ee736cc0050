import { quantile, type Figures } from './scenario.ts'

/** One line of a table: who chose, and what came of it. */
export interface Row {
  readonly name: string
  readonly figures: Figures
}

const percent = (part: number, whole: number): string => `${((100 * part) / Math.max(1, whole)).toFixed(1)} %`
const seconds = (ms: number): string => `${(ms / 1000).toFixed(1)} s`

/** Rows of a scenario as a Markdown table. */
export function tableOf(first: string, rows: readonly Row[]): string {
  const head = [
    first,
    'offered',
    'answered',
    'of the perfect yield',
    "upstreams' 429s",
    'wait p50',
    'p95',
    'max',
  ]
  const lines = rows.map(({ name, figures }) => {
    const { offered, answered, perfect, refused, waits } = figures
    const times = [quantile(waits, 0.5), quantile(waits, 0.95), waits.at(-1) ?? 0].map(seconds)
    return [
      name,
      offered,
      `${answered} (${percent(answered, offered)})`,
      percent(answered, perfect),
      refused,
      ...times,
    ]
  })
  const aligned = ['---', ...head.slice(1).map(() => '---:')]
  return [head, aligned, ...lines].map((cells) => `| ${cells.join(' | ')} |`).join('\n')
}
