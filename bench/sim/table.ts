import { quantile, type Figures } from './scenario.ts'

/** One line of a table: what was played, and what came of it. */
export interface Row {
  readonly name: string
  readonly figures: Figures
}

const percent = (part: number, whole: number): string => `${((100 * part) / Math.max(1, whole)).toFixed(1)} %`

function duration(ms: number): string {
  if (ms < 600_000) return `${(ms / 1000).toFixed(1)} s`
  return ms < 36_000_000 ? `${(ms / 60_000).toFixed(0)} min` : `${(ms / 3_600_000).toFixed(1)} h`
}

/** Markdown: the first column is text, the others are numbers. */
function markdown(head: readonly string[], lines: readonly (readonly (string | number)[])[]): string {
  const aligned = head.map((_, at) => (at === 0 ? '---' : '---:'))
  return [head, aligned, ...lines].map((cells) => `| ${cells.join(' | ')} |`).join('\n')
}

/** A line for each row, with all figures. */
export function tableOf(first: string, rows: readonly Row[]): string {
  const head = [
    first,
    'offered',
    'answered',
    'of the perfect yield',
    'refused while there was room',
    'longest darkness',
    '429s met',
    'wait p95',
  ]
  const lines = rows.map(({ name, figures }) => {
    const { offered, answered, perfect, refusedWithRoom, darkMs, met, waits } = figures
    return [
      name,
      offered,
      `${answered} (${percent(answered, offered)})`,
      percent(answered, perfect),
      refusedWithRoom,
      duration(darkMs),
      met,
      duration(quantile(waits, 0.95)),
    ]
  })
  return markdown(head, lines)
}

/** The same for kinds of rows, each by its load: two figures for each load, and the worst and the sum over all of them. */
export function summaryOf(first: string, rows: readonly (Row & { readonly load: string })[]): string {
  const loads = [...new Set(rows.map(({ load }) => load))]
  const names = [...new Set(rows.map(({ name }) => name))]
  const lines = names.map((name) => {
    const ofName = rows.filter((row) => row.name === name)
    const byLoad = loads.map((at) => ofName.filter(({ load }) => load === at))
    return [
      name,
      ...byLoad.map((of) => percent(sum(of, 'answered'), sum(of, 'perfect'))),
      ...byLoad.map((of) => percent(sum(of, 'refusedWithRoom'), sum(of, 'offered'))),
      duration(Math.max(...ofName.map(({ figures }) => figures.darkMs))),
      percent(sum(ofName, 'met'), sum(ofName, 'answered')),
    ]
  })
  const head = [
    first,
    ...loads.map((load) => `answered at ${load}`),
    ...loads.map((load) => `refused with room at ${load}`),
    'longest darkness',
    '429s met, of the answered',
  ]
  return markdown(head, lines)
}

const sum = (
  rows: readonly Row[],
  key: 'offered' | 'answered' | 'perfect' | 'refusedWithRoom' | 'met',
): number => rows.reduce((all, { figures }) => all + figures[key], 0)
